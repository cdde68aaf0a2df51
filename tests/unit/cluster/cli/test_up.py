"""`fotograma up` and `--version` on the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from cluster.cli.app import app
from cluster.local.startup_error import ExitCode


@pytest.fixture
def up_options(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options with which `fotograma up` was called. It returns 7."""
    up_options: dict[str, Any] = {}

    def up(**options: Any) -> int:
        up_options.update(options)
        return 7

    module = ModuleType("cluster.local.up")
    module.__dict__["up"] = up
    monkeypatch.setitem(sys.modules, "cluster.local.up", module)
    return up_options


def test_up_gets_its_options_and_returns_its_exit_code(up_options: dict[str, Any], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["up", "--port", "8123", "--home", str(tmp_path), "--demo", "--workers", "3"])
    assert done.exit_code == 7
    assert up_options == {"port": 8123, "data_dir": tmp_path, "demo": True, "workers": 3, "dashboard": True}


def test_up_starts_without_the_dashboard(up_options: dict[str, Any]) -> None:
    CliRunner().invoke(app, ["up", "--no-dashboard"])
    assert up_options["dashboard"] is False


@pytest.mark.parametrize(
    ("variable", "options", "workers"),
    [("6", [], 6), ("6", ["--workers", "3"], 3), ("", [], None), (None, [], None)],
    ids=["variable", "option before variable", "empty variable", "neither"],
)
def test_workers_come_from_the_option_or_otherwise_from_the_environment(
    up_options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    variable: str | None,
    options: list[str],
    workers: int | None,
) -> None:
    monkeypatch.delenv("FOTOGRAMA_WORKERS", raising=False)
    if variable is not None:
        monkeypatch.setenv("FOTOGRAMA_WORKERS", variable)
    CliRunner().invoke(app, ["up", *options])
    assert up_options["workers"] == workers


@pytest.mark.parametrize("variable", ["0", "many"])
def test_invalid_number_of_workers_is_refused_with_the_name_of_its_variable(
    up_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv("FOTOGRAMA_WORKERS", variable)
    done = CliRunner().invoke(app, ["up"])
    assert done.exit_code == 2
    assert "FOTOGRAMA_WORKERS" in done.stderr
    assert up_options == {}


def test_up_without_the_service_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cluster.local.up", None)
    done = CliRunner().invoke(app, ["up"])
    assert done.exit_code == ExitCode.NOT_INSTALLED
    assert 'pip install "fotograma[local]"' in done.stderr


def test_version_prints_the_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.startswith("fotograma ")


def test_samples_need_a_folder_and_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    refused = CliRunner().invoke(app, ["samples", str(tmp_path / "file")])
    assert (refused.exit_code, "is a file" in refused.stderr) == (2, True)
    monkeypatch.setitem(sys.modules, "cluster.local.sample_clips", None)
    failed = CliRunner().invoke(app, ["samples", str(tmp_path / "clips")])
    assert (failed.exit_code, 'pip install "fotograma[engine]"' in failed.stderr) == (1, True)
    assert [*tmp_path.iterdir()] == [tmp_path / "file"]
