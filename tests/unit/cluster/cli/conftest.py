"""The command line in this process, with the service of the test module over real connections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients.cli_run import Run, command_runner
from tests.support.clients.fake_service import FakeService
from tests.support.clients.fake_service_http_server import serve_fake_service


@pytest.fixture
def url(service: FakeService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of the service, which the command line has with a key."""
    for name in ("CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    with serve_fake_service(service) as url:
        monkeypatch.setenv("FOTOGRAMA_URL", url)
        monkeypatch.setenv("FOTOGRAMA_API_KEY", "fg_key")
        yield url


@pytest.fixture
def run(url: str, capsys: pytest.CaptureFixture[str]) -> Run:
    return command_runner(capsys)
