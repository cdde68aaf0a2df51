"""Speed and memory of uploads and downloads: `python -m benchmarks.upload [--quick] [--rounds N] [--json FILE]`.

It has two parts. `transfers` sends whole files by tus with the SDK and downloads an archive: through `fotograma up`,
through the API behind Serve's proxy, and through plain uvicorn, which writes to the same disk with the same fsync.
`body` sends one body to an application that only reads it, through everything that could be the proxy.

Memory is the growth of the proxies and of the replica above that before the transfer.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks.process_measurement import Row, machine_description, write_rows
from benchmarks.upload import one_large_body, transfers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["transfers", "body"], help="measure one of the two parts")
    parser.add_argument("--quick", action="store_true", help="small files, one round: about a minute")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--folder", type=Path, help="on the disk to measure, with 30 GB of free space")
    options = parser.parse_args()
    # A benchmark that is told to end, by `timeout` for example, ends its service as well.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    print(machine_description())
    rounds, rows = 1 if options.quick else options.rounds, list[Row]()
    if options.only != "body":
        with tempfile.TemporaryDirectory(prefix="fotograma-benchmark-", dir=options.folder) as name:
            rows += transfers.measured(Path(name), transfers.QUICK if options.quick else transfers.FULL, rounds)
        print("\n".join(transfers.table(rows)))
    if options.only != "transfers":
        bodies = list(one_large_body.measure_all(100_000_000 if options.quick else 1_000_000_000, rounds))
        print("\n".join(one_large_body.table(bodies)))
        rows += bodies
    if options.json:
        write_rows(options.json, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
