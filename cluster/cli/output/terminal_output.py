"""How commands write: lines for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    from rich.console import Console  # noqa: PLC0415

    # Without rich's own detection, which with FORCE_COLOR would write bars into a log file.
    return Console(highlight=False, force_terminal=sys.stdout.isatty())


def print_line(console: Console, line: str, style: str = "") -> None:
    """Prints a line unchanged: without wrapping and markup. style: its colour on a terminal."""
    from rich.text import Text  # noqa: PLC0415

    console.print(Text(printable(line), style), soft_wrap=True)


def printable(text: str) -> str:
    """Escapes control characters, which file names may contain."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def json_text(value: Any) -> str:
    """Returns JSON text; times as RFC 3339."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=_plain)
    # A file name that is not UTF-8 can only be written with escapes.
    is_utf8 = all(not "\ud800" <= character <= "\udfff" for character in text)
    return text if is_utf8 else json.dumps(value, indent=2, default=_plain)


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} is not JSON")
