"""Markdown that GitHub and the site's generator read in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table without the columns that are empty, or nothing when it has no rows."""
    columns = [column for column in zip(head, *rows, strict=True) if any(column[1:])]
    lines = [_line(line) for line in zip(*columns, strict=True)]
    return "".join([*lines[:1], _line(["---"] * len(columns)), *lines[1:]]) if lines else ""


def plain(text: str) -> str:
    """A text in which nothing is taken for an HTML element."""
    return text.replace("<", "&lt;")


def code(text: str) -> str:
    """A text as code within a line."""
    return f"`{text}`" if text else ""


def code_block(text: str, language: str = "text") -> str:
    return f"```{language}\n{text}\n```\n"


def page(*parts: str) -> str:
    """Joins parts with an empty line between them; empty parts are left out."""
    return "\n".join(part if part.endswith("\n") else f"{part}\n" for part in parts if part)


def _line(cells: Iterable[str]) -> str:
    escaped = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |\n"
