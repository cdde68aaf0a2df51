"""The table of mutants: `uv run python -m tests.faults.mutants`. Exits with 1 when one survives."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.faults.mutants.catalogue import MUTANTS
from tests.faults.mutants.trial import TESTS_FAILED, copy_tree, mutate, outcome_of


def main() -> int:
    """Runs the named tests on the unchanged source, then each mutant's test on the mutant."""
    with tempfile.TemporaryDirectory() as folder:
        code, written = outcome_of(copy_tree(Path(folder)), sorted({mutant.test for mutant in MUTANTS}))
    if code != 0:
        print(written)
        return 1
    print("| mutant | test | result |\n| --- | --- | --- |")
    survivors = 0
    for mutant in MUTANTS:
        with tempfile.TemporaryDirectory() as folder:
            mutate(copy_tree(Path(folder)), mutant)
            code, _ = outcome_of(Path(folder), [mutant.test])
        survivors += code != TESTS_FAILED
        result = "red" if code == TESTS_FAILED else f"**survives** (exit {code})"
        print(f"| {mutant.name} | `{mutant.test.rpartition('::')[2]}` | {result} |", flush=True)
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
