"""The steps of the scenarios as calls of kubectl. A stand-in of kubectl answers: no cluster is behind it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kuberay.render_manifests import OVERLAYS, rendered
from tests.scenarios import on_kubernetes

ROOT = Path(__file__).parents[3]
# A decoding pod comes with the load and goes when its work has ended; the load ends when its phase was asked six times.
KUBECTL = """#!/usr/bin/env python3
import sys
from pathlib import Path
folder = Path(__file__).parent
line = " ".join(sys.argv[1:])
past = (folder / "log").read_text() if (folder / "log").exists() else ""
with (folder / "log").open("a") as log:
    log.write(line + "\\n")
if " apply " in line:
    (folder / "pod.json").write_text(sys.stdin.read())
ended = past.count("get pod ") >= 6
deleted = "delete" in past and "pod/decode-1" in past
if "component=api" in line:
    print("pod/api-1\\npod/api-2")
elif "component=decode" in line and " apply " in past and not ended:
    print("pod/decode-2" if deleted else "pod/decode-1\\npod/decode-2")
elif " logs " in line:
    print("begin\\nrunning 1\\nrunning 2")
elif "get pod " in line:
    print((folder / "end").read_text() if ended else "Running", end="")
"""


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the stand-in."""
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    (tmp_path / "end").write_text("Succeeded")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(on_kubernetes, "POLL_SECONDS", 0)
    monkeypatch.chdir(ROOT)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("burst", []),
        ("node-drains", ["--namespace fotograma delete --wait=false pod/decode-1"]),
        ("node-dies", ["--namespace fotograma delete --now pod/decode-1"]),
        ("api-dies", ["--namespace fotograma delete --now pod/api-1"]),
    ],
)
def test_scenario_ends_the_pods_that_it_means(kubectl: Path, name: str, ends: list[str]) -> None:
    on_kubernetes.main(name)
    assert [line for line in (kubectl / "log").read_text().splitlines() if " delete " in line] == ends


def test_load_runs_the_image_of_the_overlay_with_the_options_of_its_program(kubectl: Path) -> None:
    on_kubernetes.main("node-dies")
    (container,) = json.loads((kubectl / "pod.json").read_text())["spec"]["containers"]
    assert container["command"][-4:] == [on_kubernetes.URL, "60", "5", "--slow"]
    (service,) = [found for found in rendered(OVERLAYS / "dev") if found["kind"] == "RayService"]
    head = service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert container["image"] == head["image"]


def test_lost_submission_fails_the_scenario(kubectl: Path) -> None:
    (kubectl / "end").write_text("Failed")
    with pytest.raises(AssertionError, match="running 2"):
        on_kubernetes.main("burst")
