"""What became of one try to deliver a notification."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class RetryLater:
    """It failed, and another try may help."""

    error: str


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """No try will help: nobody listens there any more."""

    error: str


Outcome = Delivered | RetryLater | Undeliverable
