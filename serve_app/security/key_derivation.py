"""Derives one secret for each purpose from the deployment's secret key."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

MIN_SECRET_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The id stands in each token's header and pins the algorithm."""

    id: str
    secret: bytes
    algorithm: str = "HS256"


def derive_key(secret_key: str, purpose: str) -> bytes:
    """32 bytes for one purpose. Raises ValueError when the secret key is too short."""
    if len(secret_key) < MIN_SECRET_CHARACTERS:
        raise ValueError(f"the secret key must have at least {MIN_SECRET_CHARACTERS} characters")
    return hmac.digest(secret_key.encode(), f"fotograma {purpose} v1".encode(), "sha256")


def signing_key(secret_key: str) -> SigningKey:
    """The key that signs tokens. Its id reveals nothing about it."""
    secret = derive_key(secret_key, "tokens")
    return SigningKey(hashlib.sha256(b"fotograma key id" + secret).hexdigest()[:16], secret)
