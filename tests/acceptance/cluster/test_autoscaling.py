"""Nodes come and go with the queue, and end in any way, and no video is lost: the service on a real Ray autoscaler.

    FOTOGRAMA_SUITE=full uv run pytest -s tests/acceptance/cluster

prints the nodes and workers over time. The steps are those of the workflow *Kubernetes*.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.scenarios import scenarios
from tests.support.clusters.fake_multinode import ClusterState, FakeCluster
from tests.support.clusters.fake_multinode_driver import FakeNodesDriver

pytestmark = pytest.mark.skipif(os.environ.get("FOTOGRAMA_SUITE") != "full", reason="it takes several minutes")

MAX_NODES = 3
APPLICATIONS: list[dict[str, Any]] = [
    {
        "name": "api",
        "route_prefix": "/",
        "import_path": "cluster.serve_applications:api",
        "args": {"cpus": 0, "resources": {"api": 0.1}},
    },
    {
        "name": "pool",
        "route_prefix": None,
        "import_path": "cluster.serve_applications:pool",
        "args": {"cpus": 1, "resources": {"decode_cpu": 1}, "min_workers": 0, "max_workers": MAX_NODES - 1},
    },
    {
        "name": "maintenance",
        "route_prefix": None,
        "import_path": "cluster.serve_applications:maintenance",
        "args": {"cpus": 0, "resources": {"api": 0.1}},
    },
]


@pytest.fixture
def cluster(database_url: str) -> Iterator[FakeCluster]:
    folder = Path(tempfile.mkdtemp(prefix="fg-", dir="/tmp"))
    settings = {
        "FOTOGRAMA_DATABASE_URL": database_url,
        "FOTOGRAMA_OBJECTS_URL": f"file://{folder}/objects",
        "FOTOGRAMA_SECRET_KEY": "s" * 64,
        "FOTOGRAMA_SCRATCH": f"{folder}/scratch",
        "FOTOGRAMA_LEASE_SECONDS": "5",
        "FOTOGRAMA_HEARTBEAT_SECONDS": "1",
        "FOTOGRAMA_SCALING_IDLE_SECONDS": "5",
        "FOTOGRAMA_DRAIN_SECONDS": "600",
        # A burst of short videos has many workers.
        "FOTOGRAMA_SCALING_WAIT_SECONDS": "1",
    }
    (folder / "objects").mkdir()
    groups = {"decode-cpu": {"resources": {"CPU": 1, "decode_cpu": 1}, "max_workers": MAX_NODES}}
    cluster = FakeCluster(folder, groups, settings)
    with cluster.running(APPLICATIONS):
        yield cluster
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def driver(cluster: FakeCluster) -> FakeNodesDriver:
    cluster.wait_for_state(180, "the applications run", lambda state: state.are_deployed(APPLICATIONS))
    assert not cluster.states[-1].decode_nodes
    return FakeNodesDriver(cluster, APPLICATIONS)


def test_nodes_follow_the_queue_and_their_end_loses_no_video(driver: FakeNodesDriver, database_url: str) -> None:
    scenarios.burst(driver, nodes=MAX_NODES - 1, count=30)
    assert most_workers(driver.cluster) == MAX_NODES - 1
    # The operator allows one more than the deployment does.
    run_ops(database_url, "scale", "--max", str(MAX_NODES))
    scenarios.burst(driver, nodes=MAX_NODES, count=30)
    assert most_workers(driver.cluster) == MAX_NODES
    scenarios.node_drains(driver, count=30)
    # A drained worker released its task or finished it.
    assert failures(database_url) == (0, 0)
    scenarios.node_dies(driver, count=30)
    # Only the killed node's lease was lost.
    losses, crashes = failures(database_url)
    assert (crashes, losses <= 1) == (0, True)
    driver.cluster.wait_for_state(180, "no node and no worker", is_empty)
    print_nodes_over_time(driver.cluster.states)


def test_killed_api_and_upgrade_lose_no_submission(driver: FakeNodesDriver, database_url: str) -> None:
    scenarios.api_dies(driver, count=60, seconds=10)
    # One replica behind Ray's plain proxy, on the cores of the workers: a request may come too late.
    scenarios.upgrade(driver, count=100, seconds=50, repeat=True)
    assert failures(database_url) == (0, 0)


def run_ops(database_url: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "cluster.cli.app", "ops", *arguments],
        check=False,
        env=os.environ | {"FOTOGRAMA_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def most_workers(cluster: FakeCluster) -> int:
    return max(state.workers for state in cluster.states)


def failures(database_url: str) -> tuple[int, int]:
    """Leases that were lost, and children that crashed."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT coalesce(sum(losses), 0), coalesce(sum(crashes), 0) FROM tasks").fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def is_empty(state: ClusterState) -> bool:
    return not state.decode_nodes and not state.workers


def print_nodes_over_time(states: list[ClusterState]) -> None:
    shown: tuple[int, int] | None = None
    for state in states:
        counts = (len(state.decode_nodes), state.workers)
        if counts != shown:
            print(f"{state.seconds:6.1f} s: {counts[0]} nodes, {counts[1]} workers")
            shown = counts
