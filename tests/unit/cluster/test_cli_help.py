"""`--help`: every command says what it does, and shows an example that can be typed."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from typer.exceptions import TyperException
from typer.main import get_command

from cluster.cli.commands import app

ROOT: Any = get_command(app)


def contexts(command: Any, name: str, parent: Any = None) -> Iterator[Any]:
    """Of a command and all below it. Nothing runs."""
    context = command.context_class(command, info_name=name, parent=parent)
    yield context
    if hasattr(command, "list_commands"):
        for below in command.list_commands(context):
            yield from contexts(command.get_command(context, below), below, context)


EVERY = [pytest.param(context, id=context.command_path) for context in contexts(ROOT, "fotograma")]


def example_of(context: Any) -> str:
    lines: list[str] = [line.strip() for line in context.get_help().splitlines()]
    return lines[lines.index("Example:") + 1]


@pytest.fixture
def called_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Gives the path of the command that a line calls, in a list. Checks the arguments; the command does nothing."""
    paths: list[str] = []
    for context in contexts(ROOT, "fotograma"):
        if not hasattr(context.command, "list_commands"):
            record = partial(paths.append, context.command_path)
            monkeypatch.setattr(context.command, "callback", lambda record=record, **_: record())

    def call(line: str) -> list[str]:
        program, *words = shlex.split(line)
        assert program == "fotograma"
        ROOT.main(words, standalone_mode=False)
        return paths

    return call


def test_the_walk_finds_commands_at_every_level() -> None:
    assert {"fotograma", "fotograma up", "fotograma ops users", "fotograma ops users share"} <= {
        context.id for context in EVERY
    }


@pytest.mark.parametrize("context", EVERY)
def test_a_command_says_what_it_does_in_a_sentence(context: Any) -> None:
    said = context.command.help
    assert said[0].isupper()
    assert said.rstrip().endswith(".")


@pytest.mark.parametrize("context", EVERY)
def test_a_command_shows_an_example_that_calls_it(context: Any, called_by: Callable[[str], list[str]]) -> None:
    (path,) = called_by(example_of(context))
    assert path.startswith(context.command_path)


@pytest.mark.parametrize("context", EVERY)
def test_every_option_and_argument_is_explained(context: Any) -> None:
    assert [parameter.name for parameter in context.command.params if not parameter.help] == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("fotograma extract --fpss 1 a.mp4", "No such option"),
        ("fotograma up --port many", "a valid integer"),
        ("fotograma timeline", "Missing parameter: extraction_id"),
    ],
)
def test_an_example_that_does_not_parse_would_be_noticed(
    line: str, fault: str, called_by: Callable[[str], list[str]]
) -> None:
    with pytest.raises(TyperException, match=fault):
        called_by(line)
