"""The output of `fotograma up`: its own few lines. Everything else that this process writes goes to a log.

On a terminal the last line may be a progress line. The next printed line replaces it.
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
    """Writes to standard output and error as they were at its creation. Threads may share it."""

    def __init__(self) -> None:
        self._output, self._errors = os.dup(1), os.dup(2)
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._progress = ""

    def print_line(self, line: str = "") -> None:
        """Prints a line that stays."""
        with self._lock:
            self._clear()
            _write(self._output, f"{line}\n")

    def print_error(self, line: str) -> None:
        """Prints a line on standard error."""
        with self._lock:
            self._clear()
            _write(self._errors, f"fotograma: {line}\n")

    def show_progress(self, line: str) -> None:
        """Shows a progress line until the next line. Only on a terminal, cut to its width; "" removes it."""
        with self._lock:
            if not os.isatty(self._output):
                return
            line = line[: _columns(self._output) - 1]
            if line != self._progress:
                _write(self._output, START_OF_LINE + line)
                self._progress = line

    def _clear(self) -> None:
        if self._progress:
            _write(self._output, START_OF_LINE)
            self._progress = ""

    @property
    def seconds(self) -> float:
        """Since the creation."""
        return time.monotonic() - self._began

    @contextmanager
    def redirect_to_log(self, log: Path) -> Iterator[None]:
        """Until the end of the block, everything that Python, Ray and their libraries write goes to `log`."""
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
        # A terminal whose size nobody has set reports 0.
        return os.get_terminal_size(descriptor).columns or DEFAULT_COLUMNS
    except OSError:
        return DEFAULT_COLUMNS


def _write(descriptor: int, text: str) -> None:
    data = text.encode(errors="replace")
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        return  # the terminal is closed, which must not end the service
