"""Reads every frame of a video and consumes them slowly, and prints the most memory that it took: `SOURCE THREADS`."""

from __future__ import annotations

import sys
from pathlib import Path

from actors.container.probe import probe
from actors.plan.frame_selection import group_by_gop
from actors.readers.planned_reader import PlannedReader
from tests.support.peak_memory import peak_kibibytes


def main() -> None:
    probed, threads = probe(Path(sys.argv[1])), int(sys.argv[2])
    size = probed.media.width * probed.media.height
    reader = PlannedReader(probed, threads=threads)
    results = reader.read(group_by_gop(probed.table, range(len(probed.table))), lambda frame: bytearray(size // 4))
    for number, _ in enumerate(results):
        if number % 8 == 0:
            sum(range(1_000_000))
    print(peak_kibibytes())


if __name__ == "__main__":
    main()
