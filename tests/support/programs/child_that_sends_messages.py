"""Stands in for a decoding child: sends the messages of its argument whatever its job is, then waits.

The argument is a list in JSON.
"""

from __future__ import annotations

import json
import sys

import msgspec

from actors.sandbox.child_protocol import length_prefixed


def main() -> None:
    for message in json.loads(sys.argv[1]):
        sys.stdout.buffer.write(length_prefixed(msgspec.msgpack.encode(message)))
    sys.stdout.flush()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
