"""Extracts every frame of a video, and prints the most memory that it took: `SOURCE OUT`."""

from __future__ import annotations

import sys
from pathlib import Path

from actors.engine.extract import extract
from actors.extraction_types import EngineOptions
from db.values.frame_spec import parse
from tests.support.peak_memory import peak_kibibytes


def main() -> None:
    source, out = map(Path, sys.argv[1:])
    extract(source, parse('{"sample": {"mode": "all"}}'), out, options=EngineOptions(threads=2))
    print(peak_kibibytes())


if __name__ == "__main__":
    main()
