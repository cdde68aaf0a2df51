"""A point in time on the command line: a date, a time, or how long ago it was."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import typer

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
HELP = "A time such as 2026-01-31T10:00 (UTC unless it says otherwise), or how long ago: 90m, 24h, 7d."
_AGO = re.compile(r"(\d{1,6})([smhd])")


def parse_time(text: str) -> datetime:
    """Raises typer.BadParameter."""
    if ago := _AGO.fullmatch(text):
        return datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no time. {HELP}") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
