"""A replica imports only the modules of its own part, because imports take most of its start time."""

from __future__ import annotations

import subprocess
import sys

import pytest

EVERYTHING = {"actors.maintenance", "actors.notify", "actors.worker", "serve_app"}


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("cluster.wiring.api", {"serve_app"}),
        ("cluster.wiring.worker", {"actors.worker"}),
        ("cluster.wiring.maintenance", {"actors.maintenance", "actors.notify"}),
    ],
)
def test_replica_imports_only_its_own_part(module: str, expected: set[str]) -> None:
    assert EVERYTHING & modules_imported_by(module) == expected


@pytest.mark.parametrize("module", ["cluster.wiring.api", "serve_app.app"])
def test_api_does_not_import_alembic(module: str) -> None:
    assert "alembic" not in modules_imported_by(module)


def test_settings_import_neither_sqlalchemy_nor_redis_nor_structlog() -> None:
    assert not {"sqlalchemy", "redis", "structlog"} & modules_imported_by("cluster.settings")


def modules_imported_by(module: str) -> set[str]:
    """All modules in a process that has imported this module."""
    code = f"import sys, {module}; print(*sys.modules)"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(completed.stdout.split())
