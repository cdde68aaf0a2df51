"""The suite in several processes: tests that need a whole service run in one process, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.suite_scheduling import SLOW_SETUP, WHOLE_SERVICE, scheduling_group

TESTS = Path(__file__).parents[1]
STARTS_A_SERVICE = re.compile(r"(?<!\w)service: Service\b|(?<!\w)system: System\b")


def test_every_file_whose_tests_use_a_whole_service_is_in_its_group() -> None:
    files = {str(path.relative_to(TESTS.parent)): path for path in TESTS.rglob("test_*.py") if path != Path(__file__)}
    assert {name for name, path in files.items() if STARTS_A_SERVICE.search(path.read_text())} == WHOLE_SERVICE
    assert files.keys() >= SLOW_SETUP


def test_tests_with_a_whole_service_share_a_group_and_any_other_test_is_alone() -> None:
    (first, second), alone = sorted(WHOLE_SERVICE)[:2], "tests/unit/db/test_spec.py::test_a"
    assert scheduling_group(f"{first}::test_a[x]") == scheduling_group(f"{second}::test_b")
    assert scheduling_group(alone) == alone
