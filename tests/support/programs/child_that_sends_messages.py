"""Stands in the place of a decoding child: sends the messages of its argument, whatever its job, and waits.

The argument is a list in JSON.
"""

from __future__ import annotations

import json
import sys

import msgspec

from actors.sandbox.child_protocol import frame


def main() -> None:
    for answer in json.loads(sys.argv[1]):
        sys.stdout.buffer.write(frame(msgspec.msgpack.encode(answer)))
    sys.stdout.flush()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
