"""JSON web tokens: issued for one audience, verified with the one algorithm of their key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import jwt
from uuid_utils.compat import uuid7

from db.values.error_catalogue import CatalogueError
from serve_app.security.key_derivation import SigningKey

ISSUER = "fotograma"
_REQUIRED_CLAIMS = ["exp", "iat", "iss", "aud", "sub", "jti", "sid"]


class Audience(StrEnum):
    """What a token may be used for. A token of one audience is refused for another."""

    ACCESS = "fotograma:access"
    REFRESH = "fotograma:refresh"
    PAGE = "fotograma:page"


@dataclass(frozen=True, slots=True)
class Claims:
    """Whose token it is. generation: of a refresh token in its family; 0 in other audiences. expires_at: when a
    verified token ends.
    """

    user_id: UUID
    session_id: UUID
    generation: int
    expires_at: datetime | None = field(default=None, compare=False)


class TokenSigner:
    """keys: the first signs and all verify, so that a key can be replaced."""

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        self._current = keys[0]
        self._keys = {key.id: key for key in keys}

    def issue(self, audience: Audience, claims: Claims, lifetime_seconds: float) -> str:
        """A token that is valid from now on for `lifetime_seconds`."""
        now = datetime.now(UTC)
        payload = {
            "iss": ISSUER,
            "aud": audience.value,
            "sub": str(claims.user_id),
            "sid": str(claims.session_id),
            "gen": claims.generation,
            "jti": str(uuid7()),
            "iat": now,
            "exp": now + timedelta(seconds=lifetime_seconds),
        }
        return jwt.encode(payload, self._current.secret, self._current.algorithm, headers={"kid": self._current.id})

    def verify(self, audience: Audience, token: str) -> Claims:
        """The token's claims. Raises CatalogueError `token_expired`, or `unauthenticated` for any other token."""
        try:
            key = self._keys[jwt.get_unverified_header(token).get("kid", "")]
            payload = jwt.decode(
                token,
                key.secret,
                algorithms=[key.algorithm],
                audience=audience.value,
                issuer=ISSUER,
                options={"require": _REQUIRED_CLAIMS},
            )
            return _claims(payload)
        except jwt.ExpiredSignatureError as error:
            raise CatalogueError("token_expired") from error
        except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
            raise CatalogueError("unauthenticated") from error


def _claims(payload: dict[str, Any]) -> Claims:
    expires_at = datetime.fromtimestamp(payload["exp"], UTC)
    return Claims(UUID(payload["sub"]), UUID(payload["sid"]), int(payload.get("gen", 0)), expires_at)
