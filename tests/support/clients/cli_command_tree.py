"""The commands of the command line, and the command that a line calls."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from typer.main import get_command

from cluster.cli.app import app

ROOT_COMMAND: Any = get_command(app)


def command_contexts(command: Any, name: str, parent: Any = None) -> Iterator[Any]:
    """Yields the contexts of a command and of all its subcommands. Runs nothing."""
    context = command.context_class(command, info_name=name, parent=parent)
    yield context
    if hasattr(command, "list_commands"):
        for subcommand in command.list_commands(context):
            yield from command_contexts(command.get_command(context, subcommand), subcommand, context)


def called_command(line: str) -> str:
    """The path of the command that a line calls. Checks the arguments; the command is replaced and does nothing.

    Raises TyperException.
    """
    paths: list[str] = []
    program, *words = shlex.split(line, comments=True)
    assert program == "fotograma"
    with pytest.MonkeyPatch.context() as patch:
        for context in command_contexts(ROOT_COMMAND, "fotograma"):
            if not hasattr(context.command, "list_commands"):
                record = partial(paths.append, context.command_path)
                patch.setattr(context.command, "callback", lambda record=record, **_: record())
        ROOT_COMMAND.main(words, standalone_mode=False)
    (path,) = paths
    return path
