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
BUSY = ClipSpec(width=320, height=192, frames=300, gop=60)
EVERY_FRAME = {"sample": {"mode": "all"}}
RETRIED_STATUSES = {409, 429, 503, 507}
TIMEOUT_SECONDS = 300.0
CALL_SECONDS = 30.0
PAUSE_SECONDS = 0.25
BACKLOG = 8
"""Clients pause at this many unfinished videos. Workers always have work, and finish it in the time of a test."""


@dataclass(slots=True)
class Submission:
    """One video to submit. key: its Idempotency-Key, and its file's name without the suffix.

    answers: the ids (video, extraction) of each 201. seconds: how long each of those calls took.
    """

    key: str
    body: bytes = field(repr=False)
    answers: list[tuple[str, str]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class Clip:
    """A clip. Each submission of it has different bytes, so that no result is reused."""

    def __init__(self, folder: Path, spec: ClipSpec) -> None:
        path = folder / f"{uuid.uuid4().hex}{spec.suffix}"
        make_clip(path, spec)
        self._bytes = path.read_bytes()
        path.unlink()

    def new_submission(self) -> Submission:
        key = uuid.uuid4()
        box = struct.pack(">I4s", 8 + len(key.bytes), b"free") + key.bytes
        return Submission(str(key), self._bytes + box)


class Account:
    """One account with its access token. A long test outlives the token; then the account logs in again.

    Its notifications go to its e-mail address and to a webhook.
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

    async def log_in(self, refused_token: str) -> None:
        """Replaces a token that the API has refused, unless another client has replaced it already."""
        async with self._logging_in:
            if self.token == refused_token:
                answer = (await self._http.post("/v1/tokens", json=self._login)).raise_for_status()
                self.token = answer.json()["access_token"]


class Sender:
    """One client of one account. used_keys: the set to which it adds its keys."""

    def __init__(self, http: httpx.AsyncClient, account: Account, spec: object, used_keys: set[str]) -> None:
        self._http, self._account, self._spec, self._used_keys = http, account, json.dumps(spec), used_keys

    async def send(self, submission: Submission) -> None:
        """Repeats the submission with the same key until the answer is 201.

        Raises AssertionError when that takes too long, or after an answer that must not be retried.
        """
        self._used_keys.add(submission.key)
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not await self._call(submission):
            assert time.monotonic() < deadline, f"{submission.key} was not accepted in {TIMEOUT_SECONDS:.0f} s"
            await asyncio.sleep(PAUSE_SECONDS)

    async def _call(self, submission: Submission) -> bool:
        started, token = time.monotonic(), self._account.token
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": submission.key}
        files = {"file": (f"{submission.key}.mp4", submission.body, "video/mp4")}
        try:
            answer = await self._http.post("/v1/videos", headers=headers, files=files, data={"spec": self._spec})
            if answer.status_code == 401:
                await self._account.log_in(token)
                return False
        except (httpx.TransportError, httpx.HTTPStatusError):
            return False
        if answer.status_code != 201:
            assert answer.status_code in RETRIED_STATUSES, f"{answer.status_code}: {answer.text}"
            return False
        (video,) = answer.json()["items"]
        submission.answers.append((video["id"], video["extraction"]["id"]))
        submission.seconds.append(time.monotonic() - started)
        return True


@asynccontextmanager
async def open_senders(system: System, count: int, spec: object, *, accounts: int = 1) -> AsyncIterator[list[Sender]]:
    """Opens this many clients, which share this many accounts."""
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(base_url=system.service.url, timeout=CALL_SECONDS, limits=limits) as http:
        owner_accounts = await asyncio.gather(*(Account(http, system.hook).register() for _ in range(accounts)))
        yield [Sender(http, owner_accounts[number % accounts], spec, system.used_keys) for number in range(count)]


@asynccontextmanager
async def continuous_load(system: System, clip: Clip, *, clients: int = 3) -> AsyncIterator[list[Submission]]:
    """Submits clips without a break, so that there is always work; yields the growing list of what was sent.

    At the end of the block each started submission is still repeated until it is accepted.
    """
    sent: list[Submission] = []
    stop, asking = asyncio.Event(), asyncio.Lock()
    async with open_senders(system, clients, EVERY_FRAME) as group, asyncio.TaskGroup() as tasks:
        for sender in group:
            tasks.create_task(_keep_sending(system, sender, clip, sent, stop, asking))
        await _wait_for_backlog(system)
        try:
            yield sent
        finally:
            stop.set()


async def _keep_sending(
    system: System, sender: Sender, clip: Clip, sent: list[Submission], stop: asyncio.Event, asking: asyncio.Lock
) -> None:
    while not stop.is_set():
        # While there is enough to do, one client asks for all of them: each time costs PostgreSQL a process.
        async with asking:
            has_room = await asyncio.to_thread(_count_unfinished, system) < BACKLOG
            if not has_room:
                await asyncio.sleep(PAUSE_SECONDS)
        if not has_room:
            continue
        submission = clip.new_submission()
        sent.append(submission)
        await sender.send(submission)


async def _wait_for_backlog(system: System) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while await asyncio.to_thread(_count_unfinished, system) < BACKLOG // 2:
            await asyncio.sleep(PAUSE_SECONDS)


def _count_unfinished(system: System) -> int:
    """Counts unfinished extractions; 0 while the database is away, so that clients continue to submit."""
    try:
        return system.fetch_count("SELECT count(*) FROM extractions WHERE status IN ('queued', 'running')")
    except psycopg.OperationalError:
        return 0


def call_seconds(sent: Sequence[Submission]) -> list[float]:
    """How long each accepted call took."""
    return [seconds for submission in sent for seconds in submission.seconds]
