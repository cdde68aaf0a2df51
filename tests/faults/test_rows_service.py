"""The short form of each row on the whole service: nothing lost, nothing twice, nothing stale."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.injection.whole_service import Act, System
from tests.faults.rows import service_rows

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """One for all rows, in a folder with a path short enough for sockets, open to the account of PostgreSQL."""
    with tempfile.TemporaryDirectory(prefix="fotograma-faults-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        with System(Path(name)) as system:
            yield system


@pytest.mark.parametrize("act", service_rows.ACTS, ids=lambda act: act.__name__)
async def test_service_row_loses_nothing_and_repeats_nothing(act: Act, system: System) -> None:
    system.mend()
    outcome = await act(system, False)
    assert outcome.holds, outcome
