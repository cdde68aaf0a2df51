"""Holds the lock of a credentials file until its standard input ends: `FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

from cluster.client.credentials.credentials_file import CredentialsFile


def main() -> None:
    with CredentialsFile(Path(sys.argv[1])).locked():
        print("held", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
