"""The greeting of `fotograma up`: a command that works in another terminal."""

from __future__ import annotations

import pytest

from cluster.local.greeting import UNDER_UV, cli_command


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
