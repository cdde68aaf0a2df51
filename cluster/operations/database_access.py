"""Runs an operator's work on the database of the service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from cluster.operations.operation_errors import ServerAway, WrongSchema

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

CONNECTION_NAME = "ops"
# SQLSTATEs: undefined table, undefined column, undefined object.
_OTHER_SCHEMA = frozenset({"42P01", "42703", "42704"})

T = TypeVar("T")


async def on_database(url: str, work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    """Returns the result of `work`. Raises ServerAway when the database does not answer, and WrongSchema."""
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    from db.connection import is_outage, open_database  # noqa: PLC0415

    database = open_database(url, name=CONNECTION_NAME, connections=2)
    try:
        return await work(database)
    except Exception as error:
        if is_outage(error):
            raise ServerAway("The database", _first_line(error)) from error
        if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _OTHER_SCHEMA:
            raise WrongSchema from error
        raise
    finally:
        await database.dispose()


def _first_line(error: Exception) -> str:
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0].rstrip(".")[:300] if lines else type(error).__name__
