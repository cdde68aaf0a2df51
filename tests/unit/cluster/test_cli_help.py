"""`--help` of every command: a description, and a valid example."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from typer.exceptions import TyperException

from tests.support.clients.cli_command_tree import ROOT_COMMAND, called_command, command_contexts

COMMANDS = [pytest.param(context, id=context.command_path) for context in command_contexts(ROOT_COMMAND, "fotograma")]


def example_of(context: Any) -> str:
    lines: list[str] = [line.strip() for line in context.get_help().splitlines()]
    return lines[lines.index("Example:") + 1]


def test_commands_at_every_level_are_found() -> None:
    assert {"fotograma", "fotograma up", "fotograma ops users", "fotograma ops users share"} <= {
        context.id for context in COMMANDS
    }


@pytest.mark.parametrize("context", COMMANDS)
def test_command_is_described_in_a_sentence(context: Any) -> None:
    description = context.command.help
    assert description[0].isupper()
    assert description.rstrip().endswith(".")


@pytest.mark.parametrize("context", COMMANDS)
def test_example_of_a_command_calls_it(context: Any) -> None:
    assert called_command(example_of(context)).startswith(context.command_path)


@pytest.mark.parametrize("context", COMMANDS)
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
def test_example_with_invalid_arguments_is_rejected(line: str, fault: str) -> None:
    with pytest.raises(TyperException, match=fault):
        called_command(line)


def test_help_imports_nothing_that_only_a_running_command_needs() -> None:
    slow = {"asyncio", "httpx", "json", "msgspec", "pydantic", "rich", "ssl"}
    code = "import sys, cluster.cli.app as c; c.app(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage: " in done.stdout
    assert not slow & set(done.stdout.splitlines()[-1].split())
