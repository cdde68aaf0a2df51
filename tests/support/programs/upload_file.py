"""Uploads a file, and prints by how many KiB the memory of this process grew: `URL FILE`."""

from __future__ import annotations

import resource
import sys

from fotograma import Client


def main() -> None:
    client = Client(sys.argv[1], "fg_key")
    client.me()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    client.upload(sys.argv[2])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


if __name__ == "__main__":
    main()
