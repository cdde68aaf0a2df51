"""The command `fotograma extract --local`.

It starts the first decoding child early: the child does its imports while this process does the rest of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from actors.sandbox.child_process import ChildStartError, DecodingChild
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
    with asyncio.Runner() as runner, _started_child(runner) as child:
        # These imports run while the child starts, which takes longest.
        from cluster.cli.batch.run_batch import batch_items, run_batch  # noqa: PLC0415

        items = batch_items(files, options)
        run_batch(runner, _LocalRun(canonical_spec, options, child), items, options)


class _LocalRun:
    def __init__(self, spec: str, options: BatchOptions, child: asyncio.Task[DecodingChild]) -> None:
        self._spec, self._options, self._child = spec, options, child

    async def __call__(self, display: Display, items: Sequence[BatchItem]) -> list[VideoOutcome]:
        from cluster.cli.batch.local_batch import LocalBatch  # noqa: PLC0415

        options = self._options
        batch = LocalBatch(display, self._spec, options.images, [self._child], options.timeout)
        return await batch.run(items)

    def interrupted(self) -> list[str]:
        return ["Stopped."]


@contextmanager
def _started_child(runner: asyncio.Runner) -> Iterator[asyncio.Task[DecodingChild]]:
    """Starts a child without waiting for it. Ends it on exit."""

    async def start() -> asyncio.Task[DecodingChild]:
        task = asyncio.create_task(DecodingChild.start())
        # The task's first step starts the process.
        await asyncio.sleep(0)
        return task

    task = runner.run(start())
    try:
        yield task
    finally:
        runner.run(_end(task))


async def _end(task: asyncio.Task[DecodingChild]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, ChildStartError):
        child = await task
        if child.is_alive:
            await child.kill()
