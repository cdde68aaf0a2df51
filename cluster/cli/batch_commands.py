"""What `fotograma extract` and `download` do once they know what is wanted: a batch on the screen, and an exit code."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Protocol

import typer
from rich.console import Console

from cluster.cli.progress_display import Display, display_for, document, failures, json_text
from cluster.cli.server_batch import PATIENCE, BatchItem, ServerBatch, VideoOutcome

if TYPE_CHECKING:
    from cluster.client.async_client import AsyncClient

INTERRUPTED = 130
"""As shells have it: 128 + SIGINT."""


class _Run(Protocol):
    """Something that brings all that is wanted, telling a display."""

    async def __call__(self, display: Display) -> list[VideoOutcome]: ...

    def interrupted(self) -> list[str]: ...


def run_remote(wanted: list[BatchItem], spec: str | None, folder: Path, *, unpack: bool, as_json: bool) -> None:
    """Sends what is not on the server yet and fetches the results; exits with 1 when one failed."""
    from cluster.cli.stored_credentials import identity  # noqa: PLC0415
    from cluster.client.async_client import AsyncClient  # noqa: PLC0415

    who = identity(os.environ)
    client = AsyncClient(who.url, store=who.store, retry=PATIENCE)
    _run(_Remote(client, wanted, spec, folder, unpack), wanted, folder, as_json=as_json)


def run_local(wanted: list[BatchItem], spec: str | None, folder: Path, *, unpack: bool, as_json: bool) -> None:
    """Extracts on this machine; exits with 1 when one failed. Raises EngineMissing."""
    from cluster.cli.local_batch import check_engine  # noqa: PLC0415
    from db.values.error_catalogue import CatalogueError  # noqa: PLC0415
    from db.values.frame_spec import canonical, parse  # noqa: PLC0415

    check_engine()
    try:
        chosen = canonical(parse(spec or "{}"))
    except CatalogueError as error:
        raise typer.BadParameter(error.detail, param_hint="--spec") from error
    _run(_Local(wanted, chosen, unpack), wanted, folder, as_json=as_json)


def console() -> Console:
    # Not rich's own guess: FORCE_COLOR would put bars into a log file.
    return Console(highlight=False, force_terminal=sys.stdout.isatty())


class _Remote:
    def __init__(
        self, client: AsyncClient, wanted: list[BatchItem], spec: str | None, folder: Path, unpack: bool
    ) -> None:
        self._client, self._wanted, self._spec, self._folder, self._unpack = client, wanted, spec, folder, unpack
        self._batch: ServerBatch | None = None

    async def __call__(self, display: Display) -> list[VideoOutcome]:
        self._batch = ServerBatch(self._client, display, self._spec, self._unpack)
        async with self._client:
            return await self._batch.run(self._wanted)

    def interrupted(self) -> list[str]:
        ids = [extraction.id for extraction in self._batch.pending.values()] if self._batch else []
        if not ids:
            return ["Stopped."]
        return [
            f"Stopped. The server goes on with {len(ids)} of the videos. Fetch them later:",
            "  " + join(["fotograma", "download", *ids, "-o", str(self._folder)]),
        ]


class _Local:
    def __init__(self, wanted: list[BatchItem], spec: str, unpack: bool) -> None:
        self._wanted, self._spec, self._unpack = wanted, spec, unpack

    async def __call__(self, display: Display) -> list[VideoOutcome]:
        from cluster.cli.local_batch import LocalBatch  # noqa: PLC0415

        return await LocalBatch(display, self._spec, self._unpack).run(self._wanted)

    def interrupted(self) -> list[str]:
        return ["Stopped."]


def _run(run: _Run, wanted: Sequence[BatchItem], folder: Path, *, as_json: bool) -> None:
    for one in wanted:
        if one.target.renamed:
            typer.echo(f"{one.name}: is written as {one.target.archive.name}; the plain name is taken.", err=True)
    folder.mkdir(parents=True, exist_ok=True)
    display = display_for(console(), len(wanted), silent=as_json)

    async def bring() -> list[VideoOutcome]:
        return await run(display)

    try:
        with display:
            outcomes = asyncio.run(bring())
    except KeyboardInterrupt as error:
        for line in run.interrupted():
            typer.echo(line, err=True)
        raise typer.Exit(INTERRUPTED) from error
    if as_json:
        typer.echo(json_text({"items": [document(outcome) for outcome in outcomes]}))
    failed = failures(outcomes)
    for line in failed:
        typer.echo(line, err=True)
    if failed:
        raise typer.Exit(1)
