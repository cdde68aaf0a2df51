"""A process in the place of a decoding child, which does and says what a child that was taken over might."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from actors.sandbox.child_process import DecodingChild

_SAYS = """
import json, sys
import msgspec
from actors.sandbox.child_protocol import frame
for answer in json.loads(sys.argv[1]):
    sys.stdout.buffer.write(frame(msgspec.msgpack.encode(answer)))
sys.stdout.flush()
sys.stdin.buffer.read()
"""
# The child's own program with a step between its work and its last word.
_DOES = """
import json, os, sys
from pathlib import Path
from actors.sandbox import child_main
def end_of(job, tell, end_of=child_main._end_of):
    end, out = end_of(job, tell), job.out
    exec(sys.argv[2])
    return end
child_main._end_of = end_of
child_main.main()
os._exit(0)
"""


async def child_that_says(*answers: dict[str, Any]) -> DecodingChild:
    """It says these answers, whatever its job, and waits."""
    return await _started(_SAYS, json.dumps(answers))


async def child_that_does(code: str) -> DecodingChild:
    """A child that does its job, and this before it tells the end; `out` is the folder with what it made."""
    child = await _started(_DOES, str(os.getpid()), code)
    await child._expect_ready()
    return child


async def _started(program: str, *arguments: str) -> DecodingChild:
    pipe, script = asyncio.subprocess.PIPE, (sys.executable, "-c", program, *arguments)
    return DecodingChild(
        await asyncio.create_subprocess_exec(*script, start_new_session=True, stdin=pipe, stdout=pipe, stderr=pipe)
    )
