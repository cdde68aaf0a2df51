"""Stands in for a decoding child: sends the messages of its argument whatever its job is, then waits.

The argument is a list in JSON. The program forks as the real one does: `MESSAGES PARENT_PID REQUESTS_FD`.
"""

from __future__ import annotations

import json
import os
import sys

import msgspec

from actors.sandbox import fork_server_entry
from actors.sandbox.child_protocol import length_prefixed


def send_messages() -> None:
    for message in json.loads(sys.argv[1]):
        os.write(1, length_prefixed(msgspec.msgpack.encode(message)))
    while os.read(0, 1 << 16):
        pass


if __name__ == "__main__":
    fork_server_entry.main(lambda: send_messages)
