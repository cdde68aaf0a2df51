"""Results over HTTP: ranges, conditional requests, single images, and missing results."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
import zipfile
from collections.abc import AsyncIterator

import httpx
import pytest
from PIL import Image

from db.object_store.folder_store import FolderStore
from db.object_store.object_store import ObjectNotFound
from db.queue import task_queue
from db.values.frame_spec import ImageNames
from db.values.lifecycle import Blame
from serve_app.archive_index import ArchiveIndexCache
from serve_app.deps import Deps
from serve_app.webdataset_shards import MAX_SHARD_IMAGES
from tests.support.clients.api_client import make_result, one_chunk, publish_next_task, status_and_code, upload_video
from tests.support.state import database_rows

IMAGES = [bytes([n]) * (1000 + n) for n in range(5)]
RESULT = make_result(IMAGES)
SIZE = len(RESULT.archive)


@pytest.fixture
async def path(ana: httpx.AsyncClient, deps: Deps) -> str:
    """The address of a finished extraction."""
    video = await upload_video(ana, 'my "holiday".mp4')
    await publish_next_task(deps, RESULT)
    return f"/v1/extractions/{video['extraction']['id']}"


async def test_archive_is_sent_with_length_etag_and_name(ana: httpx.AsyncClient, path: str) -> None:
    answer = await ana.get(f"{path}/frames.zip")
    assert answer.status_code == 200
    assert answer.content == RESULT.archive
    assert answer.headers["content-length"] == str(SIZE)
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["etag"] == f'"{RESULT.sha256}"'
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"my _holiday_.zip\"; filename*=UTF-8''my%20%22holiday%22.zip"
    )
    assert answer.headers["cache-control"].startswith("private")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None


async def test_head_has_the_same_headers_without_a_body(ana: httpx.AsyncClient, path: str) -> None:
    answer = await ana.head(f"{path}/frames.zip")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", str(SIZE))


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=100-", 100, SIZE),
        ("bytes=-22", SIZE - 22, SIZE),
        (f"bytes=0-{SIZE * 2}", 0, SIZE),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
    ],
)
async def test_range_gives_exactly_its_bytes(
    ana: httpx.AsyncClient, path: str, header: str, start: int, end: int
) -> None:
    answer = await ana.get(f"{path}/frames.zip", headers={"Range": header})
    assert answer.status_code == 206
    assert answer.content == RESULT.archive[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(end - start)


async def test_unsatisfiable_range_is_refused_with_the_size(ana: httpx.AsyncClient, path: str) -> None:
    answer = await ana.get(f"{path}/frames.zip", headers={"Range": f"bytes={SIZE}-"})
    assert status_and_code(answer) == (416, "bad_range")
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


async def test_download_resumes_only_for_the_same_archive(ana: httpx.AsyncClient, path: str) -> None:
    range_headers = {"Range": "bytes=10-", "If-Range": f'"{RESULT.sha256}"'}
    assert (await ana.get(f"{path}/frames.zip", headers=range_headers)).status_code == 206
    other = await ana.get(f"{path}/frames.zip", headers=range_headers | {"If-Range": '"other"'})
    assert (other.status_code, other.content) == (200, RESULT.archive)


@pytest.mark.parametrize("name", ["frames.zip", "manifest.csv", "frames/1", "frames.tar"])
async def test_content_with_another_etag_than_the_request_names_is_not_sent(
    ana: httpx.AsyncClient, path: str, name: str
) -> None:
    etag = (await ana.get(f"{path}/{name}")).headers["etag"]
    assert (await ana.get(f"{path}/{name}", headers={"If-Match": etag})).status_code == 200
    refused = await ana.get(f"{path}/{name}", headers={"If-Match": '"other"'})
    assert status_and_code(refused) == (412, "precondition_failed")


async def test_matching_etag_gives_304(ana: httpx.AsyncClient, path: str) -> None:
    cached = await ana.get(f"{path}/frames.zip", headers={"If-None-Match": f'"{RESULT.sha256}"'})
    assert (cached.status_code, cached.content) == (304, b"")


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("manifest.json", b'{"version":2}', "application/json"),
        ("manifest.csv", RESULT.manifest_csv, "text/csv; charset=utf-8"),
        ("report.json", b'{"reader":"pyav"}', "application/json"),
        ("sheet.jpg", b"\xff\xd8sheet", "image/jpeg"),
        ("sheet.vtt", b"WEBVTT\n", "text/vtt; charset=utf-8"),
    ],
)
async def test_other_result_files_are_sent_unchanged(
    ana: httpx.AsyncClient, path: str, name: str, content: bytes, kind: str
) -> None:
    answer = await ana.get(f"{path}/{name}")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, content, kind)


async def test_single_image_is_read_from_the_archive(ana: httpx.AsyncClient, path: str) -> None:
    for n, image in enumerate(IMAGES, 1):
        answer = await ana.get(f"{path}/frames/{n}")
        assert (answer.status_code, answer.content) == (200, image)
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["content-length"] == str(len(image))
    part = await ana.get(f"{path}/frames/2", headers={"Range": "bytes=-1"})
    assert (part.status_code, part.content) == (206, b"\1")
    for missing in ("6", "0", "-1", "x", "1.5", "9999999999"):
        assert status_and_code(await ana.get(f"{path}/frames/{missing}")) == (404, "not_found")


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
async def test_image_with_a_width_is_a_small_jpeg_with_the_same_ratio(
    ana: httpx.AsyncClient, deps: Deps, image_format: str
) -> None:
    picture = io.BytesIO()
    Image.linear_gradient("L").resize((1280, 720)).convert("RGB").save(picture, image_format)
    video = await upload_video(ana, "holiday.mp4")
    await publish_next_task(deps, make_result([b"", picture.getvalue()], image_format.lower()))
    address = f"/v1/extractions/{video['extraction']['id']}/frames/2"
    answer = await ana.get(f"{address}?width=160")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    small = Image.open(io.BytesIO(answer.content))
    assert (small.format, small.size) == ("JPEG", (160, 90))
    # The gradient goes from black at the top to white at the bottom.
    brightness = small.convert("L").tobytes()
    assert brightness[0] < 8
    assert brightness[-1] > 247
    assert answer.headers["cache-control"] == "private, max-age=86400, immutable"
    assert (await ana.get(f"{address}?width=160", headers={"If-None-Match": answer.headers["etag"]})).status_code == 304
    assert (await ana.get(f"{address}?width=320")).headers["etag"] != answer.headers["etag"]


async def test_image_is_never_enlarged(ana: httpx.AsyncClient, deps: Deps) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(picture, "PNG")
    video = await upload_video(ana, "holiday.mp4")
    await publish_next_task(deps, make_result([picture.getvalue()], "png"))
    answer = await ana.get(f"/v1/extractions/{video['extraction']['id']}/frames/1?width=320")
    assert (answer.content, answer.headers["content-type"]) == (picture.getvalue(), "image/png")


@pytest.mark.parametrize(
    "query", ["width=15", "width=1025", "width=x", "width=", "width=1.5", "height=90", "width=64&width=64"]
)
async def test_width_that_is_not_offered_is_refused(ana: httpx.AsyncClient, path: str, query: str) -> None:
    assert status_and_code(await ana.get(f"{path}/frames/1?{query}")) == (422, "invalid_field")


async def test_images_may_stay_in_a_private_cache_without_being_asked_for_again(
    ana: httpx.AsyncClient, path: str
) -> None:
    answer = await ana.get(f"{path}/frames/2")
    assert answer.headers["cache-control"] == "private, max-age=86400, immutable"
    cached = await ana.get(f"{path}/frames/2", headers={"If-None-Match": answer.headers["etag"]})
    assert (cached.status_code, cached.content) == (304, b"")
    assert cached.headers["cache-control"] == answer.headers["cache-control"]
    assert answer.headers["etag"] != (await ana.get(f"{path}/frames/3")).headers["etag"]


async def test_shard_has_each_image_and_its_row_of_the_manifest(ana: httpx.AsyncClient, path: str) -> None:
    answer = await ana.get(f"{path}/frames.tar")
    assert answer.status_code == 200
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["content-type"] == "application/x-tar"
    assert "my%20%22holiday%22-000000.tar" in answer.headers["content-disposition"]
    assert answer.headers["cache-control"].startswith("private")
    assert "link" not in answer.headers
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as shard:
        entries = [(member.name, read_member(shard, member)) for member in shard]
    assert [name for name, _ in entries[::2]] == [f"frame_00000{n}.jpg" for n in range(1, 6)]
    assert [content for _, content in entries[::2]] == IMAGES
    assert [name for name, _ in entries[1::2]] == [f"frame_00000{n}.json" for n in range(1, 6)]
    rows = [json.loads(content) for _, content in entries[1::2]]
    assert [row["name"] for row in rows] == [f"frame_00000{n}_t00000{n - 1}.000.jpg" for n in range(1, 6)]
    assert [RESULT.archive[row["offset"] : row["offset"] + row["bytes"]] for row in rows] == IMAGES


def read_member(shard: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = shard.extractfile(member)
    assert file is not None
    return file.read()


async def test_download_of_a_shard_resumes_and_is_cached(ana: httpx.AsyncClient, path: str) -> None:
    whole = await ana.get(f"{path}/frames.tar?shard=000")
    head = await ana.head(f"{path}/frames.tar")
    assert (head.content, head.headers["content-length"]) == (b"", str(len(whole.content)))
    etag = whole.headers["etag"]
    assert etag == head.headers["etag"] != (await ana.head(f"{path}/frames.zip")).headers["etag"]
    rest = await ana.get(f"{path}/frames.tar", headers={"Range": "bytes=1500-", "If-Range": etag})
    assert (rest.status_code, rest.content) == (206, whole.content[1500:])
    assert rest.headers["content-range"] == f"bytes 1500-{len(whole.content) - 1}/{len(whole.content)}"
    assert (await ana.get(f"{path}/frames.tar", headers={"If-None-Match": etag})).status_code == 304


async def test_images_of_a_long_video_are_in_several_shards_and_each_names_the_next(
    ana: httpx.AsyncClient, deps: Deps
) -> None:
    path = f"/v1/extractions/{(await upload_video(ana))['extraction']['id']}/frames.tar"
    images = [bytes([n % 251]) for n in range(MAX_SHARD_IMAGES + 1)]
    await publish_next_task(deps, make_result(images, names=ImageNames.INDEX))
    first, last = await ana.get(path), await ana.get(f"{path}?shard=1")
    assert first.headers["link"] == f'<{path}?shard=1>; rel="next"'
    assert "link" not in last.headers
    assert first.headers["etag"] != last.headers["etag"]
    names = []
    for answer in (first, last):
        with tarfile.open(fileobj=io.BytesIO(answer.content)) as shard:
            names += shard.getnames()[::2]
    assert names == [f"frame_{30 * n:06d}.jpg" for n in range(1, len(images) + 1)]
    assert status_and_code(await ana.get(f"{path}?shard=2")) == (404, "not_found")
    for wrong in ("-1", "x", "1.0", ""):
        assert status_and_code(await ana.get(f"{path}?shard={wrong}")) == (422, "invalid_field")
    assert status_and_code(await ana.get(f"{path}?shard=0&shard=1")) == (422, "invalid_field")


async def test_images_that_are_asked_for_at_once_read_the_manifest_once(deps: Deps) -> None:
    class CountingStore(FolderStore):
        reads = 0

        def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
            self.reads += 1
            return super().read(key, start, length)

    await deps.objects.put("results/a", one_chunk(RESULT.manifest_csv))
    folder = deps.objects.local_path("results/a")
    assert folder is not None
    store, index_cache = CountingStore(folder.parents[1]), ArchiveIndexCache()
    located = await asyncio.gather(*(index_cache.locate(store, "results/a", n) for n in range(1, 6)))
    assert [location.size for location in located] == [len(image) for image in IMAGES]
    assert store.reads == 1


async def test_cached_image_offsets_are_bounded(deps: Deps) -> None:
    index_cache = ArchiveIndexCache(max_frames=3)
    for name in ("a", "b", "a"):
        await deps.objects.put(f"results/{name}", one_chunk(make_result([b"1", b"22"]).manifest_csv))
        assert (await index_cache.locate(deps.objects, f"results/{name}", 2)).size == 2
    await deps.objects.delete("results/a")
    assert (await index_cache.locate(deps.objects, "results/a", 1)).size == 1
    await deps.objects.delete("results/b")
    with pytest.raises(ObjectNotFound):
        await index_cache.locate(deps.objects, "results/b", 1)


FILES = ("frames.zip", "frames.tar", "manifest.json", "manifest.csv", "report.json", "sheet.jpg", "sheet.vtt")
NAMES = (*FILES, "frames/1")


async def test_result_is_not_ready_before_the_end(ana: httpx.AsyncClient, deps: Deps) -> None:
    path = f"/v1/extractions/{(await upload_video(ana))['extraction']['id']}"
    for name in NAMES:
        answer = await ana.get(f"{path}/{name}")
        assert status_and_code(answer) == (409, "not_ready")
        assert answer.headers["retry-after"]
    (claim,) = await task_queue.claim(deps.database, worker="w")
    assert status_and_code(await ana.get(f"{path}/frames.zip")) == (409, "not_ready")
    await task_queue.fail(deps.database, claim.lease, blame=Blame.FILE, code="no_frames", detail="None.", jitter=0.0)
    for name in NAMES:
        assert status_and_code(await ana.get(f"{path}/{name}")) == (409, "no_result")


async def test_cancelled_extraction_has_no_result(ana: httpx.AsyncClient) -> None:
    path = f"/v1/extractions/{(await upload_video(ana))['extraction']['id']}"
    await ana.post(f"{path}/cancel")
    assert status_and_code(await ana.get(f"{path}/frames.zip")) == (409, "no_result")


async def test_result_without_objects_is_expired(ana: httpx.AsyncClient, deps: Deps, path: str) -> None:
    for key in await deps.objects.keys("results"):
        await deps.objects.delete(key)
    for name in FILES:
        assert status_and_code(await ana.get(f"{path}/{name}")) == (410, "expired")


async def test_archive_without_images_is_sent(ana: httpx.AsyncClient, deps: Deps) -> None:
    empty = make_result([])
    path = f"/v1/extractions/{(await upload_video(ana))['extraction']['id']}"
    await publish_next_task(deps, empty)
    assert (await ana.get(f"{path}/frames.zip")).content == empty.archive
    assert status_and_code(await ana.get(f"{path}/frames/1")) == (404, "not_found")


async def test_result_shows_when_it_expires_and_is_gone_afterwards(
    ana: httpx.AsyncClient, deps: Deps, path: str
) -> None:
    extraction = (await ana.get(path)).json()
    assert extraction["result"]["expires_at"] is None
    change = "UPDATE {} SET {} = now() - interval '1 s'"
    await database_rows.execute(deps.database, "ALTER TABLE extractions DISABLE TRIGGER extractions_transition")
    await database_rows.execute(deps.database, change.format("extractions", "result_expires_at"))
    for file in ("frames.zip", "manifest.json", "sheet.jpg", "frames/1"):
        assert status_and_code(await ana.get(f"{path}/{file}")) == (410, "expired")


def damaged_images() -> dict[str, tuple[str, bytes]]:
    """Images that are no images, or not whole, by what is wrong: the suffix of their names, and their bytes."""
    noise = Image.effect_noise((640, 360), 90).convert("RGB")
    jpeg, png, webp = io.BytesIO(), io.BytesIO(), io.BytesIO()
    noise.save(jpeg, "JPEG")
    noise.save(png, "PNG")
    noise.save(webp, "WEBP")
    middle = len(png.getvalue()) // 2
    return {
        "no image": ("jpg", b"no image"),
        "no bytes": ("jpg", b""),
        "half of a JPEG": ("jpg", jpeg.getvalue()[: len(jpeg.getvalue()) // 2]),
        "half of a PNG": ("png", png.getvalue()[:middle]),
        "a PNG with a changed byte": (
            "png",
            png.getvalue()[:middle] + bytes([png.getvalue()[middle] ^ 255]) + png.getvalue()[middle + 1 :],
        ),
        "a PNG with a wrong header": ("png", png.getvalue()[:16] + bytes(4) + png.getvalue()[20:]),
        "half of a WebP": ("webp", webp.getvalue()[: len(webp.getvalue()) // 2]),
    }


@pytest.mark.parametrize("name", damaged_images())
async def test_damaged_image_has_no_small_form_and_the_problem_says_so(
    ana: httpx.AsyncClient, deps: Deps, name: str
) -> None:
    suffix, image = damaged_images()[name]
    video = await upload_video(ana, "holiday.mp4")
    await publish_next_task(deps, make_result([image], suffix))
    address = f"/v1/extractions/{video['extraction']['id']}/frames/1"
    refused = await ana.get(f"{address}?width=64")
    assert status_and_code(refused) == (410, "damaged_result")
    assert refused.json()["fault"] == "service"
    assert "etag" not in refused.headers
    assert (await ana.get(address)).content == image


async def test_large_picture_has_a_small_form(ana: httpx.AsyncClient, deps: Deps) -> None:
    picture = io.BytesIO()
    Image.new("L", (16_384, 12_288), 128).save(picture, "JPEG")
    video = await upload_video(ana, "holiday.mp4")
    await publish_next_task(deps, make_result([picture.getvalue()]))
    answer = await ana.get(f"/v1/extractions/{video['extraction']['id']}/frames/1?width=64")
    assert answer.status_code == 200
    assert Image.open(io.BytesIO(answer.content)).size == (64, 48)
