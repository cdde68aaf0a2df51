"""Starting again helps against a breakdown now and then."""

import pytest

from cluster.local.restart_limit import MOST, SECONDS, Breakdowns


@pytest.mark.parametrize(
    ("apart", "verdicts"),
    [
        (1.0, [False] * MOST + [True, True]),
        (SECONDS / MOST - 1, [False] * MOST + [True]),
        (SECONDS / MOST, [False] * (3 * MOST)),
    ],
)
def test_only_breakdowns_in_quick_succession_are_too_many(apart, verdicts):
    breakdowns = Breakdowns()
    assert [breakdowns.are_too_many(number * apart) for number in range(len(verdicts))] == verdicts
