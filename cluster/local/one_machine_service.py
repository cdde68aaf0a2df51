"""All that one run of `fotograma up` starts, in its order; Ray stands behind a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
from pydantic import ValidationError

from cluster.local import cores_and_ports, ray_environment, restart_limit
from cluster.local.console import Terminal
from cluster.local.data_dir import Home, ray_folder
from cluster.local.run_cleanup import Recorder, empty_scratch, keep_ray_logs
from cluster.local.secret_files import Secrets
from cluster.local.servers.backing_services import DATABASE, OBJECTS, REDIS, Servers
from cluster.local.servers.server_process import Daemon, DidNotStart
from cluster.local.startup_error import ExitCode, Refusal
from cluster.settings import load

READY_SECONDS = 180.0
# Looking costs time that Ray's start needs, all the more on two cores.
READY_PAUSE_SECONDS = 0.3
DASHBOARD_PORT, DASHBOARD_PORTS = 8265, 60
# Longer than the workers' drain and Serve's own patience.
STOP = [(signal.SIGTERM, 45.0), (signal.SIGKILL, 5.0)]


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


class Service:
    """All that one run starts. folder: its temporary one, with a short path."""

    def __init__(self, home: Home, folder: Path, servers: Servers, recorder: Recorder, terminal: Terminal) -> None:
        self._home, self._folder, self._servers = home, folder, servers
        self._recorder, self._terminal = recorder, terminal
        self._log = home.logs / "head.log"
        self._ray: Daemon | None = None
        self._head: Head
        self._breakdowns = restart_limit.Breakdowns()
        self.url, self._addresses = "", Addresses()

    def start(self, secrets: Secrets, *, port: int, workers: int) -> None:
        """Gives back when /readyz is green. Raises Refusal."""
        self.url = f"http://{cores_and_ports.LOCALHOST}:{port}"
        self._servers.check_others()
        self._set_environment(secrets, workers=workers)
        self._head = Head(port, workers, self._folder, self._home.logs / "serve")
        self._ray = Daemon("Ray", self._log, environment=os.environ)
        # Ray takes seconds to start, and needs nothing of the database until its replicas run.
        self._start_ray(self._ray)
        with self._terminal.step("PostgreSQL, Valkey, migrations"):
            self._servers.start()
        self._recorder.refresh()
        self._run_applications(self._ray)

    def greet(self) -> None:
        """Says where everything is, and what comes next."""
        self._terminal.say(
            f"Ready after {self._terminal.seconds:.0f} s.\n"
            f"  Page       {self.url}/\n"
            f"  API        {self.url}/v1, described at {self.url}/openapi.json\n"
            f"  Dashboard  {self._addresses.dashboard}/, its token is in {self._home.ray_token}\n"
            f"  Metrics    {self._addresses.metrics}/metrics, for Prometheus\n"
            f"  Logs       {self._home.logs}\n"
            "Next, in another terminal:\n"
            f"  fotograma login --register --url {self.url} --email you@example.org\n"
            "  fotograma extract VIDEO... --fps 1 -o frames\n"
            "Ctrl-C ends it; the data are kept."
        )

    def tend(self) -> None:
        """Starts again what has ended: a server, or Ray with all that runs on it. Raises Refusal when that fails."""
        self._servers.tend(self._terminal.say)
        self._recorder.refresh()
        if self._ray is not None and not self._ray.is_running():
            self._start_ray_again(self._ray)

    def stop(self) -> None:
        """Ends what was started, as far as it was: the workers give their tasks back first, the database is last."""
        self._terminal.say("Ending ...")
        try:
            if self._ray is not None:
                self._ray.stop(STOP)
            self._end_all_but_servers()
        finally:
            self._servers.stop()

    def _start_ray(self, ray: Daemon) -> None:
        ray.start(self._head.command(), folder=self._folder, keep_stdin=True)
        self._recorder.refresh()

    def _run_applications(self, ray: Daemon) -> None:
        ray.tell(b"\n")
        with self._terminal.step("Ray, API, workers, keeper"), httpx.Client(timeout=5, trust_env=False) as http:
            ray.wait_until(lambda: self._is_ready(http), READY_SECONDS, pause=READY_PAUSE_SECONDS)
        self._addresses = Addresses.read(self._head.addresses_file)
        self._recorder.refresh()

    def _start_ray_again(self, ray: Daemon) -> None:
        """With nothing of the old cluster: its workers died with it, and the queue knows what they held."""
        logs = self._home.logs / "ray-broken-down"
        if self._breakdowns.are_too_many(time.monotonic()):
            times, minutes = restart_limit.MOST + 1, restart_limit.SECONDS / 60
            raise Refusal(
                ExitCode.BROKE_DOWN,
                f"Ray ended by itself {times} times in {minutes:.0f} minutes; {self._log} and {logs} say why. All data "
                "are kept; `fotograma up` continues.",
            )
        self._terminal.say(f"Ray ended unexpectedly; it is started again. Its logs are kept in {logs}")
        ray.stop(STOP)
        self._end_all_but_servers()
        keep_ray_logs(self._folder, logs)
        shutil.rmtree(ray_folder(self._folder), ignore_errors=True)
        empty_scratch(self._home)
        self._start_ray(ray)
        try:
            self._run_applications(ray)
        except DidNotStart as failed:
            # A breakdown as well: on a machine that is busy beyond measure the next start may do.
            self._terminal.say(str(failed))
        else:
            now = self._addresses
            self._terminal.say(f"Ready again. Dashboard  {now.dashboard}/  Metrics  {now.metrics}/metrics")

    def _end_all_but_servers(self) -> None:
        self._recorder.end_others({server.pid for server in self._servers.own.values() if server.pid})

    def _set_environment(self, secrets: Secrets, *, workers: int) -> None:
        servers = self._servers
        addresses = {DATABASE: servers.database_url, REDIS: servers.redis_url, OBJECTS: servers.objects_url}
        wanted = ray_environment.changes(
            os.environ,
            self._home,
            secrets,
            addresses=addresses,
            url=self.url,
            workers=workers,
            ray_folder=ray_folder(self._folder),
        )
        for name, value in wanted.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        try:
            load()
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            name = f"FOTOGRAMA_{first['loc'][0]}".upper()
            raise Refusal(ExitCode.FAILED, f"The variable {name} can't be used: {first['msg']}.") from error

    def _is_ready(self, http: httpx.Client) -> bool:
        self._servers.tend(self._terminal.say)
        self._recorder.refresh()
        try:
            answer = http.get(f"{self.url}/readyz")
        except httpx.HTTPError:
            return False
        return is_ready(answer)


def is_ready(answer: httpx.Response) -> bool:
    """Whether all parts run, by what /readyz answered.

    A full store refuses uploads until there is room; what is there can be had, or deleted to make room.
    """
    if answer.status_code == 200:
        return True
    try:
        parts = dict(answer.json()["parts"])
    except (ValueError, KeyError, TypeError):
        return False
    parts.pop("cache", None)
    return parts.pop("storage", None) == "full" and set(parts.values()) == {"ok"}
