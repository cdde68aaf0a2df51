"""The suite in several processes: tests that need a whole service run in one process, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.suite_scheduling import SECOND_SERVICE, SLOW_SETUP, WHOLE_SERVICE, scheduling_group

TESTS = Path(__file__).parents[1]
STARTS_A_SERVICE = re.compile(r"(?<!\w)service: Service\b|(?<!\w)system: System\b")


def test_every_file_whose_tests_use_a_whole_service_is_in_its_group() -> None:
    files = {str(path.relative_to(TESTS.parent)): path for path in TESTS.rglob("test_*.py") if path != Path(__file__)}
    with_service = {name for name, path in files.items() if STARTS_A_SERVICE.search(path.read_text())}
    assert with_service == WHOLE_SERVICE | SECOND_SERVICE
    assert files.keys() >= SLOW_SETUP


def test_at_most_two_groups_have_a_whole_service_and_any_other_test_is_alone() -> None:
    (first, second), alone = sorted(WHOLE_SERVICE)[:2], "tests/unit/db/test_spec.py::test_a"
    assert scheduling_group(f"{first}::test_a[x]") == scheduling_group(f"{second}::test_b")
    assert len({scheduling_group(f"{path}::test_a") for path in WHOLE_SERVICE | SECOND_SERVICE}) <= 2
    assert scheduling_group(alone) == alone
