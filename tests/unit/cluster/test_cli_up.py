"""`fotograma up` and what the command line says of itself."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from cluster.cli.commands import app
from cluster.local.startup_error import ExitCode


def test_up_passes_its_options_on_and_its_exit_code_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, Any] = {}

    def up(**options: Any) -> int:
        given.update(options)
        return 7

    module = ModuleType("cluster.local.up")
    module.__dict__["up"] = up
    monkeypatch.setitem(sys.modules, "cluster.local.up", module)
    done = CliRunner().invoke(app, ["up", "--port", "8123", "--home", str(tmp_path), "--demo", "--workers", "3"])
    assert done.exit_code == 7
    assert given == {"port": 8123, "data_dir": tmp_path, "demo": True, "workers": 3}


def test_up_without_the_service_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cluster.local.up", None)
    done = CliRunner().invoke(app, ["up"])
    assert done.exit_code == ExitCode.NOT_INSTALLED
    assert 'pip install "fotograma[local]"' in done.stderr


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.startswith("fotograma ")
