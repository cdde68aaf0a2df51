"""Writes the rules of Prometheus as an object of its operator: `python -m kuberay.write_prometheus_rule`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RULES = ROOT / "docker/prometheus/rules/fotograma.yaml"
TARGET = ROOT / "kuberay/components/monitoring/prometheus-rule.yaml"
HEAD = """# Made by `python -m kuberay.write_prometheus_rule` from docker/prometheus/rules/fotograma.yaml.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: fotograma
spec:
"""


def prometheus_rule() -> str:
    """The text of the object. The rules keep their comments."""
    rules = RULES.read_text(encoding="utf-8")
    groups = rules[rules.index("groups:\n") :]
    return HEAD + "".join(f"  {line}" if line.strip() else line for line in groups.splitlines(keepends=True))


if __name__ == "__main__":
    TARGET.write_text(prometheus_rule(), encoding="utf-8")
    sys.exit(0)
