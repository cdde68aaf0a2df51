"""PasswordHasher: bcrypt over a peppered digest, in threads of its own, so that logins never stop the loop."""

from __future__ import annotations

import asyncio
import base64
import hmac
import math
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from db.values.error_catalogue import CatalogueError

ROUNDS = 12
THREADS = 2
HASH_SECONDS = 0.25
"""Of one hash with ROUNDS, about; each round more doubles it."""
MAX_WAITING = 200
"""What THREADS check in less than half a minute: longer than that, asking again is better than standing in line."""

T = TypeVar("T")


def queue_seconds(length: int, *, threads: int, rounds: int) -> int:
    """How long a line of passwords takes, about."""
    return math.ceil(length / threads * HASH_SECONDS * 2.0 ** (rounds - ROUNDS))


class PasswordHasher:
    """Hashes and compares.

    pepper: bytes that are not in the database. rounds: bcrypt's cost, 12 is about 0.25 s of CPU. threads: how many at
    a time. most_waiting: how many may stand in line before the next is refused with `too_many_requests` and told the
    time that the line takes.
    """

    def __init__(
        self, pepper: bytes, *, rounds: int = ROUNDS, threads: int = THREADS, max_waiting: int = MAX_WAITING
    ) -> None:
        self._pepper, self._rounds, self._most = pepper, rounds, threads + max_waiting
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="bcrypt")
        self._inside = 0
        self._line_seconds = queue_seconds(self._most, threads=threads, rounds=rounds)
        # Compared against when there is no account, so that the time doesn't tell; no password has this hash.
        self._nobody = f"$2b${rounds:02d}${'.' * 53}"

    async def hash(self, password: str) -> str:
        """The text to store."""
        digest = self._digest(password)
        return await self._run(lambda: bcrypt.hashpw(digest, bcrypt.gensalt(self._rounds)).decode())

    async def matches(self, password: str, stored: str | None) -> bool:
        """Whether it is the password; None (no such account) takes as long and is False."""
        digest = self._digest(password)
        equal = await self._run(lambda: bcrypt.checkpw(digest, (stored or self._nobody).encode()))
        return equal and stored is not None

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _digest(self, password: str) -> bytes:
        """44 characters, whatever the length: bcrypt reads 72 bytes at most and stops at a zero byte."""
        text = unicodedata.normalize("NFC", password).encode()
        return base64.b64encode(hmac.digest(self._pepper, text, "sha256"))

    async def _run(self, work: Callable[[], T]) -> T:
        if self._inside >= self._most:
            detail = "Too many log-ins at this moment."
            raise CatalogueError("too_many_requests", detail, retry_after=self._line_seconds)
        self._inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._inside -= 1
