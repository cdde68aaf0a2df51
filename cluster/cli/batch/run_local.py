"""The command `fotograma extract --local`.

It starts the fork server of the decoding children early: the server does its imports while this process does the rest
of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from actors.sandbox.fork_server import ChildStartError, ForkServer
from cluster.installed_engine import check_engine
from db.values.error_catalogue import CatalogueError
from db.values.frame_spec import canonical, parse

if TYPE_CHECKING:
    from cluster.cli.batch.batch_options import BatchOptions
    from cluster.cli.batch.batch_types import BatchItem
    from cluster.cli.batch.progress_display import Display
    from cluster.cli.batch.video_outcome import VideoOutcome


def run_local(files: Sequence[Path], spec: str | None, options: BatchOptions) -> None:
    """Extracts the files on this machine. Exits as `run_batch`. Raises PackageMissing."""
    check_engine()
    try:
        canonical_spec = canonical(parse(spec or "{}"))
    except CatalogueError as error:
        raise typer.BadParameter(error.detail, param_hint="--spec") from error
    with asyncio.Runner() as runner, _started_server(runner) as children:
        # These imports run while the server does its own, which take longest.
        from cluster.cli.batch.run_batch import batch_items, run_batch  # noqa: PLC0415

        items = batch_items(files, options)
        run_batch(runner, _LocalRun(canonical_spec, options, children), items, options)


class _LocalRun:
    def __init__(self, spec: str, options: BatchOptions, children: ForkServer) -> None:
        self._spec, self._options, self._children = spec, options, children

    async def __call__(self, display: Display, items: Sequence[BatchItem]) -> list[VideoOutcome]:
        from cluster.cli.batch.local_batch import LocalBatch  # noqa: PLC0415

        options = self._options
        batch = LocalBatch(display, self._children, self._spec, options.images, options.timeout)
        return await batch.run(items)

    def interrupted(self) -> list[str]:
        return ["Stopped."]


@contextmanager
def _started_server(runner: asyncio.Runner) -> Iterator[ForkServer]:
    """Starts a fork server without waiting for it. Ends it on exit."""
    server = ForkServer()

    async def start() -> asyncio.Task[None]:
        task = asyncio.create_task(server.start())
        # The task's first step starts the process.
        await asyncio.sleep(0)
        return task

    starting = runner.run(start())
    try:
        yield server
    finally:
        runner.run(_end(server, starting))


async def _end(server: ForkServer, starting: asyncio.Task[None]) -> None:
    starting.cancel()
    with suppress(asyncio.CancelledError, ChildStartError):
        await starting
    await server.close()
