"""Processes in place of the decoding child that behave as an exploited child might."""

from __future__ import annotations

import asyncio
import atexit
import json
from types import ModuleType
from typing import Any

from actors.sandbox.child_process import DecodingChild
from actors.sandbox.fork_server import ForkServer
from tests.support.programs import child_that_sends_messages, child_with_extra_step

_servers: list[ForkServer] = []


async def child_that_sends(*answers: dict[str, Any]) -> DecodingChild:
    """A child that sends these messages whatever its job, and then waits."""
    return DecodingChild(await (await _server_of(child_that_sends_messages, json.dumps(answers))).fork())


async def child_that_runs(code: str) -> DecodingChild:
    """A child that does its job, then runs this code before it sends the outcome.

    out: its result folder. on_progress: sends an event to the worker.
    """
    return await DecodingChild.start(await _server_of(child_with_extra_step, code))


async def _server_of(program: ModuleType, argument: str) -> ForkServer:
    """A fork server of another program. The one before it is ended, with its child."""
    await _close_servers()
    server = ForkServer((str(program.__file__), argument))
    _servers.append(server)
    return server


async def _close_servers() -> None:
    while _servers:
        await _servers.pop().close()


atexit.register(lambda: asyncio.run(_close_servers()))
