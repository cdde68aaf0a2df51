"""The Ray clusters of the manifests fit the Serve applications, the settings and the Ray of this version."""

import importlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from ray.autoscaler._private.kuberay.autoscaling_config import _get_ray_resources_from_group_spec
from ray.serve import Application
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
from ray.serve._private.constants import RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S
from ray.serve.schema import ServeDeploySchema

from cluster.settings import MIB, Settings
from tests.support.kubernetes.rendered_manifests import (
    VARIANTS,
    cluster_of,
    of_kind,
    ray_groups,
    ray_service,
    serve_config,
    settings_of,
    variant,
)

DRAIN = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
DRAIN_MARGIN_SECONDS = 30
REDIS_CLEANUP_SECONDS = 300
GIB = 1024 * MIB
SECRET_SETTINGS = {
    "FOTOGRAMA_DATABASE_URL": "postgresql://host/name",
    "FOTOGRAMA_SECRET_KEY": "0123456789abcdef0123456789abcdef",
}

pytestmark = pytest.mark.parametrize("name", VARIANTS)


def settings(name: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What a pod of the variant reads."""
    for key, value in (settings_of(variant(name)) | SECRET_SETTINGS).items():
        if key.startswith("FOTOGRAMA_"):
            monkeypatch.setenv(key, value)
    # KubeRay sets it by `authOptions`.
    monkeypatch.setenv("RAY_AUTH_MODE", cluster_of(variant(name))["authOptions"]["mode"])
    return Settings.model_validate({})


def applications(name: str) -> dict[str, dict[str, Any]]:
    return {application["name"]: application for application in serve_config(variant(name))["applications"]}


def offered(group: dict[str, Any]) -> dict[str, float]:
    """What the autoscaler of Ray believes one node of the group to have."""
    is_head = "groupName" not in group
    return dict(_get_ray_resources_from_group_spec(group, is_head))


def container_of(group: dict[str, Any]) -> dict[str, Any]:
    (container,) = group["template"]["spec"]["containers"]
    return dict(container)


def environment(group: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in container_of(group)["env"]}


def requested(application: dict[str, Any]) -> dict[str, float]:
    args = application["args"]
    resources: dict[str, float] = {"CPU": args["cpus"]} | args["resources"]
    return resources


def bytes_of(quantity: str) -> int:
    return int(quantity.removesuffix("Gi")) * GIB if quantity.endswith("Gi") else int(quantity.removesuffix("Mi")) * MIB


def test_serve_accepts_the_configuration_and_builds_every_application(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings(name, monkeypatch)
    # What builds an application looks at the object store, and the bucket of the variant belongs to somebody.
    monkeypatch.setenv("FOTOGRAMA_OBJECTS_URL", tmp_path.as_uri())
    ServeDeploySchema.model_validate(serve_config(variant(name)))
    for application in applications(name).values():
        module, _, builder = application["import_path"].partition(":")
        built = call_user_app_builder_with_args_if_necessary(
            getattr(importlib.import_module(module), builder), application["args"]
        )
        assert isinstance(built, Application)


def test_an_application_with_an_unknown_argument_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings(name, monkeypatch)
    module, _, builder = applications(name)["pool"]["import_path"].partition(":")
    with pytest.raises(ValueError, match="max_worker\n"):
        call_user_app_builder_with_args_if_necessary(
            getattr(importlib.import_module(module), builder), {"max_worker": 3}
        )


def test_every_replica_fits_on_a_node_of_one_group_or_of_its_spot_group(name: str) -> None:
    nodes = {group: offered(spec) for group, spec in ray_groups(variant(name)).items()}
    for application in applications(name).values():
        homes = {
            group.removesuffix("-spot")
            for group, node in nodes.items()
            if all(node.get(resource, 0) >= amount for resource, amount in requested(application).items())
        }
        assert len(homes) == 1, f"{application['name']} fits on {homes}"
        assert homes != {"head"}


def test_each_worker_group_from_zero_has_room_for_exactly_the_most_workers_of_its_pool(name: str) -> None:
    groups = {group: spec for group, spec in ray_groups(variant(name)).items() if group.startswith("decode-")}
    pools = [application for application in applications(name).values() if "max_workers" in application["args"]]
    assert len({group.removesuffix("-spot") for group in groups}) == len(pools)
    for spec in groups.values():
        node = offered(spec)
        (pool,) = [pool for pool in pools if set(pool["args"]["resources"]) <= set(node)]
        workers_of_a_node = min(int(node[key] // amount) for key, amount in requested(pool).items())
        assert (spec["minReplicas"], spec["replicas"]) == (0, 0)
        assert spec["maxReplicas"] * workers_of_a_node == pool["args"]["max_workers"]
        assert workers_of_a_node * pool["args"]["cpus"] == node["CPU"], "no core of a node stays without work"
        # On one machine the nodes share the cores.
        assert name == "dev" or container_of(spec)["resources"]["requests"]["cpu"] == str(node["CPU"])


def test_a_worker_has_no_more_threads_than_cpus(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = settings(name, monkeypatch).worker_threads
    assert all(threads <= app["args"]["cpus"] for app in applications(name).values() if "max_workers" in app["args"])


def test_replicas_of_the_api_are_on_different_nodes_that_are_always_there(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replicas = settings(name, monkeypatch).api_replicas
    group = ray_groups(variant(name))["api"]
    apps = applications(name)
    assert group["minReplicas"] >= max(2, replicas)
    assert offered(group)["api"] < 2 * apps["api"]["args"]["resources"]["api"]
    assert offered(group)["api"] >= sum(apps[app]["args"]["resources"]["api"] for app in ("api", "maintenance"))
    (budget,) = of_kind(variant(name), "PodDisruptionBudget")
    assert 1 <= budget["spec"]["minAvailable"] < group["minReplicas"]


def test_ray_version_is_the_locked_one(name: str) -> None:
    assert cluster_of(variant(name))["rayVersion"] == version("ray")


def test_autoscaler_v2_and_token_authentication_are_on(name: str) -> None:
    cluster = cluster_of(variant(name))
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["version"] == "v2"
    assert cluster["authOptions"] == {"mode": "token"}
    # Autoscaler v2 replaces pods by itself; a container that came back would be another node under the same name.
    assert {group["template"]["spec"]["restartPolicy"] for group in ray_groups(variant(name)).values()} == {"Never"}


def test_no_group_has_the_field_resources(name: str) -> None:
    # KubeRay 1.7 reads each name in it that ends with "gpu" as a number of GPUs, as decode_gpu.
    assert [group for group in ray_groups(variant(name)).values() if "resources" in group] == []


def test_every_group_has_start_parameters(name: str) -> None:
    # KubeRay writes into the map, which is nil when there are none.
    assert all(group["rayStartParams"] for group in ray_groups(variant(name)).values())


def test_serve_uses_haproxy_at_the_port_of_the_pods(name: str) -> None:
    assert settings_of(variant(name))["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    http = serve_config(variant(name))["http_options"]
    assert http["host"] == "0.0.0.0"
    for group in ray_groups(variant(name)).values():
        assert {port["name"]: port["containerPort"] for port in container_of(group)["ports"]}["serve"] == http["port"]
    assert ray_service(variant(name))["spec"]["excludeHeadPodFromServeSvc"] is True


def test_a_pod_is_killed_only_after_its_node_has_drained(name: str) -> None:
    groups = ray_groups(variant(name))
    for group in groups.values():
        drain = int(environment(group)[DRAIN])
        assert group["template"]["spec"]["terminationGracePeriodSeconds"] >= drain + DRAIN_MARGIN_SECONDS
    assert int(environment(groups["api"])[DRAIN]) >= RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S + DRAIN_MARGIN_SECONDS
    idle_seconds = cluster_of(variant(name))["autoscalerOptions"]["idleTimeoutSeconds"]
    assert idle_seconds > RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S


def test_the_head_ends_after_the_workers_that_ask_it_for_their_deadline(name: str) -> None:
    groups = ray_groups(variant(name))
    head = groups.pop("head")
    assert int(environment(head)[DRAIN]) > max(int(environment(group)[DRAIN]) for group in groups.values())


def test_the_state_in_redis_is_removed_only_after_the_head_has_ended(name: str) -> None:
    grace = ray_groups(variant(name))["head"]["template"]["spec"]["terminationGracePeriodSeconds"]
    timeout = int(ray_service(variant(name))["metadata"]["annotations"]["ray.io/gcs-ft-deletion-timeout"])
    assert timeout >= grace + REDIS_CLEANUP_SECONDS


def test_a_pool_that_gets_smaller_waits_longer_than_a_task_usually_takes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = settings(name, monkeypatch)
    assert read.drain_seconds > 2 * read.segment_seconds


def test_state_of_the_gcs_is_in_a_redis_of_its_own_that_forgets_nothing(name: str) -> None:
    options = cluster_of(variant(name))["gcsFaultToleranceOptions"]
    host, _, port = options["redisAddress"].partition(":")
    (redis,) = [m for m in of_kind(variant(name), "StatefulSet") if m["metadata"]["name"] == host]
    (container,) = redis["spec"]["template"]["spec"]["containers"]
    args = container["args"]
    flags = dict(zip(args[1::2], args[2::2], strict=True))
    assert (flags["--maxmemory-policy"], flags["--appendonly"], flags["--appendfsync"]) == (
        "noeviction",
        "yes",
        "always",
    )
    assert {"name": "data", "mountPath": flags["--dir"]} in container["volumeMounts"]
    assert [claim["metadata"]["name"] for claim in redis["spec"]["volumeClaimTemplates"]] == ["data"]
    assert int(port) == container["ports"][0]["containerPort"]
    # The cache is another server, which may forget.
    (cache,) = of_kind(variant(name), "Deployment")
    assert "volatile-lru" in cache["spec"]["template"]["spec"]["containers"][0]["args"]


def test_scratch_holds_what_the_settings_allow_and_a_pod_what_its_volumes_hold(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = settings(name, monkeypatch)
    for group_name, group in ray_groups(variant(name)).items():
        volumes = group["template"]["spec"]["volumes"]
        sizes = {volume["name"]: bytes_of(volume["emptyDir"]["sizeLimit"]) for volume in volumes}
        limits = container_of(group)["resources"]["limits"]
        assert sum(sizes.values()) <= bytes_of(limits["ephemeral-storage"])
        if group_name == "api":
            assert sizes["scratch"] >= read.bodies_max * 80 * MIB
        if group_name.startswith("decode-"):
            assert sizes["scratch"] >= 1.5 * read.staging_max_bytes


def test_the_settings_are_known_and_complete(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {f"FOTOGRAMA_{field.upper()}" for field in Settings.model_fields}
    given = {key for key in settings_of(variant(name)) if key.startswith("FOTOGRAMA_")}
    assert given - known == set()
    assert settings(name, monkeypatch).objects_url.startswith("s3://")


def test_a_changed_setting_is_a_changed_ray_service(name: str) -> None:
    # `serve` stands in the RayService itself, and dashboards are no settings.
    others = {"serve", "fotograma-dashboards"}
    (config_map,) = [
        m["metadata"]["name"] for m in of_kind(variant(name), "ConfigMap") if m["metadata"]["name"] not in others
    ]
    for group in ray_groups(variant(name)).values():
        assert {"configMapRef": {"name": config_map}} in container_of(group)["envFrom"]
    assert "serve" not in {m["metadata"]["name"] for m in of_kind(variant(name), "ConfigMap")}
