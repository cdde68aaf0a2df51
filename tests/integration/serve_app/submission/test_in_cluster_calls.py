"""Calls in the cluster end where HTTP requests end: the same rows, the same limits, each object once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from cluster.cli.ops.ingest import exit_code
from cluster.cli.output.exit_codes import CommandExitCode
from cluster.client.retry_policy import RetryPolicy
from cluster.submit.prefix_ingest import ObjectOutcome, OutcomeKind, ingest_prefix
from cluster.submit.service_handle import ServiceHandle
from db.acceptance import acceptance_audit, idempotency_keys
from db.acceptance.quotas import Quotas
from db.object_store.object_sources import READ_BYTES, ObjectSources
from db.values.error_catalogue import CatalogueError
from serve_app.deps import Deps
from serve_app.in_cluster_calls import InClusterCalls
from tests.support.clients.api_client import MP4, NOTHING_STORED, make_result, publish_next_task, stored_state
from tests.support.clients.limited_api import open_limited_api
from tests.support.servers.s3_listing import serve_listing
from tests.support.servers.s3_server import S3Server
from tests.support.state import database_rows

ANA = "ana@example.org"
NO_RETRY = RetryPolicy(attempts=1)


class CallsHere:
    """In place of a Serve handle: the calls of a replica, in this process."""

    def __init__(self, deps: Deps) -> None:
        self._calls = InClusterCalls(deps)

    @property
    def call(self) -> CallsHere:
        return self

    async def remote(self, name: str, arguments: Mapping[str, Any]) -> tuple[int, dict[str, str], bytes]:
        return await self._calls.answer(name, arguments)


@pytest.fixture
def calls(deps: Deps, ana: httpx.AsyncClient) -> InClusterCalls:
    return InClusterCalls(deps)


@pytest.fixture
def handle(deps: Deps, ana: httpx.AsyncClient) -> ServiceHandle:
    return ServiceHandle(ANA, CallsHere(deps), NO_RETRY)


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    folder = tmp_path / "footage"
    folder.mkdir()
    return folder


def clip(folder: Path, name: str = "a.mp4", content: bytes = MP4) -> str:
    """Writes an object. Returns its URL."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return f"file://{folder / name}"


async def code_of(calls: InClusterCalls, name: str, **arguments: Any) -> tuple[int, str]:
    status, _, body = await calls.answer(name, arguments)
    return status, orjson.loads(body)["code"]


async def test_object_becomes_a_video_with_the_rows_of_an_upload(
    ana: httpx.AsyncClient, deps: Deps, handle: ServiceHandle, footage: Path
) -> None:
    submission = await handle.submit(clip(footage, "böse#1 %20.mp4"), {"sample": {"mode": "keyframes"}})
    (video,) = (await ana.get("/v1/videos")).json()["items"]
    assert (video["id"], video["filename"]) == (submission.video.id, "böse#1 %20.mp4")
    assert (video["size"], video["sha256"]) == (len(MP4), hashlib.sha256(MP4).hexdigest())
    assert video["extraction"]["spec"]["sample"] == {"mode": "keyframes"}
    acceptance = await database_rows.fetch_one(deps.database, "SELECT extraction_id FROM acceptances")
    assert str(acceptance.extraction_id) == submission.video.extraction.id
    assert await database_rows.event_kinds(deps.database, acceptance.extraction_id) == ["accepted"]
    key = f"videos/{video['id']}"
    assert b"".join([block async for block in deps.objects.read(key)]) == MP4
    assert not submission.reused


async def test_result_is_read_by_the_handle(deps: Deps, handle: ServiceHandle, footage: Path, tmp_path: Path) -> None:
    submission = await handle.submit(clip(footage))
    archive = make_result([b"one", b"two"])
    object.__setattr__(archive, "sha256", hashlib.sha256(archive.archive).hexdigest())
    await publish_next_task(deps, archive)
    extraction = await handle.wait(submission.video.extraction, timeout_seconds=60)
    path = await handle.download(extraction, tmp_path / "frames.zip")
    assert path.read_bytes() == archive.archive


async def test_same_object_is_submitted_once_until_it_or_the_specification_changes(
    deps: Deps, handle: ServiceHandle, footage: Path
) -> None:
    url = clip(footage)
    first, second = await handle.submit(url), await handle.submit(url, {"sample": {"mode": "fps", "fps": 1.0}})
    assert (first.video, second.reused) == (second.video, True)
    other_spec = await handle.submit(url, {"sample": {"mode": "all"}})
    clip(footage, content=MP4 + b"more")
    other_content = await handle.submit(url)
    assert len({first.video.id, other_spec.video.id, other_content.video.id}) == 3
    assert (await stored_state(deps.database, deps.objects))[0] == 3


async def test_concurrent_submissions_of_an_object_make_one_video(
    deps: Deps, ana: httpx.AsyncClient, footage: Path
) -> None:
    url, patient = clip(footage), ServiceHandle(ANA, CallsHere(deps))
    submissions = await asyncio.gather(*(patient.submit(url) for _ in range(5)))
    assert len({submission.video.id for submission in submissions}) == 1
    assert sum(not submission.reused for submission in submissions) == 1
    videos, reservations, keys = await stored_state(deps.database, deps.objects)
    assert (videos, reservations, len(keys)) == (1, 0, 1)


async def test_object_stays_submitted_as_long_as_its_video(
    ana: httpx.AsyncClient, deps: Deps, handle: ServiceHandle, footage: Path
) -> None:
    url = clip(footage)
    first = await handle.submit(url)
    await database_rows.execute(deps.database, "UPDATE idempotency_keys SET created_at = now() - interval '30 days'")
    assert await idempotency_keys.delete_expired(deps.database) == 0
    assert (await handle.submit(url)).video.id == first.video.id

    assert (await ana.delete(f"/v1/videos/{first.video.id}")).status_code == 204
    again = await handle.submit(url)
    assert (again.reused, again.video.id == first.video.id) == (False, False)
    assert (await acceptance_audit.compare(deps.database)).total.balanced


async def test_call_of_a_dead_replica_is_repeated_when_its_lease_is_over(
    deps: Deps, calls: InClusterCalls, handle: ServiceHandle, footage: Path
) -> None:
    url = clip(footage)
    await handle.submit(url)
    await database_rows.execute(
        deps.database,
        "UPDATE idempotency_keys SET response = NULL, fingerprint = NULL, video_id = NULL, "
        "lease_expires_at = now() + interval '1 hour'",
    )
    assert await code_of(calls, "submit", account=ANA, url=url, spec=None) == (409, "idempotency_in_progress")
    await database_rows.execute(deps.database, "UPDATE idempotency_keys SET lease_expires_at = now()")
    assert not (await handle.submit(url)).reused


@pytest.mark.parametrize(
    ("content", "code"), [(b"", "empty_file"), (b"#EXTM3U\nhttp://x/", "playlist"), (b"hello" * 500, "not_a_video")]
)
async def test_object_that_is_no_video_is_refused_and_leaves_nothing(
    deps: Deps, calls: InClusterCalls, footage: Path, content: bytes, code: str
) -> None:
    answer = await code_of(calls, "submit", account=ANA, url=clip(footage, content=content), spec=None)
    assert answer == (422, code)
    assert await stored_state(deps.database, deps.objects) == NOTHING_STORED
    assert (await database_rows.fetch_one(deps.database, "SELECT count(*) AS keys FROM idempotency_keys")).keys == 0


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"account": "nobody@example.org"}, 422, "invalid_field"),
        ({"account": "not an address"}, 422, "invalid_field"),
        ({"spec": '{"sample": {"mode": "fps", "fps": 0}}'}, 422, "invalid_spec"),
        ({"spec": "{"}, 400, "malformed_request"),
        ({"url": "https://example.org/a.mp4"}, 422, "invalid_field"),
        ({"url": "a.mp4"}, 422, "invalid_field"),
        ({"url": "file:///nowhere/a.mp4"}, 422, "invalid_field"),
        ({"url": "file:///tmp"}, 422, "invalid_field"),
    ],
)
async def test_wrong_argument_is_named(
    calls: InClusterCalls, footage: Path, changes: dict[str, str], status: int, code: str
) -> None:
    arguments = {"account": ANA, "url": clip(footage), "spec": None} | changes
    answered, _, body = await calls.answer("submit", arguments)
    problem = orjson.loads(body)
    assert (answered, problem["code"], problem["fault"]) == (status, code, "request")
    assert problem["remedy"]
    if code == "invalid_field":
        assert problem["detail"].startswith(f"{next(iter(changes))}: ")


async def test_own_objects_of_the_service_are_no_source(
    deps: Deps, handle: ServiceHandle, calls: InClusterCalls, footage: Path, tmp_path: Path
) -> None:
    video = (await handle.submit(clip(footage))).video
    own = f"file://{tmp_path}/objects/videos/{video.id}"
    assert await code_of(calls, "submit", account=ANA, url=own, spec=None) == (422, "invalid_field")
    for folder in (
        f"file://{tmp_path}",
        f"file://{tmp_path}/objects/",
        f"file://{tmp_path}/objects/videos",
        "file:///",
    ):
        assert await code_of(calls, "list_sources", url=folder, after=None) == (422, "invalid_field"), folder


async def test_quota_holds_for_submissions_too(deps: Deps, tmp_path: Path, footage: Path) -> None:
    async with open_limited_api(deps, tmp_path, quotas=Quotas(waiting=2)) as (limited, client):
        account = (await client.get("/v1/me")).json()["email"]
        calls = InClusterCalls(limited)
        urls = [clip(footage, f"{n}.mp4") for n in range(5)]
        answers = await asyncio.gather(
            *(calls.answer("submit", {"account": account, "url": url, "spec": None}) for url in urls)
        )
        assert sorted(status for status, _, _ in answers) == [201, 201, 429, 429, 429]
        assert all(int(headers["retry-after"]) > 0 for status, headers, _ in answers if status == 429)
        repeated = await asyncio.gather(
            *(calls.answer("submit", {"account": account, "url": url, "spec": None}) for url in urls)
        )
        assert sorted(status for status, _, _ in repeated) == [201, 201, 429, 429, 429]
        assert (await stored_state(limited.database, limited.objects))[0] == 2


async def test_too_large_object_is_refused_before_it_is_read(deps: Deps, tmp_path: Path, footage: Path) -> None:
    async with open_limited_api(deps, tmp_path, quotas=Quotas(stored_bytes=1000)) as (limited, client):
        account = (await client.get("/v1/me")).json()["email"]
        answer = await code_of(InClusterCalls(limited), "submit", account=account, url=clip(footage), spec=None)
        assert answer == (429, "quota_exceeded")


async def test_object_that_is_written_while_it_is_read_is_not_accepted(footage: Path) -> None:
    sources = ObjectSources()
    source = await sources.find(clip(footage, content=b"a" * (READ_BYTES + 1)))
    reading = sources.read(source)
    assert await anext(reading) == b"a" * READ_BYTES
    clip(footage, content=b"b" * (READ_BYTES + 9))
    with pytest.raises(CatalogueError, match="unavailable"):
        await anext(reading)


@pytest.mark.parametrize("kind", ["folder", "bucket"])
async def test_pages_list_every_object_of_a_folder_once(
    kind: str, footage: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    import obstore
    from obstore.store import from_url

    root = f"file://{footage}"
    if kind == "bucket":
        for name, value in s3_server.environment.items():
            monkeypatch.setenv(name, value)
        root = s3_server.new_bucket()
    names = [f"in/{folder}{n} ü#%20.mp4" for folder in ("", "b/", "a/") for n in range(5)]
    store = from_url(root) if kind == "bucket" else from_url(f"file://{footage}/")
    for name in [*names, "inside.mp4", "other/x.mp4"]:
        obstore.put(store, name, name.encode())
    sources, found, after = ObjectSources(), [], None
    while page := await sources.list_page(f"{root}/in/", after, 4):
        assert len(page) <= 4
        found += [source.url for source in page]
        after = found[-1]
    assert found == sorted(f"{root}/{name}" for name in names)
    for url in found:
        source = await sources.find(url)
        content = b"".join([block async for block in sources.read(source)])
        assert content.decode() == url.removeprefix(f"{root}/")
    assert await sources.list_page(f"{root}/nothing", None, 4) == []


@pytest.mark.parametrize("key", ["in/b//c.mp4", "in/b/./c.mp4"])
async def test_list_that_has_an_object_which_cannot_be_read_names_it(
    handle: ServiceHandle, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    with serve_listing(["in/a.mp4", key]) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        summary = await ingest_prefix(handle, "s3://footage/in")
    failure = summary.listing_failure
    assert failure is not None
    assert (failure.code, failure.fault) == ("invalid_field", "request")
    assert f"{key}" in failure.detail
    assert "Rename it, or give prefixes that leave it out." in failure.detail
    assert exit_code(summary) is CommandExitCode.REFUSED


async def test_ingestion_counts_every_object_and_goes_on_after_refusals(
    ana: httpx.AsyncClient, handle: ServiceHandle, footage: Path
) -> None:
    for n in range(7):
        clip(footage, f"day {n % 2}/{n}.mp4", MP4 + bytes([n]))
    clip(footage, "notes.txt", b"hello" * 500)
    clip(footage, "empty.mp4", b"")
    submitted = await handle.submit(f"file://{footage}/day 0/0.mp4")
    outcomes: list[ObjectOutcome] = []
    summary = await ingest_prefix(
        handle, f"file://{footage}", concurrency=3, on_outcome=lambda outcome, _: outcomes.append(outcome)
    )
    assert (summary.objects, summary.counts, summary.listing_failure) == (
        9,
        {OutcomeKind.ACCEPTED: 6, OutcomeKind.REUSED: 1, OutcomeKind.REFUSED: 2},
        None,
    )
    refused = {outcome.url: outcome.failure for outcome in outcomes if outcome.kind is OutcomeKind.REFUSED}
    assert {url.rpartition("/")[2]: failure and failure.code for url, failure in refused.items()} == {
        "notes.txt": "not_a_video",
        "empty.mp4": "empty_file",
    }
    assert {outcome.video.id for outcome in outcomes if outcome.video} >= {submitted.video.id}
    assert len((await ana.get("/v1/videos")).json()["items"]) == 7


async def test_ingestion_that_is_stopped_and_repeated_submits_each_object_once(
    ana: httpx.AsyncClient, deps: Deps, handle: ServiceHandle, footage: Path
) -> None:
    for n in range(12):
        clip(footage, f"{n:02}.mp4", MP4 + bytes([n]))
    stopped = asyncio.Event()
    running = asyncio.create_task(
        ingest_prefix(
            handle,
            f"file://{footage}",
            concurrency=3,
            on_outcome=lambda _, summary: stopped.set() if summary.counts.total() == 5 else None,
        )
    )
    await stopped.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    before = await names_of_whole_videos(ana, deps, footage)
    assert 5 <= len(before) < 12
    patient = ServiceHandle(ANA, CallsHere(deps))
    summary = await ingest_prefix(patient, f"file://{footage}", concurrency=3)
    assert summary.counts == {OutcomeKind.ACCEPTED: 12 - len(before), OutcomeKind.REUSED: len(before)}
    assert await names_of_whole_videos(ana, deps, footage) == [f"{n:02}.mp4" for n in range(12)]


async def names_of_whole_videos(ana: httpx.AsyncClient, deps: Deps, footage: Path) -> list[str]:
    """The names of all videos, in order. Each has the bytes of its source and is queued.

    Any other object is one of the three that were being written when their requests ended: by its reservation,
    maintenance deletes it.
    """
    videos = (await ana.get("/v1/videos")).json()["items"]
    for video in videos:
        stored = b"".join([block async for block in deps.objects.read(f"videos/{video['id']}")])
        assert stored == (footage / video["filename"]).read_bytes()
        assert video["extraction"]["status"] == "queued"
    count, reservations, keys = await stored_state(deps.database, deps.objects)
    of_videos = {f"videos/{video['id']}" for video in videos}
    reserved = await database_rows.fetch_one(
        deps.database,
        "SELECT array_agg(object_key) FILTER (WHERE abandoned_at IS NOT NULL) AS abandoned FROM reservations",
    )
    abandoned = set(reserved.abandoned or [])
    assert (count, reservations <= 3) == (len(videos), True)
    assert of_videos <= set(keys) <= of_videos | abandoned
    assert len(abandoned) == reservations
    ledger = (await acceptance_audit.compare(deps.database)).total
    assert (ledger.accepted, ledger.balanced) == (len(videos), True)
    return sorted(video["filename"] for video in videos)
