"""The decoding child's own program with a step between its work and its last word: `CODE PARENT_PID`.

CODE is run with `out`, the folder with what the child made.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from actors.sandbox.memory_isolation import isolate


def main() -> None:
    # As in the child's own program, before anything else is imported.
    isolate()
    from actors.sandbox import run_child_job

    code, run_work = sys.argv.pop(1), run_child_job._run_work

    def work_and_more(job: Any, on_progress: Any) -> Any:
        end = run_work(job, on_progress)
        exec(code, {"json": json, "os": os, "sys": sys, "Path": Path, "out": job.out})
        return end

    run_child_job._run_work = work_and_more
    run_child_job.main()
    os._exit(0)


if __name__ == "__main__":
    main()
