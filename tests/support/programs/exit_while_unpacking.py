"""Unpacks an archive over a folder, and exits as soon as the folder was moved aside: `ARCHIVE FOLDER`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cluster.unpack_archive import unpack

rename = Path.rename


def rename_and_exit(path: Path, target: Path) -> Path:
    rename(path, target)
    os._exit(9)


def main() -> None:
    Path.rename = rename_and_exit  # type: ignore[method-assign, assignment]  # a method of the standard library
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
