"""Runs the batch of `fotograma extract` or `download`: progress on the screen, results, exit code."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Protocol

import typer

from cluster.cli.batch.batch_options import BatchOptions
from cluster.cli.batch.batch_output import failures, json_object, summary, summary_line
from cluster.cli.batch.batch_types import BatchItem
from cluster.cli.batch.output_paths import output_paths
from cluster.cli.batch.progress_display import Display, display_for
from cluster.cli.batch.video_outcome import VideoOutcome, exit_code
from cluster.cli.output.exit_codes import CommandExitCode
from cluster.cli.output.terminal_output import console, json_text, printable

if TYPE_CHECKING:
    from cluster.cli.batch.batch_client import BatchClient
    from cluster.cli.batch.server_batch import ServerBatch


class BatchRun(Protocol):
    """Runs all items of a batch and reports progress to a display."""

    async def __call__(self, display: Display, items: Sequence[BatchItem]) -> list[VideoOutcome]: ...

    def interrupted(self) -> list[str]: ...


def run_on_server(items: list[BatchItem], spec: str | None, options: BatchOptions) -> None:
    """Uploads the files that the server does not have, and downloads the results. Exits as `run_batch`."""
    from cluster.cli.batch.batch_client import open_batch_client  # noqa: PLC0415

    client = open_batch_client()
    with asyncio.Runner() as runner:
        run_batch(runner, _ServerRun(client, spec, options), items, options)


def batch_items(files: Sequence[Path], options: BatchOptions) -> list[BatchItem]:
    """Returns one item for each input file, with its output path in the folder."""
    targets, names = output_paths(options.folder, [file.name for file in files]), options.shown_names
    return [
        BatchItem(names.get(file, str(file)), target, source=file) for file, target in zip(files, targets, strict=True)
    ]


class _ServerRun:
    def __init__(self, client: BatchClient, spec: str | None, options: BatchOptions) -> None:
        self._client, self._spec, self._options = client, spec, options
        self._batch: ServerBatch | None = None

    async def __call__(self, display: Display, items: Sequence[BatchItem]) -> list[VideoOutcome]:
        from cluster.cli.batch.server_batch import ServerBatch  # noqa: PLC0415

        options = self._options
        self._batch = ServerBatch(self._client, display, self._spec, options.images, options.timeout)
        async with self._client:
            return await self._batch.run(items)

    def interrupted(self) -> list[str]:
        ids = [extraction.id for extraction in self._batch.pending()] if self._batch else []
        if not ids:
            return ["Stopped."]
        return [
            f"Stopped. The server goes on with {len(ids)} of the videos. Fetch them later:",
            "  " + join(["fotograma", "download", *ids, "-o", str(self._options.folder)]),
        ]


def run_batch(runner: asyncio.Runner, run: BatchRun, items: Sequence[BatchItem], options: BatchOptions) -> None:
    """Shows the progress of the batch and prints its results. Exits with a `CommandExitCode` when an item failed."""
    for item in items:
        if item.target.renamed:
            note = f"{item.name}: is written as {item.target.archive.name}; the plain name is taken."
            typer.echo(printable(note), err=True)
    make_folder(options.folder)
    display = display_for(console(), len(items), silent=options.as_json)
    kept = {index: outcome for index, item in enumerate(items) if (outcome := kept_outcome(item, options)) is not None}

    async def run_batch_items() -> list[VideoOutcome]:
        for index, outcome in kept.items():
            display.end(index, outcome)
        others = iter(await run(display, [item for index, item in enumerate(items) if index not in kept]))
        return [kept[index] if index in kept else next(others) for index in range(len(items))]

    started_at = time.monotonic()
    try:
        with display:
            outcomes = runner.run(run_batch_items())
    except KeyboardInterrupt as error:
        for line in run.interrupted():
            typer.echo(line, err=True)
        raise typer.Exit(CommandExitCode.INTERRUPTED) from error
    counts = summary(outcomes, time.monotonic() - started_at)
    if options.as_json:
        typer.echo(json_text({"items": [json_object(outcome) for outcome in outcomes], "summary": counts}))
    elif len(outcomes) > 1:
        typer.echo(summary_line(counts))
    failed = failures(outcomes)
    for line in failed:
        typer.echo(line, err=True)
    code = exit_code(outcomes)
    if code is not None:
        raise typer.Exit(code)


def make_folder(folder: Path) -> None:
    """Makes the folder of the results. Raises typer.BadParameter."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        detail = f"{folder} can't be a folder: {error.strerror}. Choose another one."
        raise typer.BadParameter(detail, param_hint="--output") from error


def kept_outcome(item: BatchItem, options: BatchOptions) -> VideoOutcome | None:
    """Returns the outcome of a video whose archive is there and is not to be replaced; else None."""
    archive = item.target.archive
    is_kept = options.no_clobber and os.path.lexists(archive)
    return VideoOutcome(item.name, item.video, item.extraction, archive, is_kept=True) if is_kept else None
