"""Checks the Ray cluster: reachable, closed to whoever has no token, and of the versions of this installation."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import version

from cluster.checks.finding import Finding, fail, ok, warn
from cluster.operations.located_service import LocatedService
from cluster.operations.operation_errors import OperationError

SUBJECT, WHERE = "ray", "RAY_ADDRESS"
TOKEN = "RAY_AUTH_MODE"  # noqa: S105 - the name of a variable
PROBE_SECONDS = 30
# In a process of its own: Ray reads the variables once.
READ_NODES = (
    "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1]).get_all_node_info(timeout=5)"
)


def ray_findings(service: LocatedService) -> list[Finding]:
    if service.ray_address is None:
        return [
            warn(SUBJECT, "RAY_ADDRESS is not set: Ray was not checked.", "Run this in a pod of the cluster.", WHERE)
        ]
    try:
        from cluster.operations.ray_nodes import RayCluster  # noqa: PLC0415

        cluster = RayCluster(service.ray_address, service.ray_token)
        nodes, versions = cluster.nodes(), cluster.versions()
    except ImportError:
        return [fail(SUBJECT, "Ray is not installed.", 'pip install "fotograma[local]"')]
    except OperationError as error:
        return [fail(SUBJECT, str(error), "Check the address, the token, and that the head runs.", WHERE)]
    findings = _version_findings(versions)
    if accepts_no_token(cluster.address):
        remedy = "Set RAY_AUTH_MODE=token and a token on all nodes; on Kubernetes authOptions: {mode: token}."
        text = "Ray takes commands without a token: whoever reaches its ports runs any program in the cluster."
        findings.append(fail(SUBJECT, text, remedy, TOKEN))
    text = f"Ray {versions.get('ray', 'of an unknown version')} with {len(nodes)} nodes, closed without its token."
    return findings or [ok(SUBJECT, text, WHERE)]


def accepts_no_token(address: str) -> bool:
    """Whether the GCS answers to a client that has no token."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", READ_NODES, address],
            env=environment | {TOKEN: "disabled"},
            check=False,
            capture_output=True,
            timeout=PROBE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _version_findings(versions: dict[str, str]) -> list[Finding]:
    own = {"ray": version("ray"), "python": platform.python_version()}
    findings = []
    for name, value in own.items():
        found = versions.get(name)
        # Ray refuses another minor version of Python, and any other version of its own.
        is_same = found is None or found == value or (name == "python" and found.split(".")[:2] == value.split(".")[:2])
        if not is_same:
            text = f"The cluster runs {name} {found}, and this installation has {value}."
            findings.append(warn(SUBJECT, text, "Use the image of the service, or update the cluster.", WHERE))
    return findings
