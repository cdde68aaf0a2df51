"""The fork server's own program, whose children do a step between their work and the outcome that they send:
`CODE PARENT_PID REQUESTS_FD`.

CODE runs with `out`, the folder with the child's files, and with `on_progress`, which sends an event to the worker.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actors.sandbox import fork_server_entry


def load_with_extra_step() -> Callable[[], None]:
    run_child = fork_server_entry.load_decoders()
    from actors.sandbox import run_child_job

    run_work = run_child_job._run_work

    def run_work_and_code(job: Any, on_progress: Any) -> Any:
        outcome = run_work(job, on_progress)
        exec(
            sys.argv[1], {"json": json, "os": os, "sys": sys, "Path": Path, "out": job.out, "on_progress": on_progress}
        )
        return outcome

    run_child_job._run_work = run_work_and_code
    return run_child


if __name__ == "__main__":
    fork_server_entry.main(load_with_extra_step)
