"""The workflows of GitHub Actions and the shell scripts, checked by actionlint, by shellcheck and by rules."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from kuberay.render_manifests import OVERLAYS, rendered
from tests.scenarios import on_kubernetes
from tests.scenarios.scenarios import SCENARIOS

ROOT = Path(__file__).parents[3]
PROGRAMS = Path(sys.executable).parent
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
SCRIPT_FOLDERS = (".ci", ".github", "docker", "kuberay", "tests")

PINNED = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
LOCAL = re.compile(r"uses: \./\.github/workflows/[\w-]+\.yml")


def jobs_of(workflow: Path) -> dict[str, dict[str, Any]]:
    jobs: dict[str, dict[str, Any]] = yaml.safe_load(workflow.read_text())["jobs"]
    return jobs


JOBS = [pytest.param(job, id=f"{file.stem}-{name}") for file in WORKFLOWS for name, job in jobs_of(file).items()]


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAMS / program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def shell_scripts() -> list[Path]:
    """Every script of bash in the repository, whatever its name ends with."""
    files = [path for folder in SCRIPT_FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [path for path in files if path.suffix in {"", ".sh"} and is_shell(path)]


def is_shell(path: Path) -> bool:
    with path.open("rb") as file:
        return path.suffix == ".sh" or file.readline().startswith(b"#!/usr/bin/env bash")


def test_actionlint_has_no_fault_to_find() -> None:
    found = run("actionlint", "-no-color", "-shellcheck", PROGRAMS / "shellcheck", *WORKFLOWS)
    assert (found.returncode, found.stdout) == (0, "")


def test_actionlint_finds_the_fault_of_a_workflow(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "run-on:", 1))
    found = run("actionlint", "-no-color", broken)
    assert found.returncode == 1
    assert "run-on" in found.stdout


def test_shellcheck_has_no_fault_to_find() -> None:
    scripts = shell_scripts()
    assert {ROOT / ".ci/run", ROOT / ".github/scripts/deploy.sh", ROOT / "docker/ray/start.sh"} <= set(scripts)
    found = run("shellcheck", "--external-sources", *scripts)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_by_its_commit_with_the_version_beside_it(workflow: Path) -> None:
    used = re.findall(r"uses: .+", workflow.read_text())
    assert used
    assert [line for line in used if not PINNED.fullmatch(line) and not LOCAL.fullmatch(line)] == []


def test_every_action_has_one_commit_in_all_workflows() -> None:
    used = {line for file in WORKFLOWS for line in re.findall(r"uses: (.+@.+)", file.read_text())}
    assert len({line.partition("@")[0] for line in used}) == len(used)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_workflow_starts_without_permissions_and_says_what_runs_together(workflow: Path) -> None:
    content = yaml.safe_load(workflow.read_text())
    assert content["permissions"] == {}
    assert set(content["concurrency"]) == {"group", "cancel-in-progress"}
    assert "pull_request_target" not in workflow.read_text()


@pytest.mark.parametrize("job", JOBS)
def test_every_job_names_its_permissions_and_ends_in_time(job: dict[str, Any]) -> None:
    assert isinstance(job["permissions"], dict)
    assert "write-all" not in job["permissions"].values()
    # A job that calls a workflow has the limits of that workflow's jobs.
    assert "uses" in job or 0 < job["timeout-minutes"] <= 240
    assert "uses" in job or job["runs-on"] == "ubuntu-24.04"


@pytest.mark.parametrize("job", JOBS)
def test_checkout_leaves_no_token_behind(job: dict[str, Any]) -> None:
    checkouts = [step for step in job.get("steps", []) if step.get("uses", "").startswith("actions/checkout@")]
    assert [step for step in checkouts if step["with"]["persist-credentials"] is not False] == []


@pytest.mark.parametrize("job", JOBS)
def test_only_the_release_and_its_packages_are_written(job: dict[str, Any]) -> None:
    written = {name for name, access in job["permissions"].items() if access == "write"}
    assert written <= {"contents", "id-token", "packages"}
    # Writing the repository and signing are two jobs.
    assert not {"contents", "id-token"} <= written


def test_every_script_that_a_workflow_runs_exists_and_can_be_run() -> None:
    text = "\n".join(file.read_text() for file in WORKFLOWS)
    scripts = set(re.findall(r"(?:\.github/scripts|tests/\w+)/\w+\.sh", text)) | {".ci/run"}
    assert len(scripts) > 2
    assert [script for script in sorted(scripts) if not (ROOT / script).stat().st_mode & 0o100] == []


def test_all_supported_versions_of_python_are_tested() -> None:
    supported = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    assert supported
    first, end = map(int, supported.groups())
    matrix = jobs_of(ROOT / ".github/workflows/ci.yml")["checks"]["strategy"]["matrix"]
    assert matrix["python"] == [f"3.{minor}" for minor in range(first, end)]


def test_image_that_ci_builds_is_the_one_of_the_compose_file() -> None:
    steps = jobs_of(ROOT / ".github/workflows/ci.yml")["image"]["steps"]
    (built,) = [step["with"]["tags"] for step in steps if "docker/build-push-action@" in step.get("uses", "")]
    compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())
    assert built == compose["services"]["fotograma"]["image"]


def test_every_scenario_runs_on_kubernetes() -> None:
    job = jobs_of(ROOT / ".github/workflows/kind.yml")["scenario"]
    assert set(job["strategy"]["matrix"]["scenario"]) == set(SCENARIOS)
    assert f'python3 -m {on_kubernetes.__name__} "$SCENARIO"' in [step.get("run") for step in job["steps"]]


def test_scenarios_ask_for_what_the_overlay_for_kind_has() -> None:
    objects = rendered(OVERLAYS / "dev")
    (service,) = [found for found in objects if (found["kind"], found["metadata"]["name"]) == ("Service", "fotograma")]
    (cluster,) = [found for found in objects if found["kind"] == "RayService"]
    groups = cluster["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    offered = {group["template"]["metadata"]["labels"]["app.kubernetes.io/component"] for group in groups}

    asked = set(re.findall(r'running_pods\("(\w+)"\)', Path(on_kubernetes.__file__).read_text()))
    assert asked == offered == {"api", "decode"}
    assert [port["port"] for port in service["spec"]["ports"]] == [80]
    assert on_kubernetes.URL == "http://fotograma.fotograma"
    assert {found["metadata"].get("namespace", "fotograma") for found in objects} == {"fotograma"}
    # The namespace of the load is let in.
    (label,) = re.findall(r"label namespace load (\S+)=true", (ROOT / "tests/kind/install.sh").read_text())
    assert label in yaml.safe_dump_all([found for found in objects if found["kind"] == "NetworkPolicy"])
