"""The worker's side of a fork server (`actors.sandbox.fork_server_entry`), which forks decoding children for it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import IO, Self

PROGRAM = ("-m", "actors.sandbox.fork_server_entry")
START_SECONDS = 60.0
KILL_SECONDS = 30.0
"""How long the server may take to kill a child and to report its end."""
POLL_SECONDS = 0.01
MAX_LOG_BYTES = 2000
MAX_NUMBER_BYTES = 20
CHILD_ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",
    # Freed pictures go back to the system. Encoded images are smaller and stay: mapping each would cost page faults.
    "MALLOC_MMAP_THRESHOLD_": "1000000",
    # Memory that images have freed at the end of the heap is kept for the next images.
    "MALLOC_TRIM_THRESHOLD_": "16777216",
    # numpy's linear algebra is not used; its threads would be started with the import.
    "OPENBLAS_NUM_THREADS": "1",
}
"""The whole environment of the server and of its children."""


class ChildStartError(Exception):
    """A child did not start. The cause is in this worker, not in a file."""


class ForkedProcess:
    """A child of the fork server. reader, writer: its standard output and input. log: its standard error.

    kill_server: kills the server, and the kernel kills this child with it.
    """

    def __init__(
        self,
        pid: int,
        control: socket.socket,
        conversation: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        log: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        *,
        kill_server: Callable[[], None],
    ) -> None:
        self.pid, self._kill_server = pid, kill_server
        self.reader, self.writer = conversation
        self.log, self._log_writer = log
        self._control = control
        self._end = asyncio.create_task(self._wait_for_end())

    @property
    def exit_code(self) -> int | None:
        """None while the process runs; the negative number of the signal that killed it."""
        return self._end.result() if self._end.done() and not self._end.cancelled() else None

    async def wait(self) -> int:
        """Waits until the process has ended by itself or was killed; returns its exit code."""
        return await asyncio.shield(self._end)

    async def kill(self) -> None:
        """Kills the process and those that it has started. Returns when it has ended."""
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
        try:
            async with asyncio.timeout(KILL_SECONDS):
                await self.wait()
        except TimeoutError:
            # A child that was taken over can stop its server, but not protect it.
            self._kill_server()
            await self.wait()
        self.writer.close()

    async def _wait_for_end(self) -> int:
        try:
            answer = await _receive(self._control)
        finally:
            self._control.close()
            self._log_writer.close()
        # Without an answer the server has died, and the kernel kills its children.
        return int(answer) if answer else -signal.SIGKILL


class ForkServer:
    """Forks children, which are ready in milliseconds. Its process starts with the first child, and starts again when
    it has died. The thread that asks for the first child must live longer than the children (PR_SET_PDEATHSIG).

    program: what follows the interpreter's own arguments.
    """

    def __init__(self, program: Sequence[str] = PROGRAM) -> None:
        self._program = program
        self._server: _ServerProcess | None = None
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Starts the process, if it does not run, and waits until it can fork. Raises ChildStartError."""
        async with self._starting:
            if self._server is None or not self._server.is_alive:
                await self.close()
                self._server = _ServerProcess(self._program)
                await self._server.wait_until_ready()

    async def fork(self) -> ForkedProcess:
        """Raises ChildStartError."""
        await self.start()
        assert self._server is not None
        return await self._server.fork()

    async def close(self) -> None:
        """Kills the server, and with it all its children."""
        if self._server is not None:
            await self._server.kill()


class _ServerProcess:
    """A started process. It is not tied to an event loop."""

    def __init__(self, program: Sequence[str]) -> None:
        self._log: IO[bytes] = os.fdopen(os.memfd_create("fork-server-log"), "w+b", buffering=0)
        self._requests, requests = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._requests.setblocking(False)
        with requests:
            self._process = subprocess.Popen(  # noqa: S603
                # -I: neither the working folder nor PYTHON* variables change what is imported.
                [sys.executable, "-I", *program, str(os.getpid()), str(requests.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                cwd="/",
                env=CHILD_ENVIRONMENT,
                start_new_session=True,
                pass_fds=[requests.fileno()],
            )

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    async def wait_until_ready(self) -> None:
        """Waits until the imports are done. Raises ChildStartError."""
        if not await self._first_answer(self._requests):
            log = self._log_end()
            await self.kill()
            raise ChildStartError(log)

    async def fork(self) -> ForkedProcess:
        """Raises ChildStartError."""
        with ExitStack() as ours, ExitStack() as theirs:
            ends = []
            for kind in (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
                our_end, their_end = socket.socketpair(socket.AF_UNIX, kind)
                our_end.setblocking(False)
                ends.append((ours.enter_context(our_end), theirs.enter_context(their_end)))
            conversation, log, control = (our_end for our_end, _ in ends)
            try:
                socket.send_fds(self._requests, [b"."], [their_end.fileno() for _, their_end in ends])
            except OSError as error:
                raise ChildStartError(f"The fork server takes no request: {error}") from error
            theirs.close()
            pid = await self._first_answer(control)
            if not pid:
                raise ChildStartError(self._log_end() or "The fork server could not fork.")
            streams = await _open_streams(conversation, log)
            ours.pop_all()
            return ForkedProcess(int(pid), control, *streams, kill_server=self._process.kill)

    async def kill(self) -> None:
        """Kills the server. Returns when it has ended."""
        self._process.kill()
        while self.is_alive:  # noqa: ASYNC110 - nothing tells it without a thread
            await asyncio.sleep(POLL_SECONDS)
        self._requests.close()
        self._log.close()

    async def _first_answer(self, answers: socket.socket) -> bytes:
        """Nothing when the other end is closed. A server that gives no answer is killed."""
        try:
            async with asyncio.timeout(START_SECONDS):
                return await _receive(answers)
        except TimeoutError:
            await self.kill()
            raise ChildStartError(f"The fork server gave no answer in {START_SECONDS:.0f} s.") from None

    def _log_end(self) -> str:
        if self._log.closed:
            return ""
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - MAX_LOG_BYTES))
        return self._log.read().decode(errors="replace")


async def _open_streams(*ends: socket.socket) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    try:
        for end in ends:
            stream = await asyncio.open_unix_connection(sock=end)
            streams.append(stream)
    except BaseException:
        for _, writer in streams:
            writer.close()
        raise
    return streams


async def _receive(end: socket.socket) -> bytes:
    """The next message of a socket; nothing at its end."""
    try:
        return await asyncio.get_running_loop().sock_recv(end, MAX_NUMBER_BYTES)
    except ConnectionError:
        return b""
