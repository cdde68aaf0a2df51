"""What all tests share."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.clips import BIG, NAMED, ClipOf, Truth, make
from tests.support.real_servers import database_url, postgres, redis_url, server_folder, template, valkey

# One of each server for the whole run, whichever folders' tests ask for it.
__all__ = ["database_url", "postgres", "redis_url", "server_folder", "template", "valkey"]

# How long an example takes depends on what else the machine does, and says nothing about a promise.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipOf:
    """Gives a clip of `NAMED` or `BIG` by its name; each is made once in a test session."""
    folder = tmp_path_factory.mktemp("clips")

    @cache
    def clip(name: str) -> tuple[Path, Truth]:
        spec = (NAMED | BIG)[name]
        path = folder / f"{name}{spec.suffix}"
        return path, make(path, spec)

    return clip
