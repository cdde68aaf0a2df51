"""The outcome of one attempt to deliver a notification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has accepted the notification."""


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The attempt failed; another one may succeed."""

    error: str


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """No attempt can succeed: the receiver is gone."""

    error: str


Outcome = Delivered | RetryLater | Undeliverable


class DeliveryMetrics(Protocol):
    """Receives what became of each attempt."""

    def tried(self, channel: str, outcome: str) -> None:
        """channel: `email`, `webhook` or `webhook_off`. outcome: `delivered`, `postponed` or `given_up`."""


class NoDeliveryMetrics:
    """Discards the figures."""

    def tried(self, channel: str, outcome: str) -> None: ...


NO_DELIVERY_METRICS = NoDeliveryMetrics()
