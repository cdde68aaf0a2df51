"""`--help` of every command: a description, and a valid example."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.exceptions import TyperException

from cluster.cli.lazy_command_group import ENTRIES
from tests.support.clients.cli_command_tree import ROOT_COMMAND, called_command, command_contexts
from tests.support.clients.fake_service import FakeService
from tests.support.clients.fake_service_http_server import serve_fake_service

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


@pytest.mark.parametrize("name", ENTRIES)
def test_list_of_commands_has_the_first_sentence_of_each_command(name: str) -> None:
    context = ROOT_COMMAND.context_class(ROOT_COMMAND)
    command = ROOT_COMMAND.get_command(context, name)
    # The first paragraph begins with the sentence, which may hold a dot itself.
    assert command.help.startswith(ENTRIES[name].help)
    assert command.get_short_help_str(300) == ENTRIES[name].help


def modules_after(arguments: list[str], environ: dict[str, str]) -> set[str]:
    code = f"""import sys
from cluster.cli.app import main
try:
    main({arguments!r})
finally:
    print(*sys.modules)"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | environ
    )
    assert done.stdout, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_help_imports_nothing_that_only_a_running_command_needs() -> None:
    modules = modules_after(["--help"], {})
    assert not {"asyncio", "decimal", "httpx", "json", "msgspec", "pydantic", "rich", "ssl"} & modules
    commands = {f"cluster.cli.commands.{entry.module}" for entry in ENTRIES.values()}
    assert not commands & modules


def test_list_imports_nothing_that_only_a_batch_or_a_terminal_needs(tmp_path: Path) -> None:
    with serve_fake_service(FakeService()) as url:
        environ = {"FOTOGRAMA_URL": url, "FOTOGRAMA_API_KEY": "fg_key", "XDG_CONFIG_HOME": str(tmp_path)}
        modules = modules_after(["list"], environ)
    assert "httpx" in modules
    assert not {"click", "pygments", "rich", "numpy", "PIL", "cluster.client.async_client"} & modules
    assert not {module for module in modules if module.startswith(("actors", "db", "cluster.cli.batch"))}


def test_extraction_on_this_machine_imports_nothing_that_talks_to_a_service(tmp_path: Path) -> None:
    modules = modules_after(["extract", str(tmp_path / "missing.mp4"), "--local", "-o", str(tmp_path)], {})
    assert "cluster.cli.batch.local_batch" in modules
    in_network = {"cluster.client.authorized_requests", "cluster.client.batch", "httpx", "urllib.request"}
    assert not in_network & modules
    # The child decodes.
    assert not {"av", "numpy", "ray"} & modules
