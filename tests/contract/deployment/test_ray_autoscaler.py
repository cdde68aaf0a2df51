"""What Ray's autoscaler does with the groups of the manifests: which it asks for, and what it never ends."""

import inspect
from typing import Any

import pytest
import requests
from ray import cloudpickle
from ray.autoscaler._private import constants
from ray.autoscaler.v2.instance_manager import config

from actors.scaling.fall_back import FallBack
from actors.scaling.fall_back_watch import FallBackTurns
from actors.worker.worker_deployment import application
from cluster.serve_applications import WorkerPlacement, open_worker, scaling_of
from cluster.settings import Settings
from tests.support.kubernetes.ray_autoscaler import ROUNDS, Kubernetes, RunningAutoscaler, running_autoscaler
from tests.support.kubernetes.rendered_manifests import cluster_of, ray_groups, serve_config, settings_of, variant

SPOT, ON_DEMAND = "decode-cpu-spot", "decode-cpu"
WITH_SPOT = ["production", "gpu"]
MINUTES = 60
SETTINGS = Settings.model_construct(segment_seconds=300, scaling_wait_seconds=60, scaling_idle_seconds=120)


def pool_args(name: str) -> Any:
    (args,) = [app["args"] for app in serve_config(variant(name))["applications"] if app["name"] == "pool"]
    return args


def fall_back_of(name: str) -> FallBack:
    """That of the pool: what one of its workers asks for, and which other nodes there are."""
    values = scaling_of(WorkerPlacement.model_validate(pool_args(name)), SETTINGS)
    assert values is not None
    return FallBack(**values.policy_kwargs["fall_back"])


def autoscaler_of(name: str, monkeypatch: pytest.MonkeyPatch) -> RunningAutoscaler:
    fall_back = fall_back_of(name)
    running = running_autoscaler(cluster_of(variant(name)), fall_back.resources, monkeypatch)
    running.fall_back = FallBackTurns(fall_back)
    return running


def autoscaler_options(name: str) -> dict[str, int]:
    return {item["name"]: int(item["value"]) for item in cluster_of(variant(name))["autoscalerOptions"]["env"]}


@pytest.fixture
def autoscaler(monkeypatch: pytest.MonkeyPatch) -> RunningAutoscaler:
    """That of the overlay `production`."""
    return autoscaler_of("production", monkeypatch)


WORKERS = 8


@pytest.mark.parametrize("name", WITH_SPOT)
def test_node_keeps_nothing_of_what_a_starting_replica_answers(name: str) -> None:
    """Ray keeps a larger answer on the replica's node, and never takes such a node for idle."""
    scaling = scaling_of(WorkerPlacement.model_validate(pool_args(name)), SETTINGS)
    assert scaling is not None
    pool = application(open_worker, workers=scaling, cpus=1, resources={}, drain_seconds=600)
    configuration = cloudpickle.dumps(pool._bound_deployment._deployment_config)  # type: ignore[no-untyped-call]  # Ray has no type for it
    assert 2 * len(configuration) < int(settings_of(variant(name))["RAY_max_direct_call_object_size"])


def test_spot_nodes_are_asked_first(autoscaler: RunningAutoscaler) -> None:
    autoscaler.gcs.demand = WORKERS
    autoscaler.run(1 * MINUTES)
    assert autoscaler.kubernetes.count()[SPOT] == WORKERS / 2
    assert autoscaler.kubernetes.count()[ON_DEMAND] == 0
    assert autoscaler.gcs.demand == 0


@pytest.mark.parametrize("name", WITH_SPOT)
def test_on_demand_nodes_are_asked_within_a_minute_when_spot_nodes_do_not_come(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    autoscaler = autoscaler_of(name, monkeypatch)
    autoscaler.comes = lambda group: group != SPOT
    autoscaler.gcs.demand = WORKERS
    autoscaler.run(40)
    assert autoscaler.kubernetes.count()[ON_DEMAND] == 0, "spot nodes may still come"
    autoscaler.run(20, rounds=4)
    assert autoscaler.kubernetes.count()[ON_DEMAND] == WORKERS / 2
    assert autoscaler.gcs.demand == 0
    assert autoscaler.kubernetes.count()[SPOT] == WORKERS / 2, "what is slow to start is not given up"
    assert autoscaler.kubernetes.ended == []


def test_no_more_on_demand_nodes_are_asked_while_they_come_one_by_one(autoscaler: RunningAutoscaler) -> None:
    nodes = autoscaler.kubernetes.pods
    allowed = 0

    def comes(group: str) -> bool:
        return group != SPOT and sum(pod.group == ON_DEMAND and pod.is_ray_node for pod in nodes.values()) < allowed

    autoscaler.comes = comes
    autoscaler.gcs.demand = WORKERS
    autoscaler.run(1 * MINUTES)
    for allowed in range(WORKERS // 2 + 1):
        # A GCS that has started again knows of no request.
        autoscaler.gcs.request_cluster_resource_constraint([], [], [], 1)
        autoscaler.run(20, rounds=2)
        assert autoscaler.gcs.demand == WORKERS - 2 * allowed
        assert autoscaler.kubernetes.count()[ON_DEMAND] == WORKERS / 2
        # Without work, nodes that are there may go.
        assert bool(autoscaler.gcs.constraint.resource_requests) == (autoscaler.gcs.demand > 0)


def test_work_that_comes_later_asks_for_on_demand_nodes_for_itself_alone(autoscaler: RunningAutoscaler) -> None:
    autoscaler.comes = lambda _: False
    autoscaler.gcs.demand = 2
    autoscaler.run(1 * MINUTES)
    assert autoscaler.kubernetes.count()[ON_DEMAND] == 1
    autoscaler.gcs.demand = WORKERS
    autoscaler.run(30, rounds=3)
    assert autoscaler.kubernetes.count()[ON_DEMAND] == 1
    autoscaler.run(30, rounds=3)
    assert autoscaler.kubernetes.count()[ON_DEMAND] == WORKERS / 2


def test_spot_nodes_that_are_slow_to_start_keep_their_pods_and_get_the_work(autoscaler: RunningAutoscaler) -> None:
    autoscaler.comes = lambda _: False
    autoscaler.gcs.demand = WORKERS
    autoscaler.run(3 * MINUTES)
    spot = {pod.name for pod in autoscaler.kubernetes.pods.values() if pod.group == SPOT}
    assert len(spot) == WORKERS / 2
    autoscaler.comes = lambda group: group == SPOT
    autoscaler.run(10, rounds=2)
    assert autoscaler.gcs.demand == 0
    autoscaler.comes = lambda _: True
    autoscaler.run(10 * MINUTES)
    assert {name for name in autoscaler.kubernetes.pods if name.startswith("decode")} == spot
    assert len(autoscaler.kubernetes.ended) == WORKERS / 2, "nodes that came too late were idle"


@pytest.mark.parametrize("name", WITH_SPOT)
def test_spot_nodes_that_never_come_are_given_up_and_later_asked_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    autoscaler = autoscaler_of(name, monkeypatch)
    patience = autoscaler_options(name)["RAY_AUTOSCALER_RECONCILE_ALLOCATE_STATUS_TIMEOUT_S"]
    recovery = autoscaler_options(name)["RAY_AUTOSCALER_AVAILABILITY_RECOVERY_S"]
    autoscaler.comes = lambda group: group != SPOT
    autoscaler.gcs.demand = WORKERS
    autoscaler.run(1 * MINUTES)
    autoscaler.run(patience - 2 * MINUTES)
    assert autoscaler.kubernetes.count()[SPOT] == WORKERS / 2, "a machine may still start"
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
def test_label_of_the_fall_back_is_that_of_the_on_demand_group_alone(name: str) -> None:
    labels = fall_back_of(name).labels
    groups = ray_groups(variant(name)).items()
    assert [group for group, spec in groups if labels.items() <= spec.get("labels", {}).items()] == [ON_DEMAND]


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
    autoscaler.run(0.5 * MINUTES)
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
