"""What a service listens on beyond the loopback interface: its replicas, which answer no call without the token."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import grpc
import pytest

from tests.support.servers.listening_sockets import UNKNOWN, ListeningSocket, listening_sockets
from tests.support.servers.running_service import Service

WAIT_SECONDS = 60.0
POLL_SECONDS = 0.05


def check_public_sockets(service: Service, replicas: Sequence[str], sockets_of_others: set[ListeningSocket]) -> None:
    """replicas: the names of their processes, sorted. sockets_of_others: those that are not the service's."""
    deadline = time.monotonic() + WAIT_SECONDS
    while len(public := _public_sockets(service, sockets_of_others)) < len(replicas):
        assert time.monotonic() < deadline, public
        time.sleep(POLL_SECONDS)

    sockets = listening_sockets(service.process.pid)
    assert {socket.port for socket in sockets if socket.process == "haproxy"} == {service.port}
    # Only root can read whose sockets they are.
    names = list(replicas) if os.geteuid() == 0 else [UNKNOWN] * len(replicas)
    assert [listening.process for listening in public] == names
    for replica in public:
        with grpc.insecure_channel(f"127.0.0.1:{replica.port}") as channel:
            call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
            with pytest.raises(grpc.RpcError) as refused:
                call(b"", timeout=30)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def _public_sockets(service: Service, sockets_of_others: set[ListeningSocket]) -> list[ListeningSocket]:
    sockets = listening_sockets(service.process.pid) - sockets_of_others
    return sorted((socket for socket in sockets if not socket.is_loopback), key=lambda socket: socket.process)
