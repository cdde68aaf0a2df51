"""Renders every overlay and validates its objects: `python -m kuberay.validate_manifests --crds FOLDER`.

The schemas are those of KubeRay and of Kubernetes itself. FOLDER contains the CRD files of a KubeRay release
(`ray-operator/config/crd/bases`). A field that the schema does not have is an error here; the API server would drop it
silently.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from jsonschema import Draft202012Validator

from kuberay.render_manifests import OVERLAY_NAMES, OVERLAYS, rendered


def validation_errors(manifest: dict[str, Any], crds: list[dict[str, Any]]) -> Iterator[str]:
    """The manifest's violations of the schema of its kind, one line each."""
    schema = _schema_of(manifest, crds)
    if schema is None:
        yield from _kubernetes_errors(manifest)
        return
    for error in Draft202012Validator(forbid_unknown_fields(schema)).iter_errors(manifest):
        yield f"{'.'.join(map(str, error.path))}: {error.message}"


def _kubernetes_errors(manifest: dict[str, Any]) -> Iterator[str]:
    try:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        yield f"no schema for {manifest['apiVersion']} {manifest['kind']}"
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(map(str, error.path))}: {error.message}"


def forbid_unknown_fields(schema: Any) -> Any:
    """The same schema without additional properties."""
    if isinstance(schema, list):
        return [forbid_unknown_fields(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: forbid_unknown_fields(value) for key, value in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    return closed


def _schema_of(manifest: dict[str, Any], crds: list[dict[str, Any]]) -> dict[str, Any] | None:
    group, _, version = manifest["apiVersion"].partition("/")
    for crd in crds:
        if (crd["spec"]["group"], crd["spec"]["names"]["kind"]) == (group, manifest["kind"]):
            served = next(item for item in crd["spec"]["versions"] if item["name"] == version)
            schema: dict[str, Any] = served["schema"]["openAPIV3Schema"]
            # The API server validates metadata itself; the CRD leaves it open.
            return schema | {"properties": schema["properties"] | {"metadata": {"type": "object"}}}
    return None


def crds_in(folder: Path) -> list[dict[str, Any]]:
    """KubeRay's custom resource definitions."""
    return [yaml.load(path.read_text(), yaml.CSafeLoader) for path in sorted(folder.glob("ray.io_*.yaml"))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crds", type=Path, required=True)
    crds = crds_in(parser.parse_args().crds)
    error_count = 0
    for overlay in OVERLAY_NAMES:
        for manifest in rendered(OVERLAYS / overlay):
            for line in validation_errors(manifest, crds):
                error_count += 1
                print(f"{overlay}: {manifest['kind']} {manifest['metadata']['name']}: {line}")
    print(f"{error_count} errors")
    return min(error_count, 1)


if __name__ == "__main__":
    sys.exit(main())
