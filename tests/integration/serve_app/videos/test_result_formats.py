"""Results are read back by the packages that people use next: webdataset, datasets (imagefolder) and pandas."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from actors.worker.task_runner import TaskOutcome, perform
from cluster.cli.app import main
from db.object_store.folder_store import FolderStore
from db.queue import task_queue
from serve_app.deps import Deps
from tests.support.clients.api_client import upload_videos
from tests.support.decoding_children import start_child
from tests.support.programs import read_result
from tests.support.state.worker_setup import make_worker_deps
from tests.support.videos.clips import ClipByName

SPEC = '{"sample": {"mode": "every_nth", "n": 10}, "image": {"names": "%s"}}'


def read_with(package: str, path: Path, scratch: Path) -> Any:
    """What the package makes of the result, in an environment that has nothing but the group `formats`."""
    assert read_result.__file__ is not None
    command = [os.environ.get("UV", "uv"), "run", "--quiet", "--locked", "--isolated", "--only-group", "formats"]
    command += ["python", "-W", "ignore", read_result.__file__, package, str(path)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(scratch / "hugging_face")}
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    return json.loads(completed.stdout)


async def extract(ana: httpx.AsyncClient, deps: Deps, clip: Path, spec: str, folder: Path) -> str:
    """Uploads a clip and extracts its frames. Returns the address of the extraction."""
    answer = await upload_videos(ana, (clip.name, clip.read_bytes()), spec=spec)
    assert answer.status_code == 201, answer.text
    (claim,) = await task_queue.claim(deps.database, worker="w1")
    worker_deps = make_worker_deps(deps.database, FolderStore(folder / "objects"), folder)
    child = await start_child()
    assert await perform(claim, child, worker_deps, asyncio.Event(), lambda: None) is TaskOutcome.PUBLISHED
    return f"/v1/extractions/{claim.extraction_id}"


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        ("time", [f"frame_{n:06d}" for n in range(1, 7)]),
        ("number", [f"frame_{n:06d}" for n in range(1, 7)]),
        ("index", [f"frame_{index:06d}" for index in range(0, 60, 10)]),
    ],
)
async def test_webdataset_reads_each_image_of_a_shard_with_its_row_of_the_manifest(
    names: str, keys: list[str], ana: httpx.AsyncClient, deps: Deps, clips: ClipByName, tmp_path: Path
) -> None:
    path = await extract(ana, deps, clips("h264")[0], SPEC % names, tmp_path)
    (tmp_path / "frames-000000.tar").write_bytes((await ana.get(f"{path}/frames.tar")).content)
    samples = read_with("webdataset", tmp_path / "frames-{000000..000000}.tar", tmp_path)
    manifest = (await ana.get(f"{path}/manifest.json")).json()
    assert [sample["row"] for sample in samples] == manifest["frames"]
    assert [sample["key"] for sample in samples] == keys
    assert [sample["sha256"] for sample in samples] == [row["sha256"] for row in manifest["frames"]]
    assert [sample["size"] for sample in samples] == [[row["width"], row["height"]] for row in manifest["frames"]]


@pytest.fixture
def unpacked(clips: ClipByName, tmp_path: Path) -> Path:
    """A folder with the unpacked frames of two videos."""
    sources = [str(clips(name)[0]) for name in ("h264", "vp9_webm")]
    arguments = ["extract", "--local", *sources, "--spec", SPEC % "time", "-o", str(tmp_path / "out"), "--unpack"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--prefix"])
    assert ended.value.code == 0
    return tmp_path / "out"


def test_imagefolder_reads_the_images_of_several_videos_with_their_metadata(unpacked: Path, tmp_path: Path) -> None:
    folders = [path for path in unpacked.iterdir() if path.is_dir()]
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    for folder in folders:
        folder.rename(dataset / folder.name)
    rows = read_with("datasets", dataset, tmp_path)
    frames = {
        f"{folder.name}_{frame['name']}": frame
        for folder in dataset.iterdir()
        for frame in json.loads((folder / "manifest.json").read_text())["frames"]
    }
    assert len(frames) == len(rows) == 12
    for row in rows:
        frame = frames[row["file"]]
        assert {name: row["row"][name] for name in frame} == frame
        assert row["sha256"] == frame["sha256"]
        assert row["size"] == [frame["width"], frame["height"]]


def test_pandas_reads_the_manifest_and_finds_images_by_their_offsets(unpacked: Path, tmp_path: Path) -> None:
    folder = next(path for path in sorted(unpacked.iterdir()) if path.is_dir())
    frames = json.loads((folder / "manifest.json").read_text())["frames"]
    read = read_with("pandas", folder, tmp_path)
    assert (read["types"]["n"], read["types"]["time"], read["types"]["key"]) == ("int64", "float64", "bool")
    assert list(read["types"]) == list(frames[0])
    assert read["times"] == [frame["time"] for frame in frames]
    assert read["keys"] == [frame["n"] for frame in frames if frame["key"]]
    assert read["is_intact"]
