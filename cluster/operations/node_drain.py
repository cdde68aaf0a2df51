"""Drains a node of the Ray cluster: its workers finish or release their tasks, and others take their place."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.operations.operation_errors import OperationError

if TYPE_CHECKING:
    from cluster.operations.ray_nodes import RayCluster, RayNode

POLL_SECONDS = 1.0
MIN_ID_CHARACTERS = 4


@dataclass(frozen=True, slots=True)
class DrainOutcome:
    """left: replicas that were still on the node at the deadline. is_gone: whether the node itself has ended."""

    node: RayNode
    left: int
    is_gone: bool
    seconds: float


def find_node(nodes: Sequence[RayNode], name: str) -> RayNode:
    """Returns the node of this id, beginning of an id, address or host name. Raises OperationError."""
    found = [node for node in nodes if name in {node.id, node.address, node.host}]
    if not found and len(name) >= MIN_ID_CHARACTERS:
        found = [node for node in nodes if node.id.startswith(name.lower())]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{node.id[:12]} ({node.address})" for node in nodes)
    trouble = f"{len(found)} nodes are" if found else "No node is"
    raise OperationError(f"{trouble} called {name}. Give more of the id; there are: {known}.")


def drain_node(
    cluster: RayCluster,
    name: str,
    *,
    deadline_seconds: float,
    tell: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> DrainOutcome:
    """Returns when no replica is left on the node, or at the deadline. Raises OperationError.

    The head is refused: without it there is no cluster.
    """
    node = find_node(cluster.nodes(), name)
    if node.is_head:
        raise OperationError(
            f"{name} is the head of the cluster, which can't be drained. End the whole cluster instead."
        )
    started = clock()
    cluster.drain(node, deadline_seconds)
    told: int | None = None
    while True:
        is_gone = all(other.id != node.id for other in cluster.nodes())
        left = 0 if is_gone else cluster.replicas_on(node)
        seconds = clock() - started
        if not left or seconds >= deadline_seconds:
            return DrainOutcome(node, left, is_gone, seconds)
        if left != told:
            tell(f"{left} replicas are left on {node.address}; {deadline_seconds - seconds:.0f} s until the deadline.")
            told = left
        sleep(POLL_SECONDS)
