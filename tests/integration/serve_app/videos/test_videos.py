"""Accepting, listing, showing and deleting videos over HTTP."""

from __future__ import annotations

import hashlib

import httpx
import pytest

from serve_app.app import create_app
from serve_app.deps import Deps
from tests.support.clients.api_client import (
    MP4,
    WEBM,
    log_in,
    make_result,
    open_client,
    publish_next_task,
    status_and_code,
    stored_state,
    upload_video,
    upload_videos,
)


async def test_several_files_are_accepted_with_one_spec(ana: httpx.AsyncClient, deps: Deps) -> None:
    answer = await upload_videos(ana, ("a.mp4", MP4), ("férias.webm", WEBM), spec='{"sample": {"fps": 0.10}}')
    assert answer.status_code == 201
    first, second = answer.json()["items"]
    assert [first["filename"], second["filename"]] == ["a.mp4", "férias.webm"]
    assert first["size"] == len(MP4)
    assert first["sha256"] == hashlib.sha256(MP4).hexdigest()
    assert first["status"] == first["extraction"]["status"] == "queued"
    assert first["extraction"]["spec"]["sample"] == {"mode": "fps", "fps": 0.1}
    assert first["extraction"]["spec"] == second["extraction"]["spec"]
    assert first["extraction"]["progress"]["queue_position"] == 1
    videos, reservations, keys = await stored_state(deps.database, deps.objects)
    assert (videos, reservations) == (2, 0)
    assert keys == sorted(f"videos/{video['id']}" for video in (first, second))
    stored = b"".join([chunk async for chunk in deps.objects.read(f"videos/{second['id']}")])
    assert stored == WEBM


async def test_upload_response_equals_the_later_representation(ana: httpx.AsyncClient) -> None:
    video = await upload_video(ana)
    assert (await ana.get(f"/v1/videos/{video['id']}")).json() == video
    assert (await ana.get(f"/v1/extractions/{video['extraction']['id']}")).json() == video["extraction"]
    assert (await ana.get("/v1/videos")).json() == {"items": [video], "next_cursor": None}


async def test_missing_specification_means_the_defaults(ana: httpx.AsyncClient) -> None:
    assert (await upload_video(ana))["extraction"]["spec"] == {
        "sample": {"mode": "fps", "fps": 1},
        "range": {"start": 0, "end": None},
        "image": {"format": "jpeg", "quality": 90, "max_side": None, "names": "time"},
        "snap": "exact",
        "max_frames": None,
    }


class TestListing:
    """GET /v1/videos"""

    async def test_list_is_paged_newest_first_without_gaps(self, ana: httpx.AsyncClient) -> None:
        ids = [(await upload_video(ana, f"clip {n}.mp4"))["id"] for n in range(5)]
        seen, cursor = [], None
        while True:
            query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = (await ana.get("/v1/videos", params=query)).json()
            seen += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == ids[::-1]

    async def test_list_is_filtered(self, ana: httpx.AsyncClient) -> None:
        beach, city = await upload_video(ana, "Beach 100%.mp4"), await upload_video(ana, "city.webm", WEBM)
        await ana.post(f"/v1/extractions/{city['extraction']['id']}/cancel")

        async def list_filenames(**query: str) -> list[str]:
            items = (await ana.get("/v1/videos", params=query)).json()["items"]
            return [item["filename"] for item in items]

        assert await list_filenames(status="queued") == ["Beach 100%.mp4"]
        assert await list_filenames(status="cancelled") == ["city.webm"]
        assert await list_filenames(q="beach 100%") == ["Beach 100%.mp4"]
        assert await list_filenames(q="100_") == []
        assert await list_filenames(q="\0") == []
        assert await list_filenames(sha256=beach["sha256"].upper()) == ["Beach 100%.mp4"]
        assert await list_filenames(sha256="0" * 64) == []

    async def test_list_can_have_only_videos_with_warnings(self, ana: httpx.AsyncClient, deps: Deps) -> None:
        warning = {"code": "frames_missing", "detail": "1 of 2 frames is left out."}
        for warnings in ([warning], []):
            await upload_video(ana, f"{len(warnings)}.mp4", MP4 + bytes([len(warnings)]))
            await publish_next_task(deps, make_result([b"image"]), warnings=warnings)
        await upload_video(ana, "waiting.mp4", MP4 + b"3")
        for query, names in {"warned=true": ["1.mp4"], "warned=false": ["waiting.mp4", "0.mp4", "1.mp4"]}.items():
            items = (await ana.get(f"/v1/videos?{query}")).json()["items"]
            assert [item["filename"] for item in items] == names
        for query, count in {"status=failed": 0, "status=succeeded": 1, "q=1": 1, "q=0": 0}.items():
            items = (await ana.get(f"/v1/videos?warned=true&{query}")).json()["items"]
            assert len(items) == count, query

    async def test_later_pages_of_videos_with_warnings_have_warnings_as_well(
        self, ana: httpx.AsyncClient, deps: Deps
    ) -> None:
        warning = {"code": "frames_missing", "detail": "1 of 2 frames is left out."}
        for n, warnings in enumerate([[warning], [], [warning]]):
            await upload_video(ana, f"{n}.mp4", MP4 + bytes([n]))
            await publish_next_task(deps, make_result([b"image"]), warnings=warnings)
        for query in ("", "&q=mp4"):
            first = (await ana.get(f"/v1/videos?warned=true&limit=1{query}")).json()
            rest = (await ana.get(f"/v1/videos?warned=true&cursor={first['next_cursor']}{query}")).json()
            assert [item["filename"] for item in first["items"] + rest["items"]] == ["2.mp4", "0.mp4"]

    @pytest.mark.parametrize(
        "query",
        ["limit=0", "limit=201", "limit=x", "cursor=x", "status=gone", "warned=x", "sha256=x", "colour=red", "q=a&q=b"],
    )
    async def test_invalid_list_query_is_refused(self, ana: httpx.AsyncClient, query: str) -> None:
        assert status_and_code(await ana.get(f"/v1/videos?{query}")) == (422, "invalid_field")


async def test_video_of_another_user_is_not_found(ana: httpx.AsyncClient, deps: Deps) -> None:
    video = await upload_video(ana)
    extraction = video["extraction"]["id"]
    calls = [
        ("GET", f"/v1/videos/{video['id']}"),
        ("DELETE", f"/v1/videos/{video['id']}"),
        ("GET", f"/v1/extractions/{extraction}"),
        ("POST", f"/v1/extractions/{extraction}/cancel"),
        ("POST", f"/v1/extractions/{extraction}/retry"),
        ("GET", f"/v1/extractions/{extraction}/frames.zip"),
        ("GET", f"/v1/extractions/{extraction}/frames/1"),
    ]
    async with open_client(create_app(deps)) as bob:
        await log_in(bob, "bob@example.org")
        for method, path in calls:
            theirs = await bob.request(method, path)
            unknown = await bob.request(
                method, path.replace(path.split("/")[3], "00000000-0000-7000-8000-000000000000")
            )
            assert status_and_code(theirs) == status_and_code(unknown) == (404, "not_found")
            assert theirs.json()["detail"] == unknown.json()["detail"]
        again = await bob.post(f"/v1/videos/{video['id']}/extractions", json={})
        assert status_and_code(again) == (404, "not_found")
        assert (await bob.get("/v1/videos")).json()["items"] == []
        assert (await bob.get("/v1/videos", params={"sha256": video["sha256"]})).json()["items"] == []
    assert (await ana.get(f"/v1/videos/{video['id']}")).status_code == 200


async def test_malformed_id_is_not_found(ana: httpx.AsyncClient) -> None:
    for path in ("/v1/videos/1", "/v1/videos/%00", "/v1/extractions/abc", "/v1/nothing"):
        assert status_and_code(await ana.get(path)) == (404, "not_found")


async def test_video_is_deleted_only_from_the_state_that_the_request_names(ana: httpx.AsyncClient, deps: Deps) -> None:
    video = await upload_video(ana)
    path = f"/v1/videos/{video['id']}"
    queued = (await ana.get(path)).headers["etag"]
    assert (await ana.get(f"/v1/extractions/{video['extraction']['id']}")).headers["etag"] == queued
    await publish_next_task(deps, make_result([b"one"]))
    refused = await ana.delete(path, headers={"If-Match": queued})
    assert status_and_code(refused) == (412, "precondition_failed")
    succeeded = await ana.get(path)
    assert succeeded.json()["status"] == "succeeded"
    assert (await ana.delete(path, headers={"If-Match": succeeded.headers["etag"]})).status_code == 204
    gone = await ana.delete(path, headers={"If-Match": "*"})
    assert status_and_code(gone) == (404, "not_found")


async def test_deleted_video_is_gone_with_its_extractions_and_objects(ana: httpx.AsyncClient) -> None:
    video = await upload_video(ana)
    assert (await ana.delete(f"/v1/videos/{video['id']}")).status_code == 204
    assert status_and_code(await ana.get(f"/v1/videos/{video['id']}")) == (404, "not_found")
    assert status_and_code(await ana.get(f"/v1/extractions/{video['extraction']['id']}")) == (404, "not_found")
    assert status_and_code(await ana.delete(f"/v1/videos/{video['id']}")) == (404, "not_found")
