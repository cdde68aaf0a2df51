"""The documented examples on the running service: over HTTP, by a Serve handle, and by a Ray Job over a prefix."""

from __future__ import annotations

import asyncio
import os
import random
import re
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from ray.job_submission import JobSubmissionClient

from db.object_store.object_sources import ObjectSources
from db.values import frame_spec
from fotograma import Client
from serve_app.in_cluster_calls import ROUTE, source_key
from tests.support.servers.running_service import FOTOGRAMA, Service
from tests.support.videos.clips import ClipByName
from tests.support.videos.padded_clip import padded_copy

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
KEYFRAMES = {"sample": {"mode": "keyframes"}}
VIDEOS = ("1.mp4", "2.mp4", "3.mp4", "4.mp4")
IMAGE = r"frame_\d{6}_t\d{6}\.\d{3}\.jpg"


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with service.client() as client:
        yield client


@pytest.fixture
def dashboard(service: Service) -> str:
    """The address of Ray's dashboard."""
    found = re.search(r"Dashboard  (http://[^/]+)/", service.output)
    assert found is not None, service.output
    return found[1]


@pytest.fixture
def operator(service: Service) -> dict[str, str]:
    """The environment of somebody who has the token of the cluster."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(service.data_dir / "ray-token")}


@pytest.fixture
def jobs(service: Service, dashboard: str) -> JobSubmissionClient:
    # Ray has read this process's environment already.
    token = (service.data_dir / "ray-token").read_text().strip()
    return JobSubmissionClient(dashboard, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def footage(tmp_path: Path, clips: ClipByName) -> Path:
    """Four videos, a file that is none, and one that the examples leave out."""
    folder = tmp_path / "footage"
    folder.mkdir()
    clip, _ = clips("h264")
    for n, name in enumerate(VIDEOS):
        padded_copy(clip, folder / name, clip.stat().st_size + 1000, randomness=random.Random(n))
    (folder / "broken.mp4").write_bytes(b"hello" * 500)
    (folder / "notes.txt").write_bytes(b"hello")
    return folder


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=False, env=os.environ | environment, capture_output=True, text=True, timeout=180
    )


def wait_until(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition was not true within {seconds:.0f} s"
        time.sleep(0.05)


@contextmanager
def claimed_elsewhere(service: Service, account: str, url: str) -> Iterator[None]:
    """While the block runs, a submission of the object waits in the database, with its claim of the key."""
    source = asyncio.run(ObjectSources().find(url))
    key = source_key(source, frame_spec.canonical(frame_spec.from_document(KEYFRAMES)))
    statement = """
        INSERT INTO idempotency_keys (user_id, route, key, owner, lease_expires_at)
        SELECT id, %s, %s, %s, now() FROM users WHERE email = %s
    """
    with psycopg.connect(service.database_url()) as connection:
        connection.execute(statement, [ROUTE, key, uuid.uuid4(), account])
        yield
        connection.rollback()


def test_job_over_a_prefix_that_is_killed_and_started_again_submits_each_object_once(
    service: Service,
    client: Client,
    dashboard: str,
    operator: dict[str, str],
    jobs: JobSubmissionClient,
    footage: Path,
) -> None:
    account, url = client.me().email, f"file://{footage}"
    ingest = [FOTOGRAMA, "ops", "ingest", url, "--account", account, "--mode", "keyframes", "--include", "*.mp4"]
    with claimed_elsewhere(service, account, f"{url}/3.mp4"):
        started = run([*ingest, "--concurrency", "1", "--ray-address", dashboard, "--no-wait"], **operator)
        assert started.returncode == 0, started.stderr
        job_id = started.stderr.split()[-1]
        wait_until(lambda: len(list(client.videos())) == 2)
        jobs.stop_job(job_id)
        wait_until(lambda: jobs.get_job_status(job_id) == "STOPPED")
        stopped = {video.filename: client.wait(video.extraction, timeout_seconds=60) for video in client.videos()}
        assert sorted(stopped) == ["1.mp4", "2.mp4"]

    again = run([sys.executable, str(EXAMPLES / "ingest_prefix.py"), dashboard, account, url], **operator)
    found = re.search(r"^5 objects: (\d) accepted, (\d) reused, 1 refused, 0 failed$", again.stdout, re.MULTILINE)
    assert found is not None, again.stdout + again.stderr
    # The third one was accepted after its job had been killed, or by the second job.
    assert (int(found[1]) + int(found[2]), int(found[2]) in {2, 3}) == (4, True)
    assert f"{url}/broken.mp4: refused: The file is not a video of a known container. (not_a_video)" in again.stdout
    assert again.returncode == 3
    videos = list(client.videos())
    assert sorted(video.filename for video in videos) == list(VIDEOS)
    ended = {video.filename: client.wait(video.extraction, timeout_seconds=60) for video in videos}
    assert all(extraction.spec["sample"] == KEYFRAMES["sample"] for extraction in ended.values())
    # What was done before the job was killed is not done again.
    assert {name: ended[name].id for name in stopped} == {name: extraction.id for name, extraction in stopped.items()}


def test_code_in_the_cluster_reads_the_frames_of_an_object(
    client: Client, jobs: JobSubmissionClient, footage: Path
) -> None:
    command = shlex.join(["python", "in_cluster.py", client.me().email, f"file://{footage}/1.mp4"])
    job_id = jobs.submit_job(entrypoint=command, runtime_env={"working_dir": str(EXAMPLES)})
    wait_until(lambda: jobs.get_job_status(job_id).is_terminal())
    output = jobs.get_job_logs(job_id)
    assert jobs.get_job_status(job_id) == "SUCCEEDED", output
    (video,) = client.videos()
    names = re.findall(rf"^{IMAGE}$", output, re.MULTILINE)
    result = client.extraction(video.extraction.id).result
    assert result is not None
    assert len(names) == result.frames > 0


def test_service_reads_the_frames_of_a_file_over_http(service: Service, client: Client, footage: Path) -> None:
    key = client.add_api_key("example").secret
    environment = {"FOTOGRAMA_URL": service.url, "FOTOGRAMA_API_KEY": str(key)}
    done = run([sys.executable, str(EXAMPLES / "over_http.py"), str(footage / "1.mp4")], **environment)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"(?:\d+\.\d{{3}} s  {IMAGE}, \d+ bytes\n)+", done.stdout)
