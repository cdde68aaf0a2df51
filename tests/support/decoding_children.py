"""Decoding children of one fork server, whose imports all tests of a process share."""

from __future__ import annotations

import asyncio
import atexit

from actors.sandbox.child_process import DecodingChild
from actors.sandbox.fork_server import ForkServer

_FORK_SERVER = ForkServer()
atexit.register(lambda: asyncio.run(_FORK_SERVER.close()))


async def start_child() -> DecodingChild:
    return await DecodingChild.start(_FORK_SERVER)
