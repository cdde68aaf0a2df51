"""When to stop starting again what keeps breaking down: then a person has to look at it."""

from __future__ import annotations

from collections import deque

MOST, SECONDS = 3, 600.0
"""So many in so long are mended by starting again."""


class Breakdowns:
    """Counts them, by a clock that does not jump."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=MOST)

    def are_too_many(self, now: float) -> bool:
        """Counts one more. now: in seconds."""
        too_many = len(self._last) == MOST and now - self._last[0] < SECONDS
        self._last.append(now)
        return too_many
