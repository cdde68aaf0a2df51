"""The rules of Prometheus: promtool accepts them, every alert fires when it should, and has a runbook."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
RULES = ROOT / "docker/prometheus/rules/fotograma.yaml"
ALERT_TESTS = Path(__file__).parent / "prometheus/alerts.yaml"
RUNBOOKS = ROOT / "docs/runbooks"
RUNBOOK_URL = "https://github.com/fotograma/fotograma/blob/main/docs/runbooks/"
HEADINGS = ["What it means", "What users notice", "Look first", "What to do", "When it is over"]

GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule
}


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: it comes with Debian's package `prometheus`")
    return subprocess.run([program, *arguments], check=False, capture_output=True, text=True, timeout=60)


def runbook_of(alert: dict[str, Any]) -> Path:
    url: str = alert["annotations"]["runbook_url"]
    assert url.startswith(RUNBOOK_URL)
    return RUNBOOKS / url.removeprefix(RUNBOOK_URL)


def test_prometheus_accepts_the_rules() -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_fires_at_its_time_and_is_quiet_before_and_after() -> None:
    done = promtool("test", "rules", ALERT_TESTS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_while_it_fires_and_while_it_is_quiet() -> None:
    outcomes: dict[str, set[bool]] = {}
    for test in yaml.safe_load(ALERT_TESTS.read_text())["tests"]:
        for step in test["promql_expr_test"]:
            (name,) = re.findall(r'alertname="(\w+)"', step["expr"])
            assert name == test["name"]
            outcomes.setdefault(name, set()).add(bool(step["exp_samples"]))
    assert outcomes == {name: {True, False} for name in ALERTS}


@pytest.mark.parametrize("name", ALERTS)
def test_alert_says_how_bad_it_is_what_is_wrong_and_what_to_do(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"] in ({"severity": "critical"}, {"severity": "warning"})
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    page = runbook_of(alert).read_text()
    assert page.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == HEADINGS
    assert "```sh\n" in page.partition("## Look first")[2].partition("## What to do")[0]


def test_every_runbook_belongs_to_one_alert_and_the_index_has_them_all() -> None:
    pages = [runbook_of(alert).name for alert in ALERTS.values()]
    assert len(set(pages)) == len(pages)
    assert set(pages) == {path.name for path in RUNBOOKS.glob("*.md")} - {"README.md"}
    rows = re.findall(r"^\| \[(\w+)\]\((.+?)\) \| (\w+) \|", (RUNBOOKS / "README.md").read_text(), re.MULTILINE)
    assert rows == [
        (name, page, alert["labels"]["severity"]) for (name, alert), page in zip(ALERTS.items(), pages, strict=True)
    ]
