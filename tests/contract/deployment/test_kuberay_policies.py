"""What the rendered manifests promise about security: pods, images, secrets, and the door to the outside."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from ray.serve._private.constants import (
    SERVE_HTTP_REQUEST_DISCONNECT_DISABLED_HEADER,
    SERVE_HTTP_REQUEST_TIMEOUT_S_HEADER,
)

from cluster.settings import Settings
from tests.support.kubernetes.rendered_manifests import (
    VARIANTS,
    Manifest,
    cluster_of,
    of_kind,
    pod_templates,
    ray_groups,
    selects,
    settings_of,
    variant,
)

ROOT = Path(__file__).parents[3]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
OWN_IMAGES = {f"ghcr.io/fotograma/{name}:{VERSION}" for name in ("fotograma", "fotograma-gpu")}
EXACT_VERSION = re.compile(r"@sha256:[0-9a-f]{64}$|:\d+\.\d+(\.\d+)?(-[a-z0-9.-]+)?$")
CONTROL_HEADERS = {SERVE_HTTP_REQUEST_TIMEOUT_S_HEADER, SERVE_HTTP_REQUEST_DISCONNECT_DISABLED_HEADER}
SECRET_SETTINGS = {"FOTOGRAMA_DATABASE_URL", "FOTOGRAMA_REDIS_URL", "FOTOGRAMA_SECRET_KEY", "FOTOGRAMA_SMTP_URL"}
OPERATOR_PODS = "cnpg.io/cluster"
"""CloudNativePG makes the pods with this label."""

pytestmark = pytest.mark.parametrize("name", VARIANTS)


def containers(name: str) -> Iterator[tuple[str, Manifest, Manifest]]:
    """Owner, pod and container, with the autoscaler that KubeRay adds to the head."""
    for pod in pod_templates(variant(name)):
        spec = pod.template["spec"]
        for container in pod.containers:
            yield f"{pod.owner}: {container['name']}", spec, container
        if pod.owner == "RayService head":
            yield f"{pod.owner}: autoscaler", spec, cluster_of(variant(name))["autoscalerOptions"]


def test_no_container_has_more_rights_than_it_needs(name: str) -> None:
    for owner, pod, container in containers(name):
        security = container["securityContext"]
        assert pod["securityContext"]["runAsNonRoot"] is True, owner
        assert pod["securityContext"]["runAsUser"] > 0, owner
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, owner
        assert security["readOnlyRootFilesystem"] is True, owner
        assert security["allowPrivilegeEscalation"] is False, owner
        assert security["capabilities"] == {"drop": ["ALL"]}, owner
        assert not security.get("privileged"), owner
        assert not any(pod.get(field) for field in ("hostNetwork", "hostPID", "hostIPC")), owner


def test_the_namespace_refuses_pods_with_more_rights(name: str) -> None:
    (namespace,) = of_kind(variant(name), "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {m["metadata"].get("namespace", "fotograma") for m in variant(name)} == {namespace["metadata"]["name"]}


def test_every_container_can_write_where_it_has_to_and_has_requests(name: str) -> None:
    for owner, pod, container in containers(name):
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])} | {"data": {}}
        assert set(mounts.values()) <= set(volumes), owner
        assert all("hostPath" not in volume for volume in volumes.values()), owner
        if "RayService" in owner:
            assert "/tmp" in mounts, owner
        if "ray-" in owner:
            assert "/scratch" in mounts, owner
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]), owner
        assert "memory" in container["resources"]["limits"], owner


PATH_SETTINGS = [
    field for field, info in Settings.model_fields.items() if Path in (info.annotation, *get_args(info.annotation))
]


def image_environment() -> dict[str, str]:
    """What the Dockerfile sets for the service."""
    return dict(re.findall(r"^ +(FOTOGRAMA_\w+)=(\S+)", (ROOT / "docker/Dockerfile").read_text(), re.MULTILINE))


def test_no_state_is_on_a_node_of_ray(name: str) -> None:
    """Every volume ends with its pod, and every path of the settings is in one of them."""
    settings = image_environment() | settings_of(variant(name))
    assert settings["FOTOGRAMA_OBJECTS_URL"].startswith("s3://")
    for group in ray_groups(variant(name)).values():
        pod = group["template"]["spec"]
        assert {frozenset(volume) for volume in pod["volumes"]} == {frozenset({"name", "emptyDir"})}
        (container,) = pod["containers"]
        mounts = [Path(mount["mountPath"]) for mount in container["volumeMounts"]]
        own = {item["name"]: item.get("value", "") for item in container["env"]}
        for field in PATH_SETTINGS:
            default = Settings.model_fields[field].default
            path = (settings | own).get(f"FOTOGRAMA_{field.upper()}", default)
            assert path is None or any(Path(path).is_relative_to(mount) for mount in mounts), (field, path)
        assert (settings | own)["FOTOGRAMA_SCRATCH"] in map(str, mounts)


def test_only_the_head_has_a_token_of_the_api_server(name: str) -> None:
    (account,) = of_kind(variant(name), "ServiceAccount")
    assert account["automountServiceAccountToken"] is False
    for pod in pod_templates(variant(name)):
        spec = pod.template["spec"]
        if pod.owner == "RayService head":
            # KubeRay makes the account of its autoscaler itself, unless one is named.
            assert "serviceAccountName" not in spec
        else:
            assert spec["serviceAccountName"] == account["metadata"]["name"]
            assert spec["automountServiceAccountToken"] is False


def test_every_image_is_pinned(name: str) -> None:
    images = {container["image"] for pod in pod_templates(variant(name)) for container in pod.containers}
    images |= {cluster["spec"]["imageName"] for cluster in of_kind(variant(name), "Cluster")}
    own = {image for image in images if image.startswith("ghcr.io/fotograma/")}
    assert own
    assert own <= OWN_IMAGES
    assert [image for image in images - own if not EXACT_VERSION.search(image)] == []


def selectors(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """The label selectors of an object that have to match pods of its own namespace."""
    spec = manifest["spec"]
    if manifest["kind"] == "Service":
        yield {"matchLabels": spec["selector"]}
    elif manifest["kind"] in {"PodDisruptionBudget", "Deployment", "StatefulSet"}:
        yield spec["selector"]
    elif manifest["kind"] == "NetworkPolicy":
        yield spec["podSelector"]
        for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
            peers = [*rule.get("from", []), *rule.get("to", [])]
            yield from (
                peer["podSelector"] for peer in peers if "podSelector" in peer and "namespaceSelector" not in peer
            )


def test_every_selector_matches_a_pod(name: str) -> None:
    labels = [pod.labels for pod in pod_templates(variant(name))]
    checked = 0
    for manifest in variant(name):
        if manifest["kind"] in {"Service", "PodDisruptionBudget", "Deployment", "StatefulSet", "NetworkPolicy"}:
            for selector in selectors(manifest):
                known = any(selects(selector, pod) for pod in labels)
                made_by_operator = OPERATOR_PODS in selector.get("matchLabels", {})
                assert known or made_by_operator, f"{manifest['kind']} {manifest['metadata']['name']}: {selector}"
                for expression in selector.get("matchExpressions", []):
                    values = {pod.get(expression["key"]) for pod in labels}
                    assert set(expression["values"]) <= values, f"{manifest['metadata']['name']}: {expression}"
                checked += 1
    assert checked > 15


def test_spread_and_services_select_the_pods_they_mean(name: str) -> None:
    by_component: dict[str, list[Manifest]] = {}
    for pod in pod_templates(variant(name)):
        by_component.setdefault(pod.labels["app.kubernetes.io/component"], []).append(pod.template)
        for constraint in pod.template["spec"].get("topologySpreadConstraints", []):
            assert selects(constraint["labelSelector"], pod.labels)
    for service in of_kind(variant(name), "Service"):
        targets = by_component[service["spec"]["selector"]["app.kubernetes.io/component"]]
        ports = {port["containerPort"] for pod in targets for port in pod["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def referenced_secrets(value: Any) -> Iterator[tuple[str, str | None]]:
    """Name and key of every secret below `value`; no key when a whole secret is taken."""
    if isinstance(value, list):
        for item in value:
            yield from referenced_secrets(item)
    if isinstance(value, dict):
        if "secretKeyRef" in value:
            yield value["secretKeyRef"]["name"], value["secretKeyRef"]["key"]
        if "secretRef" in value:
            yield value["secretRef"]["name"], None
        if "secretName" in value:
            yield value["secretName"], None
        for item in value.values():
            yield from referenced_secrets(item)


def documented_secrets() -> dict[str, set[str]]:
    """The table of docs/how-to/kubernetes.md: keys by secret."""
    text = (ROOT / "docs/how-to/kubernetes.md").read_text()
    rows = re.findall(r"^ *\| `([a-z-]+)` \| ((?:`[^`]+`(?:, )?)+)", text, re.MULTILINE)
    return {name: set(re.findall(r"`([^`]+)`", keys)) for name, keys in rows}


def test_secrets_are_named_and_documented_and_never_contained(name: str) -> None:
    assert of_kind(variant(name), "Secret") == []
    assert SECRET_SETTINGS & set(settings_of(variant(name))) == set()
    documented = documented_secrets()
    referenced = list(referenced_secrets(variant(name)))
    assert {"fotograma", "fotograma-gcs-redis", "fotograma-cache"} <= {secret for secret, _ in referenced}
    for secret, key in referenced:
        assert secret in documented, secret
        assert key is None or key in documented[secret], f"{secret}: {key}"


def test_what_the_secrets_hold_and_what_the_settings_say_is_all_that_is_required(name: str) -> None:
    keys = documented_secrets()["fotograma"]
    known = {f"FOTOGRAMA_{field.upper()}" for field in Settings.model_fields}
    required = {f"FOTOGRAMA_{field.upper()}" for field, info in Settings.model_fields.items() if info.is_required()}
    assert {key for key in keys if key.startswith("FOTOGRAMA_")} <= known
    assert required <= keys | set(settings_of(variant(name)))


def test_every_pod_with_the_settings_connects_to_the_same_database(name: str) -> None:
    sources = set()
    for _, _, container in containers(name):
        if {"secretRef": {"name": "fotograma"}} in container.get("envFrom", []):
            urls = [item["valueFrom"] for item in container.get("env", []) if item["name"] == "FOTOGRAMA_DATABASE_URL"]
            sources.add(str(urls))
    assert len(sources) == 1


def test_the_control_headers_of_serve_and_too_large_bodies_end_at_the_door(name: str) -> None:
    for ingress in of_kind(variant(name), "Ingress"):
        snippet = ingress["metadata"]["annotations"]["haproxy.org/backend-config-snippet"]
        assert set(re.findall(r"http-request del-header (\S+)", snippet)) == CONTROL_HEADERS
        (limit,) = re.findall(r"http-request deny deny_status 413 if \{ req\.body_size gt (\d+) \}", snippet)
        assert int(limit) == Settings.model_fields["request_max_bytes"].default
    for route in of_kind(variant(name), "HTTPRoute"):
        (rule,) = route["spec"]["rules"]
        assert set(rule["filters"][0]["requestHeaderModifier"]["remove"]) == CONTROL_HEADERS
    doors = of_kind(variant(name), "Ingress") + of_kind(variant(name), "HTTPRoute")
    assert len(doors) == (0 if name == "dev" else 1)


def test_the_door_has_the_name_of_the_public_url(name: str) -> None:
    public = settings_of(variant(name))["FOTOGRAMA_PUBLIC_URL"]
    hosts = [rule["host"] for ingress in of_kind(variant(name), "Ingress") for rule in ingress["spec"]["rules"]]
    hosts += [
        host for ingress in of_kind(variant(name), "Ingress") for t in ingress["spec"]["tls"] for host in t["hosts"]
    ]
    hosts += [host for route in of_kind(variant(name), "HTTPRoute") for host in route["spec"]["hostnames"]]
    assert {f"https://{host}" for host in hosts} <= {public}
