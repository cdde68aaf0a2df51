"""Ray and all that runs on it, as a part of the service.

It stands behind a process of its own, `python -m cluster.local.ray_head`.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster.local.data_dir import DataDir, ray_folder
from cluster.local.process_record import ProcessRecorder
from cluster.local.run_cleanup import empty_scratch, save_ray_logs
from cluster.local.servers.ray_head_command import Addresses, HeadStep, RayHeadCommand
from cluster.local.servers.server_process import ServerProcess
from cluster.local.supervision.readiness_probe import ReadinessProbe
from cluster.local.supervision.standby_server import StandbyServer

START_SECONDS = 180.0
# Looking costs time that the API's start needs, all the more on two cores.
START_POLL_SECONDS = 0.2
# Longer than the workers' drain and Serve's own patience.
STOP = [(signal.SIGTERM, 45.0), (signal.SIGKILL, 5.0)]
GO = b"\n"
"""What its process reads when the database is there."""
API = "API"

log = logging.getLogger(__name__)


class RayCluster:
    """standby: answers on the port until Serve does. database_ready: set when the replicas can use the database; Ray
    itself starts before. on_step: told what is done, and how many seconds that took.

    The environment of this process is that of Ray and all below it; it is complete when this is made.
    """

    name = "Ray"
    after: Sequence[str] = ()

    def __init__(
        self,
        data_dir: DataDir,
        head: RayHeadCommand,
        recorder: ProcessRecorder,
        standby: StandbyServer,
        database_ready: threading.Event,
        *,
        on_step: Callable[[str, float], None] = lambda step, seconds: None,
    ) -> None:
        self._data_dir, self._head, self._recorder = data_dir, head, recorder
        self._standby, self._database_ready = standby, database_ready
        self._probe = ReadinessProbe(head.port)
        self._process = ServerProcess(self.name, data_dir.ray_log, environment=os.environ)
        self._on_step, self._step_began = on_step, 0.0
        self._steps: list[str] = []
        self.addresses = Addresses()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def ending(self) -> str:
        return f"{self._process.ending} with API, workers and maintenance (its logs are kept in {self._kept_logs})"

    def is_running(self) -> bool:
        return self._process.is_running()

    def start(self) -> None:
        """Gives back when the API answers. Raises ServerDidNotStart; StartupError when the port belongs to somebody
        else.
        """
        if self._process.pid is not None:
            self._clear()
        self._standby.open()
        self._head.delete_report()
        self._steps, self._step_began = [HeadStep.RAY, API, HeadStep.APPLICATIONS, HeadStep.DASHBOARD], time.monotonic()
        self._process.start(self._head.command(), folder=self._head.folder, keep_stdin_open=True)
        self._recorder.refresh()
        self._process.wait_until(self._may_use_database)
        self._process.write_stdin(GO)
        self._process.wait_until(self._is_answered, START_SECONDS, pause=START_POLL_SECONDS)
        self._recorder.refresh()

    @property
    def step(self) -> str | None:
        """What its process is doing; None when all is done."""
        return next(iter(self._steps), None)

    def update_steps(self) -> None:
        """Takes up what its process has reported. Once it is running, somebody calls this until no step is left."""
        report = self._head.read_report()
        if report is None:
            return
        self.addresses = report.addresses
        done = list(HeadStep)[: list(HeadStep).index(report.step) + 1]
        while self.step in done:
            self._finish_step()

    def _finish_step(self) -> None:
        name, now = self._steps.pop(0), time.monotonic()
        self._on_step(name, now - self._step_began)
        self._step_began = now

    def stop(self) -> None:
        """The workers give their tasks back; then what is left of the cluster is ended."""
        self._process.stop(STOP)
        if self._process.pid is not None:
            self._recorder.end_process_tree(self._process.pid)

    def _may_use_database(self) -> bool:
        self.update_steps()
        return self._database_ready.is_set()

    def _is_answered(self) -> bool:
        self.update_steps()
        if not self._standby.another_listens():
            return False
        self._standby.close()
        if self.step != API or self._probe.parts() is None:
            return False
        self._finish_step()
        return True

    def _clear(self) -> None:
        """Takes away what the last cluster left: its workers died with it, and the queue knows what they held."""
        self._process.stop(STOP)
        try:
            save_ray_logs(self._head.folder, self._kept_logs)
        except OSError as error:
            # A full disk must not keep the service from starting again.
            log.warning("The logs of Ray could not be kept: %s", error)
        shutil.rmtree(ray_folder(self._head.folder), ignore_errors=True)
        empty_scratch(self._data_dir)

    @property
    def _kept_logs(self) -> Path:
        return self._data_dir.logs / "ray-broken-down"
