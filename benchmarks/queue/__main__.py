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
from benchmarks.queue.harness import BenchmarkServers, fill, run_servers
from benchmarks.queue.pgbench import transactions_per_second
from benchmarks.queue.start_latency import measure_start_seconds
from benchmarks.queue.timed_operations import (
    CONNECTIONS,
    Queue,
    accepts_per_second,
    driver_transactions_per_second,
    open_queue,
    publications_per_second,
    seconds_of,
)
from serve_app.submission.group_commit import WRITERS

ROUNDS, SAMPLES, TRIES = 3, 150, 11
CALLS = 64
"""Concurrent calls: as many bodies as one replica reads."""
ACCEPTS_EACH = 40
RATE_SECONDS = 4
MIN_OF_PGBENCH, MAX_RATIO, MAX_START_MILLISECONDS = 0.5, 1.5, 100.0


async def rates(servers: BenchmarkServers, url: str, queue: Queue) -> AsyncIterator[Row]:
    """Measures in interleaved rounds, so that a busy moment of the machine affects all rates. `pgbench` has as many
    connections as a replica uses to accept."""
    rounds: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        pgbench = await transactions_per_second(servers, url, clients=WRITERS, seconds=RATE_SECONDS)
        pgbench_crowded = await transactions_per_second(servers, url, clients=CALLS, seconds=RATE_SECONDS)
        different_users = await accepts_per_second(queue, [queue.next_user() for _ in range(CALLS)], ACCEPTS_EACH)
        one_user = await accepts_per_second(queue, [queue.users[0]] * CALLS, ACCEPTS_EACH)
        for name, value in (
            ("pgbench", pgbench),
            (f"pgbench/{CALLS}_connections", pgbench_crowded),
            ("pgbench/with_service_driver", await driver_transactions_per_second(queue, ACCEPTS_EACH)),
            ("accept/different_users", different_users),
            ("accept/one_user", one_user),
            ("claim_and_publish/1_worker", await publications_per_second(queue, 1, RATE_SECONDS)),
            ("claim_and_publish/16_workers", await publications_per_second(queue, CONNECTIONS, RATE_SECONDS)),
        ):
            rounds.setdefault(name, []).append(value)
    for name, values in rounds.items():
        yield Row(name, "1/s", round(median(values), 1), tuple(round(value, 1) for value in values))
    for name in ("accept/different_users", "accept/one_user"):
        shares = [rate / best for rate, best in zip(rounds[name], rounds["pgbench"], strict=True)]
        yield Row(f"{name}/of_pgbench", "×", round(median(shares), 3), tuple(round(share, 3) for share in shares))


async def latencies(databases: Sequence[tuple[int, Queue]]) -> AsyncIterator[Row]:
    """Measures one call after the other, at each number of rows in turn, on a single connection."""
    milliseconds: dict[str, dict[int, list[float]]] = {"accept": {}, "claim": {}, "list": {}}
    for _ in range(SAMPLES):
        for rows, queue in databases:
            user = queue.next_user()
            upload = await queue.reserve_upload(user)
            timed: list[tuple[str, Callable[[], Awaitable[object]]]] = [
                ("accept", partial(queue.accept, upload)),
                ("claim", queue.claim),
                ("list", queue.list_page),
            ]
            for name, action in timed:
                milliseconds[name].setdefault(rows, []).append(1000 * await seconds_of(action))
    for name, by_rows in milliseconds.items():
        for rows, values in by_rows.items():
            percentiles = quantiles(values, n=100)
            yield Row(f"{name}/{rows}_rows/p50", "ms", round(percentiles[49], 2))
            yield Row(f"{name}/{rows}_rows/p99", "ms", round(percentiles[98], 2))
        yield Row(f"{name}/ratio", "×", round(median(by_rows[max(by_rows)]) / median(by_rows[min(by_rows)]), 3))


async def measure_all(servers: BenchmarkServers, sizes: Sequence[int]) -> list[Row]:
    async with AsyncExitStack() as stack:
        databases, urls = [], []
        for size in sorted(sizes):
            urls.append(servers.database(f"rows_{size}"))
            await asyncio.to_thread(fill, urls[-1], size)
            databases.append((size, await stack.enter_async_context(open_queue(urls[-1]))))
        rows = [row async for row in latencies(databases)]
        rows += [row async for row in rates(servers, urls[-1], databases[-1][1])]
        url = servers.database("start")
        await asyncio.to_thread(fill, url, 1)
        idle = await stack.enter_async_context(open_queue(url))
        values = [1000 * seconds for seconds in await measure_start_seconds(servers, idle, TRIES)]
        rows.append(Row("start/p50", "ms", round(median(values), 1), tuple(round(value, 1) for value in values)))
    return rows


def misses_target(row: Row) -> bool:
    """Returns whether a figure misses its target, or could not be measured."""
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
    with run_servers() as servers:
        rows = asyncio.run(measure_all(servers, options.rows))
    for row in rows:
        print(f"{row.name:36} {row.value:10} {row.unit:4} {'MISSED' if misses_target(row) else ''}")
    if options.json:
        write_rows(options.json, rows)
    return int(any(misses_target(row) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
