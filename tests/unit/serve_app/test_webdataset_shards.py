"""WebDataset shards: how images are divided, and that every range of a shard is right."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.object_store.folder_store import FolderStore
from db.values.frame_spec import ImageNames
from db.values.manifest import row_of
from serve_app.webdataset_shards import END, MAX_LINE_BYTES, Shard, ShardPlanner, lines_of, read_shard, sample_key
from tests.support.clients.api_client import Result, make_result, one_chunk

IMAGES = [b"a" * 512, b"b" * 513, b"c", b"", b"d" * 2000]
KEY = "results/r"


def plan_shards(result: Result, max_bytes: int = 1 << 30, max_images: int = 1 << 30) -> list[Shard]:
    planner, start = ShardPlanner(max_bytes, max_images), 0
    for line in result.manifest_csv.splitlines(keepends=True):
        if start:
            planner.add(row_of(line.decode().rstrip()), start, start + len(line))
        start += len(line)
    return planner.finish()


def make_store(folder: Path, result: Result) -> FolderStore:
    (folder / KEY).mkdir(parents=True, exist_ok=True)
    (folder / KEY / "frames.zip").write_bytes(result.archive)
    (folder / KEY / "manifest.csv").write_bytes(result.manifest_csv)
    return FolderStore(folder)


async def read(store: FolderStore, shard: Shard, start: int = 0, length: int | None = None) -> bytes:
    length = shard.size - start if length is None else length
    return b"".join([block async for block in read_shard(store, KEY, shard, start, length)])


def contents_of(tar: bytes) -> list[bytes]:
    """The images of a shard."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as shard:
        files = [shard.extractfile(member) for member in shard if not member.name.endswith(".json")]
        return [file.read() for file in files if file is not None]


@pytest.mark.parametrize(
    ("max_bytes", "max_images", "counts"),
    [(1 << 30, 10, [5]), (1 << 30, 2, [2, 2, 1]), (1, 10, [1] * 5), (6000, 10, [2, 2, 1])],
)
async def test_images_are_divided_in_their_order_by_bytes_and_by_number(
    tmp_path: Path, max_bytes: int, max_images: int, counts: list[int]
) -> None:
    result = make_result(IMAGES)
    store, shards = make_store(tmp_path, result), plan_shards(result, max_bytes, max_images)
    tars = [await read(store, shard) for shard in shards]
    images = [contents_of(tar) for tar in tars]
    assert [len(of_one) for of_one in images] == counts
    assert [image for of_one in images for image in of_one] == IMAGES
    assert [shard.size for shard in shards] == [len(tar) for tar in tars]
    assert all(shard.size <= max_bytes or count == 1 for shard, count in zip(shards, counts, strict=True))


async def test_every_range_equals_that_part_of_the_whole(tmp_path: Path) -> None:
    result = make_result(IMAGES)
    store, shards = make_store(tmp_path, result), plan_shards(result, max_images=3)
    for shard in shards:
        whole = await read(store, shard)
        assert whole.endswith(END)
        borders = sorted({place for at in range(0, shard.size + 1, 512) for place in (at - 1, at, at + 1)})
        inside = [place for place in borders if 0 <= place <= shard.size]
        for start in inside:
            for length in (1, 511, 1025, shard.size):
                expected = whole[start : start + length]
                assert await read(store, shard, start, len(expected)) == expected


@given(st.lists(st.binary(max_size=1500), min_size=1, max_size=6), st.integers(1, 8000), st.integers(1, 4))
def test_size_of_each_shard_is_known_from_the_manifest(images: list[bytes], max_bytes: int, max_images: int) -> None:
    result = make_result(images)
    shards = plan_shards(result, max_bytes, max_images)
    rows = [row_of(line) for line in result.manifest_csv.decode().splitlines()[1:]]
    blocks = [2 + -(-row.bytes // 512) + -(-len(row.json()) // 512) for row in rows]
    assert sum(shard.size for shard in shards) == 512 * sum(blocks) + len(END) * len(shards)


@pytest.mark.parametrize(
    ("names", "key"),
    [(ImageNames.TIME, "frame_000001"), (ImageNames.NUMBER, "frame_000001"), (ImageNames.INDEX, "frame_000030")],
)
async def test_key_of_a_sample_has_no_dot(tmp_path: Path, names: ImageNames, key: str) -> None:
    result = make_result([b"x"], names=names)
    store, (shard,) = make_store(tmp_path, result), plan_shards(result)
    tar = await read(store, shard)
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        assert opened.getnames() == [f"{key}.jpg", f"{key}.json"]
        file = opened.extractfile(f"{key}.json")
        assert file is not None
        row = row_of(result.manifest_csv.decode().splitlines()[1])
        assert file.read().decode() == row.json()
        assert json.loads(row.json())["name"] == row.name
    assert sample_key(row) == key


async def test_archive_that_is_shorter_than_its_manifest_says_is_an_error(tmp_path: Path) -> None:
    result = make_result(IMAGES)
    store, (shard,) = make_store(tmp_path, result), plan_shards(result)
    (tmp_path / KEY / "frames.zip").write_bytes(result.archive[:1000])
    with pytest.raises(ValueError, match="ends before"):
        await read(store, shard)


async def test_manifest_with_an_endless_line_is_not_read_into_memory() -> None:
    with pytest.raises(ValueError, match="no line of this length"):
        [line async for line in lines_of(one_chunk(bytes(MAX_LINE_BYTES + 1)))]
