"""Pagination of lists: parses `?limit=` and `?cursor=`, and makes the next cursor.

A cursor is opaque text: the last id of a page.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, TypeVar
from uuid import UUID

from pydantic import BeforeValidator, Field
from starlette.requests import Request

from db.values.error_catalogue import CatalogueError
from serve_app.http.json_request_body import RequestModel, validate

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

T = TypeVar("T")


def _parse_whole_number(text: object) -> object:
    """Parses a whole number. Anything else is left to pydantic, which refuses it."""
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 10 else text


WHOLE_NUMBER = BeforeValidator(_parse_whole_number)
"""After the bounds of an `int`: before them, the JSON schema would not have `minimum` and `maximum`."""


class PageQuery(RequestModel):
    """The query of every list."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT), WHOLE_NUMBER] = DEFAULT_LIMIT
    cursor: str | None = Field(None, max_length=200)

    @property
    def before(self) -> UUID | None:
        """The last id of the previous page, in a list ordered by id. Raises CatalogueError `invalid_field`."""
        return None if self.cursor is None else decode_cursor(self.cursor)


Q = TypeVar("Q", bound=RequestModel)


def read_query(model: type[Q], request: Request) -> Q:
    """The request's query as `model`. Raises CatalogueError `invalid_field`."""
    return validate(model, _without_repeats(request.query_params.multi_items()))


def paginate(items: Sequence[T], limit: int, cursor_of: Callable[[T], str]) -> tuple[Sequence[T], str | None]:
    """A page and the cursor of the next page. items: `limit` + 1 items when there is a next page."""
    page = items[:limit]
    return page, cursor_of(page[-1]) if len(items) > limit else None


def encode_cursor(last: UUID) -> str:
    return base64.urlsafe_b64encode(last.bytes).decode().rstrip("=")


def decode_cursor(cursor: str) -> UUID:
    """Raises CatalogueError `invalid_field`."""
    try:
        last = UUID(bytes=base64.b64decode(cursor + "==", altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise invalid_cursor_error() from error
    if encode_cursor(last) != cursor:
        raise invalid_cursor_error()
    return last


def words_of(q: str | None) -> str | None:
    """The words of a search, or None. PostgreSQL takes no zero character; no text that it stores has one."""
    return q.replace("\0", "\ufffd") if q else None


def invalid_cursor_error() -> CatalogueError:
    return CatalogueError("invalid_field", "cursor: This is not a cursor of this list.")


def _without_repeats(items: list[tuple[str, str]]) -> Mapping[str, str]:
    """Raises CatalogueError `invalid_field` for a repeated parameter."""
    names = [name for name, _ in items]
    if len(set(names)) < len(names):
        raise CatalogueError("invalid_field", "A query parameter is repeated.")
    return dict(items)
