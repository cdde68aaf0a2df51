"""Extracts many videos on this machine without a server, each in its own decoding child.

It is the child of the service (`actors.sandbox.child_process`): a local video is untrusted too, a file that crashes
native code fails alone, and the memory is freed after each video. This module imports neither Ray nor FFmpeg.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from actors.extraction_types import DetectingScenes, EngineOptions, Extracted, Planned, Progress, ProgressEvent
from actors.plan.decode_deadline import max_probe_seconds
from actors.sandbox.child_process import ChildCrashed, DecodingChild
from actors.sandbox.child_protocol import Job, Limits, Refused
from actors.sandbox.fork_server import ChildStartError, ForkServer
from cluster.cli.batch.batch_options import deadline_after, timeout_failure
from cluster.cli.batch.batch_types import BatchItem, BatchObserver, Stage
from cluster.cli.batch.video_outcome import VideoOutcome
from cluster.cli.failures import failure_of
from cluster.cli.shared_options import Unpacking
from cluster.client.api_types import Failure, Result, ResultWarning
from cluster.client.errors import FotogramaError
from cluster.unpack_archive import Run, image_prefix, unpack
from db.values.error_catalogue import CATALOGUE, CatalogueError

ADDRESS_SPACE_BYTES = 4 << 30
SECONDS_MAX = 24 * 3600.0
DISK_RESERVE_BYTES = 64 << 20
SEQUENTIAL_TRIES = (False, True)
"""Whether each try reads sequentially with one thread. The second and last try follows a crash of the decoder."""


@dataclass(slots=True)
class LocalBatch:
    """spec: canonical JSON text. children: forks the decoding children. cores: the most videos that are extracted at a
    time. With fewer videos, each gets several threads. timeout: seconds for all videos."""

    observer: BatchObserver
    children: ForkServer
    spec: str
    unpack: Unpacking | None = None
    timeout: float | None = None
    cores: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))

    async def run(self, items: Sequence[BatchItem], first_index: int = 0) -> list[VideoOutcome]:
        """Extracts all videos. A failure stops no other video. Returns outcomes in the order of the items."""
        max_concurrent = max(1, min(self.cores, len(items)))
        threads, slots = max(1, self.cores // max_concurrent), asyncio.Semaphore(max_concurrent)
        deadline = deadline_after(self.timeout)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._run_item(slots, threads, index, item, deadline))
                for index, item in enumerate(items, first_index)
            ]
        return [task.result() for task in tasks]

    async def _run_item(
        self, slots: asyncio.Semaphore, threads: int, index: int, item: BatchItem, deadline: float | None
    ) -> VideoOutcome:
        on_stage = partial(self.observer.stage, index, item.name)
        on_stage(Stage.WAITING)
        limit = asyncio.timeout_at(deadline)
        try:
            async with limit, slots:
                outcome = await self._extract(item, threads, on_stage)
        except (FotogramaError, OSError) as error:
            failure = timeout_failure(self.timeout) if limit.expired() else failure_of(error)
            outcome = VideoOutcome(item.name, failure=failure, is_local=True)
        except CatalogueError as error:
            outcome = VideoOutcome(item.name, failure=_failure(error.code, error.detail), is_local=True)
        except ChildStartError as error:
            outcome = VideoOutcome(item.name, failure=_engine_failure(error), is_local=True)
        self.observer.end(index, outcome)
        return outcome

    async def _extract(self, item: BatchItem, threads: int, on_stage: partial[None]) -> VideoOutcome:
        assert item.source is not None
        target = item.target
        size, started_at = item.source.stat().st_size, datetime.now(UTC)
        with _scratch(target.archive.parent) as folder:
            on_stage(Stage.RUNNING)
            for is_sequential in SEQUENTIAL_TRIES:
                out = _empty_folder(folder / "out")
                job = _job(item.source, size, self.spec, out, threads, is_sequential=is_sequential)
                child = await DecodingChild.start(self.children)
                end = await child.run(job, _ProgressForwarder(on_stage))
                if not isinstance(end, ChildCrashed):
                    break
            match end:
                case Extracted():
                    os.replace(out / "frames.zip", target.archive)
                case Refused(code, detail):
                    return VideoOutcome(item.name, failure=_failure(code, detail), is_local=True)
                case ChildCrashed(detail):
                    return VideoOutcome(item.name, failure=_failure("gave_up", detail), is_local=True)
        if self.unpack:
            on_stage(Stage.UNPACKING)
            prefix = image_prefix(target.folder.name) if self.unpack.prefix else ""
            run = Run(item.source.name, prefix, started_at=started_at, finished_at=datetime.now(UTC))
            await asyncio.to_thread(unpack, target.archive, target.folder, run)
        warnings = tuple(ResultWarning(warning.code, warning.detail) for warning in end.warnings)
        result = Result(end.frames, end.bytes, end.sha256, warnings)
        return VideoOutcome(
            item.name, archive=target.archive, folder=target.folder if self.unpack else None, result=result
        )


async def probe_and_plan(children: ForkServer, source: Path, size: int, spec: str) -> Planned | DetectingScenes:
    """Returns what the probe found and the number of images. Without the number if scenes must be detected first.

    Nothing is decoded. Raises VideoRefused, ChildStartError, OSError.
    """

    async def stop(event: ProgressEvent) -> None:
        if isinstance(event, Planned | DetectingScenes):
            raise _PlanReceived(event)

    with _scratch(Path(tempfile.gettempdir())) as folder:
        job = _job(source, size, spec, _empty_folder(folder / "out"), threads=1, is_sequential=False)
        try:
            end = await (await DecodingChild.start(children)).run(job, stop)
        except _PlanReceived as received:
            return received.event
    raise VideoRefused(
        _failure(end.code, end.detail) if isinstance(end, Refused) else _failure("gave_up", "It crashed.")
    )


class _PlanReceived(Exception):
    """Ends the child as soon as its plan has arrived."""

    def __init__(self, event: Planned | DetectingScenes) -> None:
        super().__init__()
        self.event = event


class VideoRefused(Exception):
    """The engine can't extract from the video."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


@dataclass(slots=True)
class _ProgressForwarder:
    """Forwards the child's progress to the observer."""

    on_stage: partial[None]
    total: int | None = None

    async def __call__(self, event: ProgressEvent) -> None:
        done = 0
        match event:
            case Planned(frames_total=total):
                self.total = total
            case Progress(frames_done=frames):
                done = frames
            case _:
                pass
        self.on_stage(Stage.RUNNING, done, self.total)


def _job(source: Path, size: int, spec: str, out: Path, threads: int, *, is_sequential: bool) -> Job:
    return Job(
        source=source.absolute(),
        spec=spec,
        out=out.absolute(),
        options=EngineOptions(threads=1 if is_sequential else threads, sequential=is_sequential),
        limits=Limits(
            address_space_bytes=ADDRESS_SPACE_BYTES,
            cpu_seconds=int(SECONDS_MAX) * (threads + 1),
            file_bytes=max(1, shutil.disk_usage(out).free - DISK_RESERVE_BYTES),
            probe_seconds=max_probe_seconds(size),
            seconds_max=SECONDS_MAX,
        ),
    )


@contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    """Yields a folder on the file system of the results, so that a finished archive is only renamed."""
    folder = Path(tempfile.mkdtemp(prefix=".fotograma-", dir=beside))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _empty_folder(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _engine_failure(error: ChildStartError) -> Failure:
    last = str(error).strip().rpartition("\n")[2]
    remedy = 'Install it again: pip install --force-reinstall "fotograma[engine]"'
    return Failure("engine_broken", f"The decoder can't be started: {last}", "service", remedy)


def _failure(code: str, detail: str) -> Failure:
    entry = CATALOGUE[code]
    return Failure(code, detail, entry.fault.value, entry.en.remedy)
