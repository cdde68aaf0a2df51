"""The contact sheet over HTTP while an extraction runs: a preview, for its owner alone, and never cached."""

from __future__ import annotations

import httpx
import pytest

from db.queue import task_queue
from db.queue.task_queue import Claim
from serve_app.deps import Deps
from tests.support.clients.api_client import (
    MEDIA,
    PREVIEW_INDEX,
    make_result,
    publish_next_task,
    status_and_code,
    tell_preview,
    upload_video,
)

JPEG = b"\xff\xd8\xffpreview\xff\xd9"


async def claim_planned(deps: Deps) -> Claim:
    (claim,) = await task_queue.claim(deps.database, worker="w1")
    await task_queue.plan(deps.database, claim.lease, media=MEDIA, frames_total=50)
    return claim


@pytest.fixture
async def path(ana: httpx.AsyncClient) -> str:
    """The address of a queued extraction."""
    return f"/v1/extractions/{(await upload_video(ana))['extraction']['id']}"


async def test_running_extraction_is_not_ready_until_it_has_a_preview(
    ana: httpx.AsyncClient, deps: Deps, path: str
) -> None:
    for name in ("sheet.jpg", "sheet.vtt"):
        assert status_and_code(await ana.get(f"{path}/{name}")) == (409, "not_ready")
    claim = await claim_planned(deps)
    assert status_and_code(await ana.get(f"{path}/sheet.jpg")) == (409, "not_ready")
    assert (await ana.get(path)).json()["preview"] is None
    await tell_preview(deps, claim, 7, JPEG)
    assert (await ana.get(path)).json()["preview"] == {"frames": 7, "segment": None}
    for name, content, kind in (
        ("sheet.jpg", JPEG, "image/jpeg"),
        ("sheet.vtt", PREVIEW_INDEX, "text/vtt; charset=utf-8"),
    ):
        answer = await ana.get(f"{path}/{name}")
        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, content, kind)
        assert (answer.headers["cache-control"], answer.headers["preview-frames"]) == ("no-store", "7")
    assert status_and_code(await ana.get(f"{path}/frames.zip")) == (409, "not_ready")


async def test_preview_is_replaced_by_a_newer_one_and_at_the_end_by_the_sheet(
    ana: httpx.AsyncClient, deps: Deps, path: str
) -> None:
    claim = await claim_planned(deps)
    await tell_preview(deps, claim, 7, JPEG)
    first = await ana.get(f"{path}/sheet.jpg")
    unchanged = await ana.get(f"{path}/sheet.jpg", headers={"If-None-Match": first.headers["etag"]})
    assert (unchanged.status_code, unchanged.headers["cache-control"]) == (304, "no-store")
    await tell_preview(deps, claim, 9, b"newer")
    newer = await ana.get(f"{path}/sheet.jpg", headers={"If-None-Match": first.headers["etag"]})
    assert (newer.status_code, newer.content, newer.headers["preview-frames"]) == (200, b"newer", "9")
    head = await ana.head(f"{path}/sheet.jpg")
    assert (head.content, head.headers["content-length"], head.headers["preview-frames"]) == (b"", "5", "9")
    await task_queue.release(deps.database, claim.lease)
    assert status_and_code(await ana.get(f"{path}/sheet.jpg")) == (409, "not_ready")
    await publish_next_task(deps, make_result([b"image"]))
    final = await ana.get(f"{path}/sheet.jpg")
    assert (final.status_code, final.content) == (200, b"\xff\xd8sheet")
    assert final.headers["cache-control"].startswith("private")
    assert "preview-frames" not in final.headers
    assert (await ana.get(path)).json()["preview"] is None


async def test_preview_belongs_to_the_owner_alone(
    ana: httpx.AsyncClient, bob: httpx.AsyncClient, deps: Deps, path: str
) -> None:
    await tell_preview(deps, await claim_planned(deps), 7, JPEG)
    for name in ("sheet.jpg", "sheet.vtt"):
        assert status_and_code(await bob.get(f"{path}/{name}")) == (404, "not_found")
        assert (await ana.get(f"{path}/{name}")).status_code == 200
    await ana.delete("/v1/tokens")
    assert (await ana.get(f"{path}/sheet.jpg")).status_code == 401


async def test_preview_whose_objects_are_gone_is_not_ready(ana: httpx.AsyncClient, deps: Deps, path: str) -> None:
    await tell_preview(deps, await claim_planned(deps), 7, JPEG)
    for key in await deps.objects.keys("results"):
        await deps.objects.delete(key)
    for name in ("sheet.jpg", "sheet.vtt"):
        answer = await ana.get(f"{path}/{name}")
        assert status_and_code(answer) == (409, "not_ready")
        assert int(answer.headers["retry-after"]) > 0


async def test_list_tells_of_a_preview(ana: httpx.AsyncClient, deps: Deps, path: str) -> None:
    await tell_preview(deps, await claim_planned(deps), 7, JPEG)
    (video,) = (await ana.get("/v1/videos")).json()["items"]
    assert video["extraction"]["preview"] == {"frames": 7, "segment": None}
