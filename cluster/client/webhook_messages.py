"""Verifies the messages of webhooks. Source: Standard Webhooks (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from cluster.client.errors import BadSignature, InvalidArgument

TOLERANCE_SECONDS = 300.0
_PREFIX = "whsec_"


def verify_webhook(
    secret: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
) -> dict[str, Any]:
    """Returns the message of a webhook when it is signed with this secret and not older than the tolerance.

    headers: of the request, in any case. body: the raw bytes as they arrived. The same message may arrive twice: drop a
    `webhook-id` that you have seen. Raises BadSignature; InvalidArgument for a secret or a body that can't be used.

        >>> verify_webhook("whsec_c2VjcmV0", {"webhook-id": "d-1"}, b"{}")
        Traceback (most recent call last):
        cluster.client.errors.BadSignature: The message has no header webhook-timestamp.
    """
    check_signature(secret, headers, body, now=time.time(), tolerance_seconds=tolerance_seconds)
    try:
        message = json.loads(body)
    except ValueError as error:
        raise BadSignature("The message is signed, and is not JSON.") from error
    if not isinstance(message, dict):
        raise BadSignature("The message is signed, and is not a JSON object.")
    return message


def check_signature(
    secret: str, headers: Mapping[str, str], body: bytes, *, now: float, tolerance_seconds: float
) -> None:
    """Pure. now: seconds since 1970. Raises BadSignature, InvalidArgument."""
    if not isinstance(body, bytes):
        raise InvalidArgument("The body must be the bytes of the request, as they arrived.")
    key, values = _key(secret), {name.lower(): value for name, value in headers.items()}
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        if name not in values:
            raise BadSignature(f"The message has no header {name}.")
    sent_at = values["webhook-timestamp"]
    if not (sent_at.isascii() and sent_at.isdigit() and len(sent_at) < 13):
        raise BadSignature("The header webhook-timestamp is no number of seconds.")
    signed = f"{values['webhook-id']}.{sent_at}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    # All of them are compared, each in constant time: the time tells nothing about the signature.
    matches = [
        hmac.compare_digest(expected, signature.encode())
        for version, _, signature in (entry.partition(",") for entry in values["webhook-signature"].split())
        if version == "v1"
    ]
    if not any(matches):
        raise BadSignature("The message is not signed with this secret.")
    if abs(now - int(sent_at)) > tolerance_seconds:
        raise BadSignature(f"The message was sent {abs(now - int(sent_at)):.0f} s away from this machine's time.")


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.strip().removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument("The secret of a webhook begins with whsec_ and is base64.") from error
    if not key:
        raise InvalidArgument("The secret of the webhook is empty.")
    return key
