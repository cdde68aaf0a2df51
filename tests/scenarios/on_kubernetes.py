"""Runs a scenario on the cluster of kubectl's context, where `tests/kind/install.sh` has installed the overlay `dev`.

    python3 -m tests.scenarios.on_kubernetes NAME

It needs kubectl, the repository as the working directory, and no package. The load runs in a pod: a forwarded port
would end with the pod behind it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.scenarios.scenarios import SCENARIOS, Load, Nodes, is_last_count

REPOSITORY = "ghcr.io/fotograma/fotograma"
URL = "http://fotograma.fotograma"
"""The service of the namespace `fotograma`, for pods of another one."""
LOAD_SECONDS, UPGRADE_SECONDS, POLL_SECONDS = 3600, 3600, 5


def kubectl(namespace: str, *arguments: str, text: str | None = None, seconds: float = 360) -> str:
    """The output. Raises AssertionError with kubectl's message."""
    command = ["kubectl", "--namespace", namespace, *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=seconds)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
    return done.stdout


def wait_for(seconds: float, what: str, is_so: Callable[[], bool]) -> None:
    """Asks until it is so."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise AssertionError(f"not in time: {what}\n{kubectl('fotograma', 'get', 'rayservice,pods')}")
        time.sleep(POLL_SECONDS)


def load_pod(load: Load, image: str) -> Mapping[str, object]:
    """The pod that submits. Its rights are those that the service's own pods have."""
    container = {
        "name": "load",
        "image": image,
        "command": ["python", "/load/submissions.py", URL, *load.arguments],
        "volumeMounts": [{"name": "load", "mountPath": "/load"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": load.name},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": security,
            "containers": [container],
            "volumes": [{"name": "load", "configMap": {"name": load.name}}],
        },
    }


@dataclass(frozen=True, slots=True)
class LoadPod:
    """Submissions from a pod of the namespace `load`."""

    name: str

    def is_running(self) -> bool:
        return self._phase() == "Running"

    def wait_for_running(self, count: int, seconds: float) -> None:
        wait_for(seconds, f"{count} extractions that run", lambda: is_last_count(self._lines(), count))

    def finish(self) -> None:
        wait_for(LOAD_SECONDS, f"the end of the load {self.name}", lambda: not self.is_running())
        output = kubectl("load", "logs", self.name)
        print(output, flush=True)
        assert self._phase() == "Succeeded", output

    def has_begun(self) -> bool:
        return self._phase() != "Pending" and "begin" in self._lines()

    def _lines(self) -> list[str]:
        return kubectl("load", "logs", self.name).splitlines()

    def _phase(self) -> str:
        return kubectl("load", "get", "pod", self.name, "--output", "jsonpath={.status.phase}")


@dataclass(frozen=True, slots=True)
class KubernetesDriver:
    """image: what the overlay runs, for the load. next_image: what the upgrade goes to."""

    image: str
    next_image: str

    def wait_for_nodes(self, seconds: float, what: str, is_wanted: Callable[[Nodes], bool]) -> Nodes:
        wait_for(seconds, what, lambda: is_wanted(running_pods("decode")))
        return running_pods("decode")

    def start_load(self, load: Load) -> LoadPod:
        kubectl("load", "create", "configmap", load.name, "--from-file=tests/scenarios/submissions.py")
        kubectl("load", "apply", "--filename", "-", text=json.dumps(load_pod(load, self.image)))
        running = LoadPod(load.name)
        wait_for(600, f"the first submission of {load.name}", running.has_begun)
        return running

    def drain(self, node: str) -> None:
        # What an eviction does, as by `kubectl drain`: Ray drains the node in the pod's grace period.
        kubectl("fotograma", "delete", "--wait=false", f"pod/{node}")

    def kill(self, node: str) -> None:
        kubectl("fotograma", "delete", "--now", f"pod/{node}")

    def kill_api(self) -> None:
        self.kill(min(running_pods("api")))

    def upgrade(self) -> None:
        old = active_cluster()
        command = [".github/scripts/deploy.sh", "kuberay/overlays/dev", self.next_image]
        subprocess.run(command, check=True, timeout=UPGRADE_SECONDS)
        wait_for(60, "the switch to the new cluster", lambda: active_cluster() != old)


def running_pods(component: str) -> Nodes:
    """Names of the pods that run, and of those that are about to end."""
    selector = f"--selector=app.kubernetes.io/component={component}"
    names = kubectl("fotograma", "get", "pods", selector, "--field-selector=status.phase=Running", "--output=name")
    return frozenset(name.removeprefix("pod/") for name in names.split())


def active_cluster() -> str:
    path = "jsonpath={.status.activeServiceStatus.rayClusterName}"
    return kubectl("fotograma", "get", "rayservice", "fotograma", "--output", path)


def main(name: str) -> None:
    version = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]
    SCENARIOS[name](KubernetesDriver(f"{REPOSITORY}:{version}", f"{REPOSITORY}:next"))
    print(f"{name}: all that has to hold holds.")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in SCENARIOS:
        sys.exit(f"Usage: python3 -m tests.scenarios.on_kubernetes {{{','.join(SCENARIOS)}}}")
    main(sys.argv[1])
