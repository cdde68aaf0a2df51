"""The order of `kuberay/roll-out.sh` and `deploy.sh`. A stand-in of kubectl answers: no cluster is behind it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FORMER = '{"kind": "RayService", "metadata": {"name": "fotograma"}, "spec": "former"}'
# Answers by what is asked for; `applied` counts the RayServices that were applied, and chooses the answer.
KUBECTL = """#!/usr/bin/env python3
import json, sys
from pathlib import Path
folder = Path(__file__).parent
arguments = [a for a in sys.argv[1:] if a not in ("--namespace", "fotograma", "--ignore-not-found")]
log = folder / "log"
lines = log.read_text().splitlines() if log.exists() else []
line = " ".join(arguments)
if arguments[0] == "apply" and "--filename" in arguments:
    line = "apply " + Path(arguments[-1]).read_text()
with log.open("a") as file:
    file.write(line + "\\n")
applied = sum(1 for l in lines if l.endswith("component=cluster") or l.startswith("apply {"))
answers = json.loads((folder / "answers.json").read_text())
if arguments[0] == "kustomize":
    print("image: " + answers["image"])
if arguments[0] == "get":
    for part, values in answers["get"].items():
        if part in line:
            print(values[min(applied, len(values) - 1)], end="")
if arguments[0] == "wait" and answers.get("fails", "nothing") in line:
    sys.exit(1)
"""
READY, WAITING = {"UpgradeInProgress": "False", "Ready": "True"}, {"UpgradeInProgress": "True", "Ready": "True"}


@dataclass(frozen=True)
class Kubectl:
    """Its folder stands first on the PATH."""

    folder: Path

    def answers(self, *states: dict[str, str], former: str = FORMER, **others: str) -> None:
        """states: of the RayService before, after the roll-out, and after the former one is applied again."""
        names = {key for state in states for key in state}
        get = {name: [state.get(name, "") for state in states] for name in names}
        (self.folder / "answers.json").write_text(
            json.dumps({"get": {**get, "last-applied-configuration": [former]}, **others})
        )

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "ROLL_OUT_POLL_SECONDS": "0.1"}
        return subprocess.run(
            [ROOT / script, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    @property
    def changes(self) -> list[str]:
        """What was applied, deleted and waited for, in its order."""
        lines = (self.folder / "log").read_text().splitlines()
        return [line for line in lines if line.split()[0] in {"apply", "delete"} or line.startswith("wait job")]


@pytest.fixture
def kubectl(tmp_path: Path) -> Kubectl:
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    return Kubectl(tmp_path)


def test_roll_out_that_becomes_ready_keeps_the_new_version(kubectl: Kubectl) -> None:
    kubectl.answers(READY, READY | {"rayClusterName": "fotograma-new"})
    done = kubectl.run("kuberay/roll-out.sh", "deploy")
    assert (done.returncode, done.stdout) == (0, "The cluster fotograma-new serves.\n")
    assert [change.split(" --")[0] for change in kubectl.changes] == [
        "apply",
        "delete job fotograma-migrate",
        "apply",
        "wait job/fotograma-migrate",
        "apply",
    ]


def test_failed_application_of_the_new_cluster_goes_back_at_once(kubectl: Kubectl) -> None:
    failed = WAITING | {"pendingServiceStatus.applicationStatuses": "RUNNING DEPLOY_FAILED RUNNING"}
    kubectl.answers(READY, failed, READY | {"rayClusterName": "fotograma-again"})
    done = kubectl.run("kuberay/roll-out.sh", "deploy")
    assert done.returncode == 1
    assert kubectl.changes[-1] == f"apply {FORMER}"
    assert done.stderr.endswith("The former version serves, in the cluster fotograma-again.\n")


def test_failed_application_in_the_running_cluster_goes_back_at_once(kubectl: Kubectl) -> None:
    failed = {
        "UpgradeInProgress": "False",
        "Ready": "False",
        "activeServiceStatus.applicationStatuses": "DEPLOY_FAILED",
    }
    kubectl.answers(READY, failed, READY)
    done = kubectl.run("kuberay/roll-out.sh", "deploy")
    assert (done.returncode, kubectl.changes[-1]) == (1, f"apply {FORMER}")


def test_failure_of_the_active_cluster_does_not_end_an_upgrade(kubectl: Kubectl) -> None:
    waiting = WAITING | {"activeServiceStatus.applicationStatuses": "DEPLOY_FAILED"}
    kubectl.answers(READY, waiting, READY)
    done = kubectl.run("kuberay/roll-out.sh", "deploy", "1")
    assert (done.returncode, kubectl.changes[-1]) == (1, f"apply {FORMER}")
    asked = (kubectl.folder / "log").read_text()
    assert "pendingServiceStatus.applicationStatuses" in asked
    assert "activeServiceStatus.applicationStatuses" not in asked


def test_roll_out_that_is_not_ready_in_time_goes_back(kubectl: Kubectl) -> None:
    kubectl.answers(READY, WAITING, READY)
    done = kubectl.run("kuberay/roll-out.sh", "deploy", "1")
    assert (done.returncode, kubectl.changes[-1]) == (1, f"apply {FORMER}")


def test_former_version_that_is_not_ready_either_is_reported(kubectl: Kubectl) -> None:
    kubectl.answers(READY, WAITING)
    done = kubectl.run("kuberay/roll-out.sh", "deploy", "1")
    assert (done.returncode, kubectl.changes[-1]) == (1, f"apply {FORMER}")
    assert "was applied, and is not ready yet" in done.stderr


def test_first_roll_out_has_nothing_to_go_back_to(kubectl: Kubectl) -> None:
    kubectl.answers({}, WAITING, former="")
    done = kubectl.run("kuberay/roll-out.sh", "deploy", "1")
    assert done.returncode == 1
    assert "there is no former version to go back to" in done.stderr
    assert "component=cluster" in kubectl.changes[-1]


def test_failed_migration_changes_no_cluster(kubectl: Kubectl) -> None:
    kubectl.answers(READY, fails="job/fotograma-migrate")
    done = kubectl.run("kuberay/roll-out.sh", "deploy")
    assert done.returncode == 1
    assert [change for change in kubectl.changes if "component=cluster" in change or change.startswith("apply {")] == []


@pytest.mark.parametrize(("state", "code"), [(READY, 0), (WAITING, 1)])
def test_deployment_ends_as_its_roll_out(kubectl: Kubectl, state: dict[str, str], code: int) -> None:
    image = "ghcr.io/fotograma/fotograma:next"
    kubectl.answers(READY, state, READY, image=image)
    done = kubectl.run(".github/scripts/deploy.sh", "kuberay/overlays/dev", image, "1")
    assert done.returncode == code, done.stderr
    assert (f"Deployed {image}." in done.stdout) == (code == 0)
    assert any(change == f"apply {FORMER}" for change in kubectl.changes) == (code == 1)
