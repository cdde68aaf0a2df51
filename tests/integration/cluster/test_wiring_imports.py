"""A replica imports its own part only, because imports are most of its start."""

from __future__ import annotations

import subprocess
import sys

import pytest

EVERYTHING = {"actors.maintenance", "actors.notify", "actors.worker", "serve_app"}


@pytest.mark.parametrize(
    ("module", "wanted"),
    [
        ("cluster.wiring.api", {"serve_app"}),
        ("cluster.wiring.worker", {"actors.worker"}),
        ("cluster.wiring.maintenance", {"actors.maintenance", "actors.notify"}),
    ],
)
def test_a_replica_imports_its_own_part_only(module: str, wanted: set[str]) -> None:
    assert EVERYTHING & imported(module) == wanted


@pytest.mark.parametrize("module", ["cluster.wiring.api", "serve_app.app"])
def test_the_api_leaves_alembic_out(module: str) -> None:
    assert "alembic" not in imported(module)


def test_the_settings_bring_neither_the_database_nor_redis() -> None:
    assert not {"sqlalchemy", "redis", "structlog"} & imported("cluster.settings")


def imported(module: str) -> set[str]:
    """All that a process has imported which imports this module."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())
