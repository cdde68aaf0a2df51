"""The worker's side of a decoding child. Only the child runs FFmpeg on untrusted video.

Each task has a child of its own. The child gets no secrets in its environment, is bounded by the kernel's limits and by
a deadline, and is killed with SIGKILL. Whatever native code does in it, the worker gets an outcome.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
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
    CHECKSUM_MISMATCH_EXIT,
    HEADER,
    MAX_MESSAGE_BYTES,
    MEMORY_EXIT,
    STORAGE_EXIT,
    ChildMessage,
    Job,
    ProtocolChecker,
    ProtocolError,
    Ready,
    Refused,
    decode_message,
    encode_job,
)
from actors.sandbox.fork_server import MAX_LOG_BYTES, START_SECONDS, ChildStartError, ForkedProcess, ForkServer
from db.values.error_catalogue import CatalogueError

EXIT_SECONDS = 10.0
"""How long a child that has closed its pipe may take to end."""


@dataclass(frozen=True, slots=True)
class ChildCrashed:
    """The child died, hung or broke the protocol. detail: for the owner. log: its last output, for the operator."""

    detail: str
    log: str = ""


class ServiceErrorReport(CatalogueError):
    """A service error that only the child reports, by its exit code. A child that was taken over may report any."""


ChildResult = Extracted | Split | SegmentExtracted | EngineMismatch | Refused
ChildOutcome = ChildResult | ChildCrashed


class DecodingChild:
    """A started child that waits for its job. The thread that starts it must live longer (PR_SET_PDEATHSIG)."""

    def __init__(self, process: ForkedProcess) -> None:
        self._process = process
        self._log = bytearray()
        self._log_reader = asyncio.create_task(self._read_log())

    @classmethod
    async def start(cls, server: ForkServer) -> DecodingChild:
        """Starts a child and waits until it is ready for its job. Raises ChildStartError."""
        child = cls(await server.fork())
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
        return self._process.exit_code is None

    async def run(
        self, job: Job, on_progress: Callable[[ProgressEvent], Awaitable[None]]
    ) -> Extracted | Refused | ChildCrashed:
        """The same as `run_job`, for work that must not be split."""
        outcome = await self.run_job(job, on_progress)
        if isinstance(outcome, Split | SegmentExtracted | EngineMismatch):
            return ChildCrashed("The decoder sent a result of another kind of work.")
        return outcome

    async def run_job(self, job: Job, on_progress: Callable[[ProgressEvent], Awaitable[None]]) -> ChildOutcome:
        """Runs the job and calls `on_progress` with the plan and the progress. The child has ended afterwards.

        The child is stopped when its planned work takes longer than such work may take.

        Raises ServiceErrorReport: `storage_full` when the results did not fit on the disk, `unavailable` when the
        child's inputs do not match their checksums.
        """
        started_at = asyncio.get_running_loop().time()
        max_end = started_at + job.limits.seconds_max
        timeout = asyncio.timeout_at(min(max_end, started_at + job.limits.probe_seconds))
        try:
            async with timeout:
                return await self._exchange_messages(job, on_progress, _Deadline(timeout, max_end))
        except TimeoutError:
            seconds = (timeout.when() or max_end) - started_at
            return await self._crashed(f"The decoder was stopped at its deadline of {seconds:.0f} s.")
        except ProtocolError:
            return await self._crashed("The decoder sent an unreadable message.")
        except (EOFError, ConnectionError):
            code = await self._exit_code()
            _raise_service_error(code)
            return await self._crashed(_crash_detail(code))
        finally:
            await self.kill()

    async def kill(self) -> None:
        """Kills the child and the processes that it has started. Returns when the child has ended."""
        await self._process.kill()
        await self._log_reader

    async def _exit_code(self) -> int:
        """The exit code of a child that has closed its pipe. One that does not end then is killed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(EXIT_SECONDS):
                return await self._process.wait()
        await self.kill()
        return await self._process.wait()

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
        self, job: Job, on_progress: Callable[[ProgressEvent], Awaitable[None]], deadline: _Deadline
    ) -> ChildResult:
        """Sends the job and receives messages until the child's result."""
        self._process.writer.write(encode_job(job))
        await self._process.writer.drain()
        checker = ProtocolChecker(job)
        while True:
            message = await self._receive()
            checker.check(message)
            match message:
                case DetectingScenes() | Planned() as work:
                    deadline.extend_for(work)
                    with deadline.paused():
                        await on_progress(work)
                case Progress() as progress:
                    with deadline.paused():
                        await on_progress(progress)
                case Extracted() | Split() | SegmentExtracted() | EngineMismatch() | Refused() as result:
                    return result

    async def _receive(self) -> ChildMessage:
        (length,) = HEADER.unpack(await self._process.reader.readexactly(HEADER.size))
        if length > MAX_MESSAGE_BYTES:
            raise ProtocolError(f"a message of {length} bytes")
        return decode_message(await self._process.reader.readexactly(length))

    async def _read_log(self) -> None:
        while chunk := await self._process.log.read(1 << 16):
            self._log += chunk
            del self._log[:-MAX_LOG_BYTES]

    async def _crashed(self, detail: str) -> ChildCrashed:
        await self.kill()
        return ChildCrashed(detail, self._log.decode(errors="replace"))


@dataclass(slots=True)
class _Deadline:
    """max_end: when the child is stopped in any case, in the loop's time."""

    timeout: asyncio.Timeout
    max_end: float

    def extend_for(self, work: DetectingScenes | Planned) -> None:
        """Gives the child the time that this work may take."""
        end = asyncio.get_running_loop().time() + max_work_seconds(work)
        self.timeout.reschedule(min(self.max_end, end))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the time of the block out of account: the worker may wait there for the database."""
        loop, end = asyncio.get_running_loop(), self.timeout.when()
        paused_at = loop.time()
        self.timeout.reschedule(None)
        yield
        seconds = loop.time() - paused_at
        self.max_end += seconds
        self.timeout.reschedule(self.max_end if end is None else end + seconds)


def _raise_service_error(code: int) -> None:
    """Raises ServiceErrorReport when the exit code reports that neither the file nor the decoder is to blame."""
    if code == STORAGE_EXIT:
        raise ServiceErrorReport("storage_full", "The worker's disk is full.")
    if code == CHECKSUM_MISMATCH_EXIT:
        raise ServiceErrorReport("unavailable", "A stored file of this extraction does not match its checksum.")


def _crash_detail(code: int | None) -> str:
    if code == MEMORY_EXIT:
        return "The decoder needed more memory than it may have."
    if code is not None and code < 0:
        return f"The decoder crashed ({signal.Signals(-code).name})."
    return f"The decoder ended by itself (exit code {code})."
