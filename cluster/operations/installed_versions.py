"""The versions of the programs and libraries in this installation."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version


def installed_versions() -> Mapping[str, str | None]:
    """By name; None for what is not installed."""
    from actors.extraction_types import ENGINE_VERSION  # noqa: PLC0415
    from db.schema_revision import HEAD  # noqa: PLC0415

    return {
        "fotograma": _version("fotograma"),
        "schema": HEAD,
        "engine": ENGINE_VERSION,
        "python": platform.python_version(),
        "ray": _version("ray"),
        **_decoders(),
    }


def _decoders() -> Mapping[str, str | None]:
    try:
        from actors.engine.library_versions import library_versions  # noqa: PLC0415
    except ImportError:
        return {"pyav": None, "ffmpeg": None}
    return library_versions()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
