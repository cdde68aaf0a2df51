"""A drain waits until the node is empty, or until its deadline. A real one is in tests/acceptance/cluster."""

from __future__ import annotations

from typing import Any, cast

import pytest

from cluster.operations.node_drain import drain_node, find_node
from cluster.operations.operation_errors import OperationError
from cluster.operations.ray_nodes import RayCluster, RayNode


def node(node_id: str, address: str, *, is_head: bool = False) -> RayNode:
    return RayNode(node_id, address, f"host-{address}", "alive", is_head, {"CPU": 4.0})


HEAD, FIRST, SECOND = node("ff00aa", "10.0.0.1", is_head=True), node("abcd01", "10.0.0.2"), node("abcd02", "10.0.0.3")


class EmptyingCluster:
    """Its node loses a replica in each round. ends_in: rounds until the node itself is gone."""

    def __init__(self, replicas: list[int], ends_in: int = 1000) -> None:
        self.replicas, self.ends_in, self.now = replicas, ends_in, 0.0
        self.drained: list[tuple[str, float]] = []

    def nodes(self) -> list[RayNode]:
        return [HEAD, FIRST, SECOND] if self.ends_in > self.now else [HEAD, SECOND]

    def drain(self, found: RayNode, deadline_seconds: float) -> None:
        self.drained.append((found.id, deadline_seconds))

    def replicas_on(self, found: RayNode) -> int:
        assert found == FIRST
        return self.replicas[min(int(self.now), len(self.replicas) - 1)]

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def drain(cluster: EmptyingCluster, name: str = "10.0.0.2", deadline: float = 10.0) -> tuple[Any, list[str]]:
    told: list[str] = []
    outcome = drain_node(
        cast("RayCluster", cluster),
        name,
        deadline_seconds=deadline,
        tell=told.append,
        clock=lambda: cluster.now,
        sleep=cluster.sleep,
    )
    return outcome, told


def test_drain_waits_until_no_replica_is_left_and_tells_each_change() -> None:
    cluster = EmptyingCluster([2, 2, 1, 1, 0])
    outcome, told = drain(cluster)
    assert (outcome.left, outcome.is_gone, outcome.seconds) == (0, False, 4.0)
    assert cluster.drained == [("abcd01", 10.0)]
    assert [line.split()[0] for line in told] == ["2", "1"]
    assert told[1].endswith("8 s until the deadline.")


def test_drain_ends_at_the_deadline_with_what_is_left() -> None:
    outcome, _ = drain(EmptyingCluster([3]), deadline=5)
    assert (outcome.left, outcome.seconds) == (3, 5.0)


def test_node_that_ends_meanwhile_is_drained() -> None:
    outcome, _ = drain(EmptyingCluster([3], ends_in=2))
    assert (outcome.left, outcome.is_gone) == (0, True)


@pytest.mark.parametrize("name", ["abcd01", "abcd01".upper(), "10.0.0.2", "host-10.0.0.2"])
def test_node_is_found_by_its_id_address_or_host(name: str) -> None:
    assert find_node([HEAD, FIRST, SECOND], name) == FIRST


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("10.0.0.9", "No node is called"),
        ("abcd", "2 nodes are called abcd"),
        ("ab", "No node is"),
        ("ff00", "the head"),
    ],
)
def test_unknown_ambiguous_and_head_nodes_are_refused_and_nothing_is_drained(name: str, words: str) -> None:
    cluster = EmptyingCluster([1])
    with pytest.raises(OperationError, match=words):
        drain(cluster, name)
    assert cluster.drained == []
