"""Whether the libraries that decode are installed: they are an extra of the package."""

from __future__ import annotations

from importlib.util import find_spec

from cluster.client.errors import PackageMissing

PACKAGES = ("av", "decord", "numpy", "simplejpeg")
EXTRA = "engine"


def check_engine() -> None:
    """Raises PackageMissing."""
    for package in PACKAGES:
        if find_spec(package) is None:
            raise PackageMissing(package, EXTRA)
