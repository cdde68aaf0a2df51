"""A real Prometheus (Debian's package `prometheus`) with the rules of the service."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster.local.cores_and_ports import LOCALHOST
from tests.support.servers.reserved_ports import reserved_port

RULES = Path(__file__).parents[3] / "docker/prometheus/rules"
START_SECONDS = 30.0

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="Prometheus is not installed: it is Debian's package `prometheus`"
)


@dataclass(frozen=True, slots=True)
class Prometheus:
    """client: of its address. A hundred queries share its connection."""

    client: httpx.Client

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series that an expression gives now."""
        answer = self.client.get("/api/v1/query", params={"query": expr}).json()
        assert answer["status"] == "success", answer
        result = answer["data"]["result"]
        return result if answer["data"]["resultType"] == "vector" else [{"metric": {}, "value": result}]

    def targets(self) -> dict[str, str]:
        """The health of each address that it asks."""
        answer = self.client.get("/api/v1/targets").json()
        return {target["scrapeUrl"]: target["health"] for target in answer["data"]["activeTargets"]}


@contextmanager
def running_prometheus(targets: Path, folder: Path) -> Iterator[Prometheus]:
    """targets: the file that names what it asks. folder: an empty one for its configuration and data."""
    port = reserved_port()
    configuration = {
        # It is also the longest time that an answer may take.
        "global": {"scrape_interval": "5s", "evaluation_interval": "1s"},
        "rule_files": [f"{RULES}/*.yaml"],
        "scrape_configs": [
            {
                "job_name": "fotograma",
                "file_sd_configs": [{"files": [str(targets)]}],
            }
        ],
    }
    # YAML takes JSON.
    (folder / "prometheus.yml").write_text(json.dumps(configuration))
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address={LOCALHOST}:{port}"], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            with httpx.Client(base_url=f"http://{LOCALHOST}:{port}", timeout=30) as client:
                _wait_until_ready(client, process, folder / "log")
                yield Prometheus(client)
        finally:
            process.terminate()
            process.wait(30)


def _wait_until_ready(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.get("/-/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"Prometheus did not start:\n{log.read_text()}")
