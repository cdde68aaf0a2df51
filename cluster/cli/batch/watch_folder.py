"""Watches a folder, and extracts each video in it as soon as nobody writes to it.

It polls: notifications of the file system do not come from network drives.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cluster.cli.batch.video_outcome import OutcomeKind, VideoOutcome

POLL_SECONDS = 2.0
AGAIN_SECONDS = 60.0
"""After so long, a video that the service could not take is tried again."""
_AGAIN = frozenset({OutcomeKind.NOT_SENT, OutcomeKind.UNFINISHED})


class FileState(NamedTuple):
    """The size and the time of the last change, in nanoseconds. Another state means another content."""

    size: int
    changed_at: int


States = Mapping[Path, FileState]
Extract = Callable[[list[Path]], Awaitable[Sequence[VideoOutcome]]]


def file_states(paths: Iterable[Path]) -> dict[Path, FileState]:
    """Returns the states of the files that are there."""
    states = {}
    for path in paths:
        try:
            facts = path.stat()
        except OSError:
            # Removed or renamed since the folder was listed.
            continue
        states[path] = FileState(facts.st_size, facts.st_mtime_ns)
    return states


def ready_files(earlier: States, states: States, handled: States) -> list[Path]:
    """Returns the files that have not changed since the earlier look, and are not handled in this state. Pure."""
    return [
        path
        for path, state in states.items()
        if state.size and earlier.get(path) == state and handled.get(path) != state
    ]


@dataclass(slots=True)
class FolderWatch:
    """scan: returns the videos of the folder. extract: extracts some. idle_seconds: it ends after so long without a
    video to extract; None: it never ends. outcomes: the latest one of each video.
    """

    scan: Callable[[], Iterable[Path]]
    extract: Extract
    idle_seconds: float | None = None
    poll_seconds: float = POLL_SECONDS
    outcomes: dict[Path, VideoOutcome] = field(default_factory=dict)
    _handled: dict[Path, FileState] = field(default_factory=dict)
    _again_at: dict[Path, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Looks at the folder again and again. What fails stops nothing."""
        earlier: States = {}
        active_at = time.monotonic()
        async with asyncio.TaskGroup() as group:
            running: set[asyncio.Task[None]] = set()
            while True:
                # What ends during this look may have missed a change that this look misses, too.
                running = {task for task in running if not task.done()}
                states = await asyncio.to_thread(lambda: file_states(self.scan()))
                self._forget_failed(time.monotonic())
                ready = ready_files(earlier, states, self._handled)
                self._handled |= {path: states[path] for path in ready}
                if ready:
                    running.add(group.create_task(self._extract(ready)))
                is_waiting = any(state.size and self._handled.get(path) != state for path, state in states.items())
                if running or is_waiting or self._again_at:
                    active_at = time.monotonic()
                elif self.idle_seconds is not None and time.monotonic() - active_at >= self.idle_seconds:
                    return
                earlier = states
                await asyncio.sleep(self.poll_seconds)

    async def _extract(self, paths: list[Path]) -> None:
        for path, outcome in zip(paths, await self.extract(paths), strict=True):
            self.outcomes[path] = outcome
            if outcome.kind in _AGAIN:
                self._again_at[path] = time.monotonic() + AGAIN_SECONDS

    def _forget_failed(self, now: float) -> None:
        for path in [path for path, at in self._again_at.items() if at <= now]:
            del self._again_at[path]
            self._handled.pop(path, None)
