"""The entry point of a decoding child: `python -m actors.sandbox.child_entry PARENT_PID`.

The child is isolated before it imports its decoders: a thread that an import starts would not be isolated.
"""

from __future__ import annotations

import os

from actors.sandbox.process_hardening import isolate


def main() -> None:
    isolate()
    from actors.sandbox import run_child_job  # noqa: PLC0415

    run_child_job.main()


if __name__ == "__main__":
    main()
    # All messages and files are written. To shut native libraries down would only take time.
    os._exit(0)
