"""What is said to the process that holds Ray (`cluster.local.ray_head`), and what it reports."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from cluster.local import cores_and_ports

DASHBOARD_PORT, DASHBOARD_PORTS = 8265, 60


class HeadStep(StrEnum):
    """What the process does one after the other; the names are for people. The API comes after the first."""

    RAY = "Ray"
    APPLICATIONS = "Workers, maintenance"
    DASHBOARD = "Ray's dashboard"


@dataclass(frozen=True, slots=True)
class Addresses:
    """URLs that Ray has chosen, without a path; empty for what does not run."""

    dashboard: str = ""
    metrics: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """step: the last one that is done."""

    step: HeadStep
    addresses: Addresses = field(default_factory=Addresses)


@dataclass(frozen=True, slots=True)
class RayHeadCommand:
    """What the process is told. Nothing secret: those are in the environment.

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

    def command(self) -> list[str]:
        """How it is started."""
        values = [self.port, self.workers, str(self.folder), str(self.logs)]
        return [sys.executable, "-P", "-m", "cluster.local.ray_head", json.dumps(values)]

    @classmethod
    def parse(cls, text: str) -> RayHeadCommand:
        """Of the command's last word."""
        port, workers, folder, logs = json.loads(text)
        return cls(port, workers, Path(folder), Path(logs))

    def write_report(self, step: HeadStep, addresses: Addresses) -> None:
        """Tells that a step is done."""
        made = self._report_file.with_suffix(".new")
        made.write_text(json.dumps([step, asdict(addresses)]))
        made.replace(self._report_file)

    def read_report(self) -> Report | None:
        """None before the first step is done."""
        try:
            step, addresses = json.loads(self._report_file.read_text())
        except FileNotFoundError:
            return None
        return Report(HeadStep(step), Addresses(**addresses))

    def delete_report(self) -> None:
        """Before the process is started again."""
        self._report_file.unlink(missing_ok=True)

    @property
    def _report_file(self) -> Path:
        return self.folder / "ray-head.json"
