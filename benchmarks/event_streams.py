"""Server-sent events with many open streams: `python -m benchmarks.event_streams [--json FILE] [--streams N]`.

One API replica in its own process, on a durable PostgreSQL with 100,000 videos; N accounts with one stream each. It
gives the memory of the streams, the time from a commit to the event at the client, and the same when something of every
account changes in one commit. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median, quantiles
from uuid import UUID

from sqlalchemy import text
from uuid_utils.compat import uuid7

from benchmarks.process_measurement import Row, machine_description, read_kibibytes, write_rows
from benchmarks.queue.harness import BenchmarkServers, fill, run_servers
from benchmarks.queue.timed_operations import Queue, open_queue
from db.accounts import accounts
from serve_app.security.key_derivation import signing_key
from serve_app.security.signed_tokens import Audience, Claims, TokenSigner

ROWS = 100_000
SECRET = "a benchmark's own secret key, long enough"
CHANGES = 100
BURSTS = 5
SESSION_SECONDS = 600.0
MAX_MEMORY_MIB, MAX_LATENCY_MILLISECONDS = 100.0, 500.0
# One more event of the newest extraction of each account.
BURST = text("""
    INSERT INTO events (extraction_id, kind)
    SELECT (SELECT id FROM extractions WHERE user_id = asked.user_id ORDER BY id DESC LIMIT 1), 'requeued'
    FROM unnest(CAST(:user_ids AS uuid[])) AS asked (user_id)
""")


class Stream:
    """One client. arrived_at: of the newest event."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self.arrived_at = 0.0
        self.arrived = asyncio.Event()

    async def read(self) -> None:
        """Reads until the stream ends."""
        while line := await self._reader.readline():
            if line.startswith(b"data:"):
                self.arrived_at = time.perf_counter()
                self.arrived.set()


@contextmanager
def running_replica(servers: BenchmarkServers, url: str) -> Iterator[tuple[int, Path]]:
    """Runs one API replica. Yields its process id and its socket."""
    path = servers.folder / "api.sock"
    settings = {
        "FOTOGRAMA_DATABASE_URL": url,
        "FOTOGRAMA_REDIS_URL": servers.valkey.url,
        "FOTOGRAMA_OBJECTS_URL": (servers.folder / "objects").as_uri(),
        "FOTOGRAMA_SECRET_KEY": SECRET,
    }
    command = [sys.executable, "-m", "benchmarks.event_streams", "--serve", str(path)]
    with subprocess.Popen(
        command, env=os.environ | settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while process.stdout.readline() not in ("listens\n", ""):
            pass
        # What it logs would fill the pipe.
        drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
        yield process.pid, path
        process.kill()
        drain.wait()


async def serve(path: Path) -> None:
    """Serves the API on a Unix socket until standard input ends, as a replica under `fotograma up` does."""
    import socket  # noqa: PLC0415 - in the replica alone

    from cluster.wiring.api import open_api  # noqa: PLC0415
    from serve_app.app import create_app  # noqa: PLC0415
    from serve_app.http.server.socket_server import serve_on_socket  # noqa: PLC0415

    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        async with open_api() as deps, serve_on_socket(create_app(deps), bound, drain_seconds=1):
            print("listens", flush=True)
            await asyncio.to_thread(sys.stdin.read)


@asynccontextmanager
async def open_stream(path: Path, token: str) -> AsyncIterator[Stream]:
    """A stream that has begun."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    while not (line := await reader.readline()).startswith(b"id:"):
        assert line, "the stream ended"
    stream = Stream(reader)
    reading = asyncio.create_task(stream.read())
    try:
        yield stream
    finally:
        reading.cancel()
        writer.close()


async def log_in(queue: Queue, user_id: UUID) -> str:
    session_id = uuid7()
    await accounts.open_session(queue.database, session_id=session_id, user_id=user_id, seconds=SESSION_SECONDS)
    claims = Claims(user_id, session_id, 0)
    return TokenSigner([signing_key(SECRET)]).issue(Audience.ACCESS, claims, SESSION_SECONDS)


async def seconds_to_arrive(streams: Sequence[Stream], committed: float) -> list[float]:
    async with asyncio.timeout(30):
        await asyncio.gather(*(stream.arrived.wait() for stream in streams))
    return [stream.arrived_at - committed for stream in streams]


async def measure(servers: BenchmarkServers, url: str, count: int) -> list[Row]:
    async with AsyncExitStack() as stack:
        queue = await stack.enter_async_context(open_queue(url))
        pid, path = stack.enter_context(running_replica(servers, url))
        users = queue.users[: count + 1]
        tokens = [await log_in(queue, user) for user in users]
        # The first stream loads what all share.
        await stack.enter_async_context(open_stream(path, tokens[0]))
        before = read_kibibytes(pid, "status", "VmRSS:")
        streams = {
            user: await stack.enter_async_context(open_stream(path, token))
            for user, token in zip(users[1:], tokens[1:], strict=True)
        }
        opened = read_kibibytes(pid, "status", "VmRSS:")
        single = [await _one_change(queue, user, streams[user]) for user in users[1 : CHANGES + 1]]
        bursts = [seconds for _ in range(BURSTS) for seconds in await _burst(queue, streams)]
        after = read_kibibytes(pid, "status", "VmHWM:")
    return [
        Row("streams/memory", "MiB", round((opened - before) / 1024, 1), note=f"{count} streams"),
        Row("streams/memory_peak", "MiB", round((after - before) / 1024, 1), note="after all changes"),
        *_percentiles("event/one_account", single),
        *_percentiles("event/all_accounts_at_once", bursts),
    ]


async def _one_change(queue: Queue, user: UUID, stream: Stream) -> float:
    upload = await queue.reserve_upload(user)
    stream.arrived.clear()
    await queue.accept(upload)
    return (await seconds_to_arrive([stream], time.perf_counter()))[0]


async def _burst(queue: Queue, streams: dict[UUID, Stream]) -> list[float]:
    for stream in streams.values():
        stream.arrived.clear()
    async with queue.database.begin() as connection:
        await connection.execute(BURST, {"user_ids": list(streams)})
    return await seconds_to_arrive(list(streams.values()), time.perf_counter())


def _percentiles(name: str, seconds: Sequence[float]) -> Iterator[Row]:
    yield Row(f"{name}/p50", "ms", round(1000 * median(seconds), 1))
    yield Row(f"{name}/p99", "ms", round(1000 * quantiles(seconds, n=100)[98], 1))


def misses_target(row: Row) -> bool:
    limit = MAX_MEMORY_MIB if row.unit == "MiB" else MAX_LATENCY_MILLISECONDS
    return row.value is None or row.value > limit


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--streams", type=int, default=499)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve))
        return 0
    print(machine_description())
    with run_servers() as servers:
        url = servers.database("streams")
        fill(url, ROWS)
        rows = asyncio.run(measure(servers, url, options.streams))
    for row in rows:
        print(f"{row.name:32} {row.value:8} {row.unit:4} {row.note} {'MISSED' if misses_target(row) else ''}")
    if options.json:
        write_rows(options.json, rows)
    return int(any(misses_target(row) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
