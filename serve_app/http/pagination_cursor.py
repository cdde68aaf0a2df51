"""Where a list goes on: the last id of the page before, as text that clients hand back unread."""

from __future__ import annotations

import base64
import binascii
from uuid import UUID

from db.values.error_catalogue import CatalogueError


def encode(last: UUID) -> str:
    return base64.urlsafe_b64encode(last.bytes).decode().rstrip("=")


def decode(cursor: str) -> UUID:
    """Raises CatalogueError `invalid_field`."""
    try:
        last = UUID(bytes=base64.b64decode(cursor + "==", altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise CatalogueError("invalid_field", "cursor: This is not a cursor of this list.") from error
    if encode(last) != cursor:
        raise CatalogueError("invalid_field", "cursor: This is not a cursor of this list.")
    return last
