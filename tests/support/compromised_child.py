"""Processes in place of the decoding child that behave as an exploited child might."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from actors.sandbox.child_process import DecodingChild
from tests.support.own_process import command_of
from tests.support.programs import child_that_sends_messages, child_with_extra_step


async def child_that_sends(*answers: dict[str, Any]) -> DecodingChild:
    """A child that sends these messages whatever its job, and then waits."""
    pipe, command = asyncio.subprocess.PIPE, command_of(child_that_sends_messages, json.dumps(answers))
    return DecodingChild(
        await asyncio.create_subprocess_exec(*command, start_new_session=True, stdin=pipe, stdout=pipe, stderr=pipe)
    )


async def child_that_runs(code: str) -> DecodingChild:
    """A child that does its job, then runs this code before it sends the outcome.

    out: its result folder. on_progress: sends an event to the worker.
    """
    return await DecodingChild.start((str(child_with_extra_step.__file__), code))
