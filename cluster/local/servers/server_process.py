"""One server process: starts it in its own session, which Ctrl-C does not reach; waits for it; stops it by signals."""

from __future__ import annotations

import errno
import math
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cluster.local.servers.os_user import OsUser
from cluster.local.startup_error import ExitCode, StartupError

POLL_SECONDS = 0.05
LOG_LINES = 3
MAX_TIMEOUT_FACTOR = 8
BROKEN_PROGRAM_ERRORS = {errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR, errno.ELIBBAD}
LOADER_EXIT_CODES = {126, 127}
"""Exit codes of the system's loader: a program without its libraries."""


class ServerDidNotStart(Exception):
    """The server ended, or did not answer in time. The next start may succeed.

    since: size of the log before this start. exit_code: None when the process still ran.
    """

    def __init__(self, name: str, reason: str, log: Path, *, since: int = 0, exit_code: int | None = None) -> None:
        last = " | ".join(_last_lines(log, since))
        output = f"{log} ends with: {last}" if last else f"{log} has no new line"
        super().__init__(f"{name} did not start ({reason}). {output}")
        self.exit_code = exit_code


class StillStarting(Exception):
    """Raised by a probe: the server runs and needs more time."""


class ServerProcess:
    """name: for messages. log: its output is appended to this file. environment: complete; nothing is inherited."""

    def __init__(self, name: str, log: Path, *, environment: Mapping[str, str], os_user: OsUser | None = None) -> None:
        self.name, self.log = name, log
        self._environment, self._os_user = dict(environment), os_user or OsUser()
        self._process: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._log_size, self._timeout_factor = 0, 1

    @property
    def pid(self) -> int | None:
        """The pid of the last started process, also after its end."""
        return self._pid

    @property
    def ending(self) -> str:
        """A sentence for people: the process has ended by itself and is started again."""
        process = self._process
        code = None if process is None else process.poll()
        detail = "" if code is None else f" ({_exit_text(code)})"
        return f"{self.name} ended unexpectedly{detail}; it is started again"

    def is_running(self) -> bool:
        process = self._process
        return process is not None and process.poll() is None

    def start(self, command: Sequence[str], *, folder: Path, stdin: bytes = b"", keep_stdin_open: bool = False) -> None:
        """Starts the process. Raises StartupError when the program can't be run at all.

        folder: its working directory. stdin: its standard input; secrets go here, because `ps` does not show it.
        keep_stdin_open: the standard input stays open until this process ends in any way.
        """
        assert not self.is_running()
        self._log_size = size_of(self.log)
        with self.log.open("ab") as output:
            try:
                self._process = subprocess.Popen(  # noqa: S603
                    command,
                    cwd=folder,
                    env=self._environment,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    **self._os_user.popen_options(),
                )
            except OSError as error:
                if error.errno not in BROKEN_PROGRAM_ERRORS:
                    raise
                raise broken_installation(self.name, f"{command[0]}: {error.strerror}") from error
        self._pid = self._process.pid
        self.write_stdin(stdin)
        if not keep_stdin_open and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    def write_stdin(self, data: bytes) -> None:
        """Writes to the open standard input. Ignores a process that has ended: `wait_until` reports it."""
        process = self._process
        if process is not None and process.stdin is not None:
            # Another thread may have stopped the process and closed its standard input.
            with suppress(BrokenPipeError, ValueError):
                process.stdin.write(data)
                process.stdin.flush()

    def wait_until(
        self, is_ready: Callable[[], bool], seconds: float = math.inf, *, pause: float = POLL_SECONDS
    ) -> None:
        """Waits until `is_ready` returns True. pause: seconds between two calls.

        seconds: the timeout. It restarts whenever `is_ready` raises StillStarting, and doubles after each timeout,
        because the machine may be slow. Raises ServerDidNotStart; StartupError when the program could not be loaded.
        """
        timeout = seconds * self._timeout_factor
        deadline = time.monotonic() + timeout
        while True:
            try:
                if is_ready():
                    # A wait without a timeout does not show how slow the machine is.
                    self._timeout_factor = 1 if math.isfinite(seconds) else self._timeout_factor
                    return
            except StillStarting:
                deadline = time.monotonic() + timeout
            # None when another thread has stopped it.
            process = self._process
            if process is None or process.poll() is not None:
                raise self._start_error(None if process is None else process.returncode)
            if time.monotonic() > deadline:
                self.stop([(signal.SIGKILL, 5.0)])
                self._timeout_factor = min(self._timeout_factor * 2, MAX_TIMEOUT_FACTOR)
                raise ServerDidNotStart(self.name, f"no answer in {timeout:g} s", self.log, since=self._log_size)
            time.sleep(pause)

    def _start_error(self, exit_code: int | None) -> Exception:
        detail = "stopped" if exit_code is None else _exit_text(exit_code)
        return did_not_start(self.name, detail, self.log, since=self._log_size, exit_code=exit_code)

    def stop(self, steps: Sequence[tuple[signal.Signals, float]]) -> None:
        """Sends one signal after the other, each followed by a wait of its seconds, until the process has ended."""
        process = self._process
        if process is None:
            return
        for number, seconds in steps:
            if process.poll() is None:
                process.send_signal(number)
            try:
                process.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                continue
        if process.poll() is not None:
            if process.stdin is not None:
                with suppress(BrokenPipeError):
                    process.stdin.close()
            self._process = None


def broken_installation(name: str, reason: str) -> StartupError:
    """Returns the error for a program that is missing, or that the system can't run."""
    return StartupError(
        ExitCode.NOT_INSTALLED,
        f'{name} can\'t be run ({reason}). Install Fotograma again: pip install --force-reinstall "fotograma[local]"',
    )


def did_not_start(name: str, reason: str, log: Path, *, since: int, exit_code: int | None) -> Exception:
    """Returns the error for a program that ended: StartupError when it could not be loaded, else ServerDidNotStart."""
    if exit_code in LOADER_EXIT_CODES:
        return broken_installation(name, (_last_lines(log, since) or [f"exit code {exit_code}"])[-1])
    return ServerDidNotStart(name, reason, log, since=since, exit_code=exit_code)


def size_of(file: Path) -> int:
    """The size in bytes; 0 when the file is missing."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _exit_text(exit_code: int) -> str:
    """Describes the end of a process by its return code (negative: killed by this signal)."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return f"killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"killed by signal {-exit_code}"


def _last_lines(log: Path, since: int) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(since)
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()][-LOG_LINES:]
