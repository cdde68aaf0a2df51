"""The outcome of one attempt to deliver a notification."""

from __future__ import annotations

from dataclasses import dataclass


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
