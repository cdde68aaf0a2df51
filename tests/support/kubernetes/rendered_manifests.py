"""The rendered overlays, and what the tests ask of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from kuberay.render_manifests import OVERLAY_NAMES, OVERLAYS, rendered

Manifest = dict[str, Any]

WITH_COMPONENTS = "production, CloudNativePG, GPUs, Gateway API, monitoring, tracing"
"""The overlay production with the components that no overlay has: each of them is somebody's choice."""
VARIANTS = [*OVERLAY_NAMES, WITH_COMPONENTS]


@cache
def variant(name: str) -> list[Manifest]:
    """The objects of an overlay, or of production with components."""
    return _with_components() if name == WITH_COMPONENTS else rendered(OVERLAYS / name)


def _with_components() -> list[Manifest]:
    kustomization = yaml.safe_load((OVERLAYS / "production/kustomization.yaml").read_text())
    components = ["large-nodes", "cloudnative-pg", "decode-gpu", "decode-spot", "gateway-api", "monitoring", "tracing"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder).resolve()
        for source in (OVERLAYS / "production").iterdir():
            (path / source.name).write_text(source.read_text())
        serve = yaml.safe_load((OVERLAYS / "production/serve.yaml").read_text())
        gpu_applications = yaml.safe_load((OVERLAYS / "gpu/serve.yaml").read_text())["applications"]
        serve["applications"] += [app for app in gpu_applications if app["name"] == "pool-gpu"]
        (path / "serve.yaml").write_text(yaml.safe_dump(serve))
        kustomization["resources"] = [os.path.relpath(OVERLAYS.parent / "base", path)]
        kustomization["components"] = [
            os.path.relpath(OVERLAYS.parent / "components" / name, path) for name in components
        ]
        (path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return rendered(path)


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def ray_service(manifests: list[Manifest]) -> Manifest:
    (service,) = of_kind(manifests, "RayService")
    return service


def cluster_of(manifests: list[Manifest]) -> Manifest:
    cluster: Manifest = ray_service(manifests)["spec"]["rayClusterConfig"]
    return cluster


def serve_config(manifests: list[Manifest]) -> Manifest:
    config: Manifest = yaml.safe_load(ray_service(manifests)["spec"]["serveConfigV2"])
    return config


def settings_of(manifests: list[Manifest]) -> dict[str, str]:
    """The settings that are no secrets, as the pods get them."""
    maps = of_kind(manifests, "ConfigMap")
    (settings,) = [m["data"] for m in maps if m["metadata"]["name"].startswith("fotograma-settings-")]
    return dict(settings)


def ray_groups(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The groups of Ray's pods by name; `head` is one of them."""
    cluster = cluster_of(manifests)
    return {"head": cluster["headGroupSpec"]} | {group["groupName"]: group for group in cluster["workerGroupSpecs"]}


@dataclass(frozen=True)
class PodTemplate:
    """owner: kind and name. template: metadata and spec."""

    owner: str
    template: Manifest

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.template["metadata"]["labels"])

    @property
    def containers(self) -> list[Manifest]:
        spec = self.template["spec"]
        return [*spec.get("initContainers", []), *spec["containers"]]


def pod_templates(manifests: list[Manifest]) -> Iterator[PodTemplate]:
    for kind in ("Deployment", "StatefulSet", "Job"):
        for manifest in of_kind(manifests, kind):
            yield PodTemplate(f"{kind} {manifest['metadata']['name']}", manifest["spec"]["template"])
    for name, group in ray_groups(manifests).items():
        yield PodTemplate(f"RayService {name}", group["template"])


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a label selector of Kubernetes matches. An empty one matches everything."""
    matches = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In", "the tests know no other operator"
        matches = matches and labels.get(expression["key"]) in expression["values"]
    return matches
