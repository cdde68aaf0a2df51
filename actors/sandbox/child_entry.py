"""Where a decoding child begins: `python -m actors.sandbox.child_entry PARENT_PID`.

It is isolated before it imports what decodes: a thread that an import starts would stay outside.
"""

from __future__ import annotations

import os

from actors.sandbox.process_isolation import isolate


def main() -> None:
    isolate()
    from actors.sandbox import child_main  # noqa: PLC0415

    child_main.main()


if __name__ == "__main__":
    main()
    # All is said and written; taking native libraries down would only take time.
    os._exit(0)
