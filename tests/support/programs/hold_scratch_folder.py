"""Holds a scratch folder below ROOT until its standard input ends: `ROOT`."""

from __future__ import annotations

import sys
from pathlib import Path

from actors.worker.scratch_folder import own_folder


def main() -> None:
    with own_folder(Path(sys.argv[1]), "other") as folder:
        (folder / "source").write_text("x")
        print("held", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
