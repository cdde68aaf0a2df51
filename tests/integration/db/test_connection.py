"""Connections to PostgreSQL are closed however an attempt to connect ends."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from db.connection import open_database

# A connection is made in about 20 steps of the event loop: the socket, the password, the session's settings.
STEPS = range(4, 40, 8)


def open_sockets() -> set[str]:
    """The sockets of this process, as the kernel numbers them."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the folder's own descriptor
            found.add(os.readlink(link))
    return {target for target in found if target.startswith("socket:")}


@pytest.mark.parametrize("steps", STEPS)
async def test_cancelled_attempt_to_connect_closes_its_socket(database_url: str, steps: int) -> None:
    # Without this, the server waits for the password for a minute, and other databases can't be dropped meanwhile.
    database, before = open_database(database_url, name="test"), open_sockets()

    async def query() -> None:
        async with database.connect() as connection:
            await connection.execute(text("SELECT pg_sleep(60)"))

    querying = asyncio.create_task(query())
    for _ in range(steps):
        await asyncio.sleep(0)
    querying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await querying
    await database.dispose()
    # The garbage of earlier tests may have closed others meanwhile.
    assert open_sockets() <= before
