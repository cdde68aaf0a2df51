"""The secret of an API key: the key's id and random bytes as text. The id finds the stored hash."""

from __future__ import annotations

import base64
import hashlib
import re
from uuid import UUID

PREFIX = "fg_"
"""Tells an API key from an access token, and people and secret scanners what they have found."""
RANDOM_BYTES = 32
_SECRET = re.compile(rf"{PREFIX}([A-Za-z0-9_-]{{64}})")


def secret_of(api_key_id: UUID, random_bytes: bytes) -> str:
    """Returns the secret. random_bytes: RANDOM_BYTES of them."""
    return PREFIX + base64.urlsafe_b64encode(api_key_id.bytes + random_bytes).decode()


def id_in_secret(secret: str) -> UUID | None:
    """Returns the id of the key; None for a text that is no API key."""
    match = _SECRET.fullmatch(secret)
    return None if match is None else UUID(bytes=base64.urlsafe_b64decode(match[1])[:16])


def secret_hash(secret: str) -> bytes:
    """Returns what is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()
