"""How a notification receiver fails, and how often; the same for SMTP and webhooks."""

from __future__ import annotations

import threading
from collections import Counter
from enum import StrEnum
from typing import Protocol

SLOW_SECONDS = 1.0


class Reaction(StrEnum):
    """What a receiver does with one try to deliver a message."""

    RECEIVED = "received"
    REFUSED = "refused"
    SLOW = "slow"  # refused after SLOW_SECONDS
    UNANSWERED = "unanswered"  # received, but the connection is closed before the answer


FAILED_REACTIONS = (Reaction.REFUSED, Reaction.SLOW, Reaction.UNANSWERED)


class Failures:
    """failing_tries: how many of the first tries of each message fail. failed_tries: how many tries have failed."""

    def __init__(self) -> None:
        self.failing_tries = self.failed_tries = 0
        self._tries: Counter[str] = Counter()
        self._lock = threading.Lock()

    def react(self, message_id: str) -> Reaction:
        """Decides the reaction to the next try of a message; the failed reactions take turns."""
        with self._lock:
            tries = self._tries[message_id]
            self._tries[message_id] += 1
            if tries >= self.failing_tries:
                return Reaction.RECEIVED
            self.failed_tries += 1
            return FAILED_REACTIONS[(len(self._tries) + tries) % len(FAILED_REACTIONS)]


class Receiver(Protocol):
    """The receiving end of a channel."""

    failures: Failures

    def received_ids(self) -> dict[str, list[str]]:
        """The ids of the received messages about each file, in order, by the file's name without its suffix."""
