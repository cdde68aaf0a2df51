"""The lines that `fotograma up` prints when everything runs. Each command in them can be pasted as it is."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.local.data_dir import DataDir
from cluster.local.servers.ray_head_command import Addresses

UNDER_UV = "UV_RUN_RECURSION_DEPTH"
"""A variable that `uv run` sets."""


def greeting(url: str, addresses: Addresses, data_dir: DataDir, command: str, *, dashboard: bool = True) -> str:
    """Addresses, folders and the next commands. command: how the person runs `fotograma`. dashboard: whether Ray's
    dashboard was to be started.
    """
    return (
        f"  Page       {url}/\n"
        f"  API        {url}/v1, described at {url}/openapi.json\n"
        f"  Dashboard  {_dashboard(addresses, data_dir, wanted=dashboard)}\n"
        f"  Metrics    {addresses.metrics}/metrics, for Prometheus\n"
        f"  Logs       {data_dir.logs}\n"
        "Next, in another terminal:\n"
        f"  {command} login --register --url {url} --email you@example.org\n"
        f"  {command} samples clips\n"
        f"  {command} extract clips --fps 1 -o frames\n"
        "Ctrl-C ends it; the data are kept."
    )


def _dashboard(addresses: Addresses, data_dir: DataDir, *, wanted: bool) -> str:
    if not wanted:
        return "none (--no-dashboard)"
    if not addresses.dashboard:
        return f"did not start; {data_dir.ray_log} says why"
    return f"{addresses.dashboard}/, its token is in {data_dir.ray_token}"


def cli_command(environment: Mapping[str, str], program: Sequence[str], found: str | None) -> str:
    """How a person at a shell runs `fotograma`.

    program: how this process was started. found: the `fotograma` in the PATH; None when there is none.
    """
    if UNDER_UV in environment:
        return "uv run fotograma"
    return "fotograma" if found is not None else shlex.join(program)


def this_program() -> Sequence[str]:
    """How this process was started: as a script, or as Python with the name of a module."""
    script = Path(sys.argv[0]).absolute()
    return [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-m", "cluster.cli.app"]
