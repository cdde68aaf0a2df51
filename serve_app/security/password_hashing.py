"""Password hashing: bcrypt over a peppered digest, in threads, so that log-ins never block the event loop."""

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
"""CPU time of one hash with ROUNDS, approximately. Each further round doubles it."""
MAX_WAITING = 200
"""THREADS work off this queue in less than half a minute. A longer wait is refused."""

T = TypeVar("T")


def queue_seconds(length: int, *, threads: int, rounds: int) -> int:
    """How long a queue of passwords takes, approximately."""
    return math.ceil(length / threads * HASH_SECONDS * 2.0 ** (rounds - ROUNDS))


class PasswordHasher:
    """Hashes and compares passwords.

    pepper: secret bytes that are not in the database. rounds: bcrypt's cost. threads: concurrent hashes. max_waiting:
    length of the queue; beyond it a password is refused with `too_many_requests` and the time that the queue takes.
    """

    def __init__(
        self, pepper: bytes, *, rounds: int = ROUNDS, threads: int = THREADS, max_waiting: int = MAX_WAITING
    ) -> None:
        self._pepper, self._rounds, self._max_running = pepper, rounds, threads + max_waiting
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="bcrypt")
        self._running = 0
        self._queue_seconds = queue_seconds(self._max_running, threads=threads, rounds=rounds)
        # Compared when there is no account, so that the time is the same. No password has this hash.
        self._no_match_hash = f"$2b${rounds:02d}${'.' * 53}"

    async def hash(self, password: str) -> str:
        """The hash to store."""
        digest = self._digest(password)
        return await self._run(lambda: bcrypt.hashpw(digest, bcrypt.gensalt(self._rounds)).decode())

    async def matches(self, password: str, stored: str | None) -> bool:
        """Whether the password has this hash. None (no such account) takes as long and returns False."""
        digest = self._digest(password)
        equal = await self._run(lambda: bcrypt.checkpw(digest, (stored or self._no_match_hash).encode()))
        return equal and stored is not None

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _digest(self, password: str) -> bytes:
        """44 characters for any length, because bcrypt reads at most 72 bytes and stops at a zero byte."""
        text = unicodedata.normalize("NFC", password).encode()
        return base64.b64encode(hmac.digest(self._pepper, text, "sha256"))

    async def _run(self, work: Callable[[], T]) -> T:
        if self._running >= self._max_running:
            detail = "Too many log-ins at this moment."
            raise CatalogueError("too_many_requests", detail, retry_after=self._queue_seconds)
        self._running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._running -= 1
