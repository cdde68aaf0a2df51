"""The workers of a node give their figures to Ray by one of them, and none is missing when it ends."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from actors.worker.node_metrics import NodeMetrics, node_metrics, node_metrics_or_own
from actors.worker.task_runner import TaskOutcome
from actors.worker.worker_metrics import WorkerMetrics
from tests.support.wait_conditions import wait_until


class Recorded:
    """What one process gives to Ray."""

    def __init__(self) -> None:
        self.counts: Counter[object] = Counter()

    def claimed(self, waited_seconds: float) -> None:
        self.counts["claimed", waited_seconds] += 1

    def busy(self, is_busy: bool) -> None:
        self.counts["busy", is_busy] += 1

    def ended(self, kind: str, outcome: str, seconds: float) -> None:
        self.counts["ended", kind, outcome, seconds] += 1

    def decoded(self, kind: str, seconds: float, frames: int) -> None:
        self.counts["decoded", kind, seconds, frames] += 1

    def child_crashed(self) -> None:
        self.counts["crashed"] += 1


TASK: dict[object, int] = {
    ("claimed", 2.5): 1,
    ("ended", "extract", "published", 3.0): 1,
    ("decoded", "extract", 2.0, 25): 1,
    "crashed": 1,
}


def count_task(metrics: WorkerMetrics) -> None:
    metrics.claimed(2.5)
    metrics.ended("extract", TaskOutcome.PUBLISHED, 3.0)
    metrics.decoded("extract", 2.0, 25)
    metrics.child_crashed()


def times(count: int) -> Counter[object]:
    return Counter(dict.fromkeys(TASK, count))


async def received(recorded: Recorded, expected: Counter[object]) -> None:
    async def is_so() -> bool:
        return recorded.counts == expected

    await wait_until(is_so)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Longer than the address of a socket may be."""
    return tmp_path / ("long" * 30) / "metrics"


async def test_first_worker_of_a_node_tells_what_all_count(folder: Path) -> None:
    recorded = [Recorded() for _ in range(3)]
    with ExitStack() as stack:
        workers = [stack.enter_context(node_metrics(own, folder)) for own in recorded]
        for worker in workers:
            count_task(worker)
        await received(recorded[0], times(3))
        workers[1].busy(True)
    assert [own.counts for own in recorded[1:]] == [Counter({("busy", True): 1}), Counter()]


async def test_next_worker_takes_the_place_of_one_that_ends_and_nothing_is_missing(folder: Path) -> None:
    first, second = Recorded(), Recorded()
    with node_metrics(second, folder) as successor:
        with node_metrics(first, folder) as receiver:
            count_task(receiver)
            count_task(successor)
            # It has not looked at what has arrived.
            assert first.counts == times(1)
        assert first.counts == times(2)
        count_task(successor)
        assert (successor.receives, second.counts) == (True, times(1))
    assert list(folder.iterdir()) == [folder / "receiver"]


async def test_place_of_a_killed_worker_is_taken(folder: Path) -> None:
    folder.mkdir(parents=True)
    program = (
        "import asyncio, os, pathlib\n"
        "from actors.worker.node_metrics import node_metrics\n"
        "from actors.worker.worker_metrics import NO_WORKER_METRICS\n"
        "async def main():\n"
        f"    with node_metrics(NO_WORKER_METRICS, pathlib.Path({str(folder)!r})) as metrics:\n"
        "        metrics.child_crashed()\n"
        "        assert metrics.receives\n"
        "        os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    assert await killed.wait() == -9
    assert (folder / "socket").exists()
    own = Recorded()
    with node_metrics(own, folder) as metrics:
        count_task(metrics)
        assert metrics.receives
    assert own.counts == times(1)


async def test_worker_that_is_not_heard_tells_its_figures_itself(folder: Path) -> None:
    busy, own = Recorded(), Recorded()
    with node_metrics(busy, folder) as receiver, node_metrics(own, folder) as metrics:
        count_task(receiver)
        # Its loop does not run: what it has room for waits, and the rest is not lost.
        for _ in range(1000):
            count_task(metrics)
        assert not metrics.receives
        assert sum(own.counts.values()) > 0
        await received_in_all(busy, own, 1001)


async def received_in_all(busy: Recorded, own: Recorded, tasks: int) -> None:
    async def is_so() -> bool:
        return busy.counts + own.counts == times(tasks)

    await wait_until(is_so)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"[" * 5000,
        b'{"type":"Claimed"}',
        b'{"type":"Ended","kind":"other","outcome":"published","seconds":1}',
        b'{"type":"Ended","kind":"extract","outcome":"other","seconds":1}',
        b'{"type":"Decoded","kind":"extract","seconds":-1,"frames":1}',
    ],
)
async def test_what_no_worker_says_makes_no_series(folder: Path, message: bytes) -> None:
    own = Recorded()
    with node_metrics(own, folder) as metrics:
        metrics.child_crashed()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(message, str(Path("/proc/self/fd") / str(directory_of(metrics)) / "socket"))
        await asyncio.sleep(0)
        metrics.child_crashed()
    assert own.counts == Counter({"crashed": 2})


def directory_of(metrics: NodeMetrics) -> int:
    return int(metrics._address.split("/")[4])


def test_worker_that_can_not_use_the_folder_gives_its_figures_itself(tmp_path: Path) -> None:
    (tmp_path / "metrics").touch()
    own = Recorded()
    with node_metrics_or_own(own, tmp_path / "metrics") as metrics:
        count_task(metrics)
    assert own.counts == times(1)
