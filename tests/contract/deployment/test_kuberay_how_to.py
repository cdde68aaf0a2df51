"""What docs/how-to/kubernetes.md and its script say is so."""

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from kuberay.render_manifests import OVERLAYS, rendered
from tests.support.kubernetes.rendered_manifests import (
    VARIANTS,
    Manifest,
    cluster_of,
    of_kind,
    pod_templates,
    ray_groups,
    settings_of,
    variant,
)

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs/how-to/kubernetes.md").read_text()
ROLL_OUT = (ROOT / "kuberay/roll-out.sh").read_text()


@pytest.fixture
def own_deployment(tmp_path: Path) -> list[Manifest]:
    """The folder of the guide, rendered."""
    (block,) = re.findall(r"```yaml\n( *# deploy/kustomization\.yaml\n.*?)```", GUIDE, re.DOTALL)
    kustomization: dict[str, Any] = yaml.safe_load(block)
    (overlay,) = kustomization["resources"]
    folder = tmp_path.resolve()
    kustomization["resources"] = [os.path.relpath(OVERLAYS / Path(overlay).name, folder)]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return rendered(folder)


def test_a_deployment_of_your_own_has_your_image_in_every_pod(own_deployment: list[Manifest]) -> None:
    images = {
        pod.owner: container["image"]
        for pod in pod_templates(own_deployment)
        for container in pod.containers
        if container["name"] in {"ray-head", "ray-worker", "migrate"}
    }
    assert len(images) == 5
    assert set(images.values()) == {"registry.example.org/fotograma:0.1.0"}


def test_a_deployment_of_your_own_has_your_settings_and_name(own_deployment: list[Manifest]) -> None:
    settings = settings_of(own_deployment)
    assert settings["FOTOGRAMA_OBJECTS_URL"] == "s3://my-bucket/fotograma"
    (ingress,) = of_kind(own_deployment, "Ingress")
    assert settings["FOTOGRAMA_PUBLIC_URL"] == f"https://{ingress['spec']['rules'][0]['host']}"
    assert [ingress["spec"]["rules"][0]["host"]] == ingress["spec"]["tls"][0]["hosts"]
    # Pods name the ConfigMap with these settings, by the hash of its contents.
    (config_map,) = of_kind(own_deployment, "ConfigMap")
    for group in ray_groups(own_deployment).values():
        (container,) = group["template"]["spec"]["containers"]
        assert {"configMapRef": {"name": config_map["metadata"]["name"]}} in container["envFrom"]
    assert config_map["metadata"]["name"] not in str(variant("production"))


def steps() -> list[tuple[str, set[str]]]:
    """Operator and components of each `kubectl apply` of roll-out.sh, in its order."""
    pattern = r"kubectl apply --kustomize \"\$dir\" --selector '?app\.kubernetes\.io/component( notin \(|=)([a-z, ]+)"
    return [(operator.strip(" ("), set(names.split(", "))) for operator, names in re.findall(pattern, ROLL_OUT)]


def step_of(manifest: Manifest) -> list[int]:
    component = manifest["metadata"].get("labels", {}).get("app.kubernetes.io/component")
    return [i for i, (operator, names) in enumerate(steps()) if (component in names) == (operator == "=")]


@pytest.mark.parametrize("name", VARIANTS)
def test_the_roll_out_applies_everything_once_and_the_schema_before_the_clusters(name: str) -> None:
    assert len(steps()) == 3
    by_kind = {manifest["kind"]: step_of(manifest) for manifest in variant(name)}
    assert by_kind.pop("Job") == [1]
    assert by_kind.pop("RayService") == [2]
    assert set(map(tuple, by_kind.values())) == {(0,)}
    waits = ROLL_OUT.index("kubectl wait job/fotograma-migrate"), ROLL_OUT.index("/component=cluster")
    assert waits[0] < waits[1]


def test_the_roll_back_leaves_the_migration_out() -> None:
    (job,) = of_kind(variant("production"), "Job")
    (selector,) = re.findall(r"kubectl apply -k deploy -l 'app\.kubernetes\.io/component!=([a-z]+)'", GUIDE)
    assert selector == job["metadata"]["labels"]["app.kubernetes.io/component"]


def test_the_guide_names_this_version_of_the_image() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert set(re.findall(r"/fotograma:(\d[\w.]*)", GUIDE)) == {version}


def test_the_guide_names_the_most_nodes_and_the_seconds_of_the_manifests() -> None:
    most = {
        name: {g["groupName"]: g["maxReplicas"] for g in cluster_of(variant(name))["workerGroupSpecs"]}
        for name in VARIANTS
    }
    assert f"workers on CPUs, from none to {most['cpu']['decode-cpu']} nodes" in GUIDE
    assert f"workers on GPUs, from none to {most['gpu']['decode-gpu']} nodes" in GUIDE
    assert f"up to {most['production']['decode-cpu']} nodes of workers" in GUIDE
    worker = ray_groups(variant("production"))["decode-cpu"]["template"]["spec"]
    (drain,) = [int(e["value"]) for e in worker["containers"][0]["env"] if e["name"].endswith("DRAIN_TIMEOUT_S")]
    assert (
        f"(workers {drain} s), and its pod is killed {worker['terminationGracePeriodSeconds'] - drain} s after that"
        in GUIDE
    )
    assert (
        f"their nodes {cluster_of(variant('production'))['autoscalerOptions']['idleTimeoutSeconds']} s after them"
        in GUIDE
    )
