"""Each mutant of the source is noticed by the test that is named for it, which is green without the mutant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.faults.mutants.catalogue import MUTANTS, Mutant
from tests.faults.mutants.trial import TESTS_FAILED, copy_tree, mutate, outcome_of

pytestmark = pytest.mark.faults

AT_ONCE = 2
"""Trials wait for their servers' starts as long as they compute."""


@pytest.fixture(scope="module")
def trials(tmp_path_factory) -> Iterator[Mapping[str, Future[tuple[int, str]]]]:
    """All are begun; by the mutant's name."""

    def trial(mutant: Mutant) -> tuple[int, str]:
        folder = tmp_path_factory.mktemp("mutant")
        mutate(copy_tree(folder), mutant)
        return outcome_of(folder, [mutant.test])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {mutant.name: pool.submit(trial, mutant) for mutant in MUTANTS}
        pool.shutdown(cancel_futures=True)


def test_without_a_mutant_the_named_tests_are_green(tmp_path):
    code, written = outcome_of(copy_tree(tmp_path), sorted({mutant.test for mutant in MUTANTS}))
    assert code == 0, written


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_turns_its_test_red(trials, mutant):
    code, written = trials[mutant.name].result()
    assert code == TESTS_FAILED, written
    assert "failed" in written
