"""The decoding child's own program, with a step between its work and the outcome that it sends: `CODE PARENT_PID`.

CODE runs with `out`, the folder with the child's files, and with `on_progress`, which sends an event to the worker.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from actors.sandbox.process_hardening import isolate


def main() -> None:
    # As in the child's own program, before anything else is imported.
    isolate()
    from actors.sandbox import run_child_job

    code, run_work = sys.argv.pop(1), run_child_job._run_work

    def run_work_and_code(job: Any, on_progress: Any) -> Any:
        outcome = run_work(job, on_progress)
        exec(code, {"json": json, "os": os, "sys": sys, "Path": Path, "out": job.out, "on_progress": on_progress})
        return outcome

    run_child_job._run_work = run_work_and_code
    run_child_job.main()
    os._exit(0)


if __name__ == "__main__":
    main()
