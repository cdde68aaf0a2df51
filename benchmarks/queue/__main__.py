"""The queue's speed: `python -m benchmarks.queue [--json FILE] [--rows 1000 2000000]`.

On one durable server, in one run: pgbench's one-row transactions, accepting (rows only), claiming with publishing, the
latencies of accept, claim and list at each number of rows, and the time from a free worker to the start of decoding.
Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from statistics import median, quantiles

from benchmarks.process_measurement import Row, machine_description, write_rows
from benchmarks.queue.harness import Ground, fill, started
from benchmarks.queue.pgbench import transactions_per_second
from benchmarks.queue.start_latency import starts
from benchmarks.queue.timed_operations import (
    CONNECTIONS,
    Queue,
    accepts_per_second,
    driver_per_second,
    opened,
    seconds_of,
    turns_per_second,
)
from serve_app.submission.group_commit import WRITERS

ROUNDS, SAMPLES, TRIES = 3, 150, 11
CALLS = 64
"""At once: as many bodies as one replica reads."""
ACCEPTS_EACH = 40
RATE_SECONDS = 4
MIN_OF_PGBENCH, MAX_RATIO, MAX_START_MILLISECONDS = 0.5, 1.5, 100.0


async def rates(ground: Ground, url: str, queued: Queue) -> AsyncIterator[Row]:
    """Interleaved rounds, so that a busy moment of the machine meets all of them. `pgbench` has as many connections as
    a replica accepts with."""
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        pgbench = await transactions_per_second(ground, url, clients=WRITERS, seconds=RATE_SECONDS)
        crowd = await transactions_per_second(ground, url, clients=CALLS, seconds=RATE_SECONDS)
        many = await accepts_per_second(queued, [queued.next_user() for _ in range(CALLS)], ACCEPTS_EACH)
        one = await accepts_per_second(queued, [queued.users[0]] * CALLS, ACCEPTS_EACH)
        for name, value in (
            ("pgbench", pgbench),
            (f"pgbench/{CALLS}_connections", crowd),
            ("pgbench/by_our_driver", await driver_per_second(queued, ACCEPTS_EACH)),
            ("accept/different_users", many),
            ("accept/one_user", one),
            ("turns/1_worker", await turns_per_second(queued, 1, RATE_SECONDS)),
            ("turns/16_workers", await turns_per_second(queued, CONNECTIONS, RATE_SECONDS)),
        ):
            found.setdefault(name, []).append(value)
    for name, values in found.items():
        yield Row(name, "1/s", round(median(values), 1), tuple(round(value, 1) for value in values))
    for name in ("accept/different_users", "accept/one_user"):
        shares = [rate / best for rate, best in zip(found[name], found["pgbench"], strict=True)]
        yield Row(f"{name}/of_pgbench", "×", round(median(shares), 3), tuple(round(share, 3) for share in shares))


async def latencies(databases: Sequence[tuple[int, Queue]]) -> AsyncIterator[Row]:
    """One after the other at each number of rows in turn, with a single connection at work."""
    found: dict[str, dict[int, list[float]]] = {"accept": {}, "claim": {}, "list": {}}
    for _ in range(SAMPLES):
        for rows, queued in databases:
            user = queued.next_user()
            upload = await queued.ready_upload(user)
            timed: list[tuple[str, Callable[[], Awaitable[object]]]] = [
                ("accept", partial(queued.accept, upload)),
                ("claim", queued.claim),
                ("list", queued.list_page),
            ]
            for name, action in timed:
                found[name].setdefault(rows, []).append(1000 * await seconds_of(action))
    for name, by_rows in found.items():
        for rows, values in by_rows.items():
            cut = quantiles(values, n=100)
            yield Row(f"{name}/{rows}_rows/p50", "ms", round(cut[49], 2))
            yield Row(f"{name}/{rows}_rows/p99", "ms", round(cut[98], 2))
        yield Row(f"{name}/ratio", "×", round(median(by_rows[max(by_rows)]) / median(by_rows[min(by_rows)]), 3))


async def measured(ground: Ground, sizes: Sequence[int]) -> list[Row]:
    async with AsyncExitStack() as stack:
        databases, urls = [], []
        for size in sorted(sizes):
            urls.append(ground.database(f"rows_{size}"))
            await asyncio.to_thread(fill, urls[-1], size)
            databases.append((size, await stack.enter_async_context(opened(urls[-1]))))
        rows = [row async for row in latencies(databases)]
        rows += [row async for row in rates(ground, urls[-1], databases[-1][1])]
        url = ground.database("start")
        await asyncio.to_thread(fill, url, 1)
        idle = await stack.enter_async_context(opened(url))
        values = [1000 * seconds for seconds in await starts(ground, idle, TRIES)]
        rows.append(Row("start/p50", "ms", round(median(values), 1), tuple(round(value, 1) for value in values)))
    return rows


def missed(row: Row) -> bool:
    """Whether a figure is past its target."""
    if row.value is None:
        return True
    if row.name.endswith("/of_pgbench"):
        return row.value < MIN_OF_PGBENCH
    if row.name.endswith("/ratio"):
        return row.value > MAX_RATIO
    return row.name == "start/p50" and row.value >= MAX_START_MILLISECONDS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 2_000_000])
    options = parser.parse_args()
    print(machine_description())
    with started() as ground:
        rows = asyncio.run(measured(ground, options.rows))
    for row in rows:
        print(f"{row.name:36} {row.value:10} {row.unit:4} {'MISSED' if missed(row) else ''}")
    if options.json:
        write_rows(options.json, rows)
    return int(any(missed(row) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
