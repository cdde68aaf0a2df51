"""How many workers get room on other nodes, because those that they wait for do not come. Pure.

Ray's autoscaler asks for one group of nodes, and for the next one only when it has given up a pod of the first. It must
not give up early: a pod that waits for a machine and one that loads its image look the same to it. So the other nodes
are asked for beside the first ones, and none is given up. Whichever come first get the workers; the others become idle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Resources = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class NodeRoom:
    """What a live node has, and what of it is free."""

    total: Resources
    free: Resources
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Placing:
    """The workers of a pool at a time. waiting: those without a node. placed: those on nodes of the fall-back."""

    at: float
    waiting: int
    placed: int


@dataclass(frozen=True, slots=True)
class FallBack:
    """resources: what one worker requests. labels: of the nodes of the fall-back. after_seconds: for how long a worker
    waits for other nodes. max_workers: that they have room for; Ray ignores a request that can't be met in full.
    """

    resources: Resources
    labels: Mapping[str, str]
    after_seconds: float
    max_workers: int

    def placed(self, nodes: list[NodeRoom]) -> int:
        """How many workers run on nodes of the fall-back."""
        own = [node for node in nodes if all(node.labels.get(key) == value for key, value in self.labels.items())]
        return sum(self._fitting(node.total) - self._fitting(node.free) for node in own)

    def is_worker(self, request: Resources) -> bool:
        """Whether a waiting request is that of a worker of this pool."""
        return all(request.get(name, 0) == amount for name, amount in self.resources.items())

    def _fitting(self, room: Resources) -> int:
        return min((int(room.get(name, 0) / amount) for name, amount in self.resources.items() if amount), default=0)


def remembered(history: tuple[Placing, ...], latest: Placing, after_seconds: float) -> tuple[Placing, ...]:
    """The history that the next decision needs: the latest that is old enough, and all later ones."""
    known = (*history, latest)
    old = [place for place, one in enumerate(known) if latest.at - one.at >= after_seconds]
    return known[old[-1] :] if old else known


def requested_room(history: tuple[Placing, ...], fall_back: FallBack) -> int:
    """Returns for how many workers nodes of the fall-back are requested: as many as run there, and those that have
    waited for too long. 0 requests nothing: nodes with workers stay without a request.
    """
    if len(history) < 2 or history[-1].at - history[0].at < fall_back.after_seconds:
        return 0
    # At least so many have waited all the time, whichever they are.
    in_vain = min(one.waiting for one in history)
    if in_vain == 0:
        return 0
    # Ray tells of the workers on a node and of those that wait at different times. In between, one that has just found
    # its place counts twice.
    placed = min(history[-1].placed, history[-2].placed)
    return min(placed + in_vain, fall_back.max_workers)
