"""Ray and all that runs on it, as a part of the service.

It stands behind a process of its own, `python -m cluster.local.up`.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster.local import cores_and_ports
from cluster.local.data_dir import Home, ray_folder
from cluster.local.run_cleanup import Recorder, empty_scratch, keep_ray_logs
from cluster.local.servers.server_process import Daemon
from cluster.local.supervision.readiness_probe import ReadinessProbe
from cluster.local.supervision.standby_server import StandbyServer

START_SECONDS = 180.0
# Looking costs time that Ray's start needs, all the more on two cores.
START_PAUSE_SECONDS = 0.3
DASHBOARD_PORT, DASHBOARD_PORTS = 8265, 60
# Longer than the workers' drain and Serve's own patience.
STOP = [(signal.SIGTERM, 45.0), (signal.SIGKILL, 5.0)]
GO = b"\n"
"""What its process reads when the database is there."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Addresses:
    """URLs that Ray has chosen, without a path."""

    dashboard: str = ""
    metrics: str = ""

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, file: Path) -> Addresses:
        return cls(**json.loads(file.read_text()))


@dataclass(frozen=True, slots=True)
class Head:
    """What the process that holds Ray is told. Nothing secret: those are in the environment.

    port: of the proxy. folder: the run's temporary one, with a short path. logs: Serve's.
    """

    port: int
    workers: int
    folder: Path
    logs: Path

    @property
    def dashboard_port(self) -> int | None:
        """None lets Ray take the next free one from 8265 on, which no other start can take before it."""
        near = DASHBOARD_PORT <= self.port < DASHBOARD_PORT + DASHBOARD_PORTS
        return cores_and_ports.first_free(DASHBOARD_PORT + DASHBOARD_PORTS, but=self.port) if near else None

    @property
    def addresses_file(self) -> Path:
        """Where the process writes Ray's addresses."""
        return self.folder / "addresses"

    def command(self) -> list[str]:
        """How it is started."""
        values = [self.port, self.workers, str(self.folder), str(self.logs)]
        return [sys.executable, "-P", "-m", "cluster.local.up", json.dumps(values)]

    @classmethod
    def parse(cls, text: str) -> Head:
        """Of the command's last word."""
        port, workers, folder, logs = json.loads(text)
        return cls(port, workers, Path(folder), Path(logs))


class RayCluster:
    """standby: answers on the port until Serve does. database_ready: set when the replicas can use the database; Ray
    itself starts before.

    The environment of this process is that of Ray and all below it; it is complete when this is made.
    """

    name = "Ray"
    after: Sequence[str] = ()

    def __init__(
        self, home: Home, head: Head, recorder: Recorder, standby: StandbyServer, database_ready: threading.Event
    ) -> None:
        self._home, self._head, self._recorder = home, head, recorder
        self._standby, self._database_ready = standby, database_ready
        self._probe = ReadinessProbe(head.port)
        self._process = Daemon(self.name, home.logs / "head.log", environment=os.environ)
        self.addresses = Addresses()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def ending(self) -> str:
        return f"{self._process.ending} with API, workers and keeper (its logs are kept in {self._kept_logs})"

    def is_running(self) -> bool:
        return self._process.is_running()

    def start(self) -> None:
        """Gives back when the API answers. Raises DidNotStart; Refusal when the port belongs to somebody else."""
        if self._process.pid is not None:
            self._clear()
        self._standby.open()
        self._process.start(self._head.command(), folder=self._head.folder, keep_stdin=True)
        self._recorder.refresh()
        self._process.wait_until(self._database_ready.is_set)
        self._process.tell(GO)
        self._process.wait_until(self._is_answered, START_SECONDS, pause=START_PAUSE_SECONDS)
        self.addresses = Addresses.read(self._head.addresses_file)
        self._recorder.refresh()

    def stop(self) -> None:
        """The workers give their tasks back; then what is left of the cluster is ended."""
        self._process.stop(STOP)
        if self._process.pid is not None:
            self._recorder.end_family(self._process.pid)

    def _is_answered(self) -> bool:
        if not self._standby.has_successor():
            return False
        self._standby.close()
        return self._probe.parts() is not None

    def _clear(self) -> None:
        """Takes away what the last cluster left: its workers died with it, and the queue knows what they held."""
        self._process.stop(STOP)
        try:
            keep_ray_logs(self._head.folder, self._kept_logs)
        except OSError as error:
            # A full disk must not keep the service from starting again.
            log.warning("The logs of Ray could not be kept: %s", error)
        shutil.rmtree(ray_folder(self._head.folder), ignore_errors=True)
        empty_scratch(self._home)

    @property
    def _kept_logs(self) -> Path:
        return self._home.logs / "ray-broken-down"
