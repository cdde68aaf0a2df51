"""Which URLs a webhook may have, and which network addresses it may reach. Pure."""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

from db.values.error_catalogue import CatalogueError

MAX_URL_CHARACTERS = 2048
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = IPv4Address | IPv6Address


class Reach(StrEnum):
    """Which network addresses a receiver may have; each value includes the ones before it."""

    PUBLIC = "public"
    LOOPBACK = "loopback"
    PRIVATE = "private"


def allows(reach: Reach, address: Address) -> bool:
    """Returns whether a connection to this address is allowed.

    Link-local addresses never are: clouds serve credentials there.
    """
    inner = _embedded_ipv4(address)
    if inner is not None:
        return allows(reach, inner)
    if address.is_loopback:
        return reach is not Reach.PUBLIC
    if address.is_unspecified or address.is_multicast or address.is_link_local or address.is_reserved:
        return False
    if address.is_global and not getattr(address, "is_site_local", False):
        return True
    return reach is Reach.PRIVATE


def check_url(url: str, reach: Reach) -> None:
    """Raises CatalogueError `invalid_field` for a URL that a webhook may not have.

    Names are not resolved here: they may resolve differently later, so the sender checks each address.
    """
    if len(url) > MAX_URL_CHARACTERS or not _VISIBLE.fullmatch(url):
        raise _invalid_url_error(f"It must have 1 to {MAX_URL_CHARACTERS} visible ASCII characters.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _invalid_url_error("It is not a URL.") from error
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        raise _invalid_url_error("It must be https://host/… or http://host/….")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise _invalid_url_error("It may have no user name, password or fragment.")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        _check_name(host)
        return
    if not allows(reach, address):
        raise _invalid_url_error("This address is not reachable from here.")


def _check_name(host: str) -> None:
    """Raises CatalogueError `invalid_field` for a name that can't be resolved: an empty or too long label."""
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise _invalid_url_error("Its host is not a name.") from error


def _embedded_ipv4(address: Address) -> IPv4Address | None:
    """Returns the IPv4 address that an IPv6 address embeds, or None."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _invalid_url_error(detail: str) -> CatalogueError:
    return CatalogueError("invalid_field", f"url: {detail}")
