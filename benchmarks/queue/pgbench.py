"""PostgreSQL's own benchmark: durable transactions that insert one row."""

from __future__ import annotations

import asyncio
import re

import psycopg

from benchmarks.process_measurement import CommandFailed
from benchmarks.queue.harness import BenchmarkServers

TABLE = "CREATE TABLE IF NOT EXISTS one_row (id uuid PRIMARY KEY, at timestamptz NOT NULL)"
SCRIPT = "INSERT INTO one_row VALUES (uuidv7(), now())"


async def transactions_per_second(servers: BenchmarkServers, url: str, *, clients: int, seconds: int) -> float:
    """The rate that pgbench reports. Raises CommandFailed."""
    script = servers.folder / "one_row.sql"
    script.write_text(f"{SCRIPT};\n")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLE)
    options = ["-n", "-M", "prepared", "-c", str(clients), "-j", "1", "-T", str(seconds), "-f", str(script), url]
    process = await asyncio.create_subprocess_exec(
        str(servers.programs / "pgbench"), *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    rate = re.search(r"^tps = ([\d.]+)", output, re.MULTILINE)
    if process.returncode or rate is None:
        raise CommandFailed(f"pgbench ended with {process.returncode}: {output[-1000:]}")
    return float(rate[1])
