"""Addresses and URLs that a webhook may have."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime
from typing import get_args
from uuid import UUID

import pytest

from db.notification.webhook_url_policy import MAX_URL_CHARACTERS, Reach, allows, check_url
from db.notification.webhooks import EVENTS, Webhook, secret_of
from db.values.error_catalogue import CatalogueError
from serve_app.routes.webhooks import EventType

PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8", "2002:808:808::1"]
LOOPBACK = ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1"]
PRIVATE = ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"]
NEVER = [
    "0.0.0.0",
    "::",
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "fe80::1",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
]
REACHED = [(address, set(Reach)) for address in PUBLIC]
REACHED += [(address, {Reach.LOOPBACK, Reach.PRIVATE}) for address in LOOPBACK]
REACHED += [(address, {Reach.PRIVATE}) for address in PRIVATE]
REACHED += [(address, set()) for address in NEVER]


@pytest.mark.parametrize(("address", "reached"), REACHED)
def test_reach_decides_which_addresses_are_allowed(address: str, reached: set[Reach]) -> None:
    assert {reach for reach in Reach if allows(reach, ipaddress.ip_address(address))} == reached


@pytest.mark.parametrize("url", ["https://example.org", "http://example.org:8080/a?b=c", "https://[2606:4700::1111]/"])
def test_valid_receiver_url_is_accepted(url: str) -> None:
    check_url(url, Reach.PUBLIC)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org",
        "example.org/hook",
        "https://",
        "https:///hook",
        "https://user:pass@example.org",
        "https://user@example.org",
        "https://example.org/#here",
        "https://example.org:99999",
        "https://example.org:0",
        "https://[::1",
        "https://exa mple.org",
        "https://exämple.org",
        "https://a..b/hook",
        "https://.example.org/",
        f"https://{'x' * 64}.example.org/",
        "https://example.org/\r\nX: y",
        "http://127.0.0.1/hook",
        "http://[::1]/hook",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "https://example.org/" + "x" * MAX_URL_CHARACTERS,
    ],
)
def test_invalid_receiver_url_is_refused(url: str) -> None:
    with pytest.raises(CatalogueError, match="invalid_field: url"):
        check_url(url, Reach.PUBLIC)


def test_subscribable_events_are_the_events_that_are_sent() -> None:
    assert sorted(get_args(EventType)) == sorted(EVENTS)


def test_secret_is_not_in_the_repr() -> None:
    secret = secret_of(bytes(32))
    assert secret not in repr(Webhook(UUID(int=1), "u", (), datetime.now(UTC), None, secret))
