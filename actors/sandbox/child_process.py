"""The worker's side of a decoding child: untrusted video meets FFmpeg only there.

One child per task, never reused. It gets no secrets in its environment, is bounded by the kernel's limits and by a
deadline, and is killed with SIGKILL. Whatever native code does in it, what comes back is an outcome.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from actors.extraction_types import (
    DetectingScenes,
    EngineMismatch,
    Extracted,
    Planned,
    Progress,
    ProgressEvent,
    SegmentExtracted,
    Split,
)
from actors.plan.decode_deadline import max_work_seconds
from actors.sandbox.child_protocol import (
    ANSWER_BYTES,
    CHECKSUM_MISMATCH_EXIT,
    HEADER,
    MEMORY_EXIT,
    STORAGE_EXIT,
    ChildMessage,
    Conversation,
    Job,
    ProtocolError,
    Ready,
    Refused,
    decode_answer,
    encode_job,
)
from db.values.error_catalogue import CatalogueError

PROGRAM = ("-m", "actors.sandbox.child_entry")
START_SECONDS = 60.0
STDERR_BYTES = 2000
ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",
    # Pictures go back to the system when they are let go; images, which are smaller, cost too many page faults then.
    "MALLOC_MMAP_THRESHOLD_": "1000000",
    # What images leave free at the end of the heap is for the next ones, not for the system to clear again.
    "MALLOC_TRIM_THRESHOLD_": "16777216",
    # numpy's linear algebra is not used; its threads would be started with the child.
    "OPENBLAS_NUM_THREADS": "1",
}
"""All that a child is given."""


@dataclass(frozen=True, slots=True)
class ChildCrashed:
    """The child died, hung or talked nonsense. detail: for the owner. log: the last it wrote, for the operator."""

    detail: str
    log: str = ""


class ServiceErrorReport(CatalogueError):
    """A service error that only the child reports, by its exit code. A child that was taken over may report any."""


class ChildStartError(Exception):
    """A child did not come up at all: something is wrong with this worker, not with a file."""


Ended = Extracted | Split | SegmentExtracted | EngineMismatch | Refused
Outcome = Ended | ChildCrashed


class DecodingChild:
    """A started child that waits for its job. The thread that starts it must outlive it (PR_SET_PDEATHSIG)."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._log = bytearray()
        self._drain = asyncio.create_task(self._read_log())

    @classmethod
    async def start(cls, program: Sequence[str] = PROGRAM) -> DecodingChild:
        """Starts a child ahead and waits until it has done its imports. Raises ChildStartError, which blames no
        file.
        """
        process = await asyncio.create_subprocess_exec(
            # -I: neither the working folder nor PYTHON* variables decide what it imports.
            *(sys.executable, "-I", *program, str(os.getpid())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,
        )
        child = cls(process)
        try:
            await child._expect_ready()
        except BaseException:
            await child.kill()
            raise
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def run(
        self, job: Job, on_progress: Callable[[ProgressEvent], Awaitable[None]]
    ) -> Extracted | Refused | ChildCrashed:
        """The same as `run_job`, for work that must not be split."""
        outcome = await self.run_job(job, on_progress)
        if isinstance(outcome, Split | SegmentExtracted | EngineMismatch):
            return ChildCrashed("The decoder gave another answer than its work has.")
        return outcome

    async def run_job(self, job: Job, on_progress: Callable[[ProgressEvent], Awaitable[None]]) -> Outcome:
        """Runs the job and calls `on_progress` with the plan and the progress. The child has ended afterwards.

        It is stopped when the work that it has told takes longer than that work may take.

        Raises ServiceErrorReport: `storage_full` when the results did not fit on the disk, `unavailable` when the
        child's inputs do not match their checksums.
        """
        began = asyncio.get_running_loop().time()
        latest = began + job.limits.seconds_max
        deadline = asyncio.timeout_at(min(latest, began + job.limits.probe_seconds))
        try:
            async with deadline:
                return await self._exchange_messages(job, on_progress, _Clock(deadline, latest))
        except TimeoutError:
            given = (deadline.when() or latest) - began
            return await self._crashed(f"The decoder was stopped at its deadline of {given:.0f} s.")
        except ProtocolError:
            return await self._crashed("The decoder broke off with an unreadable answer.")
        except (EOFError, ConnectionError):
            _raise_service_error(await self._process.wait())
            return await self._crashed(_how_it_died(self._process.returncode))
        finally:
            await self.kill()

    async def kill(self) -> None:
        """Ends the child and whatever it started; returns when it is gone."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        await self._drain

    async def _expect_ready(self) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                if isinstance(await self._receive(), Ready):
                    return
        except (TimeoutError, EOFError, ConnectionError, ProtocolError):
            pass
        await self.kill()
        raise ChildStartError(self._log.decode(errors="replace"))

    async def _exchange_messages(
        self, job: Job, on_progress: Callable[[ProgressEvent], Awaitable[None]], clock: _Clock
    ) -> Ended:
        assert self._process.stdin is not None
        self._process.stdin.write(encode_job(job))
        await self._process.stdin.drain()
        conversation = Conversation(job)
        while True:
            answer = await self._receive()
            conversation.check(answer)
            match answer:
                case DetectingScenes() | Planned() as work:
                    clock.allow(work)
                    with clock.stopped():
                        await on_progress(work)
                case Progress() as progress:
                    with clock.stopped():
                        await on_progress(progress)
                case Extracted() | Split() | SegmentExtracted() | EngineMismatch() | Refused() as end:
                    return end

    async def _receive(self) -> ChildMessage:
        assert self._process.stdout is not None
        (length,) = HEADER.unpack(await self._process.stdout.readexactly(HEADER.size))
        if length > ANSWER_BYTES:
            raise ProtocolError(f"an answer of {length} bytes")
        return decode_answer(await self._process.stdout.readexactly(length))

    async def _read_log(self) -> None:
        assert self._process.stderr is not None
        while chunk := await self._process.stderr.read(1 << 16):
            self._log += chunk
            del self._log[:-STDERR_BYTES]

    async def _crashed(self, detail: str) -> ChildCrashed:
        await self.kill()
        return ChildCrashed(detail, self._log.decode(errors="replace"))


@dataclass(slots=True)
class _Clock:
    """latest: when the child is stopped whatever it says, in the loop's time."""

    deadline: asyncio.Timeout
    latest: float

    def allow(self, work: DetectingScenes | Planned) -> None:
        until = asyncio.get_running_loop().time() + max_work_seconds(work)
        self.deadline.reschedule(min(self.latest, until))

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """The time in which the child is not listened to does not count: the database may be away that long."""
        loop, until = asyncio.get_running_loop(), self.deadline.when()
        began = loop.time()
        self.deadline.reschedule(None)
        yield
        passed = loop.time() - began
        self.latest += passed
        self.deadline.reschedule(self.latest if until is None else until + passed)


def _raise_service_error(code: int) -> None:
    """Raises ServiceErrorReport when the exit code reports that neither the file nor the decoder is to blame."""
    if code == STORAGE_EXIT:
        raise ServiceErrorReport("storage_full", "The worker's disk is full.")
    if code == CHECKSUM_MISMATCH_EXIT:
        raise ServiceErrorReport("unavailable", "What was stored for this extraction came back different.")


def _how_it_died(code: int | None) -> str:
    if code == MEMORY_EXIT:
        return "The decoder needed more memory than it may have."
    if code is not None and code < 0:
        return f"The decoder crashed ({signal.Signals(-code).name})."
    return f"The decoder ended by itself (exit code {code})."
