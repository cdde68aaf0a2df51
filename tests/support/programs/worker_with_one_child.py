"""Runs one job as a worker does. The child runs CODE before it sends the outcome: `SOURCE OUT CODE`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from actors.extraction_types import EngineOptions, ProgressEvent
from actors.sandbox.child_protocol import Job, Limits
from cluster.wiring.worker import open_worker
from tests.support.compromised_child import child_that_runs


async def main() -> None:
    source, out, code = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

    async def ignore_progress(_event: ProgressEvent) -> None:
        pass

    async with open_worker():
        child = await child_that_runs(code)
        job = Job(source, "{}", out, EngineOptions(), Limits(4 << 30, 60, 1 << 30, 60, 60))
        print(type(await child.run(job, ignore_progress)).__name__)


if __name__ == "__main__":
    asyncio.run(main())
