"""Every rendered object is valid by the schemas of Kubernetes and the operators, and has no unknown field."""

import os
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kuberay.render_manifests import rendered
from kuberay.validate_manifests import crds_in, validation_errors
from tests.support.kubernetes.operator_crds import API_VERSIONS, operator_crds
from tests.support.kubernetes.rendered_manifests import VARIANTS, WITH_COMPONENTS, of_kind, ray_service, variant

CRDS = os.environ.get("FOTOGRAMA_KUBERAY_CRDS")
needs_crds = pytest.mark.skipif(not CRDS, reason="FOTOGRAMA_KUBERAY_CRDS names no folder with KubeRay's CRD files")


@cache
def crds() -> list[dict[str, Any]]:
    found = crds_in(Path(CRDS or ""))
    assert found, f"no ray.io_*.yaml in {CRDS}"
    return found


@pytest.mark.parametrize("name", VARIANTS)
def test_every_object_but_the_ray_service_is_valid(name: str) -> None:
    errors = [
        f"{manifest['kind']} {manifest['metadata']['name']}: {line}"
        for manifest in variant(name)
        if manifest["kind"] != "RayService"
        for line in validation_errors(manifest, operator_crds())
    ]
    assert errors == []


@pytest.mark.parametrize(
    ("kind", "path", "field", "value"),
    [
        ("PodMonitor", ["spec", "podMetricsEndpoints", 0], "intervall", "15s"),
        ("PodMonitor", ["spec", "podMetricsEndpoints", 0], "interval", "15 seconds"),
        ("PrometheusRule", ["spec", "groups", 0, "rules", 0], "anotations", {}),
        ("PrometheusRule", ["spec", "groups", 0, "rules", 0], "for", "5 minutes"),
        ("Cluster", ["spec", "postgresql", "synchronous"], "numbr", 1),
        ("Cluster", ["spec", "postgresql", "synchronous"], "method", "some"),
        ("HTTPRoute", ["spec", "rules", 0, "timeouts"], "requests", "0s"),
        ("HTTPRoute", ["spec", "rules", 0, "backendRefs", 0], "port", 0),
    ],
)
def test_an_unknown_field_and_a_wrong_value_of_each_operator_are_reported(
    kind: str, path: list[str | int], field: str, value: object
) -> None:
    manifest = deepcopy(of_kind(variant(WITH_COMPONENTS), kind)[0])
    assert manifest["apiVersion"] == API_VERSIONS[kind]
    part: Any = manifest
    for step in path:
        part = part[step]
    part[field] = value
    (error,) = validation_errors(manifest, operator_crds())
    assert field in error


@needs_crds
@pytest.mark.parametrize("name", VARIANTS)
def test_the_ray_service_is_valid(name: str) -> None:
    assert list(validation_errors(ray_service(variant(name)), crds())) == []


@needs_crds
def test_an_unknown_field_deep_in_the_ray_service_is_reported() -> None:
    service = deepcopy(ray_service(variant("cpu")))
    service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["imag"] = "x"
    (error,) = validation_errors(service, crds())
    assert "imag" in error


def test_an_unknown_field_of_kubernetes_itself_is_reported() -> None:
    policy = deepcopy(of_kind(variant("cpu"), "NetworkPolicy")[0])
    policy["spec"]["ingres"] = []
    (error,) = validation_errors(policy, [])
    assert "ingres" in error
    assert list(validation_errors(policy | {"kind": "NetworkPolice"}, [])) == [
        "no schema for networking.k8s.io/v1 NetworkPolice"
    ]


def test_an_unknown_field_and_a_wrong_type_of_a_custom_resource_are_reported() -> None:
    spec = {"properties": {"replicas": {"type": "integer"}}}
    properties = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "spec": spec}
    version = {"name": "v1", "schema": {"openAPIV3Schema": {"properties": properties}}}
    crd = {"spec": {"group": "ray.io", "names": {"kind": "Thing"}, "versions": [version]}}
    thing = {"apiVersion": "ray.io/v1", "kind": "Thing", "spec": {"replicas": "2", "replica": 2}}
    assert len(list(validation_errors(thing, [crd]))) == 2
    assert list(validation_errors(thing | {"spec": {"replicas": 2}}, [crd])) == []


def test_a_folder_that_kustomize_refuses_is_an_error_with_its_message(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [absent.yaml]")
    with pytest.raises(RuntimeError, match=r"absent\.yaml"):
        rendered(tmp_path)
