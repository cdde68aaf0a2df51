"""Dashboards of Grafana, and the objects with which Prometheus and Grafana find them on Kubernetes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from docker.grafana.write_dashboards import RAY_DASHBOARDS, SOURCE, files
from kuberay.write_prometheus_rule import RULES, TARGET, prometheus_rule
from tests.support.kubernetes.rendered_manifests import (
    WITH_COMPONENTS,
    cluster_of,
    of_kind,
    ray_groups,
    selects,
    settings_of,
    variant,
)

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["services"]
DASHBOARDS = {path.name: json.loads(text) for path, text in files().items()}
METRICS_PAGE = (ROOT / "docs/monitoring.md").read_text()
RAY_LINKS = {"RAY_PROMETHEUS_HOST", "RAY_PROMETHEUS_NAME", "RAY_GRAFANA_HOST", "RAY_GRAFANA_IFRAME_HOST"}


def test_written_dashboards_are_those_of_their_source() -> None:
    stored = {path: path.read_text() for path in SOURCE.parent.glob("dashboards/*.json")}
    assert stored == files(), "run `uv run python -m docker.grafana.write_dashboards`"


def test_written_prometheus_rule_is_that_of_its_source() -> None:
    assert TARGET.read_text() == prometheus_rule(), "run `uv run python -m kuberay.write_prometheus_rule`"
    assert yaml.safe_load(TARGET.read_text())["spec"] == yaml.safe_load(RULES.read_text())


def test_there_is_a_dashboard_for_service_queue_workers_and_users() -> None:
    assert {name.removesuffix(".json") for name in DASHBOARDS} == {
        f"fotograma-{subject}" for subject in ("service", "queue", "workers", "users")
    }


@pytest.mark.parametrize("name", DASHBOARDS)
def test_dashboard_has_what_grafana_requires(name: str) -> None:
    dashboard = DASHBOARDS[name]
    assert dashboard.keys() >= {"uid", "title", "schemaVersion", "panels", "templating", "time", "links"}
    assert re.fullmatch(r"[a-z-]{1,40}", dashboard["uid"])
    (variable,) = dashboard["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    panels = dashboard["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    for panel in panels:
        assert panel["type"] in {"timeseries", "stat"}
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["datasource"] == {"type": "prometheus", "uid": f"${{{variable['name']}}}"}
        assert panel["fieldConfig"].keys() == {"defaults", "overrides"}
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0
        assert all(target["expr"] for target in panel["targets"])


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_are_in_the_grid_and_do_not_overlap(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARDS[name]["panels"]:
        place = panel["gridPos"]
        assert 0 <= place["x"] <= place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_dashboards_lead_to_each_other_and_to_those_of_ray() -> None:
    import ray.dashboard.modules.metrics.dashboards as of_ray

    bases = Path(of_ray.__path__[0]).glob("*_base.json")
    uids = {json.loads(path.read_text())["uid"] for path in bases}
    assert set(RAY_DASHBOARDS.values()) <= uids
    for dashboard in DASHBOARDS.values():
        own, *others = dashboard["links"]
        assert own["tags"] == dashboard["tags"]
        assert [link["url"] for link in others] == [f"/d/{uid}" for uid in RAY_DASHBOARDS.values()]


def test_dashboards_and_rules_read_only_documented_metrics_of_the_service() -> None:
    """A misspelt metric would be an empty panel, and an alert that never fires."""
    documented = set(re.findall(r"`(fotograma_\w+)`", METRICS_PAGE))
    texts = [*files().values(), RULES.read_text()]
    read = {name for text in texts for name in re.findall(r"ray_(fotograma_\w+)", text)}
    assert len(read) > 20
    assert {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in read} <= documented
    # The other way round: a metric that nobody looks at is not needed.
    assert documented <= {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in read}


def test_compose_gives_grafana_the_dashboards_and_prometheus_the_rules() -> None:
    mounts = dict(volume.removesuffix(":ro").split(":") for volume in COMPOSE["grafana"]["volumes"])
    providers = yaml.safe_load((ROOT / "docker" / "grafana/providers.yaml").read_text())["providers"]
    assert mounts["./grafana/providers.yaml"].startswith("/etc/grafana/provisioning/dashboards/")
    assert {provider["options"]["path"] for provider in providers} == {
        mounts["./grafana/dashboards"],
        mounts["ray-dashboards"],
    }
    assert "./prometheus:/etc/prometheus:ro" in COMPOSE["prometheus"]["volumes"]
    config = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())
    found = [path for pattern in config["rule_files"] for path in (ROOT / "docker/prometheus").glob(pattern)]
    assert found == [RULES]


def test_ray_of_the_compose_file_writes_its_dashboards_where_grafana_reads_them_and_links_to_it() -> None:
    environment = COMPOSE["fotograma"]["environment"]
    folder = environment["RAY_METRICS_GRAFANA_DASHBOARD_OUTPUT_DIR"]
    assert f"ray-dashboards:{folder}" in COMPOSE["fotograma"]["volumes"]
    assert re.search(rf"install -d .* {folder}\b", (ROOT / "docker/Dockerfile").read_text())
    assert environment.keys() >= RAY_LINKS
    assert COMPOSE["grafana"]["environment"]["GF_SECURITY_ALLOW_EMBEDDING"] == "true"
    (source,) = yaml.safe_load((ROOT / "docker/grafana/datasources.yaml").read_text())["datasources"]
    assert (source["name"], source["url"]) == (environment["RAY_PROMETHEUS_NAME"], environment["RAY_PROMETHEUS_HOST"])


def test_prometheus_finds_every_node_of_ray_and_the_autoscaler() -> None:
    (monitor,) = of_kind(variant(WITH_COMPONENTS), "PodMonitor")
    ports = [endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]]
    groups = ray_groups(variant(WITH_COMPONENTS))
    named = {}
    for name, group in groups.items():
        assert selects(monitor["spec"]["selector"], group["template"]["metadata"]["labels"])
        (container,) = group["template"]["spec"]["containers"]
        named[name] = {port["name"]: port["containerPort"] for port in container["ports"] if port["name"] in ports}
    assert named == {name: {"metrics": 8080} for name in groups} | {"head": {"metrics": 8080, "as-metrics": 44217}}
    assert cluster_of(variant(WITH_COMPONENTS))["enableInTreeAutoscaling"] is True


def test_component_adds_rules_dashboards_and_the_links_of_rays_dashboard() -> None:
    manifests = variant(WITH_COMPONENTS)
    (rule,) = of_kind(manifests, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load(RULES.read_text())
    (dashboards,) = [m for m in of_kind(manifests, "ConfigMap") if m["metadata"]["name"] == "fotograma-dashboards"]
    assert dashboards["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert {name: json.loads(text) for name, text in dashboards["data"].items()} == DASHBOARDS
    assert settings_of(manifests).keys() >= RAY_LINKS
    assert not settings_of(variant("production")).keys() & RAY_LINKS
