"""What the person at the terminal sees: our own few lines. All else that this process writes goes to a log.

On a terminal the last line may be one that changes, `show`; everything that is said takes its place.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_OF_LINE = "\r\x1b[K"
"""Carriage return, and ECMA-48's "erase in line"."""
DEFAULT_COLUMNS = 80


class Console:
    """Standard output and error as they were when this was made. Threads may share it."""

    def __init__(self) -> None:
        self._output, self._errors = os.dup(1), os.dup(2)
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._shown = ""

    def say(self, line: str = "") -> None:
        """A line that stays."""
        with self._lock:
            self._clear()
            _write(self._output, f"{line}\n")

    def complain(self, line: str) -> None:
        """As `say`, on standard error."""
        with self._lock:
            self._clear()
            _write(self._errors, f"fotograma: {line}\n")

    def show(self, line: str) -> None:
        """A line that the next one takes the place of. Only a terminal gets it, cut to its width; "" takes it away."""
        with self._lock:
            if not os.isatty(self._output):
                return
            line = line[: _columns(self._output) - 1]
            if line != self._shown:
                _write(self._output, START_OF_LINE + line)
                self._shown = line

    def _clear(self) -> None:
        if self._shown:
            _write(self._output, START_OF_LINE)
            self._shown = ""

    @property
    def seconds(self) -> float:
        """Since this was made."""
        return time.monotonic() - self._began

    @contextmanager
    def quiet(self, log: Path) -> Iterator[None]:
        """Until the end, what Python, Ray and their libraries write goes to `log`."""
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _redirect(descriptor, descriptor)
            yield
        finally:
            _redirect(self._output, self._errors)
            os.close(descriptor)

    def close(self) -> None:
        os.close(self._output)
        os.close(self._errors)


def _redirect(output: int, errors: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(output, 1)
    os.dup2(errors, 2)


def _columns(descriptor: int) -> int:
    try:
        # 0 is what a terminal says whose size nobody has set.
        return os.get_terminal_size(descriptor).columns or DEFAULT_COLUMNS
    except OSError:
        return DEFAULT_COLUMNS


def _write(descriptor: int, text: str) -> None:
    data = text.encode(errors="replace")
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        return  # nobody reads any more: a closed terminal must not end the service
