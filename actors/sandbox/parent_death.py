"""A process that ends with the one that started it."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import BinaryIO

PR_SET_PDEATHSIG = 1
PARENT_GONE_EXIT = 98


def die_with_parent(parent: int) -> None:
    """Asks the kernel to kill this process when the thread that started it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(PARENT_GONE_EXIT)


def watch_pipe(pipe: BinaryIO) -> None:
    """Ends this process at the end of the pipe, or when something comes through it."""
    # Reads the file descriptor itself: a thread that waits with the buffer's lock aborts the interpreter at its end.
    os.read(pipe.fileno(), 1)
    os._exit(PARENT_GONE_EXIT)
