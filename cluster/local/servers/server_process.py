"""One server process: started in a session of its own, so that Ctrl-C does not reach it; waited for; ended in order."""

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
MAX_PATIENCE = 8
BROKEN_PROGRAM = {errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR, errno.ELIBBAD}
NOT_LOADED = {126, 127}
"""Exit codes of the system's loader: a program without its libraries."""


class ServerDidNotStart(Exception):
    """The server ended, or gave no answer in time; the next start may do.

    since: size of the log before this start. exit_code: None while it ran.
    """

    def __init__(self, name: str, why: str, log: Path, *, since: int = 0, exit_code: int | None = None) -> None:
        last = " | ".join(_last_lines(log, since))
        told = f"{log} ends with: {last}" if last else f"{log} says nothing"
        super().__init__(f"{name} did not start ({why}). {told}")
        self.exit_code = exit_code


class StillStarting(Exception):
    """Raised by what asks for an answer: the server lives, and needs more time."""


class ServerProcess:
    """name: for messages. log: file that its output is appended to. environment: all of it; nothing is inherited."""

    def __init__(self, name: str, log: Path, *, environment: Mapping[str, str], account: OsUser | None = None) -> None:
        self.name, self.log = name, log
        self._environment, self._account = dict(environment), account or OsUser()
        self._process: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._log_size, self._patience = 0, 1

    @property
    def pid(self) -> int | None:
        """Of the process that was started last, also when it has ended."""
        return self._pid

    @property
    def ending(self) -> str:
        """Says to people that it has ended by itself, and what happens now."""
        process = self._process
        code = None if process is None else process.poll()
        how = "" if code is None else f" ({_ending_of(code)})"
        return f"{self.name} ended unexpectedly{how}; it is started again"

    def is_running(self) -> bool:
        process = self._process
        return process is not None and process.poll() is None

    def start(self, command: Sequence[str], *, folder: Path, stdin: bytes = b"", keep_stdin_open: bool = False) -> None:
        """folder: its working directory. stdin: what it reads; secrets go here, where `ps` does not show them.

        keep_stdin_open: its standard input ends when this process does, in whichever way. Raises StartupError when the
        program can't be run at all.
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
                    **self._account.popen_options(),
                )
            except OSError as error:
                if error.errno not in BROKEN_PROGRAM:
                    raise
                raise broken_installation(self.name, f"{command[0]}: {error.strerror}") from error
        self._pid = self._process.pid
        self.write_stdin(stdin)
        if not keep_stdin_open and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    def write_stdin(self, data: bytes) -> None:
        """Writes to the standard input that was kept; one that has ended is noticed by wait_until."""
        process = self._process
        if process is not None and process.stdin is not None:
            # Closed when it was stopped meanwhile, by another thread.
            with suppress(BrokenPipeError, ValueError):
                process.stdin.write(data)
                process.stdin.flush()

    def wait_until(
        self, answers: Callable[[], bool], seconds: float = math.inf, *, pause: float = POLL_SECONDS
    ) -> None:
        """Waits for `answers`, with a pause in seconds after each no.

        seconds: at most, counted anew whenever `answers` raises StillStarting, and twice as many after each time that
        they were not enough: the machine may be that slow. Raises ServerDidNotStart; StartupError when the program
        could not be loaded.
        """
        patience = seconds * self._patience
        deadline = time.monotonic() + patience
        while True:
            try:
                if answers():
                    # What is waited for without a bound says nothing about the machine.
                    self._patience = 1 if math.isfinite(seconds) else self._patience
                    return
            except StillStarting:
                deadline = time.monotonic() + patience
            # None when it was stopped meanwhile, by another thread.
            process = self._process
            if process is None or process.poll() is not None:
                raise self._ending(None if process is None else process.returncode)
            if time.monotonic() > deadline:
                self.stop([(signal.SIGKILL, 5.0)])
                self._patience = min(self._patience * 2, MAX_PATIENCE)
                raise ServerDidNotStart(self.name, f"no answer in {patience:g} s", self.log, since=self._log_size)
            time.sleep(pause)

    def _ending(self, exit_code: int | None) -> Exception:
        how = "stopped" if exit_code is None else _ending_of(exit_code)
        return did_not_start(self.name, how, self.log, since=self._log_size, exit_code=exit_code)

    def stop(self, steps: Sequence[tuple[signal.Signals, float]]) -> None:
        """Sends each signal and waits so many seconds for the end, until it has ended."""
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


def broken_installation(name: str, why: str) -> StartupError:
    """The refusal for a program that is missing, or that the system can't run."""
    return StartupError(
        ExitCode.NOT_INSTALLED,
        f'{name} can\'t be run ({why}). Install Fotograma again: pip install --force-reinstall "fotograma[local]"',
    )


def did_not_start(name: str, why: str, log: Path, *, since: int, exit_code: int | None) -> Exception:
    """The error for a program that ended: a StartupError when it could not even be loaded."""
    if exit_code in NOT_LOADED:
        return broken_installation(name, (_last_lines(log, since) or [f"exit code {exit_code}"])[-1])
    return ServerDidNotStart(name, why, log, since=since, exit_code=exit_code)


def size_of(file: Path) -> int:
    """In bytes; 0 when it is missing."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _ending_of(exit_code: int) -> str:
    """How a process has ended, by what its parent is told."""
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
