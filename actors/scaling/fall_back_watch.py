"""Requests nodes of the fall-back from Ray's autoscaler while workers wait for others in vain."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from typing import Any, Protocol

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # Ray has no type for it
from ray.core.generated import autoscaler_pb2

from actors.scaling.fall_back import FallBack, NodeRoom, Placing, remembered, requested_room

POLL_SECONDS = 2.0
GCS_SECONDS = 5.0

messages: Any = autoscaler_pb2
"""Made by protoc, without types."""
log = logging.getLogger("ray.serve")


class Gcs(Protocol):
    """What is asked of Ray's control. The request replaces the one before, of whoever made it, and a restarted GCS has
    forgotten it.
    """

    def get_cluster_resource_state(self, timeout_s: float) -> bytes: ...

    def request_cluster_resource_constraint(
        self,
        bundles: list[dict[str, float]],
        label_selectors: list[dict[str, str]],
        count_array: list[int],
        timeout_s: float,
    ) -> None: ...


class FallBackTurns:
    """One look at the cluster after the other."""

    def __init__(self, fall_back: FallBack) -> None:
        self._fall_back = fall_back
        self._history: tuple[Placing, ...] = ()
        self._requested: int | None = None
        """None: unknown, as what a controller before this one requested may still stand."""

    def turn(self, gcs: Gcs, now: float) -> None:
        """Looks at the cluster, and requests what is needed."""
        latest = placing(gcs, self._fall_back, now)
        self._history = remembered(self._history, latest, self._fall_back.after_seconds)
        workers = requested_room(self._history, self._fall_back)
        if workers or self._requested != 0:
            self._request(gcs, workers)

    def withdraw(self, gcs: Gcs) -> None:
        """Requests nothing any more: Ray would keep the nodes for ever."""
        if self._requested:
            self._request(gcs, 0)

    def _request(self, gcs: Gcs, workers: int) -> None:
        selectors = [dict(self._fall_back.labels)] if workers else []
        bundles = [dict(self._fall_back.resources)] if workers else []
        gcs.request_cluster_resource_constraint(bundles, selectors, [workers] if workers else [], timeout_s=GCS_SECONDS)
        if workers != (self._requested or 0):
            labels = ", ".join(f"{key}={value}" for key, value in self._fall_back.labels.items())
            log.info("Nodes with %s are requested for %d workers: other nodes do not come.", labels, workers)
        self._requested = workers


def placing(gcs: Gcs, fall_back: FallBack, now: float) -> Placing:
    """Where the workers of the pool are."""
    reply = messages.GetClusterResourceStateReply.FromString(gcs.get_cluster_resource_state(timeout_s=GCS_SECONDS))
    state = reply.cluster_resource_state
    live = (messages.NodeStatus.RUNNING, messages.NodeStatus.IDLE)
    nodes = [
        NodeRoom(dict(node.total_resources), dict(node.available_resources), dict(node.labels))
        for node in state.node_states
        if node.status in live
    ]
    waiting = sum(
        item.count
        for item in state.pending_resource_requests
        if fall_back.is_worker(dict(item.request.resources_bundle))
    )
    return Placing(now, waiting, fall_back.placed(nodes))


class FallBackWatch:
    """Looks every two seconds, in a thread of its own, from `start` on until nobody refers to it any more, as after a
    deployment without it. Then it requests nothing.
    """

    def __init__(self, fall_back: FallBack) -> None:
        stop = threading.Event()
        self._thread = threading.Thread(
            target=_watch, args=[FallBackTurns(fall_back), stop], name="node fall-back", daemon=True
        )
        self._is_started = False
        weakref.finalize(self, stop.set)

    def start(self) -> None:
        """Starts the watch, once. Never blocks."""
        if not self._is_started:
            self._is_started = True
            self._thread.start()


def _watch(turns: FallBackTurns, stop: threading.Event) -> None:
    gcs: Gcs | None = None
    is_lost = False
    while not stop.wait(POLL_SECONDS):
        try:
            gcs = gcs or _open_gcs()
            turns.turn(gcs, time.monotonic())
            is_lost = False
        except Exception:
            if not is_lost:
                log.warning("Ray's nodes can't be read.", exc_info=True)
            is_lost = True
    if gcs is not None:
        turns.withdraw(gcs)


def _open_gcs() -> Gcs:
    gcs: Gcs = GcsClient(address=ray.get_runtime_context().gcs_address)
    return gcs
