"""Two kinds of workers and a fall-back of nodes, on a real Ray autoscaler with Serve.

    FOTOGRAMA_SUITE=full uv run pytest -n0 -s tests/acceptance/cluster/test_kinds_and_fall_back.py

prints the nodes and workers over time. The nodes of the group `decode-gpu` have a GPU for Ray, and none in truth.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cluster.local.sample_clips import write_samples
from db.values.worker_kind import GPU_WORK_BYTES, PATIENCE_SECONDS
from fotograma import Client, Extraction, Status
from tests.support.clusters.fake_multinode import ClusterState, FakeCluster
from tests.support.clusters.sold_out_nodes import SOLD_OUT
from tests.support.videos.padded_clip import padded_copy

pytestmark = pytest.mark.skipif(os.environ.get("FOTOGRAMA_SUITE") != "full", reason="it takes several minutes")

AFTER_SECONDS = 10.0
ON_DEMAND = {"ray.io/market-type": "on-demand"}
CPU_NODE = {"CPU": 1, "decode_cpu": 1}
GROUPS: dict[str, dict[str, Any]] = {
    SOLD_OUT: {"resources": CPU_NODE, "max_workers": 2, "priority": 10, "labels": {"ray.io/market-type": "spot"}},
    "decode-cpu": {"resources": CPU_NODE, "max_workers": 2, "labels": ON_DEMAND},
    "decode-gpu": {"resources": {"CPU": 1, "GPU": 1, "decode_gpu": 1}, "max_workers": 1},
}


def application(name: str, builder: str, **args: Any) -> dict[str, Any]:
    route = "/" if name == "api" else None
    return {
        "name": name,
        "route_prefix": route,
        "import_path": f"cluster.serve_applications:{builder}",
        "args": args,
    }


FALL_BACK = {"labels": ON_DEMAND, "after_seconds": AFTER_SECONDS}
APPLICATIONS = [
    application("api", "api", cpus=0, resources={"api": 0.1}),
    application("pool", "pool", cpus=1, resources={"decode_cpu": 1}, max_workers=2, fall_back=FALL_BACK),
    application("pool-gpu", "pool", kind="gpu", cpus=1, resources={"decode_gpu": 1}, max_workers=1),
    application("maintenance", "maintenance", cpus=0, resources={"api": 0.1}),
]


@pytest.fixture
def cluster(database_url: str) -> Iterator[FakeCluster]:
    folder = Path(tempfile.mkdtemp(prefix="fg-", dir="/tmp"))
    settings = {
        "FOTOGRAMA_DATABASE_URL": database_url,
        "FOTOGRAMA_OBJECTS_URL": f"file://{folder}/objects",
        "FOTOGRAMA_SECRET_KEY": "s" * 64,
        "FOTOGRAMA_SCRATCH": f"{folder}/scratch",
        "FOTOGRAMA_SCALING_IDLE_SECONDS": "5",
        "FOTOGRAMA_DRAIN_SECONDS": "600",
    }
    (folder / "objects").mkdir()
    cluster = FakeCluster(folder, GROUPS, settings)
    with cluster.running(APPLICATIONS):
        yield cluster
    shutil.rmtree(folder, ignore_errors=True)


def test_big_work_goes_to_the_gpu_pool_and_small_work_to_nodes_that_come(
    cluster: FakeCluster, database_url: str, tmp_path: Path
) -> None:
    cluster.wait_for_state(180, "the applications run", lambda state: state.are_deployed(APPLICATIONS))
    clip = next(path for path in write_samples(tmp_path) if path.name == "clock.mp4")
    big = padded_copy(clip, tmp_path / "big.mp4", GPU_WORK_BYTES, randomness=random.Random(1))
    try:
        with Client(cluster.url) as client:
            client.register("a@example.org", "a long password")
            client.login("a@example.org", "a long password")
            on_gpu_pool(cluster, client, big, database_url)
            on_fall_back(cluster, client, clip)
            cluster.wait_for_state(180, "no node and no worker", is_empty)
    finally:
        print_over_time(cluster.states)


def on_gpu_pool(cluster: FakeCluster, client: Client, clip: Path, database_url: str) -> None:
    """A GPU node comes for big work, before any other kind may take it. Its GPU is none, and a processor decodes."""
    begin = cluster.states[-1].seconds
    extraction = ended(client, clip)
    found = [state for state in cluster.states if state.seconds > begin]
    assert found[-1].seconds - begin < PATIENCE_SECONDS
    assert max(state.nodes_of("decode-gpu") for state in found) == 1
    assert max(state.running("pool-gpu") for state in found) == 1
    assert max(state.running("pool") for state in found) == 0
    with psycopg.connect(database_url) as connection:
        tasks = connection.execute("SELECT prefers FROM tasks").fetchall()
        workers = connection.execute("SELECT can_decode, about FROM gpu_workers").fetchall()
    assert tasks == [("gpu",)]
    print(f"the worker of the GPU pool: {workers}")
    # What is missing is a warning about the worker, not about the result: it is the one of any CPU worker.
    ((can_decode, about),) = workers
    assert (can_decode, extraction.result and extraction.result.warnings) == (False, ())
    assert "driver" in about
    cluster.wait_for_state(180, "the GPU node goes", is_empty)


def on_fall_back(cluster: FakeCluster, client: Client, clip: Path) -> None:
    """Small work asks for the nodes that are sold out, and soon for the others too."""
    begin = cluster.states[-1].seconds
    ended(client, clip)
    came = next(state.seconds for state in cluster.states if state.seconds > begin and state.nodes_of("decode-cpu"))
    print(f"{came - begin:.1f} s from the submission to the node of the fall-back")
    assert came - begin > AFTER_SECONDS
    assert max(state.nodes_of("decode-gpu") for state in cluster.states if state.seconds > begin) == 0


def ended(client: Client, clip: Path) -> Extraction:
    extraction = client.wait(client.upload(clip, {"sample": {"mode": "all"}}).extraction.id)
    assert extraction.status is Status.SUCCEEDED, extraction
    return extraction


def is_empty(state: ClusterState) -> bool:
    """Without a node that decodes, and without a worker that waits for one."""
    return not state.decode_nodes and not any(state.replicas[name] for name in ("pool", "pool-gpu"))


def print_over_time(states: list[ClusterState]) -> None:
    shown: object = None
    for state in states:
        nodes = {group: state.nodes_of(group) for group in GROUPS}
        workers = {name: state.running(name) for name in ("pool", "pool-gpu")}
        if (nodes, workers) != shown:
            print(f"{state.seconds:6.1f} s: nodes {nodes}, workers {workers}")
            shown = nodes, workers
