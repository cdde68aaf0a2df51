"""The list of videos of an account that has many: `python -m benchmarks.list_page [--json FILE] [--rows N]`.

One API replica in its own process, on a durable PostgreSQL where one account has 100,000 videos. It asks for pages at
random depths, one after the other, and gives the time from the request to the last byte. Exit code 1 when a target is
missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median, quantiles
from uuid import UUID

import httpx
import psycopg

from benchmarks.event_streams import log_in, running_replica
from benchmarks.process_measurement import Row, machine_description, write_rows
from benchmarks.queue.harness import BenchmarkServers, fill, run_servers
from benchmarks.queue.timed_operations import open_queue
from serve_app.http.pagination import encode_cursor

ROWS = 100_000
REQUESTS = 300
WARM_UP = 20
"""Requests that are not measured: a new replica opens its connections."""
MAX_MILLISECONDS = 50.0
FAILED, WARNED = 100, 1_000
MEDIA = {
    "container": "mp4", "codec": "h264", "width": 1920, "height": 1080, "rotation": 0, "duration": 60.0,
    "frames": 1500, "fps_average": 25.0, "variable_frame_rate": False, "key_frames": 30,
}  # fmt: skip
# The rows satisfy the triggers already, and one of them would refuse the change.
_COMPLETE_ROWS = """
    SET session_replication_role = replica;
    UPDATE videos SET media = %(media)s WHERE id IN (SELECT video_id FROM extractions WHERE status = 'succeeded');
    UPDATE extractions SET result_warnings = '[{"code": "missing_frames", "detail": "9 frames are missing."}]'
    WHERE id IN (SELECT id FROM extractions WHERE status = 'succeeded' ORDER BY md5(id::text) DESC LIMIT %(warned)s);
    UPDATE extractions SET status = 'failed', error_code = 'gave_up', result_key = NULL, result_sha256 = NULL
    WHERE id IN (SELECT id FROM extractions WHERE status = 'succeeded' ORDER BY md5(id::text) LIMIT %(failed)s);
    RESET session_replication_role;
"""
CASES: Mapping[str, Mapping[str, str]] = {
    "all": {},
    "all, 200 on a page": {"limit": "200"},
    "status=succeeded": {"status": "succeeded"},
    "status=queued": {"status": "queued"},
    "status=failed, 1 of 1,000": {"status": "failed"},
    "status=cancelled, none": {"status": "cancelled"},
    "warned=true, 1 of 100": {"warned": "true"},
    "q=CLIP, every video": {"q": "CLIP"},
    "q=777, few videos": {"q": "777"},
    "q=holiday, none": {"q": "holiday"},
    "q=777, status=succeeded": {"q": "777", "status": "succeeded"},
    "q=CLIP, status=failed": {"q": "CLIP", "status": "failed"},
    "q=holiday, status=succeeded, none": {"q": "holiday", "status": "succeeded"},
    "q=777, warned=true": {"q": "777", "warned": "true"},
}
"""The parameters of each case. Its first page and pages at any depth are asked for."""


def prepare(servers: BenchmarkServers, rows: int) -> tuple[str, list[UUID]]:
    """Returns the database's address, and the ids of the videos."""
    url = servers.database("list_page")
    fill(url, rows, users=1)
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute(_COMPLETE_ROWS, {"failed": FAILED, "warned": WARNED, "media": json.dumps(MEDIA)})
        connection.execute("VACUUM (ANALYZE)")
        return url, [row[0] for row in connection.execute("SELECT id FROM videos").fetchall()]


async def measure(servers: BenchmarkServers, rows: int) -> list[Row]:
    url, ids = prepare(servers, rows)
    async with open_queue(url) as queue:
        token = await log_in(queue, queue.users[0])
    with running_replica(servers, url) as (_, path):
        transport = httpx.HTTPTransport(uds=str(path))
        with httpx.Client(
            transport=transport, base_url="http://x", headers={"Authorization": f"Bearer {token}"}, timeout=60
        ) as client:
            for _ in range(WARM_UP):
                _milliseconds(client, {})
            return [row for name, parameters in CASES.items() for row in _measure_case(client, name, parameters, ids)]


def _measure_case(client: httpx.Client, name: str, parameters: Mapping[str, str], ids: list[UUID]) -> Iterator[Row]:
    chosen = random.Random(name)
    first = [_milliseconds(client, parameters) for _ in range(REQUESTS // 3)]
    deep = [_milliseconds(client, {**parameters, "cursor": encode_cursor(chosen.choice(ids))}) for _ in range(REQUESTS)]
    for place, times in (("first page", first), ("any page", deep)):
        yield Row(f"{name}: {place}, p50", "ms", round(median(times), 1))
        yield Row(f"{name}: {place}, p99", "ms", round(quantiles(times, n=100)[98], 1))


def _milliseconds(client: httpx.Client, parameters: Mapping[str, str]) -> float:
    started_at = time.perf_counter()
    response = client.get("/v1/videos", params=parameters)
    seconds = time.perf_counter() - started_at
    response.raise_for_status()
    json.loads(response.content)
    return 1000 * seconds


def misses_target(row: Row) -> bool:
    return row.name.endswith("p99") and (row.value is None or row.value > MAX_MILLISECONDS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--rows", type=int, default=ROWS)
    options = parser.parse_args()
    print(machine_description())
    with run_servers() as servers:
        rows = asyncio.run(measure(servers, options.rows))
    for row in rows:
        print(f"{row.name:56} {row.value:8} {row.unit:4} {'MISSED' if misses_target(row) else ''}")
    if options.json:
        write_rows(options.json, rows)
    return int(any(misses_target(row) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
