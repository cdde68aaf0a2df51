"""Runs `fotograma watch`: extracts what comes into a folder, and prints what became of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import typer

from actors.sandbox.fork_server import ForkServer
from cluster.cli.batch.batch_options import BatchOptions
from cluster.cli.batch.batch_output import failures, json_object, summary, summary_line
from cluster.cli.batch.batch_types import BatchItem, BatchObserver
from cluster.cli.batch.input_files import input_files
from cluster.cli.batch.output_paths import OutputPath, output_paths
from cluster.cli.batch.progress_display import LineDisplay
from cluster.cli.batch.run_batch import kept_outcome, make_folder
from cluster.cli.batch.video_outcome import VideoOutcome, exit_code
from cluster.cli.batch.watch_folder import Extract, FolderWatch
from cluster.cli.output.exit_codes import CommandExitCode
from cluster.cli.output.terminal_output import console


class _Batch(Protocol):
    async def run(self, items: Sequence[BatchItem], first_index: int = 0) -> list[VideoOutcome]: ...


class OutcomePrinter(LineDisplay):
    """Prints each outcome when it is there: as lines for people with the reason of a failure, or as a JSON object."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__(console())
        self._as_json = as_json

    def stage(self, *arguments: object, **_: object) -> None:
        """Shows nothing: a folder is watched for days."""

    def end(self, index: int, outcome: VideoOutcome) -> None:
        if self._as_json:
            typer.echo(json.dumps(json_object(outcome)))
            return
        super().end(index, outcome)
        for line in failures([outcome])[1:]:
            typer.echo(line, err=True)


class IncomingVideos:
    """Extracts the videos that come, each with an output path of its own."""

    def __init__(self, batch: _Batch, observer: BatchObserver, options: BatchOptions) -> None:
        self._batch, self._observer, self._options = batch, observer, options
        self._targets: dict[Path, OutputPath] = {}
        self._taken: set[str] = set()
        self._count = 0

    async def extract(self, paths: list[Path]) -> list[VideoOutcome]:
        """Returns the outcomes in the order of the files."""
        items = [BatchItem(str(path), self._target(path), source=path) for path in paths]
        kept = [kept_outcome(item, self._options) for item in items]
        for outcome in kept:
            if outcome is not None:
                self._observer.end(self._count, outcome)
        others = [item for item, outcome in zip(items, kept, strict=True) if outcome is None]
        first_index, self._count = self._count, self._count + len(others)
        extracted = iter(await self._batch.run(others, first_index))
        return [next(extracted) if outcome is None else outcome for outcome in kept]

    def _target(self, path: Path) -> OutputPath:
        if path not in self._targets:
            (self._targets[path],) = output_paths(self._options.folder, [path.name], self._taken)
        return self._targets[path]


def run_watch(
    folder: Path, spec: str | None, options: BatchOptions, *, recursive: bool, local: bool, idle_seconds: float | None
) -> None:
    """Watches the folder until Ctrl-C, or until nothing has come for `idle_seconds`. Exits as `run_batch`.

    spec: JSON text, canonical when `local`.
    """
    if not folder.is_dir():
        raise typer.BadParameter(f"{folder} is not a folder. Give one that is there.", param_hint="DIR")
    make_folder(options.folder)
    outcomes: dict[Path, VideoOutcome] = {}

    def scan() -> list[Path]:
        return input_files([folder], recursive=recursive, on_unreadable=lambda _: None)

    async def watch() -> None:
        async with _incoming(spec, options, local=local) as extract:
            await FolderWatch(scan, extract, idle_seconds, outcomes=outcomes).run()

    if not options.as_json:
        typer.echo(f"Watching {folder}; results go to {options.folder}. Ctrl-C stops.", err=True)
    started_at = time.monotonic()
    is_interrupted = False
    try:
        asyncio.run(watch())
    except KeyboardInterrupt:
        is_interrupted = True
    if not options.as_json:
        typer.echo(summary_line(summary([*outcomes.values()], time.monotonic() - started_at)))
    code = CommandExitCode.INTERRUPTED if is_interrupted else exit_code([*outcomes.values()])
    if code is not None:
        raise typer.Exit(code)


@asynccontextmanager
async def _incoming(spec: str | None, options: BatchOptions, *, local: bool) -> AsyncIterator[Extract]:
    observer = OutcomePrinter(as_json=options.as_json)
    if local:
        from cluster.cli.batch.local_batch import LocalBatch  # noqa: PLC0415

        async with ForkServer() as children:
            batch, turn = LocalBatch(observer, children, spec or "{}", options.images), asyncio.Lock()
            incoming = IncomingVideos(batch, observer, options)

            async def extract(paths: list[Path]) -> list[VideoOutcome]:
                # One batch at a time: each uses all cores.
                async with turn:
                    return await incoming.extract(paths)

            yield extract
    else:
        from cluster.cli.batch.batch_client import open_batch_client  # noqa: PLC0415
        from cluster.cli.batch.server_batch import ServerBatch  # noqa: PLC0415

        async with open_batch_client() as client:
            yield IncomingVideos(ServerBatch(client, observer, spec, options.images), observer, options).extract
