"""What all tests share."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
from collections.abc import Generator
from functools import cache
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings
from xdist import is_xdist_worker
from xdist.remote import Producer

from cluster.local.cores_and_ports import cores
from tests.support.case_counts import count_cases, pytest_terminal_summary
from tests.support.servers.azure_server import azure_server
from tests.support.servers.real_servers import database_url, postgres, redis_url, server_folder, template, valkey
from tests.support.servers.s3_server import s3_server
from tests.support.suite_scheduling import ProcessEnds, SuiteScheduling
from tests.support.videos.clips import BIG_CLIPS, CLIPS, ClipByName, ClipTruth, make_clip

__all__ = [
    "azure_server",
    "count_cases",
    "database_url",
    "postgres",
    "pytest_terminal_summary",
    "redis_url",
    "s3_server",
    "server_folder",
    "template",
    "valkey",
]

# How long an example takes depends on what else the machine does, and says nothing about a promise.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


# Ray, decoding children and other processes import the same packages again and again: they share the bytecode.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Shells start background jobs with SIGINT ignored. Programs would inherit that, and Ctrl-C is one of the things tested.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Of the whole suite: one for each core, and one for the tests of whole services, which mostly wait. A part of the
    suite starts faster without other processes.
    """
    return cores() + 1 if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(ProcessEnds())


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SuiteScheduling:
    return SuiteScheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """The collected tests stay until the end: the garbage collector need not go through them again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def clips(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ClipByName:
    """Gives a clip of `CLIPS` or `BIG_CLIPS` by its name; each is made once in a test run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if is_xdist_worker(request) else base) / "clips"
    folder.mkdir(exist_ok=True)

    @cache
    def clip(name: str) -> tuple[Path, ClipTruth]:
        spec = (CLIPS | BIG_CLIPS)[name]
        path, record = folder / f"{name}{spec.suffix}", folder / f"{name}.truth"
        with FileLock(folder / f"{name}.lock"):
            if not record.exists():
                record.write_bytes(pickle.dumps(make_clip(path, spec)))
        truth: ClipTruth = pickle.loads(record.read_bytes())
        return path, truth

    return clip
