"""Ray with the applications on it, as a part of the supervisor.

It runs in a process of its own, `python -m cluster.local.ray_head`.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cluster.local.data_dir import DataDir, ray_folder
from cluster.local.process_record import ProcessRecorder
from cluster.local.run_cleanup import empty_scratch, save_ray_logs
from cluster.local.servers.ray_head_command import Addresses, HeadStep, RayHeadCommand
from cluster.local.servers.server_process import ServerProcess
from cluster.local.supervision.readiness_probe import ReadinessProbe

START_SECONDS = 180.0
# Each probe takes time from the start of the API, especially on two cores.
START_POLL_SECONDS = 0.2
# Longer than the drain of the workers and the timeouts of Serve.
STOP = [(signal.SIGTERM, 45.0), (signal.SIGKILL, 5.0)]
DATABASE_READY = b"\n"
"""Written to the standard input of the process when the database is ready."""
API = "API"

log = logging.getLogger(__name__)


class RayCluster:
    """database_ready: set when the replicas can use the database; Ray itself starts before. on_step: called with each
    finished step and its seconds.

    Ray and all its processes inherit the environment that this process has at the creation of the object.
    """

    name = "Ray"
    after: Sequence[str] = ()

    def __init__(
        self,
        data_dir: DataDir,
        head: RayHeadCommand,
        recorder: ProcessRecorder,
        database_ready: threading.Event,
        *,
        on_step: Callable[[str, float], None] = lambda step, seconds: None,
    ) -> None:
        self._data_dir, self._head, self._recorder = data_dir, head, recorder
        self._database_ready = database_ready
        self._probe = ReadinessProbe(head.port)
        self._process = ServerProcess(self.name, data_dir.ray_log, environment=os.environ)
        self._on_step, self._step_started_at = on_step, 0.0
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
        """Returns when the API answers. Raises ServerDidNotStart."""
        if self._process.pid is not None:
            self._clean_up_last_cluster()
        self._head.delete_report()
        first, *others = self._head.steps
        self._steps, self._step_started_at = [first, API, *others], time.monotonic()
        self._process.start(self._head.command(), folder=self._head.folder, keep_stdin_open=True)
        self._recorder.refresh()
        self._process.wait_until(self._may_use_database)
        self._process.write_stdin(DATABASE_READY)
        self._process.wait_until(self._is_api_ready, START_SECONDS, pause=START_POLL_SECONDS)
        self._recorder.refresh()

    @property
    def step(self) -> str | None:
        """The step that its process is at; None when all steps are done."""
        return next(iter(self._steps), None)

    def update_steps(self) -> None:
        """Reads the report of its process. After `start`, the caller repeats this until no step is left."""
        report = self._head.read_report()
        if report is None:
            return
        if report.addresses.metrics != self.addresses.metrics:
            self._write_metrics_targets(report.addresses.metrics)
        self.addresses = report.addresses
        finished = list(HeadStep)[: list(HeadStep).index(report.step) + 1]
        while self.step in finished:
            self._finish_step()

    def _write_metrics_targets(self, address: str) -> None:
        """The file stays when the service ends: a Prometheus then sees that it is down."""
        targets = [{"labels": {"job": "fotograma"}, "targets": [urlsplit(address).netloc]}]
        temporary = self._data_dir.metrics_targets.with_suffix(".new")
        try:
            temporary.write_text(json.dumps(targets))
            temporary.replace(self._data_dir.metrics_targets)
        except OSError as error:
            # A full disk must not prevent the start.
            log.warning("The address of the metrics could not be written: %s", error)

    def _finish_step(self) -> None:
        name, now = self._steps.pop(0), time.monotonic()
        self._on_step(name, now - self._step_started_at)
        self._step_started_at = now

    def stop(self) -> None:
        """Lets the workers release their tasks, then ends the remaining processes of the cluster."""
        self._process.stop(STOP)
        if self._process.pid is not None:
            self._recorder.end_process_tree(self._process.pid)

    def _may_use_database(self) -> bool:
        self.update_steps()
        return self._database_ready.is_set()

    def _is_api_ready(self) -> bool:
        self.update_steps()
        if self.step != API or self._probe.parts() is None:
            return False
        self._finish_step()
        return True

    def _clean_up_last_cluster(self) -> None:
        """Removes the files of the last cluster. Its workers are dead, and the queue rescues their tasks."""
        self._process.stop(STOP)
        try:
            save_ray_logs(self._head.folder, self._kept_logs)
        except OSError as error:
            # A full disk must not prevent the restart.
            log.warning("The logs of Ray could not be saved: %s", error)
        shutil.rmtree(ray_folder(self._head.folder), ignore_errors=True)
        empty_scratch(self._data_dir)

    @property
    def _kept_logs(self) -> Path:
        return self._data_dir.logs / "ray-broken-down"
