"""Stands in the place of a decoding child: sends the messages of its argument, whatever its job, and waits.

The argument is a list in JSON.
"""

from __future__ import annotations

import json
import sys

import msgspec

from actors.sandbox.child_protocol import length_prefixed


def main() -> None:
    for answer in json.loads(sys.argv[1]):
        sys.stdout.buffer.write(length_prefixed(msgspec.msgpack.encode(answer)))
    sys.stdout.flush()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
