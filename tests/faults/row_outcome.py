"""Rows of the fault table, their outcomes, and the table as Markdown."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Row = Callable[[bool, Path], "Outcome | Awaitable[Outcome]"]
"""A function (full, folder) whose name is the row's. full: full size instead of the short form. folder: an empty one.

It raises AssertionError when the fault could not be caused or had no effect: such a row proves nothing.
"""

COLUMNS = (
    "fault",
    "how",
    "accepted",
    "lost",
    "duplicated",
    "stale",
    "delivered again",
    "accepting, p99 (s)",
    "recovered in (s)",
    "note",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The counts of one row.

    accepted: distinct submissions that were answered as accepted. lost: those of them that are missing, did not end, or
    whose end was not notified on each channel. duplicated: second results, extractions, terminal events or
    notifications for one acceptance. stale: results published by an attempt that had lost its lease. redelivered:
    notifications that came more than once, with the same id (allowed). accept_p99_seconds: of the accepted calls;
    repeated calls count each. recover_seconds: the longest time from the end of a fault to the next published result;
    None where it can't be measured.
    """

    name: str
    how: str
    accepted: int
    lost: int
    duplicated: int
    stale: int
    redelivered: int = 0
    accept_p99_seconds: float | None = None
    recover_seconds: float | None = None
    note: str = ""

    @property
    def has_passed(self) -> bool:
        """Whether something was accepted, and nothing was lost, duplicated or stale."""
        return self.accepted > 0 and not (self.lost or self.duplicated or self.stale)

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of the table's line, in the order of COLUMNS."""
        counts = (self.accepted, self.lost, self.duplicated, self.stale, self.redelivered)
        times = (_seconds(self.accept_p99_seconds), _seconds(self.recover_seconds))
        return (self.name, self.how, *(f"{count:,}" for count in counts), *times, self.note)


def run(row: Row, *, full: bool, folder: Path) -> Outcome:
    """Runs a row, whether it is a plain function or a coroutine function."""

    async def wait_for(awaitable: Awaitable[Outcome]) -> Outcome:
        return await awaitable

    outcome = row(full, folder)
    return asyncio.run(wait_for(outcome)) if inspect.isawaitable(outcome) else outcome


def p99(seconds: Sequence[float]) -> float | None:
    """The 99th percentile by nearest rank; None without values."""
    return sorted(seconds)[math.ceil(0.99 * len(seconds)) - 1] if seconds else None


def markdown(outcomes: Sequence[Outcome], *, command: str, facts: Mapping[str, str]) -> str:
    """The page: the command that made it, the facts about the run, and a line for each row."""
    header = [_line(COLUMNS), _line(["---", "---", *["---:"] * (len(COLUMNS) - 3), "---"])]
    lines = [_line([cell.replace("|", "\\|").replace("\n", " ") for cell in outcome.cells]) for outcome in outcomes]
    broken = [outcome.name for outcome in outcomes if not outcome.has_passed]
    verdict = f"**Does not hold: {', '.join(broken)}.**" if broken else "Nothing lost, nothing twice, nothing stale."
    return "\n".join(
        [
            "# Faults",
            "",
            f"Made by `{command}`, on real processes. {verdict}",
            "",
            *(f"- {name}: {value}" for name, value in facts.items()),
            "",
            *header,
            *lines,
            "",
            "*accepted*: distinct submissions answered 201, by the client's own list. *lost*: those of them that are",
            "missing, never ended or were never told, by e-mail and by webhook where the whole service runs.",
            "*duplicated*: a second video, extraction, result, terminal event or notification (another id) for one",
            "acceptance or one idempotency key. *stale*: results taken from an attempt that had lost its lease.",
            "*delivered again*: notifications that came more than once, with the same id, which is allowed.",
            "",
        ]
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
