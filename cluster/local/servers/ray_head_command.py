"""The command line of the process of Ray's head (`cluster.local.ray_head`), and the reports of that process."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from cluster.local import cores_and_ports

DASHBOARD_PORT, DASHBOARD_PORTS = 8265, 60


class HeadStep(StrEnum):
    """The steps of the process in their order. The values are shown to people. The API starts after the first step."""

    RAY = "Ray"
    APPLICATIONS = "Workers, maintenance"
    DASHBOARD = "Ray's dashboard"


@dataclass(frozen=True, slots=True)
class Addresses:
    """The URLs that Ray has chosen, without a path; "" for a server that does not run."""

    dashboard: str = ""
    metrics: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """step: the last finished one."""

    step: HeadStep
    addresses: Addresses = field(default_factory=Addresses)


@dataclass(frozen=True, slots=True)
class RayHeadCommand:
    """The arguments of the process. Secrets are in its environment instead.

    port: of the service; Ray must not take it. folder: the run's temporary one, with a short path. logs: Serve's.
    dashboard: whether Ray's dashboard is started.
    """

    port: int
    workers: int
    folder: Path
    logs: Path
    dashboard: bool = True

    @property
    def steps(self) -> list[HeadStep]:
        """The steps of this process in their order."""
        return [step for step in HeadStep if self.dashboard or step is not HeadStep.DASHBOARD]

    @property
    def dashboard_port(self) -> int | None:
        """None: Ray takes the first free port from 8265 on, so that no concurrent start can take it before Ray does."""
        near = DASHBOARD_PORT <= self.port < DASHBOARD_PORT + DASHBOARD_PORTS
        return cores_and_ports.first_free(DASHBOARD_PORT + DASHBOARD_PORTS, but=self.port) if near else None

    def command(self) -> list[str]:
        """The command that starts the process."""
        values = [self.port, self.workers, str(self.folder), str(self.logs), self.dashboard]
        return [sys.executable, "-P", "-m", "cluster.local.ray_head", json.dumps(values)]

    @classmethod
    def parse(cls, text: str) -> RayHeadCommand:
        """Parses the last argument of the command."""
        port, workers, folder, logs, dashboard = json.loads(text)
        return cls(port, workers, Path(folder), Path(logs), dashboard)

    def write_report(self, step: HeadStep, addresses: Addresses) -> None:
        """Reports a finished step."""
        temporary = self._report_file.with_suffix(".new")
        temporary.write_text(json.dumps([step, asdict(addresses)]))
        temporary.replace(self._report_file)

    def read_report(self) -> Report | None:
        """Returns the last report; None before the first step is done."""
        try:
            step, addresses = json.loads(self._report_file.read_text())
        except FileNotFoundError:
            return None
        return Report(HeadStep(step), Addresses(**addresses))

    def delete_report(self) -> None:
        """Deletes the report of an earlier process."""
        self._report_file.unlink(missing_ok=True)

    @property
    def _report_file(self) -> Path:
        return self.folder / "ray-head.json"
