"""How long Prometheus waits for a node with 100 workers: `python -m benchmarks.metrics_scrape`.

A real Ray on this machine, whose metrics agent has as many series as 100 replicas of the pool give it: what they count
together (`actors.worker.node_metrics`), what each says itself, and what Ray and Serve add to each of them. One process
gives them all, with the label `simulated_worker` in place of the 100 processes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any

import httpx
import psutil

REPLICAS = 100
OTHER_SERIES = 16
"""Of Ray and Serve for each replica, as `curl` counts them under `fotograma up`."""
LIMIT_MS = 200
KINDS = ("extract", "segment", "assemble")
ENDS = [("extract", "published"), ("extract", "split"), ("extract", "failed"), ("extract", "retried")]
ENDS += [("segment", "published"), ("assemble", "published")]
"""How the tasks of a worker usually end."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=REPLICAS)
    parser.add_argument("--scrapes", type=int, default=20)
    arguments = parser.parse_args()
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        # Under `uv run` Ray would upload this folder.
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_raylet_start_wait_time_s": "120",
    }
    import ray  # noqa: PLC0415

    context: Any = ray.init(
        address="local", num_cpus=1, object_store_memory=80_000_000, log_to_driver=False, include_dashboard=True
    )
    url = f"http://127.0.0.1:{context.address_info['metrics_export_port']}/metrics"
    try:
        expected = record_as_workers(arguments.replicas)
        text = wait_for_series(url, expected)
        agent = find_agent()
        cpu_before = sum(agent.cpu_times()[:2])
        # As docker/prometheus/prometheus.yml asks.
        with httpx.Client(
            base_url=url.removesuffix("/metrics"), headers={"Accept-Encoding": "identity"}, timeout=60
        ) as client:
            times = [timed_scrape(client) for _ in range(arguments.scrapes)]
        cpu = (sum(agent.cpu_times()[:2]) - cpu_before) / len(times) * 1000
    finally:
        ray.shutdown()
    lines = sum(not line.startswith("#") for line in text.splitlines())
    median, worst = statistics.median(times), max(times)
    print(f"{arguments.replicas} workers on one node: {lines:,} series, {len(text) / 2**20:.1f} MiB")
    print(
        f"a scrape takes {median:.0f} ms (median of {len(times)}), {worst:.0f} ms at most; the limit is {LIMIT_MS} ms"
    )
    print(f"of which Ray's agent computes {cpu:.0f} ms")
    print(f"ratio to the limit: {median / LIMIT_MS:.2f}")
    return int(median > LIMIT_MS)


def record_as_workers(replicas: int) -> int:
    """Gives Ray what so many workers tell. Returns how many of them are to be seen."""
    from ray.util.metrics import Counter, Gauge, Histogram  # noqa: PLC0415

    from actors.worker.worker_deployment import TASK_SECONDS, WAIT_SECONDS  # noqa: PLC0415

    worker = "simulated_worker"
    waits = Histogram("simulated_claim_wait_seconds", boundaries=WAIT_SECONDS)
    tasks = Counter("simulated_tasks_ended", tag_keys=("kind", "outcome"))
    seconds = Histogram("simulated_task_seconds", boundaries=TASK_SECONDS)
    decoding = Counter("simulated_decode_seconds", tag_keys=("kind",))
    frames = Counter("simulated_frames")
    crashes = Counter("simulated_child_crashes", tag_keys=(worker,))
    others = Gauge("simulated_series_of_ray", tag_keys=("name", worker))
    busy = Gauge("simulated_worker_busy", tag_keys=(worker,))
    for number in range(replicas):
        tag = {worker: f"{number:056x}"}
        waits.observe(1.0)
        seconds.observe(1.0)
        for kind in KINDS:
            decoding.inc(1.0, tags={"kind": kind})
        for kind, outcome in ENDS:
            tasks.inc(tags={"kind": kind, "outcome": outcome})
        frames.inc()
        crashes.inc(tags=tag)
        for name in range(OTHER_SERIES):
            others.set(number, tags={"name": f"name{name}", **tag})
        busy.set(1, tags=tag)
    return replicas


def wait_for_series(url: str, replicas: int) -> str:
    """Returns the first scrape that has all workers."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            text = httpx.get(url, timeout=60).text
        except httpx.TransportError:
            text = ""
        if text.count("\nray_simulated_worker_busy{") == replicas:
            return text
        time.sleep(1)
    raise SystemExit("the metrics of the workers did not arrive in 120 s")


def find_agent() -> psutil.Process:
    """The process that answers."""
    children = psutil.Process().children(recursive=True)
    return next(child for child in children if "ray::DashboardAgent" in " ".join(child.cmdline()))


def timed_scrape(client: httpx.Client) -> float:
    """Milliseconds."""
    started = time.perf_counter()
    client.get("/metrics").raise_for_status()
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    raise SystemExit(main())
