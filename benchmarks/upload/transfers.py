"""Uploads and downloads of whole files through the product's door, beside plain uvicorn on the same disk."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.process_measurement import Row
from benchmarks.service_memory import sampled_peak
from benchmarks.upload.compared_servers import PIECES, UVICORN, Door, memory_kibibytes, opened_doors, write_file
from cluster.client.uploads.submit_files import MAX_UPLOADS

MEGABYTE, KIBIBYTE = 1_000_000, 1024


@dataclass(frozen=True, slots=True)
class Sizes:
    """In bytes. many: how many files of `small` are sent, MAX_UPLOADS at a time."""

    large: int
    many: int
    small: int
    archive: int


FULL = Sizes(4_000_000_000, 16, 512_000_000, 2_000_000_000)
QUICK = Sizes(500_000_000, 8, 64_000_000, 500_000_000)


@dataclass(frozen=True, slots=True)
class Transfer:
    """growth_megabytes: of the memory of proxies and replica, at its peak."""

    megabytes_per_second: float
    growth_megabytes: float


def measure(door: Door, size: int, transfer: Callable[[], None]) -> Transfer:
    # What was written before belongs to nobody's time.
    os.sync()
    before = memory_kibibytes(door)
    with sampled_peak(lambda: memory_kibibytes(door)) as peak:
        begun = time.perf_counter()
        transfer()
        seconds = time.perf_counter() - begun
    growth = max(0, peak.kibibytes - before) * KIBIBYTE
    return Transfer(size / seconds / MEGABYTE, growth / MEGABYTE)


def scenarios(folder: Path, sizes: Sizes) -> Mapping[str, Callable[[Door], Transfer]]:
    """What is measured with each door, by its name."""
    large, small = folder / "large.mp4", folder / "small.mp4"
    write_file(large, sizes.large)
    write_file(small, sizes.small)

    def upload(door: Door, paths: Sequence[Path]) -> Transfer:
        def send() -> None:
            with ThreadPoolExecutor(MAX_UPLOADS) as pool:
                list(pool.map(door.upload, paths))

        transfer = measure(door, sum(path.stat().st_size for path in paths), send)
        door.clear()
        return transfer

    def download(door: Door) -> Transfer:
        def receive() -> None:
            assert door.download() == sizes.archive

        return measure(door, sizes.archive, receive)

    return {
        f"upload, 1 × {sizes.large // MEGABYTE:,} MB": lambda door: upload(door, [large]),
        f"upload, {sizes.many} × {sizes.small // MEGABYTE:,} MB": lambda door: upload(door, [small] * sizes.many),
        f"download, {sizes.archive // MEGABYTE:,} MB": download,
    }


def measured(folder: Path, sizes: Sizes, rounds: int) -> Iterator[Row]:
    """All scenarios with all doors, which take turns."""
    with opened_doors(folder, sizes.archive) as doors:
        for scenario, run in scenarios(folder, sizes).items():
            # The plain servers are one program, which sends in one way only.
            names = [name for name in doors if name != PIECES or "download" not in scenario]
            transfers: dict[str, list[Transfer]] = {name: [] for name in names}
            for _ in range(rounds):
                for name in names:
                    transfers[name].append(run(doors[name]))
            for name, found in transfers.items():
                speeds = tuple(round(one.megabytes_per_second) for one in found)
                growths = tuple(round(one.growth_megabytes) for one in found)
                yield Row(f"{scenario}/{name}", "MB/s", median(speeds), speeds)
                yield Row(f"{scenario}/{name}/memory", "MB", max(growths), growths)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The rows as Markdown, with the ratio to uvicorn."""
    values = {row.name: row.value or 0.0 for row in rows}
    yield "| | server | MB/s | of uvicorn | growth of memory |"
    yield "| --- | --- | ---: | ---: | ---: |"
    for name, value in values.items():
        scenario, door, *memory = name.split("/")
        if not memory:
            ratio = value / values[f"{scenario}/{UVICORN}"]
            yield f"| {scenario} | {door} | {value:,.0f} | {ratio:.0%} | {values[f'{name}/memory']:,.0f} MB |"
