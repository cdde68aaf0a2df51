"""tus-js-client, which browsers use, works unchanged. The tests need Node.js and npm."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from filelock import FileLock
from xdist import is_xdist_worker

from serve_app.app import create_app
from serve_app.deps import Deps
from tests.support.clients import api_client, tus_client

PACKAGE = Path("tests/support/tus_js")
CONTENT = api_client.MP4 * 40

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None, reason="there is no Node.js"
)


@pytest.fixture(scope="session")
def script(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, in a folder where its npm package is installed; once for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if is_xdist_worker(request) else base) / "tus_js"
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "node_modules").exists():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(PACKAGE, folder)
            command = ["npm", "ci", "--silent", "--no-audit", "--no-fund"]
            subprocess.run(command, cwd=folder, check=True, timeout=600)
    return folder / "upload.js"


@pytest.mark.parametrize(("chunk_bytes", "stop_at"), [(16 << 20, 0), (100_000, 0), (100_000, 200_000)])
async def test_tus_js_client_uploads_a_file_and_resumes_after_an_abort(
    ana: httpx.AsyncClient, deps: Deps, script: Path, tmp_path: Path, chunk_bytes: int, stop_at: int
) -> None:
    file = tmp_path / "file.mp4"
    file.write_bytes(CONTENT)
    token = ana.headers["Authorization"].removeprefix("Bearer ")
    async with api_client.listen(create_app(deps)) as port:
        words = [f"http://127.0.0.1:{port}/v1/uploads", token, str(file), str(chunk_bytes), str(stop_at)]
        node = await asyncio.create_subprocess_exec("node", str(script), *words, stdout=asyncio.subprocess.PIPE)
        output, _ = await asyncio.wait_for(node.communicate(), 300)
        assert node.returncode == 0
    (video,) = (await ana.get("/v1/videos")).json()["items"]
    assert output.decode().strip().endswith(video["id"])
    assert (video["filename"], video["size"], video["status"]) == ("holiday.mp4", len(CONTENT), "queued")
    assert await tus_client.stored_bytes(deps.database, deps.objects, video["id"]) == CONTENT
