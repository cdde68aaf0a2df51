"""Every call of the SDK against the service, over a real connection, on real servers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from cluster.client.api_types import Status, Tokens
from fotograma import (
    ApiError,
    AsyncClient,
    Client,
    ExtractionFailed,
    InvalidArgument,
    NotAllowed,
    NotAuthenticated,
)
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.security.signed_tokens import Audience
from tests.support.clients import api_client
from tests.support.clients.fake_service import FakeService
from tests.support.clients.image_archive import png, serve_images

EMAIL = "ana@example.org"


@pytest.fixture
async def url(deps: Deps) -> AsyncIterator[str]:
    async with api_client.listen(create_app(deps)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def ana(url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(url) as client:
        await client.register(EMAIL, api_client.PASSWORD, name="Ana")
        await client.login(EMAIL, api_client.PASSWORD)
        yield client


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("one.mp4", "naïve “clip”.webm", "three.mp4")]
    for number, path in enumerate(paths):
        path.write_bytes((api_client.WEBM if path.suffix == ".webm" else api_client.MP4) + b"%d" % number)
    return paths


async def publish_next_result(deps: Deps) -> bytes:
    """Publishes a result for the next task; returns the archive."""
    result = api_client.make_result([b"first" * 1000, b"second" * 1000])
    await api_client.publish_next_task(deps, replace(result, sha256=hashlib.sha256(result.archive).hexdigest()))
    return result.archive


async def test_account_is_exported_and_erased(ana: AsyncClient, clips: list[Path], tmp_path: Path) -> None:
    await ana.submit(clips)
    with zipfile.ZipFile(await ana.export_account(tmp_path / "export.zip")) as export:
        assert export.testzip() is None
        assert json.loads(export.read("account.json"))["email"] == EMAIL
        assert len(json.loads(export.read("videos.json"))) == len(clips)
    with pytest.raises(ApiError, match="bad_credentials"):
        await ana.delete_account("another password")
    await ana.delete_account(api_client.PASSWORD)
    assert ana.tokens is None
    with pytest.raises(ApiError, match="bad_credentials"):
        await ana.login(EMAIL, api_client.PASSWORD)


async def test_account_registers_renews_its_session_and_logs_out(url: str) -> None:
    stored_tokens: list[Tokens | None] = []
    async with AsyncClient(url, on_tokens=stored_tokens.append) as client:
        account = await client.register(EMAIL, api_client.PASSWORD, name="Ana", locale="pt-BR")
        with pytest.raises(ApiError) as second_registration:
            await client.register(EMAIL, api_client.PASSWORD)
        assert (second_registration.value.status, second_registration.value.code) == (409, "email_taken")
        await client.login(EMAIL, api_client.PASSWORD)
        assert (await client.me()).id == account.id
        renewed = await client.refresh()
        assert renewed is not None
        assert renewed.refresh_token is not None
        assert (await client.me()).email == EMAIL
        await client.logout()
    assert len({tokens and tokens.refresh_token for tokens in stored_tokens}) == 3
    async with AsyncClient(url, tokens=renewed) as ended:
        with pytest.raises(ApiError) as refused:
            await ended.me()
        assert refused.value.status == 401


@pytest.mark.parametrize("is_expired", [True, False], ids=["expired", "invalid"])
async def test_expired_or_invalid_access_token_is_renewed(
    url: str, ana: AsyncClient, deps: Deps, is_expired: bool
) -> None:
    assert ana.tokens is not None
    claims = deps.token_signer.verify(Audience.ACCESS, ana.tokens.access_token)
    token = deps.token_signer.issue(Audience.ACCESS, claims, -1) if is_expired else "run.out.token"
    async with AsyncClient(url, tokens=Tokens(token, ana.tokens.refresh_token)) as client:
        accounts = await asyncio.gather(*(client.me() for _ in range(5)))
    assert {account.email for account in accounts} == {EMAIL}


async def test_api_key_of_the_environment_works_in_place_of_a_log_in(
    url: str, ana: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = await ana.add_api_key("a notebook")
    assert created.secret is not None
    assert created.secret not in repr(created)
    monkeypatch.setenv("FOTOGRAMA_URL", url)
    monkeypatch.setenv("FOTOGRAMA_API_KEY", created.secret)
    async with AsyncClient() as script:
        assert (await script.me()).email == EMAIL
        (listed,) = await script.api_keys()
        assert (listed.id, listed.name, listed.secret) == (created.id, "a notebook", None)
        assert listed.last_used_at is not None
        for refused in (script.add_api_key("second"), script.delete_api_key(listed), script.logout()):
            with pytest.raises(NotAllowed, match="session_required"):
                await refused
        await ana.delete_api_key(created)
        with pytest.raises(NotAuthenticated):
            await script.me()
    assert await ana.api_keys() == ()


async def test_blocking_client_creates_lists_and_deletes_api_keys(url: str, ana: AsyncClient) -> None:
    assert ana.tokens is not None
    with Client(url, ana.tokens.access_token) as client:
        keys = [await asyncio.to_thread(client.add_api_key, name) for name in ("one", "two")]
        assert [key.name for key in await asyncio.to_thread(client.api_keys)] == ["two", "one"]
        await asyncio.to_thread(client.delete_api_key, keys[0])
        assert [key.id for key in await asyncio.to_thread(client.api_keys)] == [keys[1].id]


async def test_file_is_estimated_without_being_sent(ana: AsyncClient) -> None:
    media = {"codec": "h264", "width": 1920, "height": 1080, "duration": 60.0, "fps_average": 25.0}
    estimate = await ana.estimate(media, {"sample": {"mode": "fps", "fps": 2}})
    assert estimate.frames == 120
    assert estimate.bytes > 120 * 10_000
    assert estimate.seconds > 0
    assert [video async for video in ana.videos()] == []


async def test_specification_of_thousands_of_timestamps_is_sent_with_an_upload(
    ana: AsyncClient, clips: list[Path]
) -> None:
    spec = {"sample": {"mode": "timestamps", "at": list(range(50_000))}}
    assert (await ana.upload(clips[0], spec)).extraction.spec["sample"] == spec["sample"]


async def test_clips_are_uploaded_listed_extracted_and_deleted(ana: AsyncClient, clips: list[Path]) -> None:
    videos = await ana.submit(clips, {"sample": {"mode": "fps", "fps": 29.97}, "max_frames": 5})
    assert [video.filename for video in videos] == [path.name for path in clips]
    assert videos[1].size == clips[1].stat().st_size
    assert videos[0].extraction.spec["sample"] == {"mode": "fps", "fps": 29.97}
    assert {video.id async for video in ana.videos()} == {video.id for video in videos}
    assert [video.id async for video in ana.videos(q="naïve", status=Status.QUEUED)] == [videos[1].id]
    page = await ana.video_page(limit=2)
    assert page.next_cursor is not None
    assert (await ana.video_page(limit=2, cursor=page.next_cursor)).next_cursor is None
    again = await ana.extract_again(videos[0], {"sample": {"mode": "keyframes"}})
    assert (await ana.video(videos[0].id)).extraction.id == again.id
    await ana.delete(videos[0])
    with pytest.raises(ApiError, match="not_found"):
        await ana.video(videos[0].id)


async def test_same_idempotency_key_accepts_the_same_clips_once(ana: AsyncClient, clips: list[Path]) -> None:
    first = await ana.submit(clips, idempotency_key="mine")
    assert [video.id for video in await ana.submit(clips, idempotency_key="mine")] == [video.id for video in first]
    with pytest.raises(ApiError) as refused:
        await ana.submit(clips[1:], idempotency_key="mine")
    assert refused.value.code == "idempotency_key_reused"


async def test_non_video_is_refused_with_its_reason(ana: AsyncClient, clips: list[Path]) -> None:
    clips[1].write_bytes(b"#EXTM3U\n")
    with pytest.raises(ApiError) as refused:
        await ana.submit(clips)
    assert (refused.value.status, refused.value.code, refused.value.fault) == (422, "playlist", "file")
    assert refused.value.remedy
    assert refused.value.failed_file == clips[1]
    submitted_ids = {video.id for video in refused.value.submitted}
    assert {video.id async for video in ana.videos()} == submitted_ids
    with pytest.raises(ApiError) as refused:
        await ana.upload(clips[0], {"sample": {"mode": "every"}})
    assert refused.value.code == "invalid_spec"


async def test_both_clients_wait_for_a_result_and_download_it(
    url: str, deps: Deps, ana: AsyncClient, clips: list[Path], tmp_path: Path
) -> None:
    extraction = (await ana.upload(clips[0])).extraction
    with pytest.raises(ApiError) as early:
        await ana.download(extraction, tmp_path / "early.zip")
    assert early.value.code == "not_ready"
    waiting = asyncio.create_task(ana.wait(extraction))
    archive = await publish_next_result(deps)
    ended = await waiting
    assert ended.result is not None
    assert ended.progress.fraction == 1
    assert (await ana.download(ended, tmp_path / "a.zip")).read_bytes() == archive
    assert ana.tokens is not None
    token = ana.tokens.access_token

    def download_blocking() -> bytes:
        with Client(url, token) as client:
            return client.download(extraction.id, tmp_path / "b.zip").read_bytes()

    assert await asyncio.to_thread(download_blocking) == archive


async def test_cancelled_extraction_is_retried_once_with_one_key(ana: AsyncClient, clips: list[Path]) -> None:
    extraction = (await ana.upload(clips[0])).extraction
    assert (await ana.cancel(extraction)).status is Status.CANCELLED
    with pytest.raises(ExtractionFailed):
        await ana.wait(extraction)
    with pytest.raises(ApiError) as refused:
        await ana.cancel(extraction)
    assert refused.value.code == "wrong_state"
    first = await ana.retry(extraction, idempotency_key="again")
    assert first.id != extraction.id
    assert (await ana.retry(extraction, idempotency_key="again")).id == first.id


async def test_file_above_the_maximum_size_is_refused_before_its_bytes_are_sent(deps: Deps, clips: list[Path]) -> None:
    with clips[0].open("ab") as file:
        file.truncate(60_000_000)
    limited_deps = replace(deps, uploads=replace(deps.uploads, max_bytes=1_000_000))
    progress: list[int] = []
    async with api_client.listen(create_app(limited_deps)) as port, AsyncClient(f"http://127.0.0.1:{port}") as client:
        await client.register(EMAIL, api_client.PASSWORD)
        await client.login(EMAIL, api_client.PASSWORD)
        with pytest.raises(ApiError) as refused:
            await client.upload(clips[0], on_sent=lambda sent, _: progress.append(sent))
    assert (refused.value.status, refused.value.code) == (413, "too_large")
    assert not progress


async def test_refusal_of_a_large_request_arrives_and_smaller_ones_follow(deps: Deps, clips: list[Path]) -> None:
    with clips[0].open("ab") as file:
        file.truncate(60_000_000)
    limited_deps = replace(deps, uploads=replace(deps.uploads, max_request_bytes=3_000_000))
    async with api_client.listen(create_app(limited_deps)) as port, AsyncClient(f"http://127.0.0.1:{port}") as client:
        await client.register(EMAIL, api_client.PASSWORD)
        await client.login(EMAIL, api_client.PASSWORD)
        assert (await client.upload(clips[0])).size == 60_000_000


async def publish_images(deps: Deps) -> list[tuple[int, int, int]]:
    """Publishes a result of three PNG images, with a manifest like that of the engine. Returns their colours."""
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    images = FakeService()
    serve_images(images, colours)
    result = api_client.make_result([b"image"] * len(colours))
    sha256 = hashlib.sha256(images.archive).hexdigest()
    files = {
        "manifest.json": json.dumps(images.manifest | {"time_base": [1, 25]}).encode(),
        "sheet.jpg": png((9, 9, 9)),
    }
    await api_client.publish_next_task(deps, replace(result, archive=images.archive, sha256=sha256), files=files)
    return colours


async def test_both_clients_extract_a_file_once_and_read_its_images_by_ranges(
    url: str, deps: Deps, ana: AsyncClient, clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ana.tokens is not None
    token = ana.tokens.access_token
    # Both clients find what the other one has sent in the state file of the command line.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    spec = {"sample": {"mode": "fps", "fps": 2}}
    async with AsyncClient(url, token) as client:
        waiting = asyncio.create_task(client.extract([clips[0], tmp_path / "missing.mp4"], spec))
        await task_is_ready(deps)
        colours = await publish_images(deps)
        outcome, missing = await waiting
        assert missing.error is not None
        assert missing.error.code == "local_file"
        assert outcome.extraction is not None
        extraction = outcome.extraction
        assert [image.to_pillow().getpixel((0, 0)) async for image in client.frames(extraction)] == colours
        assert (await client.report(extraction))["reader"] == "pyav"
        assert (await client.sheet(extraction)).to_pillow().size == (64, 48)
        assert [event.kind for event in await client.timeline(extraction)][:1] == ["accepted"]

    def again() -> None:
        with Client(url, token) as client:
            (second,) = client.extract(clips[0].read_bytes(), spec, progress=True)
            assert second.extraction is not None
            assert second.extraction.id == extraction.id
            last, first = client.frames(extraction.id, [3, 1])
            assert (last.to_numpy()[0, 0].tolist(), first.frame.n) == ([0, 0, 200], 1)
            with pytest.raises(InvalidArgument, match="images 1 to 3"):
                list(client.frames(extraction, [4]))

    await asyncio.to_thread(again)
    assert len([video async for video in ana.videos()]) == 1


async def task_is_ready(deps: Deps) -> None:
    while True:
        async with deps.database.connect() as connection:
            if (await connection.execute(text("SELECT count(*) FROM tasks WHERE state = 'ready'"))).scalar_one():
                return
        await asyncio.sleep(0.01)


async def test_account_is_changed_and_its_password_too(url: str, ana: AsyncClient) -> None:
    changed = await ana.update_account(locale="pt-BR", notify="failures")
    assert (changed.locale, changed.notify, changed.name) == ("pt-BR", "failures", "Ana")
    account = await ana.me()
    assert account.use is not None
    assert account.use.videos == 0
    with pytest.raises(NotAuthenticated, match="bad_credentials"):
        await ana.change_password("wrong", "another password")
    await ana.change_password(api_client.PASSWORD, "another password")
    async with AsyncClient(url) as client:
        await client.login(EMAIL, "another password")
