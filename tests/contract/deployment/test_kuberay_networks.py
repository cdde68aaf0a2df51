"""Who may reach whom, by the rendered NetworkPolicies."""

import pytest

from tests.support.kubernetes.rendered_manifests import (
    VARIANTS,
    WITH_COMPONENTS,
    Manifest,
    of_kind,
    pod_templates,
    selects,
    settings_of,
    variant,
)

CLOUDNATIVE_PG = "CloudNativePG"
SERVERS = {"gcs-redis": 6379, "cache": 6379, "postgres": 5432, CLOUDNATIVE_PG: 5432, "seaweedfs": 8333}
DNS_CACHE = "169.254.20.10/32"
RAY_NODES = {
    "podSelector": {
        "matchLabels": {"app.kubernetes.io/part-of": "fotograma"},
        "matchExpressions": [
            {"key": "app.kubernetes.io/component", "operator": "In", "values": ["head", "api", "decode"]}
        ],
    }
}
KUBERAY = {
    "namespaceSelector": {},
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "kuberay-operator"}},
}
OPENED_TO_API = {"namespaceSelector": {"matchLabels": {"fotograma.io/reaches-api": "true"}}}

SCRAPES_METRICS = {"namespaceSelector": {"matchLabels": {"fotograma.io/scrapes-metrics": "true"}}}

pytestmark = pytest.mark.parametrize("name", VARIANTS)


def labels_of(component: str) -> dict[str, str]:
    """Of the pods of a component. Those of CloudNativePG's PostgreSQL are its operator's."""
    if component == CLOUDNATIVE_PG:
        return {"cnpg.io/cluster": "fotograma-postgres"}
    return {"app.kubernetes.io/part-of": "fotograma", "app.kubernetes.io/component": component}


def peers_of(name: str, component: str, port: int, direction: str = "Ingress") -> list[Manifest | None]:
    """From where (or to where) a port is open for the pods of a component; None is everywhere."""
    rules, peers_key = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
    peers: list[Manifest | None] = []
    for policy in of_kind(variant(name), "NetworkPolicy"):
        spec = policy["spec"]
        if direction in spec["policyTypes"] and selects(spec["podSelector"], labels_of(component)):
            for rule in spec.get(rules, []):
                ranges = [(item["port"], item.get("endPort", item["port"])) for item in rule.get("ports", [])]
                if not ranges or any(low <= port <= high for low, high in ranges):
                    peers += rule.get(peers_key, [None])
    return peers


def may_reach(name: str, client: str, server: str, port: int) -> bool:
    """Whether both sides let the client's pods connect, each by a selector of pods."""

    def named(component: str, peers: list[Manifest | None]) -> bool:
        own = [
            peer["podSelector"] for peer in peers if peer and "podSelector" in peer and "namespaceSelector" not in peer
        ]
        return any(selects(selector, labels_of(component)) for selector in own)

    return named(server, peers_of(name, client, port, "Egress")) and named(client, peers_of(name, server, port))


def test_nothing_is_open_by_default(name: str) -> None:
    default = [p for p in of_kind(variant(name), "NetworkPolicy") if p["spec"]["podSelector"] == {}]
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in [policy["spec"] for policy in default]
    for pod in pod_templates(variant(name)):
        assert None not in peers_of(name, pod.labels["app.kubernetes.io/component"], 8000), pod.owner


def test_haproxys_statistics_and_metrics_are_open_to_nobody(name: str) -> None:
    for component in ("head", "api", "decode"):
        assert peers_of(name, component, 8404) == []
        assert peers_of(name, component, 9101) == []
        # The neighbours of the two are open to Ray.
        for port in (8403, 8405, 9100, 9102):
            assert peers_of(name, component, port) == [RAY_NODES]


def test_the_gcs_is_open_to_rays_nodes_and_the_dashboard_to_kuberay_as_well(name: str) -> None:
    assert peers_of(name, "head", 6379) == [RAY_NODES]
    assert sorted(peers_of(name, "head", 8265), key=str) == sorted([RAY_NODES, KUBERAY], key=str)


def test_only_the_api_is_open_to_the_ingress_and_never_a_pod_that_decodes(name: str) -> None:
    assert OPENED_TO_API in peers_of(name, "api", 8000)
    assert peers_of(name, "decode", 8000) == [RAY_NODES]
    assert peers_of(name, "head", 8000) == [RAY_NODES]
    (door,) = [s for s in of_kind(variant(name), "Service") if s["metadata"]["name"] == "fotograma"]
    assert door["spec"]["selector"]["app.kubernetes.io/component"] == "api"


def test_the_redis_of_the_gcs_is_open_to_the_head_alone(name: str) -> None:
    labels = {"app.kubernetes.io/part-of": "fotograma", "app.kubernetes.io/component": "head"}
    assert peers_of(name, "gcs-redis", 6379) == [{"podSelector": {"matchLabels": labels}}]


def test_no_pod_reaches_the_credentials_of_its_machine(name: str) -> None:
    blocks = [
        peer["ipBlock"]
        for policy in of_kind(variant(name), "NetworkPolicy")
        for rule in policy["spec"].get("egress", [])
        for peer in rule.get("to", [])
        if "ipBlock" in peer
    ]
    assert blocks
    for block in blocks:
        assert block["cidr"] == DNS_CACHE or {"169.254.0.0/16", "fe80::/10"} & set(block["except"])


def test_every_pod_reaches_the_servers_that_it_needs_and_no_other(name: str) -> None:
    reached = {
        (client, server)
        for client in ("head", "api", "decode", "migrate", "cache", "gcs-redis")
        for server, port in SERVERS.items()
        if may_reach(name, client, server, port)
    }
    expected = {("head", "gcs-redis"), ("api", "cache"), ("decode", "cache")}
    if name == "dev":
        expected |= {(client, "postgres") for client in ("head", "api", "decode", "migrate")}
        expected |= {("api", "seaweedfs"), ("decode", "seaweedfs")}
    if name == WITH_COMPONENTS:
        expected |= {(client, CLOUDNATIVE_PG) for client in ("head", "api", "decode", "migrate")}
    assert reached == expected


def test_postgresql_and_a_bucket_outside_the_cluster_are_reached(name: str) -> None:
    for client in ("head", "api", "decode", "migrate"):
        for port in (443, 5432):
            blocks = [
                peer["ipBlock"]["cidr"] for peer in peers_of(name, client, port, "Egress") if peer and "ipBlock" in peer
            ]
            assert blocks == ["0.0.0.0/0", "::/0"]


def test_every_pod_resolves_names(name: str) -> None:
    for pod in pod_templates(variant(name)):
        peers = peers_of(name, pod.labels["app.kubernetes.io/component"], 53, "Egress")
        assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}} in peers


def test_spans_leave_the_api_and_the_workers_for_the_receiver_of_the_settings(name: str) -> None:
    port = int(settings_of(variant(WITH_COMPONENTS))["OTEL_EXPORTER_OTLP_ENDPOINT"].rpartition(":")[2])
    receivers = {"namespaceSelector": {"matchLabels": {"fotograma.io/takes-traces": "true"}}}
    senders = [
        client
        for client in ("head", "api", "decode", "migrate", "cache", "gcs-redis")
        if receivers in peers_of(name, client, port, "Egress")
    ]
    assert senders == (["api", "decode"] if name == WITH_COMPONENTS else [])


def test_metrics_are_open_to_prometheus_those_of_the_autoscaler_with_the_component_for_it(name: str) -> None:
    def outside(component: str, port: int) -> list[Manifest | None]:
        return [peer for peer in peers_of(name, component, port) if peer != RAY_NODES]

    for component in ("head", "api", "decode"):
        assert outside(component, 8080) == [SCRAPES_METRICS]
    assert outside("head", 44217) == ([SCRAPES_METRICS] if name == WITH_COMPONENTS else [])


def test_head_asks_grafana_and_prometheus_with_the_component_for_it(name: str) -> None:
    for port in (3000, 9090):
        asked = [peer for peer in peers_of(name, "head", port, "Egress") if peer != RAY_NODES]
        assert asked == ([SCRAPES_METRICS] if name == WITH_COMPONENTS else [])
