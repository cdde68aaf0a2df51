"""The fault table: its lines, and which outcomes fail a row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.row_outcome import COLUMNS, Outcome, markdown, p99, run

GOOD = Outcome(name="Peak", how="a | b", accepted=2_000, lost=0, duplicated=0, stale=0, accept_p99_seconds=0.1234)


@pytest.mark.parametrize(
    "broken",
    [replace(GOOD, lost=1), replace(GOOD, duplicated=1), replace(GOOD, stale=1), replace(GOOD, accepted=0)],
    ids=["lost", "duplicated", "stale", "accepted"],
)
def test_row_with_losses_or_without_acceptances_fails(broken: Outcome) -> None:
    assert GOOD.has_passed
    assert not broken.has_passed
    assert "Does not hold: Peak" in markdown([broken], command="it", facts={})


def test_row_with_repeated_deliveries_passes() -> None:
    assert replace(GOOD, redelivered=5).has_passed


def test_each_row_is_one_table_line_with_all_columns() -> None:
    page = markdown([GOOD, replace(GOOD, note="two\nlines")], command="it", facts={"Machine": "2 cores"})
    lines = [line.replace("\\|", "") for line in page.splitlines() if line.startswith("|")]
    assert [line.count("|") for line in lines] == [len(COLUMNS) + 1] * 4
    assert "2,000" in lines[2]
    assert "0.12" in lines[2]


def test_99th_percentile_is_an_observed_value() -> None:
    assert p99([]) is None
    assert p99([3.0]) == 3.0
    assert p99([float(value) for value in range(1, 201)]) == 198.0


def test_rows_may_be_plain_functions_or_coroutines(tmp_path: Path) -> None:
    def plain(_full: bool, _folder: Path) -> Outcome:
        return GOOD

    async def coroutine(_full: bool, _folder: Path) -> Outcome:
        return GOOD

    assert run(plain, full=True, folder=tmp_path) == run(coroutine, full=True, folder=tmp_path) == GOOD
