"""The short form of each row on the whole service: nothing is lost, duplicated or stale."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.injection.whole_service import System, SystemRow
from tests.faults.rows import service_rows

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """One system for all rows. Its path is short enough for sockets, and PostgreSQL's OS user may enter its folder."""
    with tempfile.TemporaryDirectory(prefix="fotograma-faults-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        with System(Path(name)) as system:
            yield system


@pytest.mark.parametrize("row", service_rows.SYSTEM_ROWS, ids=lambda row: row.__name__)
async def test_service_row_loses_nothing_and_repeats_nothing(row: SystemRow, system: System) -> None:
    system.restart_stopped_servers()
    outcome = await row(system, False)
    assert outcome.has_passed, outcome
