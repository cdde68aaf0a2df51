"""The custom resource definitions of the operators that components of kuberay/ need, as data in tests/support/schemas.

`python -m tests.support.kubernetes.operator_crds FILE…` replaces them by the YAML files of newer releases, without what
no validation needs. Name the releases in tests/support/schemas/NOTICE.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path("tests/support/schemas")
SUFFIX = ".crd.json"
API_VERSIONS = {
    "Cluster": "postgresql.cnpg.io/v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "PodMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
}


@cache
def operator_crds() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(FOLDER.glob(f"*{SUFFIX}"))]


def trimmed(crd: dict[str, Any]) -> dict[str, Any]:
    """The names and the schema of the version that is used, without descriptions and rules in CEL."""
    names = crd["spec"]["names"]
    version = API_VERSIONS[names["kind"]].rpartition("/")[2]
    (served,) = [each for each in crd["spec"]["versions"] if each["name"] == version]
    schema = _without_prose(served["schema"])
    return {
        "spec": {
            "group": crd["spec"]["group"],
            "names": {"kind": names["kind"]},
            "versions": [{"name": version, "schema": schema}],
        }
    }


def _without_prose(schema: Any, *, is_schema: bool = False) -> Any:
    """is_schema: whether its keys are words of JSON Schema, and not the names of properties."""
    if isinstance(schema, list):
        return [_without_prose(each, is_schema=is_schema) for each in schema]
    if not isinstance(schema, dict):
        return schema
    prose = {"description", "x-kubernetes-validations"} if is_schema else set()
    return {
        key: _without_prose(value, is_schema=not is_schema or key != "properties")
        for key, value in schema.items()
        if key not in prose
    }


def main() -> None:
    for source in map(Path, sys.argv[1:]):
        crd = trimmed(yaml.load(source.read_text(), yaml.CSafeLoader))
        target = FOLDER / f"{crd['spec']['names']['kind'].lower()}{SUFFIX}"
        target.write_text(json.dumps(crd, indent=1) + "\n")


if __name__ == "__main__":
    main()
