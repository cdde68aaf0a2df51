"""The command line in this process, with the settings of a service: its database, Redis and folder of objects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.clients.cli_run import Done, command_runner

RunOps = Callable[..., Awaitable[Done]]


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment, which a test may change."""
    monkeypatch.setenv("FOTOGRAMA_DATABASE_URL", database_url)
    monkeypatch.setenv("FOTOGRAMA_REDIS_URL", redis_url)
    monkeypatch.setenv("FOTOGRAMA_OBJECTS_URL", (tmp_path / "objects").as_uri())
    monkeypatch.setenv("FOTOGRAMA_SECRET_KEY", "an integration test's own secret key")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return monkeypatch


@pytest.fixture
def ops(settings: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunOps:
    """Runs `fotograma ops …`. Each command has an event loop of its own, in a thread."""
    run = command_runner(capsys)

    async def run_ops(*arguments: str) -> Done:
        # What the application in this process has logged until now is no output of the command.
        capsys.readouterr()
        return await asyncio.to_thread(run, "ops", *arguments)

    return run_ops
