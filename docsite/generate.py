"""Writes the documents that are made of the code: `uv run python -m docsite.generate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from docsite.cli_page import cli_page
from docsite.errors_page import errors_page
from docsite.http_page import http_page
from docsite.python_page import python_page
from docsite.settings_page import settings_page
from docsite.specification_page import specification_page

COMMAND = "uv run python -m docsite.generate"
FOLDER = Path(__file__).parents[1] / "docs" / "reference"
PAGES: Mapping[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "errors.md": errors_page,
    "http.md": http_page,
    "python.md": python_page,
    "settings.md": settings_page,
    "specification.md": specification_page,
}


def main() -> None:
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
