"""Many videos at once without a server: each is extracted on this machine, in a decoding child of its own.

The child is the service's own (`actors.sandbox.child_process`): videos on a disk came from somewhere too, a file
that makes native code crash fails alone, and memory is given back after each. No Ray and no FFmpeg is imported here.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from actors.extraction_types import Extracted, Options, Planned, Progress
from actors.plan.decode_deadline import probe_seconds
from actors.sandbox.child_process import ChildCrashed, ChildStartError, DecodingChild, ProgressEvent
from actors.sandbox.child_protocol import Job, Limits, Refused
from cluster.cli.server_batch import BatchItem, BatchObserver, Stage, VideoOutcome, failure_of
from cluster.client.api_types import Failure, Result, ResultWarning
from cluster.client.errors import FotogramaError
from cluster.unpack_archive import unpack
from db.values.error_catalogue import CATALOGUE, CatalogueError

ADDRESS_SPACE_BYTES = 4 << 30
SECONDS_MAX = 24 * 3600.0
DISK_RESERVE_BYTES = 64 << 20
CAREFUL = (False, True)
"""The second and last try of a file that makes the decoder crash is in sequence and by one thread."""


class EngineMissing(FotogramaError):
    """The libraries that decode are not installed."""


def check_engine() -> None:
    """Raises EngineMissing."""
    missing = [name for name in ("av", "decord", "numpy", "simplejpeg") if find_spec(name) is None]
    if missing:
        raise EngineMissing(f'The engine is not installed ({missing[0]}). Run: pip install "fotograma[engine]"')


@dataclass(slots=True)
class LocalBatch:
    """spec: canonical JSON text. cores: videos worked on at once; threads of each are what is left over."""

    watcher: BatchObserver
    spec: str
    unpack: bool = False
    cores: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))

    async def run(self, wanted: Sequence[BatchItem]) -> list[VideoOutcome]:
        """Extracts every video as far as it gets; the outcomes are in the order of `wanted`."""
        at_once = max(1, min(self.cores, len(wanted)))
        threads, turns = max(1, self.cores // at_once), asyncio.Semaphore(at_once)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._one(turns, threads, index, one)) for index, one in enumerate(wanted)]
        return [task.result() for task in tasks]

    async def _one(self, turns: asyncio.Semaphore, threads: int, index: int, wanted: BatchItem) -> VideoOutcome:
        tell = partial(self.watcher.stage, index, wanted.name)
        tell(Stage.WAITING)
        async with turns:
            try:
                outcome = await self._extract(wanted, threads, tell)
            except (FotogramaError, OSError) as error:
                outcome = VideoOutcome(wanted.name, failure=failure_of(error))
            except CatalogueError as error:
                outcome = VideoOutcome(wanted.name, failure=_failure(error.code, error.detail))
            except ChildStartError as error:
                outcome = VideoOutcome(wanted.name, failure=_broken(error))
        self.watcher.end(index, outcome)
        return outcome

    async def _extract(self, wanted: BatchItem, threads: int, tell: partial[None]) -> VideoOutcome:
        assert wanted.source is not None
        target = wanted.target
        size = wanted.source.stat().st_size
        with _scratch(target.archive.parent) as folder:
            tell(Stage.RUNNING)
            for careful in CAREFUL:
                job = _job(wanted.source, size, self.spec, _emptied(folder / "out"), threads, careful=careful)
                child = await DecodingChild.start()
                end = await child.run(job, _Teller(tell))
                if not isinstance(end, ChildCrashed):
                    break
            match end:
                case Extracted():
                    os.replace(folder / "out" / "frames.zip", target.archive)
                case Refused(code, detail):
                    return VideoOutcome(wanted.name, failure=_failure(code, detail))
                case ChildCrashed(detail):
                    return VideoOutcome(wanted.name, failure=_failure("gave_up", detail))
        if self.unpack:
            tell(Stage.UNPACKING)
            await asyncio.to_thread(unpack, target.archive, target.folder)
        given = tuple(ResultWarning(warning.code, warning.detail) for warning in end.warnings)
        result = Result(end.frames, end.bytes, end.sha256, given)
        return VideoOutcome(
            wanted.name, archive=target.archive, folder=target.folder if self.unpack else None, result=result
        )


@dataclass(slots=True)
class _Teller:
    """Passes the child's news on to the watcher."""

    tell: partial[None]
    total: int | None = None

    async def __call__(self, news: ProgressEvent) -> None:
        done = 0
        match news:
            case Planned(frames_total=total):
                self.total = total
            case Progress(frames_done=frames):
                done = frames
            case _:
                pass
        self.tell(Stage.RUNNING, done, self.total)


def _job(source: Path, size: int, spec: str, out: Path, threads: int, *, careful: bool) -> Job:
    return Job(
        source=source.absolute(),
        spec=spec,
        out=out.absolute(),
        options=Options(threads=1 if careful else threads, careful=careful),
        limits=Limits(
            address_space_bytes=ADDRESS_SPACE_BYTES,
            cpu_seconds=int(SECONDS_MAX) * (threads + 1),
            file_bytes=max(1, shutil.disk_usage(out).free - DISK_RESERVE_BYTES),
            probe_seconds=probe_seconds(size),
            seconds_max=SECONDS_MAX,
        ),
    )


@contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    """A folder on the file system of the results, so that a finished archive need only be renamed."""
    folder = Path(tempfile.mkdtemp(prefix=".fotograma-", dir=beside))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _broken(error: ChildStartError) -> Failure:
    last = str(error).strip().rpartition("\n")[2]
    remedy = 'Install it again: pip install --force-reinstall "fotograma[engine]"'
    return Failure("engine_broken", f"The decoder can't be started: {last}", "service", remedy)


def _failure(code: str, detail: str) -> Failure:
    entry = CATALOGUE[code]
    return Failure(code, detail, entry.fault.value, entry.en.remedy)
