"""What all tests share."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from tests.clips import BIG, NAMED, ClipOf, Truth, make
from tests.servers import database_url, postgres, redis_url, server_folder, template, valkey

# One of each server for the whole run, whichever folders' tests ask for it.
__all__ = ["database_url", "postgres", "redis_url", "server_folder", "template", "valkey"]


WHOLE_SERVICE = {"service", "system"}
"""Fixtures that start it."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two groups that run at the same time, each in its order: tests of the whole service wait more than they compute,
    and one of it at a time is enough for a machine."""
    for item in items:
        whole = isinstance(item, pytest.Function) and WHOLE_SERVICE & set(item.fixturenames)
        item.add_marker(pytest.mark.xdist_group("service" if whole else "parts"))


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
