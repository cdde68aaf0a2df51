"""A real Prometheus gets data for every query of every dashboard and rule from the service, after a small load."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.servers.prometheus_server import Prometheus, needs_prometheus, running_prometheus
from tests.support.servers.running_service import Service

ROOT = Path(__file__).parents[2]
DATA_SECONDS = 180.0
"""It bounds only a failure.

Ray's processes give their figures to Ray every 10 s, and a rate needs two of them in Prometheus."""
NO_DATA: Mapping[str, str] = {
    r"^sum by \(status_code\) \(rate\(ray_serve_num_http_": "Serve has no proxy under `fotograma up`.",
    r"^(sum by \(NodeType\) \()?autoscaler_": "Ray's autoscaler runs on Kubernetes only.",
    r"kube_": "kube-state-metrics has them, on Kubernetes.",
    r"reason=~": "No account is at a limit.",
    r'^ray_fotograma_http_requests_total\{status=~"5\.\."\}$': "No request failed by fault of the service.",
}
"""Queries without data here, by patterns, with the reason."""

_SELECTOR = re.compile(r"(?:ray|autoscaler|kube)_\w+(?:{[^}]*})?|fotograma:[\w:]+")


def queries() -> Iterator[tuple[str, str]]:
    """Where each query stands, and its text. Of an alert, whose answer is empty while all is well: what it reads."""
    for path in sorted((ROOT / "docker/grafana/dashboards").glob("*.json")):
        dashboard = json.loads(path.read_text())
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                yield f"{dashboard['title']}: {panel['title']}", target["expr"].replace("$__rate_interval", "1m")
    for group in yaml.safe_load((ROOT / "docker/prometheus/rules/fotograma.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            if "record" in rule:
                yield rule["record"], rule["expr"]
            else:
                yield from ((rule["alert"], selector) for selector in _SELECTOR.findall(rule["expr"]))


def reason_without_data(expr: str) -> str | None:
    return next((reason for pattern, reason in NO_DATA.items() if re.search(pattern, expr)), None)


@pytest.fixture
def prometheus(service: Service, tmp_path: Path) -> Iterator[Prometheus]:
    with running_prometheus(service.data_dir / "prometheus-targets.json", tmp_path) as prometheus:
        yield prometheus


def put_small_load_on(service: Service) -> None:
    """The demonstration was extracted. More requests: a log-in, a refused submission, an unknown address."""
    service.wait_for("Frames ", 120)
    headers = service.authorization()
    assert httpx.post(f"{service.url}/v1/videos", headers=headers, files={"spec": (None, "{}")}).status_code == 422
    assert httpx.get(f"{service.url}/v1/nothing", headers=headers).status_code == 404
    assert httpx.get(f"{service.url}/v1/videos", headers=headers).status_code == 200


@needs_prometheus
def test_every_query_of_every_dashboard_and_rule_has_data(service: Service, prometheus: Prometheus) -> None:
    put_small_load_on(service)
    expected = {expr for _, expr in queries() if reason_without_data(expr) is None}
    counts, seconds = dict[str, int](), dict[str, float]()
    started = time.monotonic()
    while missing := expected - counts.keys():
        for expr in missing:
            if count := len(prometheus.query(expr)):
                counts[expr], seconds[expr] = count, time.monotonic() - started
        if time.monotonic() - started > DATA_SECONDS:
            break
        time.sleep(0.5)

    print(f"\n{'series':>6} {'after s':>7}  query")
    for place, expr in queries():
        print(f"{counts.get(expr, 0):>6} {seconds.get(expr, 0):>7.1f}  {place}: {' '.join(expr.split())}")
    assert list(prometheus.targets().values()) == ["up"]
    assert sorted(expected - counts.keys()) == []
    without = {expr: prometheus.query(expr) for _, expr in queries() if expr not in expected}
    assert {expr: found for expr, found in without.items() if found} == {}, "these have data: name them no longer"
    assert firing(prometheus) == {}
    # 26 buckets for each replica.
    assert prometheus.query('{__name__=~"ray_serve_event_loop_.+_bucket"}') == []


def firing(prometheus: Prometheus) -> dict[str, Any]:
    """The alerts that fire, but those about the disk of this machine."""
    alerts = prometheus.query('ALERTS{alertstate="firing",alertname!~"FotogramaDiskNearlyFull|FotogramaStorageFull"}')
    return {alert["metric"]["alertname"]: alert["metric"] for alert in alerts}
