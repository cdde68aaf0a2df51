"""What Ray's autoscaler does with the groups of the manifests: which it asks for, and what it never ends."""

import inspect
from typing import Any

import pytest
import requests
from ray.autoscaler._private import constants
from ray.autoscaler.v2.instance_manager import config

from tests.support.kubernetes.ray_autoscaler import ROUNDS, Kubernetes, RunningAutoscaler, running_autoscaler
from tests.support.kubernetes.rendered_manifests import cluster_of, ray_groups, serve_config, variant

SPOT, ON_DEMAND = "decode-cpu-spot", "decode-cpu"
WITH_SPOT = ["production", "gpu"]
MINUTES = 60


def replica_of(name: str) -> dict[str, float]:
    """What a worker of the pool asks for."""
    (args,) = [app["args"] for app in serve_config(variant(name))["applications"] if app["name"] == "pool"]
    return {"CPU": args["cpus"], **args["resources"]}


def autoscaler_options(name: str) -> dict[str, int]:
    return {item["name"]: int(item["value"]) for item in cluster_of(variant(name))["autoscalerOptions"]["env"]}


@pytest.fixture
def autoscaler(monkeypatch: pytest.MonkeyPatch) -> RunningAutoscaler:
    """That of the overlay `production`."""
    return running_autoscaler(cluster_of(variant("production")), replica_of("production"), monkeypatch)


WORKERS = 8


def test_spot_nodes_are_asked_first(autoscaler: RunningAutoscaler) -> None:
    autoscaler.gcs.demand = WORKERS
    autoscaler.run(1 * MINUTES)
    assert autoscaler.kubernetes.count()[SPOT] == WORKERS / 2
    assert autoscaler.kubernetes.count()[ON_DEMAND] == 0
    assert autoscaler.gcs.demand == 0


@pytest.mark.parametrize("name", WITH_SPOT)
def test_on_demand_nodes_are_asked_when_spot_nodes_do_not_come_and_spot_later_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    autoscaler = running_autoscaler(cluster_of(variant(name)), replica_of(name), monkeypatch)
    patience = autoscaler_options(name)["RAY_AUTOSCALER_RECONCILE_ALLOCATE_STATUS_TIMEOUT_S"]
    recovery = autoscaler_options(name)["RAY_AUTOSCALER_AVAILABILITY_RECOVERY_S"]
    autoscaler.comes = lambda group: group != SPOT
    autoscaler.gcs.demand = WORKERS
    autoscaler.run(1 * MINUTES)
    autoscaler.run(patience - 2 * MINUTES)
    assert autoscaler.kubernetes.count()[SPOT] == WORKERS / 2
    assert autoscaler.kubernetes.count()[ON_DEMAND] == 0, "a machine may still start"
    autoscaler.run(3 * MINUTES)
    assert autoscaler.kubernetes.count()[ON_DEMAND] == WORKERS / 2
    assert autoscaler.kubernetes.count()[SPOT] == 0, "what did not come is given up"
    assert autoscaler.gcs.demand == 0

    # More work, soon after: nobody waits for spot nodes again.
    autoscaler.gcs.demand = 2
    autoscaler.run(1 * MINUTES)
    assert autoscaler.kubernetes.count()[ON_DEMAND] == WORKERS / 2 + 1

    autoscaler.comes = lambda _: True
    autoscaler.run(recovery)
    autoscaler.gcs.demand = 2
    autoscaler.run(1 * MINUTES)
    assert autoscaler.kubernetes.count()[SPOT] == 1


def test_what_spot_nodes_have_no_room_for_goes_to_on_demand_nodes(autoscaler: RunningAutoscaler) -> None:
    groups = autoscaler.kubernetes.ray_cluster["spec"]["workerGroupSpecs"]
    (most,) = [group["maxReplicas"] for group in groups if group["groupName"] == SPOT]
    autoscaler.gcs.demand = 2 * most + 2
    autoscaler.run(1 * MINUTES)
    assert autoscaler.kubernetes.count()[SPOT] == most
    assert autoscaler.kubernetes.count()[ON_DEMAND] == 1


@pytest.mark.parametrize("name", WITH_SPOT)
def test_both_groups_offer_the_same_so_that_the_priority_decides(name: str) -> None:
    spot, on_demand = (ray_groups(variant(name))[group] for group in (SPOT, ON_DEMAND))
    for key in ("rayStartParams", "minReplicas", "maxReplicas"):
        assert spot[key] == on_demand[key]
    assert spot["priority"] > on_demand.get("priority", 0)
    different = {"affinity", "tolerations"}
    spot_pod, other_pod = (
        {k: v for k, v in g["template"]["spec"].items() if k not in different} for g in (spot, on_demand)
    )
    assert spot_pod == other_pod


def node_terms(name: str, group: str) -> list[list[dict[str, Any]]]:
    affinity = ray_groups(variant(name))[group]["template"]["spec"]["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return [term["matchExpressions"] for term in terms]


@pytest.mark.parametrize("name", WITH_SPOT)
def test_on_demand_group_is_on_no_machine_of_the_spot_group(name: str) -> None:
    spot = [expression for (expression,) in node_terms(name, SPOT)]
    (not_spot,) = node_terms(name, ON_DEMAND)
    assert {expression["operator"] for expression in spot} == {"In"}
    assert [{**expression, "operator": "In"} for expression in not_spot] == spot
    assert {expression["operator"] for expression in not_spot} == {"NotIn"}


@pytest.mark.parametrize("name", WITH_SPOT)
def test_ray_knows_the_variables_of_the_autoscaler(name: str) -> None:
    source = inspect.getsource(config) + inspect.getsource(constants)
    assert [variable for variable in autoscaler_options(name) if f'"{variable}"' not in source] == []


def with_busy_nodes(autoscaler: RunningAutoscaler) -> set[str]:
    """The names of all pods, after workers have come."""
    autoscaler.gcs.demand = WORKERS
    autoscaler.run(1 * MINUTES)
    pods = set(autoscaler.kubernetes.pods)
    assert autoscaler.kubernetes.count()[SPOT] == WORKERS / 2
    return pods


@pytest.mark.parametrize("path", ["pods", "rayclusters"])
def test_a_list_that_times_out_ends_no_node(autoscaler: RunningAutoscaler, path: str) -> None:
    pods = with_busy_nodes(autoscaler)
    autoscaler.kubernetes.is_down = path
    assert autoscaler.run(30 * MINUTES) == ROUNDS
    autoscaler.kubernetes.is_down = None
    assert autoscaler.run(30 * MINUTES) == 0
    assert set(autoscaler.kubernetes.pods) == pods
    assert autoscaler.kubernetes.ended == []


def test_a_node_that_came_while_lists_timed_out_is_kept(autoscaler: RunningAutoscaler) -> None:
    pods = with_busy_nodes(autoscaler)
    autoscaler.comes = lambda _: False
    autoscaler.gcs.demand = 2
    autoscaler.run(1 * MINUTES)
    (late,) = set(autoscaler.kubernetes.pods) - pods
    autoscaler.kubernetes.is_down, autoscaler.comes = "pods", lambda _: True
    autoscaler.run(30 * MINUTES)
    autoscaler.kubernetes.is_down = None
    autoscaler.run(5 * MINUTES)
    assert set(autoscaler.kubernetes.pods) == {*pods, late}
    assert autoscaler.kubernetes.ended == []


def test_a_list_that_times_out_while_an_idle_node_ends_ends_no_other(
    autoscaler: RunningAutoscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods = with_busy_nodes(autoscaler)
    idle = autoscaler.kubernetes.pods[f"{SPOT}-5"]
    idle.is_idle_since = autoscaler.clock.now
    monkeypatch.setattr(autoscaler.kubernetes, "get", list_that_times_out_every_third_time(autoscaler.kubernetes))
    failed = autoscaler.run(10 * MINUTES) + autoscaler.run(10 * MINUTES)
    assert failed > 2
    assert autoscaler.kubernetes.ended == [idle.name]
    assert set(autoscaler.kubernetes.pods) == pods - {idle.name}


def list_that_times_out_every_third_time(kubernetes: Kubernetes) -> Any:
    answer, calls = kubernetes.get, iter(range(1_000_000))

    def get(path: str) -> Any:
        if path.startswith("pods") and next(calls) % 3 == 2:
            raise requests.exceptions.ReadTimeout(path)
        return answer(path)

    return get
