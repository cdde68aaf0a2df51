"""What has to hold on every cluster: steps that know the service and a small driver of the cluster, and nothing else.

`tests/acceptance/cluster` runs them on Ray's own fake nodes, `python3 -m tests.scenarios.on_kubernetes NAME` on a
Kubernetes. They need no package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

Nodes = frozenset[str]


@dataclass(frozen=True, slots=True)
class Load:
    """How `submissions.py` submits: so many, in so many seconds. repeat: a request without an answer is sent again.
    slow: an extraction takes seconds.
    """

    name: str
    count: int
    seconds: int
    repeat: bool = False
    slow: bool = False

    @property
    def arguments(self) -> Sequence[str]:
        """The arguments of `submissions.py` after the URL."""
        flags = [flag for flag, is_set in (("--repeat", self.repeat), ("--slow", self.slow)) if is_set]
        return [str(self.count), str(self.seconds), *flags]


class RunningLoad(Protocol):
    """Submissions that have begun."""

    def is_running(self) -> bool:
        """Whether submissions are still to come, or to end."""

    def wait_for_running(self, count: int, seconds: float) -> None:
        """Waits until so many extractions are worked on at once. Raises AssertionError when they are not in time."""

    def finish(self) -> None:
        """Waits until all have ended. Raises AssertionError with the output when one was lost."""


class ClusterDriver(Protocol):
    """The cluster under test. A node is one of those that decode."""

    def wait_for_nodes(self, seconds: float, what: str, is_wanted: Callable[[Nodes], bool]) -> Nodes:
        """Waits until the live nodes are the wanted ones. Raises AssertionError, with `what`, when the time is over."""

    def start_load(self, load: Load) -> RunningLoad:
        """Returns when the first submission is sent."""

    def drain(self, node: str) -> None:
        """Has a node end in an orderly way. Returns at once."""

    def kill(self, node: str) -> None:
        """Ends a node without any warning."""

    def kill_api(self) -> None:
        """Ends one of the processes that answer requests, without any warning."""

    def upgrade(self) -> None:
        """Rolls out another version. Returns when it alone serves."""


def is_last_count(lines: Sequence[str], count: int) -> bool:
    """Whether the load said at last that so many extractions, or more, are worked on."""
    numbers = [int(line.removeprefix("running ")) for line in lines if line.startswith("running ")]
    return bool(numbers) and numbers[-1] >= count


def are_none(nodes: Nodes) -> bool:
    return not nodes


def burst(cluster: ClusterDriver, *, nodes: int = 1, count: int = 150) -> None:
    """From zero and to zero: a burst makes nodes come, all of it ends, and they go. nodes: so many at least."""
    cluster.wait_for_nodes(600, "no node before the burst", are_none)
    load = cluster.start_load(Load("burst", count, 1))
    cluster.wait_for_nodes(300, f"{nodes} nodes for the burst", lambda found: len(found) >= nodes)
    load.finish()
    cluster.wait_for_nodes(900, "no node after the burst", are_none)


def working_nodes(cluster: ClusterDriver, load: RunningLoad) -> Nodes:
    """Waits until every node that has come is in the middle of an extraction: there is one worker on each."""
    nodes = cluster.wait_for_nodes(300, "a node", bool)
    load.wait_for_running(len(nodes), 300)
    return nodes


def node_drains(cluster: ClusterDriver, *, count: int = 60) -> None:
    """A node is drained in the middle of its work: it goes, and nothing is lost."""
    load = cluster.start_load(Load("draining", count, 5, slow=True))
    drained = min(working_nodes(cluster, load))
    cluster.drain(drained)
    cluster.wait_for_nodes(300, f"{drained} is gone", lambda found: drained not in found)
    load.finish()


def node_dies(cluster: ClusterDriver, *, count: int = 60) -> None:
    """A node is killed in the middle of its work, and nothing is lost."""
    load = cluster.start_load(Load("dying", count, 5, slow=True))
    killed = min(working_nodes(cluster, load))
    cluster.kill(killed)
    cluster.wait_for_nodes(300, f"{killed} is gone", lambda found: killed not in found)
    load.finish()


def api_dies(cluster: ClusterDriver, *, count: int = 300, seconds: int = 60) -> None:
    """What answers is killed under load. A request that is under way there gets no answer: the client repeats it."""
    load = cluster.start_load(Load("answering", count, seconds, repeat=True))
    cluster.kill_api()
    load.finish()


def upgrade(cluster: ClusterDriver, *, count: int = 1000, seconds: int = 1200, repeat: bool = False) -> None:
    """Another version is rolled out under load, and no submission is lost: none is sent twice without `repeat`."""
    load = cluster.start_load(Load("upgrade", count, seconds, repeat=repeat))
    cluster.upgrade()
    assert load.is_running(), "the load ended before the upgrade"
    load.finish()


SCENARIOS: dict[str, Callable[[ClusterDriver], None]] = {
    "burst": burst,
    "node-drains": node_drains,
    "node-dies": node_dies,
    "api-dies": api_dies,
    "upgrade": upgrade,
}
