"""The options of all commands for operators, and the service that they mean."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import UUID

import typer

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from cluster.operations.located_service import LocatedService

DataDirOption = Annotated[Path, typer.Option("--home", metavar="DIR", help="Data folder of `fotograma up`.")]
DEFAULT_DATA_DIR = Path("~/.fotograma")

T = TypeVar("T")


def extraction_id(text: str) -> UUID:
    """Raises typer.BadParameter."""
    try:
        return UUID(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no id of an extraction.") from error


def service_of(data_dir: Path) -> LocatedService:
    """The service of this environment, or the running `fotograma up` on the data directory. Raises NoService."""
    from cluster.operations.located_service import locate_service  # noqa: PLC0415

    return locate_service(data_dir, os.environ)


def run_on_database(data_dir: Path, work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    """Runs `work` on the database of the service. Raises OperationError."""
    import asyncio  # noqa: PLC0415

    from cluster.operations.database_access import on_database  # noqa: PLC0415

    return asyncio.run(on_database(service_of(data_dir).database_url, work))


def show(document: object, lines: list[str], *, as_json: bool) -> None:
    """Prints the result: as JSON for programs, or as lines for people."""
    from cluster.cli.output.terminal_output import json_text, printable  # noqa: PLC0415

    typer.echo(json_text(document) if as_json else "\n".join(printable(line) for line in lines))
