"""The Kubernetes manifests match the code."""

import importlib
import tomllib
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml

from kuberay.validate_manifests import validation_errors

ROOT = Path(__file__).parents[2]
SERVICE = yaml.safe_load((ROOT / "kuberay/rayservice.yaml").read_text())
APPLICATIONS = yaml.safe_load(SERVICE["spec"]["serveConfigV2"])["applications"]
CLUSTER = SERVICE["spec"]["rayClusterConfig"]


@pytest.mark.parametrize("application", APPLICATIONS, ids=[a["name"] for a in APPLICATIONS])
def test_every_import_path_exists_and_takes_its_arguments(application: dict[str, Any]) -> None:
    module, _, name = application["import_path"].partition(":")
    builder = getattr(importlib.import_module(module), name)
    (parameter,) = signature(builder).parameters
    get_type_hints(builder, localns={"Application": object})[parameter].model_validate(application["args"])


def test_every_custom_resource_is_offered_by_a_node_group() -> None:
    required = {name for application in APPLICATIONS for name in application["args"]["resources"]}
    offered = "".join(group["rayStartParams"].get("resources", "") for group in CLUSTER["workerGroupSpecs"])
    assert all(f'\\"{name}\\"' in offered for name in required)


def test_ray_version_of_the_cluster_is_the_installed_one() -> None:
    assert CLUSTER["rayVersion"] == version("ray")


def test_image_tag_is_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    groups = [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]]
    images = {c["image"] for group in groups for c in group["template"]["spec"]["containers"]}
    assert images == {f"ghcr.io/fotograma/fotograma:{project}"}


def test_the_network_policy_opens_the_port_of_the_api_to_all_and_those_of_haproxy_to_nobody() -> None:
    policy = yaml.safe_load((ROOT / "kuberay/networkpolicy.yaml").read_text())
    assert list(validation_errors(policy, [])) == []

    open_to_all = [rule["ports"] for rule in policy["spec"]["ingress"] if "from" not in rule]
    served = yaml.safe_load(SERVICE["spec"]["serveConfigV2"])["http_options"]["port"]
    assert open_to_all == [[{"port": served, "protocol": "TCP"}]]


def test_unknown_field_of_kubernetes_itself_is_reported() -> None:
    policy = yaml.safe_load((ROOT / "kuberay/networkpolicy.yaml").read_text())
    policy["spec"]["ingres"] = []
    (error,) = validation_errors(policy, [])
    assert "ingres" in error
    assert list(validation_errors(policy | {"kind": "NetworkPolice"}, [])) == [
        "no schema for networking.k8s.io/v1 NetworkPolice"
    ]


def test_unknown_field_and_wrong_type_are_reported() -> None:
    crd = {
        "spec": {
            "group": "ray.io",
            "names": {"kind": "Thing"},
            "versions": [
                {
                    "name": "v1",
                    "schema": {
                        "openAPIV3Schema": {
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "spec": {"properties": {"replicas": {"type": "integer"}}},
                            }
                        }
                    },
                }
            ],
        }
    }
    thing = {"apiVersion": "ray.io/v1", "kind": "Thing", "spec": {"replicas": "2", "replica": 2}}
    assert len(list(validation_errors(thing, [crd]))) == 2
    assert list(validation_errors(thing | {"spec": {"replicas": 2}}, [crd])) == []
