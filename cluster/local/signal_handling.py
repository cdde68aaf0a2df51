"""Turns the signals that end `fotograma up` into an exception of the main thread."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """A signal asked this process to end."""


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Until the end of the block, the first of SIGNALS raises StopRequested in the main thread.

    Later ones have no effect, so that they can't interrupt the cleanup.
    """
    previous = {number: signal.getsignal(number) for number in SIGNALS}
    install_handlers()
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def install_handlers() -> None:
    """Installs the handlers of `stop_on_signals`; again after a library has replaced them by its own."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        ignore_signals()
        raise StopRequested

    for number in SIGNALS:
        signal.signal(number, stop)


def ignore_signals() -> None:
    """Makes SIGNALS have no effect. Processes that are started later do not inherit this, unlike SIG_IGN."""
    for number in SIGNALS:
        signal.signal(number, lambda _number, _frame: None)


def stop_when_parent_ends(descriptor: int) -> None:
    """Sends SIGTERM to this process when `descriptor`, a pipe from its parent, is closed: the parent has died."""

    def wait_for_end() -> None:
        while os.read(descriptor, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait_for_end, name="parent", daemon=True).start()
