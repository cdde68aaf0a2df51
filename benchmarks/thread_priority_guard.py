"""Keeps the scheduling of a process that encodes AV1."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_THREADS = Path("/proc/self/task")


@contextmanager
def kept_scheduling() -> Iterator[None]:
    """Gives the calling thread its scheduling back at the end of the block, and new threads the same. Linux only.

    The encoder is opened in the block. SVT-AV1 gives its threads, and the thread that opens it, real-time priority 99
    when root runs it. All processes that this thread starts inherit it. Other processes hardly run while such threads
    have work, and those of them that wait in a loop for one another never end.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    before = _thread_ids()
    try:
        yield
    finally:
        for thread in _thread_ids() - before | {0}:
            os.sched_setscheduler(thread, policy, parameters)


def _thread_ids() -> set[int]:
    return {int(path.name) for path in _THREADS.iterdir()}
