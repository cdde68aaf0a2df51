"""Types of options that several commands share, and the form of the example in a help text."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def example(command: str) -> str:
    """The end of a command's help. The command stays on one line, whatever the width of the terminal."""
    return f"\b\nExample:\n  {command}"
