"""Ray's fake nodes as a cluster of the scenarios."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.scenarios import submissions
from tests.scenarios.scenarios import Load, Nodes, is_last_count
from tests.support.clusters.fake_multinode import FakeCluster

BEGIN_SECONDS, LOAD_SECONDS, DRAIN_SECONDS = 60, 600, 20


@dataclass
class LoadProcess:
    """Submissions from a process of this machine."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_until_begun(self) -> None:
        self._wait_for(BEGIN_SECONDS, lambda: "begin" in self.lines)

    def wait_for_running(self, count: int, seconds: float) -> None:
        self._wait_for(seconds, lambda: is_last_count(self.lines, count))

    def _wait_for(self, seconds: float, is_so: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(is_so, timeout=seconds), "\n".join(self.lines)

    def is_running(self) -> bool:
        return self.process.poll() is None

    def finish(self) -> None:
        code = self.process.wait(LOAD_SECONDS)
        self._reader.join(LOAD_SECONDS)
        print(self.lines[-1])
        assert code == 0, "\n".join(self.lines)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip())
                self._changed.notify_all()


@dataclass(frozen=True)
class FakeNodesDriver:
    """applications: what is deployed on the cluster."""

    cluster: FakeCluster
    applications: list[dict[str, Any]]

    def wait_for_nodes(self, seconds: float, what: str, is_wanted: Callable[[Nodes], bool]) -> Nodes:
        return self.cluster.wait_for_state(seconds, what, lambda state: is_wanted(state.decode_nodes)).decode_nodes

    def start_load(self, load: Load) -> LoadProcess:
        command = [sys.executable, str(Path(submissions.__file__)), self.cluster.url, *load.arguments]
        running = LoadProcess(self.cluster.start(command, output=subprocess.PIPE))
        running.wait_until_begun()
        return running

    def drain(self, node: str) -> None:
        self.cluster.drain(node, DRAIN_SECONDS)

    def kill(self, node: str) -> None:
        self.cluster.kill_node(node)

    def kill_api(self) -> None:
        self.cluster.kill_api()

    def upgrade(self) -> None:
        self.cluster.deploy_anew(self.applications)
