"""Failures of a notification receiver, independent of its protocol, as often as configured."""

from __future__ import annotations

import threading
from collections import Counter
from enum import StrEnum
from typing import Protocol

SLOW_SECONDS = 1.0


class Way(StrEnum):
    """What a receiver does with one try."""

    TAKEN = "taken"
    REFUSED = "refused"
    SLOW = "slow"  # and refused then
    UNANSWERED = "unanswered"  # taken, and the line cut before the answer


FAILING = (Way.REFUSED, Way.SLOW, Way.UNANSWERED)


class Failures:
    """first: so many first tries of each message fail, in every way in turn. made: tries that have failed."""

    def __init__(self) -> None:
        self.first = self.made = 0
        self._tries: Counter[str] = Counter()
        self._lock = threading.Lock()

    def meet(self, message_id: str) -> Way:
        """Decides about the next try of a message."""
        with self._lock:
            tries = self._tries[message_id]
            self._tries[message_id] += 1
            if tries >= self.first:
                return Way.TAKEN
            self.made += 1
            return FAILING[(len(self._tries) + tries) % len(FAILING)]


class Receiving(Protocol):
    """A channel's other end."""

    fails: Failures

    def told(self) -> dict[str, list[str]]:
        """The ids of all messages about each file, by its name without the suffix, as they came."""
