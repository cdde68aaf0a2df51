"""Clients that submit videos over real HTTP with retries, and their list of accepted requests."""

from __future__ import annotations

import asyncio
import json
import struct
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg

from tests.faults.injection.webhook_receiver import UnreliableHook
from tests.faults.injection.whole_service import System
from tests.support.servers.running_service import PASSWORD
from tests.support.videos.clips import ClipSpec, make_clip

TINY = ClipSpec(width=96, height=64, frames=10)
BUSY = ClipSpec(width=320, height=192, frames=600, gop=60)
EVERY_FRAME = {"sample": {"mode": "all"}}
AGAIN = {409, 429, 503, 507}
PATIENCE_SECONDS = 300.0
CALL_SECONDS = 30.0
PAUSE_SECONDS = 0.25
BACKLOG = 8
"""As many videos wait at most: always some, and not more than can be done in the time of a test."""


@dataclass(slots=True)
class Sent:
    """One submission. key: its Idempotency-Key, and its file's name without the suffix.

    answers: (video, extraction) of each 201. seconds: that each of those calls took.
    """

    key: str
    body: bytes = field(repr=False)
    answers: list[tuple[str, str]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class Clip:
    """A clip of which every copy has a content of its own, so that no result can serve two."""

    def __init__(self, folder: Path, spec: ClipSpec) -> None:
        path = folder / f"{uuid.uuid4().hex}{spec.suffix}"
        make_clip(path, spec)
        self._bytes = path.read_bytes()
        path.unlink()

    def copy(self) -> Sent:
        mark = uuid.uuid4()
        box = struct.pack(">I4s", 8 + len(mark.bytes), b"free") + mark.bytes
        return Sent(str(mark), self._bytes + box)


class Account:
    """One account and its access token, which is renewed by logging in again: a long test outlives it.

    It is told by e-mail and by a webhook.
    """

    def __init__(self, http: httpx.AsyncClient, hook: UnreliableHook) -> None:
        self._http, self._hook = http, hook
        self._login = {"email": f"{uuid.uuid4().hex}@example.org", "password": PASSWORD}
        self._logging_in = asyncio.Lock()
        self.token = ""

    async def register(self) -> Account:
        (await self._http.post("/v1/users", json=self._login)).raise_for_status()
        await self.log_in("")
        url, headers = self._hook.new_url(), {"Authorization": f"Bearer {self.token}"}
        answer = (await self._http.post("/v1/webhooks", json={"url": url}, headers=headers)).raise_for_status()
        self._hook.expect(url, answer.json()["secret"])
        return self

    async def log_in(self, refused: str) -> None:
        """refused: the token that is no good any more; another client may have replaced it already."""
        async with self._logging_in:
            if self.token == refused:
                answer = (await self._http.post("/v1/tokens", json=self._login)).raise_for_status()
                self.token = answer.json()["access_token"]


class Sender:
    """One client of one account. known: where it writes down the keys that it has used."""

    def __init__(self, http: httpx.AsyncClient, account: Account, spec: object, known: set[str]) -> None:
        self._http, self._account, self._spec, self._known = http, account, json.dumps(spec), known

    async def send(self, sent: Sent) -> None:
        """Submits until it is answered 201, with the same key each time.

        Raises AssertionError when that takes too long, or when the answer is one that no client would repeat.
        """
        self._known.add(sent.key)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not await self._call(sent):
            assert time.monotonic() < deadline, f"{sent.key} was not accepted in {PATIENCE_SECONDS:.0f} s"
            await asyncio.sleep(PAUSE_SECONDS)

    async def _call(self, sent: Sent) -> bool:
        begun, token = time.monotonic(), self._account.token
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": sent.key}
        files = {"file": (f"{sent.key}.mp4", sent.body, "video/mp4")}
        try:
            answer = await self._http.post("/v1/videos", headers=headers, files=files, data={"spec": self._spec})
            if answer.status_code == 401:
                await self._account.log_in(token)
                return False
        except (httpx.TransportError, httpx.HTTPStatusError):
            return False
        if answer.status_code != 201:
            assert answer.status_code in AGAIN, f"{answer.status_code}: {answer.text}"
            return False
        (video,) = answer.json()["items"]
        sent.answers.append((video["id"], video["extraction"]["id"]))
        sent.seconds.append(time.monotonic() - begun)
        return True


@asynccontextmanager
async def senders(system: System, count: int, spec: object, *, accounts: int = 1) -> AsyncIterator[list[Sender]]:
    """So many clients, shared out to so many accounts."""
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(base_url=system.service.url, timeout=CALL_SECONDS, limits=limits) as http:
        owners = await asyncio.gather(*(Account(http, system.hook).register() for _ in range(accounts)))
        yield [Sender(http, owners[number % accounts], spec, system.known) for number in range(count)]


@asynccontextmanager
async def load(system: System, clip: Clip, *, clients: int = 3) -> AsyncIterator[list[Sent]]:
    """Submits all the time, so that there is always work; gives the list of what was sent, which grows.

    At the end of the block every call that was begun is brought to its answer.
    """
    sent: list[Sent] = []
    stop = asyncio.Event()
    async with senders(system, clients, EVERY_FRAME) as group, asyncio.TaskGroup() as tasks:
        for sender in group:
            tasks.create_task(_keep_sending(system, sender, clip, sent, stop))
        await _until_busy(system)
        try:
            yield sent
        finally:
            stop.set()


async def _keep_sending(system: System, sender: Sender, clip: Clip, sent: list[Sent], stop: asyncio.Event) -> None:
    while not stop.is_set():
        if await asyncio.to_thread(_waiting, system) >= BACKLOG:
            await asyncio.sleep(PAUSE_SECONDS)
            continue
        one = clip.copy()
        sent.append(one)
        await sender.send(one)


async def _until_busy(system: System) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await asyncio.to_thread(_waiting, system) < BACKLOG // 2:
            await asyncio.sleep(PAUSE_SECONDS)


def _waiting(system: System) -> int:
    """Extractions that have not ended; none while the database is away: clients don't stop for that."""
    try:
        return system.fetch_count("SELECT count(*) FROM extractions WHERE status IN ('queued', 'running')")
    except psycopg.OperationalError:
        return 0


def seconds_of(sent: Sequence[Sent]) -> list[float]:
    """What all accepted calls took."""
    return [seconds for one in sent for seconds in one.seconds]
