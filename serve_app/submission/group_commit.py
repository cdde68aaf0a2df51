"""Accepting as group commit: calls that come while others are being committed share the next transaction.

One transaction costs nearly the same for fifty calls as for one, so a peak is written in few of them, and a lone call
waits for nobody. Each call is still all or nothing by itself: a batch that can't be written whole is written call by
call. Source: DeWitt et al., "Implementation Techniques for Main Memory Database Systems", SIGMOD 1984.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db import videos
from db.acceptance import accept, idempotency_keys, quotas
from db.acceptance.accept import Upload
from db.acceptance.idempotency_keys import Answer, OwnedKey
from db.acceptance.quotas import Quotas
from db.connection import is_outage
from db.values.error_catalogue import CatalogueError
from serve_app import cached_representations
from serve_app.http.json_response import encode_json
from serve_app.submission.idempotent_requests import IdempotentCall

LANES = 2
"""Transactions at a time: while one is committed by the server, the other is put together here. An account's calls go
through one lane, so that no transaction waits for a lock that another one of this replica has."""
MAX_UPLOADS = 250
"""Of one transaction; a single call may have more."""


@dataclass(frozen=True, slots=True)
class AcceptCall:
    """One call's files, at least one, all of one account. fingerprint: of what was asked, kept with the answer."""

    uploads: Sequence[Upload]
    idempotent: IdempotentCall
    fingerprint: str


@dataclass(slots=True)
class _Waiting:
    call: AcceptCall
    answer: asyncio.Future[bytes] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    body: bytes = b""


@dataclass(slots=True)
class _Lane:
    waiting: deque[_Waiting] = field(default_factory=deque)
    is_written: bool = False

    def next_batch(self) -> list[_Waiting]:
        batch = [self.waiting.popleft()]
        count = len(batch[0].call.uploads)
        while self.waiting and (count := count + len(self.waiting[0].call.uploads)) <= MAX_UPLOADS:
            batch.append(self.waiting.popleft())
        return batch


class GroupCommit:
    """One replica's."""

    def __init__(self, database: AsyncEngine, limits: Quotas) -> None:
        self._database, self._quotas = database, limits
        self._lanes = tuple(_Lane() for _ in range(LANES))
        self._writers: set[asyncio.Task[None]] = set()

    async def accept(self, call: AcceptCall) -> bytes:
        """Writes the call's rows and its answer, and gives the answer's JSON once they are committed.

        Raises CatalogueError as quotas, reservations and keys do, and what says that the database is away.
        """
        waiting, lane = _Waiting(call), self._lanes[call.uploads[0].user_id.int % LANES]
        lane.waiting.append(waiting)
        if not lane.is_written:
            lane.is_written = True
            writer = asyncio.create_task(self._write(lane))
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        return await waiting.answer

    async def _write(self, lane: _Lane) -> None:
        try:
            while lane.waiting:
                await self._settle(lane.next_batch())
        finally:
            # Without a pause after the look at what waits: whoever comes now must see that this writer is gone.
            lane.is_written = False

    async def _settle(self, batch: Sequence[_Waiting]) -> None:
        """Gives each call its answer or its error."""
        try:
            async with self._database.begin() as connection:
                await self._commit(connection, await self._admitted(connection, batch))
        except Exception as error:  # noqa: BLE001 - given to whom it belongs
            # Whatever it was, it is one call's, unless the database was away.
            apart = len(batch) > 1 and not is_outage(error)
            for one in batch:
                if not one.answer.done():
                    await (self._settle([one]) if apart else self._end(one, error))
        except BaseException:
            for one in batch:
                one.answer.cancel()
            raise
        else:
            for one in batch:
                if not one.answer.done():
                    one.answer.set_result(one.body)

    async def _admitted(self, connection: AsyncConnection, batch: Sequence[_Waiting]) -> list[_Waiting]:
        """Those that the quotas let in, one after the other; the others have their error."""
        usages = await quotas.lock_usage(connection, {one.call.uploads[0].user_id for one in batch}, self._quotas)
        admitted = []
        for one in batch:
            uploads = one.call.uploads
            user_id, size = uploads[0].user_id, sum(upload.size for upload in uploads)
            try:
                quotas.check(self._quotas, usages[user_id], files=len(uploads), size=size)
            except CatalogueError as error:
                one.answer.set_exception(error)
            else:
                usages[user_id] = usages[user_id].with_more(files=len(uploads), size=size)
                admitted.append(one)
        return admitted

    async def _commit(self, connection: AsyncConnection, batch: Sequence[_Waiting]) -> None:
        if not batch:
            return
        await accept.accept(connection, [upload for one in batch for upload in one.call.uploads])
        ids = [upload.extraction_id for one in batch for upload in one.call.uploads]
        rows = await videos.documents_within(connection, ids)
        answers: dict[OwnedKey, Answer] = {}
        for one in batch:
            items = [
                cached_representations.representation_of(rows[upload.extraction_id]).video
                for upload in one.call.uploads
            ]
            one.body = encode_json({"items": items})
            answers |= one.call.idempotent.answer(one.call.fingerprint, 201, one.body)
        await idempotency_keys.finish(connection, answers)

    async def _end(self, one: _Waiting, error: Exception) -> None:
        """Gives a call its error; but when only the answer to its COMMIT was lost, it counts."""
        accepted = False
        if is_outage(error) and one.body:
            upload = one.call.uploads[0]
            try:
                accepted = await videos.video_key_of(self._database, upload.user_id, upload.video_id) is not None
            except Exception as later:  # noqa: BLE001 - given to the call
                error = later
        if one.answer.done():
            return
        if accepted:
            one.answer.set_result(one.body)
        else:
            one.answer.set_exception(error)
