"""Holds the lock of an instance of `fotograma up`: `FILE`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from cluster.local.instance_lock import instance_lock


def main() -> None:
    with instance_lock(Path(sys.argv[1]), description="process 42"):
        print(1, flush=True)
        time.sleep(600)


if __name__ == "__main__":
    main()
