"""Ray's own autoscaler, as it runs beside the head of a RayCluster, on a Kubernetes that is values in memory.

Real are the provider of KubeRay, the instance manager, the reconciler, the scheduler and the configuration that Ray
reads from the RayCluster. In place of the API server and KubeRay's operator stands `Kubernetes`, in place of the GCS
`Gcs`, and time passes when a test says so.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler.v2.autoscaler import Autoscaler
from ray.autoscaler.v2.instance_manager import common, reconciler
from ray.autoscaler.v2.instance_manager.cloud_providers.kuberay import cloud_provider
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig, InstanceReconcileConfig, KubeRayConfigReader
from ray.autoscaler.v2.instance_manager.subscribers import cloud_resource_monitor
from ray.core.generated import autoscaler_pb2, common_pb2

from actors.scaling.fall_back_watch import FallBackTurns
from tests.support.kubernetes.rendered_manifests import Manifest

messages: Any = autoscaler_pb2
common_messages: Any = common_pb2
"""Made by protoc, without types."""
ROUNDS = 8
"""Of the autoscaler, in each stretch of time: more than a node has states from its request to its end."""
CLUSTER = "fotograma-x"


class Clock:
    """In place of the module `time` in the modules that measure how long an instance is in a state."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def time(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return int(self.now * 1e9)


@dataclass
class Pod:
    """is_idle_since: by the clock; None when it works. has_ended: Ray in it was drained."""

    name: str
    group: str
    is_ray_node: bool = False
    is_idle_since: float | None = None
    has_ended: bool = False


@dataclass
class Kubernetes:
    """The API server with KubeRay's operator. pods: by name. ended: names of pods that the autoscaler had deleted.
    is_down: a part of a path whose requests time out.
    """

    ray_cluster: Manifest
    pods: dict[str, Pod] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    is_down: str | None = None
    names: int = 0

    def get(self, path: str) -> Manifest:
        if self.is_down is not None and path.startswith(self.is_down):
            raise requests.exceptions.ReadTimeout(f"GET {path}")
        if path == f"rayclusters/{CLUSTER}":
            return copy.deepcopy(self.ray_cluster)
        assert path.startswith("pods?labelSelector="), path
        return {"metadata": {"resourceVersion": "1"}, "items": [_pod_object(pod) for pod in self.pods.values()]}

    def patch(self, path: str, payload: list[dict[str, Any]], content_type: str = "") -> Manifest:
        assert path == f"rayclusters/{CLUSTER}", path
        for change in payload:
            *parents, last = [int(part) if part.isdigit() else part for part in change["path"].split("/")[1:]]
            place: Any = self.ray_cluster
            for parent in parents:
                place = place[parent]
            place[last] = change["value"]
        self.reconcile()
        return copy.deepcopy(self.ray_cluster)

    def reconcile(self) -> None:
        """What the operator does: deletes the named pods, and makes new ones until there are `replicas`."""
        for group in self.ray_cluster["spec"]["workerGroupSpecs"]:
            for name in group.get("scaleStrategy", {}).get("workersToDelete", []):
                if self.pods.pop(name, None) is not None:
                    self.ended.append(name)
            for _ in range(group["replicas"] - self.count()[group["groupName"]]):
                self.names += 1
                name = f"{group['groupName']}-{self.names}"
                self.pods[name] = Pod(name, group["groupName"])

    def count(self) -> Counter[str]:
        """How many pods each group has."""
        return Counter(pod.group for pod in self.pods.values())


def _pod_object(pod: Pod) -> Manifest:
    kind = "head" if pod.group == "headgroup" else "worker"
    state: Manifest = {"running": {}} if pod.is_ray_node else {"waiting": {}}
    return {
        "metadata": {"name": pod.name, "labels": {"ray.io/node-type": kind, "ray.io/group": pod.group}},
        "spec": {"containers": [{"name": "ray", "resources": {}}]},
        "status": {"containerStatuses": [{"name": "ray", "state": state}]},
    }


@dataclass
class Gcs:
    """Ray's control. resources, labels: of the nodes of each group. demand: replicas that wait for a node; each takes
    what a node of its group has for one. constraint: what was requested beside the demand.
    """

    kubernetes: Kubernetes
    clock: Clock
    resources: Mapping[str, Mapping[str, float]]
    labels: Mapping[str, Mapping[str, str]]
    demand: int = 0
    constraint: Any = field(default_factory=messages.ClusterResourceConstraint)
    replica: Mapping[str, float] = field(default_factory=dict)
    address: str = "127.0.0.1:6379"

    def get_cluster_resource_state(self, timeout_s: float = 0) -> bytes:
        requests_ = [
            messages.ResourceRequestByCount(
                request=messages.ResourceRequest(resources_bundle=self.replica), count=self.demand
            )
        ]
        nodes = [self._node(pod) for pod in self.kubernetes.pods.values() if pod.is_ray_node]
        state = messages.ClusterResourceState(
            cluster_resource_state_version=1,
            node_states=nodes,
            pending_resource_requests=requests_ if self.demand else [],
            cluster_resource_constraints=[self.constraint],
        )
        return bytes(messages.GetClusterResourceStateReply(cluster_resource_state=state).SerializeToString())

    def request_cluster_resource_constraint(
        self,
        bundles: list[dict[str, float]],
        label_selectors: list[dict[str, str]],
        count_array: list[int],
        timeout_s: float,
    ) -> None:
        self.constraint = messages.ClusterResourceConstraint()
        for bundle, labels, count in zip(bundles, label_selectors, count_array, strict=True):
            selector = common_messages.LabelSelector()
            for key, value in labels.items():
                selector.label_constraints.add(
                    label_key=key, operator=common_messages.LABEL_OPERATOR_IN, label_values=[value]
                )
            request = messages.ResourceRequest(resources_bundle=bundle, label_selectors=[selector])
            self.constraint.resource_requests.add(request=request, count=count)

    def drain_node(self, node_id: str, **_: Any) -> tuple[bool, str]:
        pod = next(pod for pod in self.kubernetes.pods.values() if _node_id(pod) == bytes.fromhex(node_id))
        pod.is_ray_node, pod.has_ended = False, True
        return True, ""

    def get_all_job_info(self, **_: Any) -> dict[str, Any]:
        return {}

    def _node(self, pod: Pod) -> Any:
        total = dict(self.resources[pod.group])
        if pod.group == "headgroup":
            total["node:__internal_head__"] = 1
        idle = pod.is_idle_since is not None
        return messages.NodeState(
            node_id=_node_id(pod),
            instance_id=pod.name,
            ray_node_type_name=pod.group,
            total_resources=total,
            labels=self.labels[pod.group],
            # A node that works has nothing to give away.
            available_resources=total if idle else {},
            status=messages.NodeStatus.IDLE if idle else messages.NodeStatus.RUNNING,
            idle_duration_ms=int((self.clock.now - pod.is_idle_since) * 1000) if pod.is_idle_since is not None else 0,
        )


def _node_id(pod: Pod) -> bytes:
    return pod.name.encode().ljust(28, b"\0")


@dataclass
class RunningAutoscaler:
    """The autoscaler of a RayCluster. comes: whether a pod of a group gets a machine; it is a node by the next loop.
    fall_back: what the policy of the pool does beside it.
    """

    kubernetes: Kubernetes
    gcs: Gcs
    clock: Clock
    autoscaler: Autoscaler
    comes: Callable[[str], bool] = lambda _: True
    fall_back: FallBackTurns | None = None

    def run(self, seconds: float, rounds: int = ROUNDS) -> int:
        """Lets time pass, and returns how many of the rounds of the autoscaler ended without a result."""
        failed = 0
        for _ in range(rounds):
            self.clock.now += seconds / rounds
            if self.fall_back is not None:
                self.fall_back.turn(self.gcs, self.clock.now)
            failed += self.autoscaler.update_autoscaling_state() is None
            # The thread that drains nodes.
            manager: Any = self.autoscaler._instance_manager
            for subscriber in manager._status_update_subscribers:
                if hasattr(subscriber, "_executor"):
                    subscriber._executor.submit(int).result()
            for pod in self.kubernetes.pods.values():
                if not pod.is_ray_node and not pod.has_ended and self.comes(pod.group):
                    self._start_node(pod)
        return failed

    def _start_node(self, pod: Pod) -> None:
        """The node takes as many of the waiting replicas as fit on it. It is idle when none waits."""
        pod.is_ray_node = True
        total, replica = self.gcs.resources[pod.group], self.gcs.replica
        if all(total.get(name, 0) >= amount for name, amount in replica.items()):
            fitting = min(int(total[name] / amount) for name, amount in replica.items())
            pod.is_idle_since = None if self.gcs.demand else self.clock.now
            self.gcs.demand = max(0, self.gcs.demand - fitting)


def running_autoscaler(cluster: Manifest, replica: Mapping[str, float], patch: pytest.MonkeyPatch) -> RunningAutoscaler:
    """cluster: the `rayClusterConfig` of a RayService. replica: what each waiting replica asks for."""
    ray_cluster = {"metadata": {"name": CLUSTER, "namespace": "fotograma"}, "spec": copy.deepcopy(cluster)}
    configuration = _derive_autoscaling_config_from_ray_cr(ray_cluster)
    clock = Clock()
    for module in (common, reconciler, cloud_resource_monitor):
        patch.setattr(module, "time", clock)
    _use_environment({item["name"]: item["value"] for item in cluster["autoscalerOptions"].get("env", [])}, patch)
    kubernetes = Kubernetes(ray_cluster, {"head": Pod("head", "headgroup", is_ray_node=True)})
    patch.setattr(cloud_provider, "KubernetesHttpApiClient", lambda namespace: kubernetes)
    resources = {name: spec["resources"] for name, spec in configuration["available_node_types"].items()}
    labels = {name: spec["labels"] for name, spec in configuration["available_node_types"].items()}
    gcs = Gcs(kubernetes, clock, resources, labels, replica=replica)
    producer: Any = lambda: _derive_autoscaling_config_from_ray_cr(kubernetes.get(f"rayclusters/{CLUSTER}"))  # noqa: E731
    kubernetes.reconcile()
    return RunningAutoscaler(kubernetes, gcs, clock, Autoscaler("session", KubeRayConfigReader(producer), gcs))


def _use_environment(environment: dict[str, str], patch: pytest.MonkeyPatch) -> None:
    """Ray reads these variables when its modules are loaded, which is long ago."""
    names = {
        "RAY_AUTOSCALER_RECONCILE_ALLOCATE_STATUS_TIMEOUT_S": "allocate_status_timeout_s",
        "RAY_AUTOSCALER_AVAILABILITY_RECOVERY_S": "RAY_AUTOSCALER_AVAILABILITY_RECOVERY_S",
    }
    values = {names[name]: int(value) for name, value in environment.items()}
    if (recovery := values.pop("RAY_AUTOSCALER_AVAILABILITY_RECOVERY_S", None)) is not None:
        patch.setattr(cloud_resource_monitor, "RAY_AUTOSCALER_AVAILABILITY_RECOVERY_S", recovery)
    reconcile = InstanceReconcileConfig(**values)
    patch.setattr(AutoscalingConfig, "get_instance_reconcile_config", lambda _: reconcile)
