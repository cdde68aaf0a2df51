"""The thread that requests nodes of the fall-back: it looks again after an error, and leaves no request behind."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest
from ray.core.generated import autoscaler_pb2

from actors.scaling import fall_back_watch
from actors.scaling.fall_back import FallBack
from actors.scaling.fall_back_watch import FallBackWatch

messages: Any = autoscaler_pb2
"""Made by protoc, without types."""
WORKER = {"CPU": 2.0, "decode_cpu": 1.0}
FALL_BACK = FallBack(WORKER, {"ray.io/market-type": "on-demand"}, after_seconds=0.05, max_workers=40)
EVENT_SECONDS = 60.0


class WaitingGcs:
    """Ray's control, with three workers that wait. Its first answer is an error."""

    def __init__(self) -> None:
        self.requested: list[int] = []
        self.changed = threading.Condition()
        self.answers = 0

    def get_cluster_resource_state(self, timeout_s: float) -> bytes:
        self.answers += 1
        if self.answers == 1:
            raise ConnectionError("away")
        request = messages.ResourceRequestByCount(request=messages.ResourceRequest(resources_bundle=WORKER), count=3)
        state = messages.ClusterResourceState(pending_resource_requests=[request])
        return bytes(messages.GetClusterResourceStateReply(cluster_resource_state=state).SerializeToString())

    def request_cluster_resource_constraint(
        self,
        bundles: list[dict[str, float]],
        label_selectors: list[dict[str, str]],
        count_array: list[int],
        timeout_s: float,
    ) -> None:
        with self.changed:
            self.requested.append(sum(count_array))
            self.changed.notify_all()

    def wait_for(self, workers: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.requested[-1:] == [workers], EVENT_SECONDS), self.requested


def test_request_ends_with_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = WaitingGcs()
    monkeypatch.setattr(fall_back_watch, "_open_gcs", lambda: ray)
    monkeypatch.setattr(fall_back_watch, "POLL_SECONDS", 0.01)
    watch = FallBackWatch(FALL_BACK)
    assert ray.answers == 0, "nobody has started it"
    watch.start()
    watch.start()
    ray.wait_for(3)
    del watch
    gc.collect()
    ray.wait_for(0)
