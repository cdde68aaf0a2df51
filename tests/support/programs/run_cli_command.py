"""Runs a command of `fotograma`, and prints which large packages it has imported: the command's arguments."""

from __future__ import annotations

import sys
from contextlib import suppress

from cluster.cli.app import main as run_command

LARGE = {"ray", "av", "decord", "sqlalchemy", "starlette", "psycopg"}


def main() -> None:
    with suppress(SystemExit):
        run_command(sys.argv[1:])
    print(sorted(LARGE & set(sys.modules)))


if __name__ == "__main__":
    main()
