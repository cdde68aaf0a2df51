"""The figures of all workers of a node, given to Ray by one of them.

Ray keeps each series once for each process, and its agent writes all of them at each scrape: with 100 workers on a node
that takes longer than Prometheus should wait. So the first worker of a node receives what the others count, by a socket
in a folder that they share. When it ends, the next that counts something takes its place. A worker that reaches nobody
gives its figures to Ray itself: then the series are more, and nothing is missing. Each worker says itself whether it is
busy, as Ray forgets that of a process that has ended.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import structlog

from actors.worker.task_runner import TaskOutcome
from actors.worker.worker_metrics import WorkerMetrics

TaskKind = Literal["extract", "segment", "assemble"]
MAX_MESSAGE_BYTES = 4096
log = structlog.get_logger()
_LOCK, _SOCKET = "receiver", "socket"


class Claimed(msgspec.Struct, frozen=True, tag=True):
    waited_seconds: float

    def record(self, metrics: WorkerMetrics) -> None:
        metrics.claimed(self.waited_seconds)


class Ended(msgspec.Struct, frozen=True, tag=True):
    kind: TaskKind
    outcome: TaskOutcome
    seconds: float

    def record(self, metrics: WorkerMetrics) -> None:
        metrics.ended(self.kind, self.outcome, self.seconds)


class Decoded(msgspec.Struct, frozen=True, tag=True):
    kind: TaskKind
    # Ray raises an error for a counter that does not grow.
    seconds: Annotated[float, msgspec.Meta(gt=0)]
    frames: Annotated[int, msgspec.Meta(ge=0)]

    def record(self, metrics: WorkerMetrics) -> None:
        metrics.decoded(self.kind, self.seconds, self.frames)


class Crashed(msgspec.Struct, frozen=True, tag=True):
    def record(self, metrics: WorkerMetrics) -> None:
        metrics.child_crashed()


Counted = Claimed | Ended | Decoded | Crashed
_encode = msgspec.json.Encoder().encode
# Labels that nobody knows are refused: whoever reaches the socket can't make new series.
_decode = msgspec.json.Decoder(Counted).decode


class NodeMetrics:
    """Gives what this worker counts to the receiver of its node, or to `own`. folder: of an open directory, that all
    workers of the node share.
    """

    def __init__(self, own: WorkerMetrics, folder: int) -> None:
        self._own = own
        # A path of any length, although the address of a socket is short.
        self._address = f"/proc/self/fd/{folder}/{_SOCKET}"
        self._lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=folder)
        self._sender = _datagram_socket()
        self._receiver: socket.socket | None = None

    @property
    def receives(self) -> bool:
        """Whether this worker gives the figures of its node to Ray."""
        return self._receiver is not None

    def claimed(self, waited_seconds: float) -> None:
        self._tell(Claimed(waited_seconds))

    def busy(self, is_busy: bool) -> None:
        self._own.busy(is_busy)

    def ended(self, kind: str, outcome: str, seconds: float) -> None:
        self._tell(Ended(_kind(kind), TaskOutcome(outcome), seconds))

    def decoded(self, kind: str, seconds: float, frames: int) -> None:
        self._tell(Decoded(_kind(kind), seconds, frames))

    def child_crashed(self) -> None:
        self._tell(Crashed())

    def close(self) -> None:
        """Records what has arrived, and lets another worker receive."""
        if self._receiver is not None:
            asyncio.get_running_loop().remove_reader(self._receiver)
            # From here on the others reach nobody.
            Path(self._address).unlink(missing_ok=True)
            self._receive()
            self._receiver.close()
            self._receiver = None
        self._sender.close()
        os.close(self._lock)

    def _tell(self, counted: Counted) -> None:
        if self._receiver is None:
            try:
                self._sender.sendto(_encode(counted), self._address)
            except OSError:
                # Nobody receives, or receives too slowly.
                self._try_to_receive()
            else:
                return
        counted.record(self._own)

    def _try_to_receive(self) -> None:
        """Takes the place of the receiver, unless there is one."""
        receiver = _datagram_socket()
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            Path(self._address).unlink(missing_ok=True)
            receiver.bind(self._address)
            asyncio.get_running_loop().add_reader(receiver, self._receive)
        except OSError:
            receiver.close()
            fcntl.flock(self._lock, fcntl.LOCK_UN)
        else:
            self._receiver = receiver

    def _receive(self) -> None:
        assert self._receiver is not None
        while True:
            try:
                message = self._receiver.recv(MAX_MESSAGE_BYTES)
            except BlockingIOError:
                return
            try:
                counted: Counted = _decode(message)
            except msgspec.DecodeError:
                continue
            counted.record(self._own)


@contextmanager
def node_metrics(own: WorkerMetrics, folder: Path) -> Iterator[NodeMetrics]:
    """own: gives the figures to Ray. folder: shared by the workers of the node, and nobody else.

    Raises OSError when this worker can't use the folder.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        metrics = NodeMetrics(own, directory)
        try:
            yield metrics
        finally:
            metrics.close()
    finally:
        os.close(directory)


@contextmanager
def node_metrics_or_own(own: WorkerMetrics, folder: Path) -> Iterator[WorkerMetrics]:
    """As `node_metrics`; a worker that can't use the folder works all the same, and gives its figures to Ray itself."""
    with ExitStack() as stack:
        metrics = own
        try:
            metrics = stack.enter_context(node_metrics(own, folder))
        except OSError as error:
            log.warning("The worker shares no metrics with others.", event_name="disk.failed", error=str(error))
        yield metrics


def _kind(kind: str) -> TaskKind:
    known: TaskKind = msgspec.convert(kind, TaskKind)
    return known


def _datagram_socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made
