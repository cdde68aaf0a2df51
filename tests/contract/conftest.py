"""Counts the cases of the correctness suite and of the damage suite for the terminal summary."""

from __future__ import annotations

from collections.abc import Callable

import pytest

CASES = pytest.StashKey[dict[str, int]]()

CountCases = Callable[[str, int], None]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[CASES] = {}


@pytest.fixture(scope="session")
def count_cases(pytestconfig: pytest.Config) -> CountCases:
    """Adds cases that were right under a heading."""
    counts = pytestconfig.stash[CASES]

    def count(heading: str, cases: int) -> None:
        counts[heading] = counts.get(heading, 0) + cases

    return count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for heading, cases in sorted(config.stash[CASES].items()):
        terminalreporter.write_line(f"{heading}: {cases}")
