"""Counts the cases of the correctness suite and of the damage suite for the terminal summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

CountCases = Callable[[str, int], None]
PREFIX = "cases: "


@pytest.fixture
def count_cases(record_property: Callable[[str, object], None]) -> CountCases:
    """Returns a function that adds a number of passed cases to a heading."""
    return lambda heading, cases: record_property(f"{PREFIX}{heading}", cases)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # The reports carry the counts, because tests may run in several processes.
    counts: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        for name, cases in report.user_properties:
            if name.startswith(PREFIX):
                counts[name.removeprefix(PREFIX)] += cases
    for heading, cases in sorted(counts.items()):
        terminalreporter.write_line(f"{heading}: {cases}")
