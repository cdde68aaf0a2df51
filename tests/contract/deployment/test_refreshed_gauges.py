"""Gauges stay in Ray, which drops those that are not set again and again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest
from ray.util.metrics import Gauge

from actors.maintenance.maintenance_deployment import FIGURE_SECONDS, RayMetrics
from actors.maintenance.maintenance_job import Figure
from actors.worker.worker_deployment import RayWorkerMetrics

Set = tuple[str, float, Mapping[str, str]]


@pytest.fixture
def gauges(monkeypatch: pytest.MonkeyPatch) -> list[Set]:
    """What is set in Ray."""
    found: list[Set] = []

    def record(gauge: Any, value: float, tags: Mapping[str, str] | None = None) -> None:
        found.append((gauge.info["name"], value, dict(tags or {})))

    monkeypatch.setattr(Gauge, "set", record)
    return found


def test_worker_says_again_whether_it_is_busy(gauges: list[Set]) -> None:
    metrics = RayWorkerMetrics()
    metrics.busy(True)
    gauges.clear()
    metrics.refresh()
    assert gauges == [("fotograma_worker_busy", 1, {})]


def test_maintenance_says_again_what_it_measured_but_nothing_old(
    gauges: list[Set], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "time", lambda: now)
    metrics = RayMetrics()
    metrics.completed("ledger")
    metrics.measured([Figure("fotograma_a", "", 1), Figure("fotograma_b", "", 2, state="ready")])
    now += FIGURE_SECONDS / 2
    metrics.measured([Figure("fotograma_a", "", 3)])
    gauges.clear()
    metrics.refresh()
    completed = ("fotograma_maintenance_completed_timestamp_seconds", 1000.0, {"maintenance_job": "ledger"})
    assert gauges == [completed, ("fotograma_a", 3, {}), ("fotograma_b", 2, {"state": "ready"})]
    now += FIGURE_SECONDS / 2
    gauges.clear()
    metrics.refresh()
    assert gauges == [completed, ("fotograma_a", 3, {})]
