"""Each mutant of the source fails its named test, which passes without the mutant."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.mutants.catalogue import MUTANTS, Mutant
from tests.faults.mutants.trial import TESTS_FAILED, copy_tree, mutate, outcome_of

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("template", "valkey")]


def test_named_tests_pass_without_mutants(tmp_path: Path, server_folder: Path) -> None:
    code, written = outcome_of(copy_tree(tmp_path), sorted({mutant.test for mutant in MUTANTS}), servers=server_folder)
    assert code == 0, written


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_fails_its_named_test(mutant: Mutant, tmp_path: Path, server_folder: Path) -> None:
    mutate(copy_tree(tmp_path), mutant)
    code, written = outcome_of(tmp_path, [mutant.test], servers=server_folder)
    assert code == TESTS_FAILED, written
    assert "failed" in written
