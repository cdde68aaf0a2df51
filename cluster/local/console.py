"""What the person at the terminal sees: our own few lines. All else that this process writes goes to a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Terminal:
    """Standard output and error as they were when this was made."""

    def __init__(self) -> None:
        self._output, self._errors = os.dup(1), os.dup(2)
        self._began = time.monotonic()

    def say(self, line: str = "") -> None:
        _write(self._output, line)

    def complain(self, line: str) -> None:
        _write(self._errors, f"fotograma: {line}")

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Says what took how long, once it is done."""
        began = time.monotonic()
        yield
        self.say(f"  {what:<34} {time.monotonic() - began:5.1f} s")

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


def _write(descriptor: int, line: str) -> None:
    data = f"{line}\n".encode(errors="replace")
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        return  # nobody reads any more: a closed terminal must not end the service
