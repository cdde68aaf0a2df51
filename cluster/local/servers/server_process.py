"""One server process: started in a session of its own, so that Ctrl-C does not reach it; waited for; ended in order."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cluster.local.servers.os_user import Account
from cluster.local.startup_error import ExitCode, Refusal

ASK_AGAIN_SECONDS = 0.05
LOG_LINES = 3


class DidNotStart(Refusal):
    """The server ended, or gave no answer in time."""

    def __init__(self, name: str, why: str, log: Path) -> None:
        last = " | ".join(_last_lines(log))
        super().__init__(ExitCode.FAILED, f"{name} did not start ({why}). {log} ends with: {last}")


class Daemon:
    """name: for messages. log: file that its output is appended to. environment: all of it; nothing is inherited."""

    def __init__(self, name: str, log: Path, *, environment: Mapping[str, str], account: Account | None = None) -> None:
        self.name, self.log = name, log
        self._environment, self._account = dict(environment), account or Account()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, command: Sequence[str], *, folder: Path, stdin: bytes = b"", keep_stdin: bool = False) -> None:
        """folder: its working directory. stdin: what it reads; secrets go here, where `ps` does not show them.

        keep_stdin: its standard input ends when this process does, in whichever way.
        """
        assert not self.is_running()
        with self.log.open("ab") as output:
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
        self.tell(stdin)
        if not keep_stdin and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    def tell(self, data: bytes) -> None:
        """Writes to the standard input that was kept; one that has ended is noticed by wait_until."""
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def wait_until(self, answers: Callable[[], bool], seconds: float, *, pause: float = ASK_AGAIN_SECONDS) -> None:
        """Waits for `answers`, with a pause in seconds after each no. Raises DidNotStart."""
        deadline = time.monotonic() + seconds
        while not answers():
            if self._process is None or self._process.poll() is not None:
                code = None if self._process is None else self._process.returncode
                raise DidNotStart(self.name, f"exit code {code}", self.log)
            if time.monotonic() > deadline:
                self.stop([(signal.SIGKILL, 5.0)])
                raise DidNotStart(self.name, f"no answer in {seconds:.0f} s", self.log)
            time.sleep(pause)

    def stop(self, steps: Sequence[tuple[signal.Signals, float]]) -> None:
        """Sends each signal and waits so many seconds for the end, until it has ended."""
        if self._process is None:
            return
        for number, seconds in steps:
            if self._process.poll() is None:
                self._process.send_signal(number)
            try:
                self._process.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                continue
        if self._process.poll() is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process = None


def _last_lines(log: Path) -> list[str]:
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()][-LOG_LINES:]
