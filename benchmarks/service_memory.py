"""Memory of the running service: `python -m benchmarks.service_memory [--json FILE] [--uploads N]`.

It gives two figures. The first is the growth of an API replica over many uploads of 10 MB: the highest resident set
minus the resident set while idle. The second is the memory of a worker and its decoding children for a 4K clip: the sum
of their proportional set sizes, so that a shared page counts once. It includes the fork server and the child that is
forked ahead.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.extract.clips import ensure_clip, find_clip
from benchmarks.process_measurement import Row, machine_description, process_tree, read_kibibytes, write_rows
from tests.support.servers.running_service import Service
from tests.support.videos.clips import CLIPS, make_clip

UPLOAD_BYTES = 10_000_000
SAMPLE_SECONDS = 0.05
WAIT_SECONDS = 900.0


@dataclass(slots=True)
class Peak:
    """The highest value of a figure, in KiB."""

    kibibytes: int = 0


@contextmanager
def sampled_peak(figure: Callable[[], int]) -> Iterator[Peak]:
    """Samples a figure, in KiB, in a thread of its own while the block runs."""
    peak, end = Peak(), threading.Event()

    def sample() -> None:
        while not end.wait(SAMPLE_SECONDS):
            peak.kibibytes = max(peak.kibibytes, figure())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        end.set()
        thread.join()


def api_growth(service: Service, folder: Path, uploads: int) -> Iterator[Row]:
    """An API replica over `uploads` uploads of 10 MB, one after the other."""
    path = padded_clip(folder / "ten_megabytes.mp4")
    (pid,) = service.replica_pids("api")

    def resident() -> int:
        return read_kibibytes(pid, "status", "VmRSS:")

    with service.client() as client, sampled_peak(resident) as peak:
        before = resident()
        for _ in range(uploads):
            client.upload(path, spec={"sample": {"mode": "timestamps", "at": [0]}})
        after = resident()
    yield Row("api/before", "MiB", round(before / 1024, 1))
    yield Row("api/growth_peak", "MiB", round((peak.kibibytes - before) / 1024, 1), note=f"{uploads} uploads of 10 MB")
    yield Row("api/growth_after", "MiB", round((after - before) / 1024, 1))


def worker_peak(service: Service, folder: Path) -> Iterator[Row]:
    """A worker with its children while it extracts every third frame of a 4K clip."""
    path = ensure_clip(folder, find_clip("4k_gop60", quick=True))
    (pid,) = service.replica_pids("pool")

    def worker_pss() -> int:
        return sum(read_kibibytes(process, "smaps_rollup", "Pss:") for process in process_tree(pid))

    with service.client() as client, sampled_peak(worker_pss) as peak:
        video = client.upload(path, spec={"sample": {"mode": "every_nth", "n": 3}})
        extraction = client.wait(video.extraction, timeout_seconds=WAIT_SECONDS)
    frames = extraction.result.frames if extraction.result else 0
    yield Row("worker/4k_peak", "MiB", round(peak.kibibytes / 1024, 1), note=f"{frames} frames of 3840 × 2160")


def padded_clip(path: Path) -> Path:
    """A valid clip of 10 MB: an MP4 may end with a box of padding (ISO/IEC 14496-12, 8.1.2)."""
    make_clip(path, CLIPS["h264"])
    padding = UPLOAD_BYTES - path.stat().st_size
    with path.open("ab") as file:
        file.write(padding.to_bytes(4, "big") + b"free" + bytes(padding - 8))
    return path


@contextmanager
def started_service(*, workers: int) -> Iterator[tuple[Service, Path]]:
    """The running service and a folder for files. Both are removed at the end."""
    with tempfile.TemporaryDirectory(prefix="fotograma-benchmark-") as name:
        folder = Path(name)
        service = Service(folder / "data", workers=workers)
        service.start()
        try:
            yield service, folder
        finally:
            service.terminate()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--uploads", type=int, default=200)
    options = parser.parse_args()
    print(machine_description())
    with started_service(workers=1) as (service, folder):
        rows = [*worker_peak(service, folder), *api_growth(service, folder, options.uploads)]
    for row in rows:
        print(f"{row.name:20} {row.value:8} {row.unit}  {row.note}")
    if options.json:
        write_rows(options.json, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
