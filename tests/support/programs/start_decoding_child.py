"""Starts a decoding child, prints its process id, and lives on."""

from __future__ import annotations

import asyncio

from actors.sandbox.child_process import DecodingChild
from actors.sandbox.fork_server import ForkServer


async def main() -> None:
    child = await DecodingChild.start(ForkServer())
    print(child.pid, flush=True)
    await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(main())
