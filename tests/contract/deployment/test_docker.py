"""The images and the Compose file, checked by hadolint, by the schema of the Compose Specification and by rules."""

import importlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from ray.serve import Application
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
from ray.serve.schema import ServeDeploySchema

from cluster.checks import start_check
from cluster.local.servers.embedded_valkey import SETTINGS as VALKEY_SETTINGS

ROOT = Path(__file__).parents[3]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("Dockerfile*"))
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LASTING = {name: service for name, service in SERVICES.items() if service["restart"] == "unless-stopped"}
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

EXACT_VERSION = re.compile(r"[\w./-]+:v?\d+\.\d+(\.\d+)?(-[\w.-]+)?(@sha256:[0-9a-f]{64})?")
VARIABLE = re.compile(r"\$\{(\w+)(:[?-][^}]*)?\}")


def is_pinned(image: str) -> bool:
    return EXACT_VERSION.fullmatch(image) is not None


def images_of(dockerfile: Path) -> list[str]:
    """What its stages start from, with the defaults of its arguments; without its own stages."""
    text = dockerfile.read_text()
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE))
    stages = re.findall(r"^FROM (\S+)(?: AS (\w+))?$", text, re.MULTILINE)
    return [VARIABLE.sub(lambda match: arguments[match[1]], image) for image, _ in stages]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_has_no_fault_to_find(dockerfile: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([hadolint, dockerfile], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_every_image_starts_from_exact_versions_and_ends_without_root(dockerfile: Path) -> None:
    assert [image for image in images_of(dockerfile) if not is_pinned(image)] == []
    assert re.findall(r"^USER (.+)$", dockerfile.read_text(), re.MULTILINE)[-1] == "1000"


def test_whatever_is_downloaded_has_a_checksum() -> None:
    added = [
        line for file in DOCKERFILES for line in re.findall(r"^ADD (.*(?:\\\n.*)*)$", file.read_text(), re.MULTILINE)
    ]
    assert added
    assert [line for line in added if not re.match(r"--checksum=(sha256:[0-9a-f]{64}|[0-9a-f]{40}) ", line)] == []


def test_both_images_take_the_same_uv() -> None:
    assert len({image for file in DOCKERFILES for image in images_of(file) if "/uv:" in image}) == 1


def test_the_image_gets_every_package_of_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    copied = set(re.findall(r"^COPY (\w+) \1$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE))
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == packages
    assert packages | {"pyproject.toml", "uv.lock", "README.md", "LICENSE"} == allowed


def test_images_have_the_version_of_the_project() -> None:
    version = PROJECT["version"]
    assert f"\nARG VERSION={version}\n" in (DOCKER / "Dockerfile").read_text()
    assert f"ghcr.io/fotograma/fotograma:{version}" in images_of(DOCKER / "Dockerfile.gpu")
    assert {service["image"] for service in SERVICES.values() if "build" in service} == {f"fotograma:{version}"}


def test_compose_file_follows_the_schema_of_the_compose_specification() -> None:
    schema = json.loads((ROOT / "tests/support/schemas/compose-spec.json").read_text())
    validator = Draft7Validator(schema)
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    assert list(validator.iter_errors(COMPOSE | {"servces": {}})) != []


def test_every_image_of_the_compose_file_has_an_exact_version() -> None:
    assert [service["image"] for service in SERVICES.values() if not is_pinned(service["image"])] == []
    assert not any(is_pinned(image) for image in ["postgres", "postgres:18", "redis:latest", "grafana/grafana:main"])


def test_every_lasting_service_has_a_health_check_and_what_starts_after_it_waits_for_it() -> None:
    assert [name for name, service in LASTING.items() if "healthcheck" not in service] == []
    assert set(SERVICES) - set(LASTING) == {"migrate"}
    for service in SERVICES.values():
        for name, dependency in service.get("depends_on", {}).items():
            expected = "service_healthy" if name in LASTING else "service_completed_successfully"
            assert dependency["condition"] == expected


def test_every_port_listens_on_the_loopback_address_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    assert [name for name, service in SERVICES.items() if "network_mode" in service] == []


def test_stores_are_reached_by_the_service_only() -> None:
    assert COMPOSE["networks"]["data"]["internal"] is True
    stores = {"postgres", "redis", "objects"}
    assert {name for name, service in SERVICES.items() if service.get("networks") == ["data"]} == stores | {"migrate"}
    assert [name for name in stores if "ports" in SERVICES[name]] == []


def test_cache_evicts_only_what_expires() -> None:
    """The stream of events, which has no expiry, stays: as under `fotograma up`, and on Kubernetes."""
    command = SERVICES["redis"]["command"][-1]
    assert f"--maxmemory-policy {VALKEY_SETTINGS['maxmemory-policy']} " in command


def test_no_service_gains_privileges() -> None:
    for service in SERVICES.values():
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert not service.get("privileged")


def test_every_volume_is_declared_and_used() -> None:
    mounted = [str(volume).partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    assert {source for source in mounted if not source.startswith(".")} == set(COMPOSE["volumes"])
    assert [source for source in mounted if source.startswith(".") and not (DOCKER / source).exists()] == []


def test_every_secret_is_required_and_named_in_the_example_without_a_value() -> None:
    secret = re.compile("PASSWORD|SECRET|TOKEN|ACCESS_KEY")
    used = VARIABLE.findall((DOCKER / "compose.yaml").read_text())
    required = {name for name, fallback in used if fallback.startswith(":?")}
    assert required == {name for name, _ in used if secret.search(name)}
    # One without a fallback of its own is required by another service.
    assert {name for name, fallback in used if not fallback} <= required

    example = dict(re.findall(r"^(#?\w+)=(.*)$", (DOCKER / ".env.example").read_text(), re.MULTILINE))
    assert {name for name, value in example.items() if value == ""} == required
    assert {name[1:] for name in example if name.startswith("#")} == {name for name, _ in used} - required


def test_settings_of_the_compose_file_are_settings_of_the_service() -> None:
    from cluster.settings import Settings

    given = {name for service in SERVICES.values() for name in service.get("environment", {})}
    known = {f"FOTOGRAMA_{name}".upper() for name in Settings.model_fields}
    assert {name for name in given if name.startswith("FOTOGRAMA_")} <= known


def test_serve_accepts_the_configuration_of_one_node_and_builds_every_application(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The servers of Compose do not run here, and the start waits so long for their answers.
    monkeypatch.setattr(start_check, "ANSWER_SECONDS", 0.1)
    for name, value in SERVICES["fotograma"]["environment"].items():
        monkeypatch.setenv(name, VARIABLE.sub(fallback_or_secret, value))
    config = yaml.safe_load((DOCKER / "ray/serve.yaml").read_text())
    ServeDeploySchema.model_validate(config)
    for application in config["applications"]:
        module, _, builder = application["import_path"].partition(":")
        built = call_user_app_builder_with_args_if_necessary(
            getattr(importlib.import_module(module), builder), application["args"]
        )
        assert isinstance(built, Application)
    assert [application["name"] for application in config["applications"]] == ["api", "pool", "maintenance"]
    assert f":{config['http_options']['port']}" in SERVICES["fotograma"]["ports"][0]


def fallback_or_secret(variable: re.Match[str]) -> str:
    """The value that Compose puts in place of a variable of which .env has no other value than a secret's."""
    fallback = variable[2] or ""
    return fallback[2:] if fallback.startswith(":-") else "0123456789abcdef0123456789abcdef"


def test_prometheus_and_grafana_ask_ports_that_the_services_have() -> None:
    scraped = yaml.safe_load((DOCKER / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    targets = [target for job in scraped for config in job["static_configs"] for target in config["targets"]]
    assert "--metrics-export-port=8080" in (DOCKER / "ray/start.sh").read_text()
    assert "fotograma:8080" in targets

    (source,) = yaml.safe_load((DOCKER / "grafana/datasources.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"


def test_spans_go_nowhere_by_default_and_else_to_the_receiver_of_the_profile() -> None:
    assert SERVICES["fotograma"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == "${OTEL_EXPORTER_OTLP_ENDPOINT:-}"
    (address,) = re.findall(
        r"^#OTEL_EXPORTER_OTLP_ENDPOINT=(\S+)$", (DOCKER / ".env.example").read_text(), re.MULTILINE
    )
    host, port = address.removeprefix("http://").split(":")
    assert f"127.0.0.1:{port}:{port}" in SERVICES[host]["ports"]
    assert {name for name, service in SERVICES.items() if service.get("profiles") == ["tracing"]} == {host}
    # The guide starts the same image without Compose.
    assert SERVICES[host]["image"] in (ROOT / "docs/how-to/tracing.md").read_text()
