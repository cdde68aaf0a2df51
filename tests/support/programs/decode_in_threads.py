"""Threads of a fresh process that decode a value of the same new type at the same time, again and again."""

from __future__ import annotations

import sys
import threading
from dataclasses import make_dataclass
from typing import Any

from cluster.client.json_decoding import decode

THREADS, TYPES, FIELDS = 4, 300, 40


def new_type() -> Any:
    inner = make_dataclass("Inner", [(f"field_{number}", int) for number in range(FIELDS)])
    return make_dataclass("Outer", [("inner", inner), ("others", list[inner])])  # type: ignore[valid-type]  # made above


def main() -> None:
    # Threads take turns as often as they can.
    sys.setswitchinterval(1e-6)
    fields = ", ".join(f'"field_{number}": {number}' for number in range(FIELDS))
    content = f'{{"inner": {{{fields}}}, "others": [{{{fields}}}]}}'.encode()
    for _ in range(TYPES):
        kind, start = new_type(), threading.Barrier(THREADS)
        threads = [threading.Thread(target=lambda: (start.wait(), decode(kind, content))) for _ in range(THREADS)]  # noqa: B023  # they end with the round
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
