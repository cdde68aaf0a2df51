"""The short form of each row on queue functions: nothing is lost, duplicated or stale."""

import tempfile
from pathlib import Path

import pytest

from tests.faults.row_outcome import Row, run
from tests.faults.rows.queue_rows import ROWS

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.__name__)
def test_row_loses_nothing_and_repeats_nothing(row: Row) -> None:
    with tempfile.TemporaryDirectory(prefix="fotograma-row-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        # PostgreSQL runs as an OS user of its own, who must be able to enter the folder.
        folder.chmod(0o755)
        outcome = run(row, full=False, folder=folder)
    assert outcome.has_passed, outcome
