"""PostgreSQL's own measure: durable transactions of one inserted row."""

from __future__ import annotations

import asyncio
import re

import psycopg

from benchmarks.process_measurement import CommandFailed
from benchmarks.queue.harness import Ground

TABLE = "CREATE TABLE IF NOT EXISTS one_row (id uuid PRIMARY KEY, at timestamptz NOT NULL)"
SCRIPT = "INSERT INTO one_row VALUES (uuidv7(), now())"


async def transactions_per_second(ground: Ground, url: str, *, clients: int, seconds: int) -> float:
    """Raises CommandFailed."""
    script = ground.folder / "one_row.sql"
    script.write_text(f"{SCRIPT};\n")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLE)
    options = ["-n", "-M", "prepared", "-c", str(clients), "-j", "1", "-T", str(seconds), "-f", str(script), url]
    process = await asyncio.create_subprocess_exec(
        str(ground.programs / "pgbench"), *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said = (await process.communicate())[0].decode()
    found = re.search(r"^tps = ([\d.]+)", said, re.MULTILINE)
    if process.returncode or found is None:
        raise CommandFailed(f"pgbench ended with {process.returncode}: {said[-1000:]}")
    return float(found[1])
