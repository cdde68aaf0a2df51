"""The loop of a worker: claims one task after another until it is stopped.

The worker claims nothing while its child, its database or its store does not work, so an outage uses up no attempts.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import structlog

from actors.sandbox.child_process import DecodingChild
from actors.sandbox.fork_server import ChildStartError, ForkServer
from actors.worker.scratch_folder import free_bytes
from actors.worker.task_runner import TaskOutcome, perform
from actors.worker.task_spans import task_span
from actors.worker.worker_deps import WorkerDeps
from db.cache import Cache
from db.connection import is_outage
from db.queue import task_queue
from db.queue.task_queue import Claim
from db.values.error_catalogue import CatalogueError

POLL_SECONDS = 1.0
"""How often an idle worker polls; a hint wakes it sooner."""
PAUSE_SECONDS = 5.0
"""How long a worker that can't work waits before it tries again."""
STORE_CHECK_SECONDS = 30.0
STUCK_SECONDS = 60.0
"""Time without a sign of life, in addition to three heartbeats, after which a worker counts as stalled."""

log = structlog.get_logger()


class WorkerStalledError(Exception):
    """The worker has given no sign of life for too long."""


class Worker:
    """Claims and runs one task at a time. name: written into its leases, unique for each process."""

    def __init__(
        self, deps: WorkerDeps, cache: Cache, *, name: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._deps, self._cache, self._name, self._clock = deps, cache, name, clock
        self._stop, self._release = asyncio.Event(), asyncio.Event()
        self._may_hold = False
        self._fork_server = ForkServer()
        self._spare: asyncio.Task[DecodingChild] | None = None
        self._beat_at = clock()
        self._store_checked_at = -STORE_CHECK_SECONDS

    async def run(self) -> None:
        """Claims and runs tasks until stopped."""
        try:
            while not self._stop.is_set():
                self._beat()
                try:
                    await self._turn()
                except (ChildStartError, CatalogueError) as error:
                    log.warning("The worker can't work and pauses.", event_name="worker.paused", error=str(error))
                    await self._wait(PAUSE_SECONDS)
                except Exception as error:
                    # An unexpected error is logged. The lease expires, and the worker goes on.
                    log.exception(
                        "The worker's turn failed.",
                        event_name="database.lost" if is_outage(error) else "worker.failed",
                    )
                    await self._wait(PAUSE_SECONDS)
        finally:
            await self._end_spare()
            await self._fork_server.close()

    def stop(self, drain_seconds: float = 0.0) -> None:
        """Stops claiming; `run` returns when the present task has ended, or was released after `drain_seconds`.

        A later call can only shorten that time.
        """
        self._stop.set()
        asyncio.get_running_loop().call_later(drain_seconds, self._release.set)

    def check(self) -> None:
        """Raises WorkerStalledError when there was no sign of life for too long."""
        silent = self._clock() - self._beat_at
        if silent > 3 * self._deps.heartbeat_seconds + STUCK_SECONDS:
            raise WorkerStalledError(f"no sign of life for {silent:.0f} s")

    async def _turn(self) -> None:
        await self._check_storage()
        child = await self._ready_child()
        if self._stop.is_set():
            return
        await self._cache.listen()
        claims = await self._claim()
        if not claims:
            await self._wait(POLL_SECONDS, hinted=True)
            return
        self._spare = asyncio.create_task(DecodingChild.start(self._fork_server))
        await self._perform(claims[0], child)

    async def _claim(self) -> list[Claim]:
        """Claims at most one task. When the answer to an earlier claim was lost, its tasks are released first: they
        would otherwise wait for their rescue.
        """
        if self._may_hold:
            await task_queue.release_all(self._deps.database, self._name)
        self._may_hold = True
        claims = await task_queue.claim(
            self._deps.database,
            worker=self._name,
            kind=self._deps.kind,
            lease_seconds=self._deps.lease_seconds,
        )
        self._may_hold = False
        return claims

    async def _perform(self, claim: Claim, child: DecodingChild) -> None:
        with task_span(claim, self._deps) as span:
            log.info("Claimed a task.", event_name="task.claimed")
            started, metrics = self._clock(), self._deps.metrics
            metrics.claimed(claim.waited_seconds)
            metrics.busy(True)
            try:
                outcome = await perform(claim, child, self._deps, self._release, self._beat)
            finally:
                metrics.busy(False)
            seconds = round(self._clock() - started, 3)
            metrics.ended(claim.kind, outcome, seconds)
            span.set({"fotograma.task.outcome": outcome.value})
            if outcome is TaskOutcome.LOST:
                span.fail(outcome.value)
            else:
                # Other tasks may be ready by its end: segments, the assemble task, a throttled task, or this one again.
                await self._cache.announce()
            log.info("A task ended.", event_name=f"task.{outcome}", seconds=seconds)

    async def _ready_child(self) -> DecodingChild:
        if self._spare is None or (self._spare.done() and not _is_usable(self._spare)):
            self._spare = asyncio.create_task(DecodingChild.start(self._fork_server))
        return await asyncio.shield(self._spare)

    async def _check_storage(self) -> None:
        """Raises CatalogueError when the disk is full or the store takes no objects."""
        free_bytes(self._deps.scratch)
        if self._clock() - self._store_checked_at >= STORE_CHECK_SECONDS:
            await self._deps.objects.check()
            self._store_checked_at = self._clock()

    async def _wait(self, seconds: float, *, hinted: bool = False) -> None:
        """Waits until there may be a ready task, or until stopped."""
        pause = seconds * (0.5 + self._deps.jitter() / 2)
        hint = self._cache.wait_for_ready(pause) if hinted else asyncio.sleep(pause)
        waits = [asyncio.ensure_future(hint), asyncio.create_task(self._stop.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    async def _end_spare(self) -> None:
        if self._spare is None:
            return
        self._spare.cancel()
        with contextlib.suppress(asyncio.CancelledError, ChildStartError):
            await (await self._spare).kill()

    def _beat(self) -> None:
        self._beat_at = self._clock()


def _is_usable(spare: asyncio.Task[DecodingChild]) -> bool:
    return not spare.cancelled() and spare.exception() is None and spare.result().is_alive
