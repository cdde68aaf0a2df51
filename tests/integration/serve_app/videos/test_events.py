"""Server-sent events of extractions: what arrives, when, after a reconnect, and when a stream ends."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from sqlalchemy import text
from starlette.applications import Starlette

from db.queue import task_queue
from serve_app.app import create_app
from serve_app.deployment import replica_lifespan
from serve_app.deps import Deps
from serve_app.http.server.socket_server import serve_on_socket
from serve_app.live import event_stream, extraction_feed, pending_events
from serve_app.openapi import response_schemas
from serve_app.routes import events
from tests.support.clients import api_client
from tests.support.clients.api_client import PASSWORD, make_result, publish_next_task, upload_video
from tests.support.clients.event_stream_client import EventStream, open_stream
from tests.support.state import database_rows, queue_steps


def token_of(client: httpx.AsyncClient) -> dict[str, str]:
    return {"Authorization": client.headers["Authorization"]}


@asynccontextmanager
async def stream_of(port: int, client: httpx.AsyncClient, last: str | None = None) -> AsyncIterator[EventStream]:
    """A stream of the client's account that has begun."""
    async with open_stream(port, token_of(client), last) as stream:
        if last is None:
            await stream.wait_for_id()
        yield stream


async def next_newer(stream: EventStream, known: dict[str, Any]) -> dict[str, Any]:
    """The next snapshot after this one, which may come twice."""
    while (snapshot := await stream.next_extraction()) == known:
        pass
    assert snapshot["version"] > known["version"]
    return snapshot


async def test_every_change_arrives_as_a_whole_snapshot_with_a_higher_version(
    ana: httpx.AsyncClient, deps: Deps, port: int
) -> None:
    async with stream_of(port, ana) as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert stream.response.headers["cache-control"] == "no-store"
        video = await upload_video(ana)
        queued = await stream.next_extraction()
        assert (queued["id"], queued["status"]) == (video["extraction"]["id"], "queued")
        claim = await queue_steps.claim_one(deps.database)
        running = await next_newer(stream, queued)
        assert running["status"] == "running"
        await queue_steps.publish_result(deps.database, claim.lease)
        succeeded = await next_newer(stream, running)
        assert succeeded["status"] == "succeeded"
        assert succeeded == (await ana.get(f"/v1/extractions/{queued['id']}")).json()
        response_schemas.Extraction.model_validate(succeeded, strict=False)


async def test_event_arrives_within_half_a_second_of_its_commit(ana: httpx.AsyncClient, deps: Deps, port: int) -> None:
    """The least of several: a busy machine delays some, a slow feed delays all."""
    seconds = []
    async with stream_of(port, ana) as stream:
        for _ in range(10):
            await upload_video(ana)
            committed = time.perf_counter()
            await stream.next_extraction()
            seconds.append(time.perf_counter() - committed)
    assert min(seconds) < 0.5


async def test_progress_arrives_while_no_event_is_written(ana: httpx.AsyncClient, deps: Deps, port: int) -> None:
    await upload_video(ana)
    lease = (await queue_steps.claim_one(deps.database)).lease
    await task_queue.plan(deps.database, lease, media=api_client.MEDIA, frames_total=50)
    async with stream_of(port, ana) as stream:
        first = await stream.next_extraction()
        assert (first["status"], first["progress"]["frames_done"]) == ("running", 0)
        await task_queue.heartbeat(deps.database, lease, frames_done=20)
        progress = (await stream.next_extraction())["progress"]
        assert (progress["frames_done"], progress["fraction"]) == (20, 0.4)


async def test_commit_of_an_older_transaction_arrives_while_a_newer_one_is_known(
    ana: httpx.AsyncClient, deps: Deps, port: int
) -> None:
    """The older transaction has the lower number, and its event the lower id."""
    older, newer = [(await upload_video(ana))["extraction"]["id"] for _ in range(2)]
    async with stream_of(port, ana) as stream, deps.database.connect() as connection:
        insert = "INSERT INTO events (extraction_id, kind) VALUES (:id, 'requeued')"
        await connection.execute(text(insert), {"id": older})
        await queue_steps.cancel_extraction(deps.database, newer)
        assert (await stream.next_extraction())["id"] == newer
        await connection.commit()
        assert (await stream.next_extraction())["id"] == older


async def test_events_of_other_accounts_do_not_arrive(
    ana: httpx.AsyncClient, bob: httpx.AsyncClient, port: int
) -> None:
    async with stream_of(port, ana) as of_ana, stream_of(port, bob) as of_bob:
        theirs = (await upload_video(bob))["extraction"]["id"]
        assert (await of_bob.next_extraction())["id"] == theirs
        mine = (await upload_video(ana))["extraction"]["id"]
        assert (await of_ana.next_extraction())["id"] == mine


async def test_reconnect_sends_again_what_was_missed_and_what_runs(
    ana: httpx.AsyncClient, bob: httpx.AsyncClient, deps: Deps, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "KEEP_ALIVE_SECONDS", 0.05)
    for _ in range(3):
        await upload_video(ana)
    running = (await queue_steps.claim_one(deps.database)).extraction_id
    async with stream_of(port, ana) as stream:
        last = await stream.wait_for_id()
    missed = (await upload_video(ana))["extraction"]["id"]
    await upload_video(bob)
    async with stream_of(port, ana, last) as stream:
        new = (await upload_video(ana))["extraction"]["id"]
        sent = set[str]()
        while new not in sent:
            sent.add((await stream.next_extraction())["id"])
        assert sent == {str(running), missed, new}
        # The id stays while a transaction that has begun before is open.
        further = asyncio.create_task(stream.next_extraction())
        async with asyncio.timeout(60):
            while int(stream.last_event_id or 0) <= int(last):
                await asyncio.sleep(0.01)
        further.cancel()


async def test_id_advances_while_nothing_of_the_account_changes(
    ana: httpx.AsyncClient, bob: httpx.AsyncClient, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "KEEP_ALIVE_SECONDS", 0.05)
    async with stream_of(port, ana) as stream:
        last = await stream.wait_for_id()
        await upload_video(bob)
        mine = asyncio.create_task(stream.next_extraction())
        async with asyncio.timeout(60):
            while stream.last_event_id == last:
                await asyncio.sleep(0.01)
        assert stream.comments
        await upload_video(ana)
        await mine


@pytest.mark.parametrize("last", ["x", "999999999999999999", "1" * 30])
async def test_unknown_last_event_id_sends_reset_and_what_has_not_ended(
    ana: httpx.AsyncClient, deps: Deps, port: int, last: str
) -> None:
    await upload_video(ana)
    await publish_next_task(deps, make_result([b"one"]))
    waiting = (await upload_video(ana))["extraction"]["id"]
    async with stream_of(port, ana, last) as stream:
        assert (await stream.next()).type == "reset"
        assert (await stream.next_extraction())["id"] == waiting
        new = (await upload_video(ana))["extraction"]["id"]
        assert (await stream.next_extraction())["id"] == new


async def test_last_event_id_with_too_many_events_after_it_is_unknown(
    ana: httpx.AsyncClient, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.extraction_change_feed.MAX_MISSED_EVENTS", 2)
    async with stream_of(port, ana) as stream:
        last = await stream.wait_for_id()
    for _ in range(3):
        await upload_video(ana)
    async with stream_of(port, ana, last) as stream:
        assert (await stream.next()).type == "reset"
        assert len({(await stream.next_extraction())["id"] for _ in range(3)}) == 3


async def test_slow_reader_gets_the_newest_version_of_everything(
    ana: httpx.AsyncClient, deps: Deps, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More waits than the stream may hold, so it reads from the database what it has not sent."""
    monkeypatch.setattr(pending_events, "MAX_PENDING_BYTES", 1)
    async with stream_of(port, ana) as stream:
        answer = await api_client.upload_videos(ana, *[(f"{n}.mp4", api_client.MP4 + bytes([n])) for n in range(5)])
        accepted = {video["extraction"]["id"] for video in answer.json()["items"]}
        assert {(await stream.next_extraction())["id"] for _ in accepted} == accepted


async def test_stream_ends_with_its_session(ana: httpx.AsyncClient, port: int) -> None:
    async with stream_of(port, ana) as stream:
        assert (await ana.delete("/v1/tokens")).status_code == 204
        await stream.wait_for_end()
    assert (await ana.get("/v1/events")).status_code == 401


async def test_stream_ends_with_its_token(
    ana: httpx.AsyncClient, deps: Deps, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SecondsLater(datetime):
        """For the stream, most of the token's time is over. A token of one second might expire before its request."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(seconds=deps.access_seconds - 1)

    monkeypatch.setattr(events, "datetime", SecondsLater)
    async with stream_of(port, ana) as stream:
        await stream.wait_for_end()
    monkeypatch.undo()
    async with stream_of(port, ana) as stream:
        assert stream.last_event_id


async def test_page_session_opens_a_stream_with_its_cookie(visitor: httpx.AsyncClient, port: int) -> None:
    await api_client.log_in(visitor)
    credentials = {"email": "ana@example.org", "password": PASSWORD}
    cookie = (await visitor.post("/session", json=credentials)).headers["set-cookie"].partition(";")[0]
    async with open_stream(port, {"Cookie": cookie}) as stream:
        await stream.wait_for_id()
        await upload_video(visitor)
        assert (await stream.next_extraction())["status"] == "queued"


async def test_streams_of_a_replica_that_ends_are_closed_and_new_ones_refused(
    ana: httpx.AsyncClient, deps: Deps, port: int
) -> None:
    async with stream_of(port, ana) as stream:
        await deps.extraction_feed.close()
        await stream.wait_for_end()
    refused = await ana.get("/v1/events")
    assert api_client.status_and_code(refused) == (503, "unavailable")
    assert refused.headers["retry-after"] == "1"


async def test_stream_does_not_delay_the_end_of_its_replica(ana: httpx.AsyncClient, deps: Deps, tmp_path: Path) -> None:
    @asynccontextmanager
    async def open_deps() -> AsyncIterator[Deps]:
        yield deps

    def listen(app: Starlette) -> AbstractAsyncContextManager[None]:
        return serve_on_socket(app, bound, drain_seconds=60)

    app = create_app(lifespan=replica_lifespan(open_deps, listen))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        async with AsyncExitStack() as stack:
            async with app.router.lifespan_context(app):
                stream = await stack.enter_async_context(stream_of(bound.getsockname()[1], ana))
                ended = asyncio.create_task(stream.wait_for_end())
            await ended


async def test_full_collections_of_a_replica_leave_out_what_its_imports_made(deps: Deps) -> None:
    app = create_app(lifespan=replica_lifespan(lambda: nullcontext(deps), lambda _: nullcontext()))
    gc.unfreeze()
    async with app.router.lifespan_context(app):
        assert gc.get_freeze_count() > 10 * len(gc.get_objects())


async def test_streams_are_limited_by_account_and_by_replica(
    ana: httpx.AsyncClient, bob: httpx.AsyncClient, deps: Deps, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction_feed, "MAX_ACCOUNT_STREAMS", 2)
    monkeypatch.setattr(extraction_feed, "MAX_STREAMS", 3)
    async with AsyncExitStack() as stack:
        for client in (ana, ana, bob):
            await stack.enter_async_context(stream_of(port, client))
        assert api_client.status_and_code(await ana.get("/v1/events")) == (429, "too_many_streams")
        assert api_client.status_and_code(await bob.get("/v1/events")) == (503, "streams_full")
    async with asyncio.timeout(60):
        while deps.extraction_feed.count:
            await asyncio.sleep(0.01)
    async with stream_of(port, bob) as stream:
        assert stream.last_event_id


async def test_head_of_the_stream_ends_at_once(ana: httpx.AsyncClient, deps: Deps) -> None:
    answer = await ana.head("/v1/events")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    assert deps.extraction_feed.count == 0


async def test_feed_goes_on_after_an_outage_of_the_database_without_missing_a_change(
    ana: httpx.AsyncClient, deps: Deps, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction_feed, "OUTAGE_PAUSE_SECONDS", 0.05)
    video = await upload_video(ana)
    async with stream_of(port, ana) as stream:
        # It returns when the others have ended: until then the pool would take them for alive.
        terminate = (
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await database_rows.fetch_one(deps.database, f"SELECT count(*) FROM ({terminate}) AS ended")
        await queue_steps.cancel_extraction(deps.database, video["extraction"]["id"])
        assert (await stream.next_extraction())["status"] == "cancelled"
