"""Waiting for a condition, or for the end of a process."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path


def process_ends(pid: int, seconds: float = 60.0) -> bool:
    """Returns whether the process ends within the time. A zombie counts as ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


async def wait_until(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)
