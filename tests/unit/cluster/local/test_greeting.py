"""The greeting of `fotograma up`: a command that works in another terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.local.data_dir import DataDir
from cluster.local.greeting import UNDER_UV, cli_command, greeting
from cluster.local.servers.ray_head_command import Addresses
from tests.support.clients.cli_command_tree import called_command


@pytest.mark.parametrize(
    ("environment", "program", "path_lookup", "command"),
    [
        ({UNDER_UV: "1"}, ["/clone/.venv/bin/fotograma"], "/clone/.venv/bin/fotograma", "uv run fotograma"),
        ({}, ["/usr/bin/fotograma"], "/usr/bin/fotograma", "fotograma"),
        ({}, ["/my clone/.venv/bin/fotograma"], None, "'/my clone/.venv/bin/fotograma'"),
        ({}, ["/usr/bin/python3", "-m", "cluster"], None, "/usr/bin/python3 -m cluster"),
    ],
)
def test_greeting_shows_the_command_as_it_was_started(
    environment: dict[str, str], program: list[str], path_lookup: str | None, command: str
) -> None:
    assert cli_command(environment, program, path_lookup) == command


def test_printed_commands_can_be_pasted_as_they_are(tmp_path: Path) -> None:
    lines = greeting("http://127.0.0.1:8000", Addresses(), DataDir(tmp_path), "fotograma").splitlines()
    commands = [called_command(line.strip()) for line in lines if line.startswith("  fotograma ")]
    assert commands == ["fotograma login", "fotograma samples", "fotograma extract"]
    assert not [line for line in lines if "*" in line]


@pytest.mark.parametrize(("dashboard", "text"), [(True, "did not start; "), (False, "none (--no-dashboard)")])
def test_dashboard_that_does_not_run_has_its_reason(tmp_path: Path, dashboard: bool, text: str) -> None:
    lines = greeting("http://127.0.0.1:8000", Addresses(), DataDir(tmp_path), "fotograma", dashboard=dashboard)
    assert f"Dashboard  {text}" in lines
