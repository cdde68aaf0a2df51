"""A process in the place of a decoding child, which does and says what a child that was taken over might."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from actors.sandbox.child_process import DecodingChild

_SEND_MESSAGES = """
import json, sys
import msgspec
from actors.sandbox.child_protocol import frame
for answer in json.loads(sys.argv[1]):
    sys.stdout.buffer.write(frame(msgspec.msgpack.encode(answer)))
sys.stdout.flush()
sys.stdin.buffer.read()
"""
# The child's own program with a step between its work and its last word.
_RUN_CODE_AFTER_JOB = """
import json, os, sys
from pathlib import Path
from actors.sandbox.process_isolation import isolate
isolate()
from actors.sandbox import child_main
def end_of(job, tell, end_of=child_main._run_work):
    end, out = end_of(job, tell), job.out
    exec(CODE)
    return end
child_main._run_work = end_of
child_main.main()
os._exit(0)
"""


async def child_that_sends(*answers: dict[str, Any]) -> DecodingChild:
    """It says these answers, whatever its job, and waits."""
    pipe, script = asyncio.subprocess.PIPE, (sys.executable, "-c", _SEND_MESSAGES, json.dumps(answers))
    return DecodingChild(
        await asyncio.create_subprocess_exec(*script, start_new_session=True, stdin=pipe, stdout=pipe, stderr=pipe)
    )


async def child_that_runs(code: str) -> DecodingChild:
    """A child that does its job, and this before it tells the end; `out` is the folder with what it made."""
    return await DecodingChild.start(("-c", f"CODE = {code!r}\n{_RUN_CODE_AFTER_JOB}"))
