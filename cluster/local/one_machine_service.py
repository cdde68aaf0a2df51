"""All that one run of `fotograma up` starts, supervises and ends."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.local import cores_and_ports, ray_environment
from cluster.local.console import Console
from cluster.local.data_dir import DataDir, api_sockets, part_states_file
from cluster.local.greeting import cli_command, greeting, this_program
from cluster.local.process_record import ProcessRecorder
from cluster.local.secret_files import Secrets, write_private
from cluster.local.servers.backing_service_plan import DATABASE, OBJECTS, REDIS, BackingServices
from cluster.local.servers.database_schema import DatabaseSchema
from cluster.local.servers.embedded_haproxy import HAProxy
from cluster.local.servers.embedded_postgres import Postgres
from cluster.local.servers.embedded_valkey import Valkey
from cluster.local.servers.ray_cluster import RayCluster
from cluster.local.servers.ray_head_command import Addresses, RayHeadCommand
from cluster.local.startup_error import ExitCode, StartupError
from cluster.local.supervision.event_messages import event_line, progress_line, step_line
from cluster.local.supervision.fallback_server import FallbackServer
from cluster.local.supervision.readiness_probe import ReadinessProbe, ReadinessWatch
from cluster.local.supervision.supervisor import Event, Part, Phase, Started, Supervisor

if TYPE_CHECKING:
    from cluster.settings import Settings

PROGRESS_SECONDS = 0.2
RECORD_SECONDS = 1.0
CHECK_SECONDS = 5.0


PARTS = {Postgres.name: "database", Valkey.name: "cache", DatabaseSchema.name: "migrations", RayCluster.name: "api"}
"""The names of the supervisor's parts in /readyz."""

log = logging.getLogger(__name__)


class OneMachineService:
    """The service of one run. port: of the page and the API. folder: the run's temporary one, with a short path."""

    def __init__(
        self, data_dir: DataDir, folder: Path, servers: BackingServices, console: Console, *, port: int
    ) -> None:
        self._data_dir, self._folder, self._servers, self._console = data_dir, folder, servers, console
        self.url = f"http://{cores_and_ports.LOCALHOST}:{port}"
        self._port = port
        self._recorder = ProcessRecorder(data_dir, folder)
        self._probe = ReadinessProbe(port)
        self._head: RayHeadCommand
        self._ray: RayCluster
        self._schema: DatabaseSchema
        self._supervisor: Supervisor | None = None
        self._readiness, self._checked_at = ReadinessWatch(), 0.0
        self._part_states: Mapping[str, str] = dict.fromkeys(PARTS.values(), Phase.STARTING.value)
        self._sockets = api_sockets(folder)
        self._fallback = FallbackServer(self._sockets / "fallback.sock", lambda: self._part_states)
        self._state_file = part_states_file(folder)
        self._printed_addresses: Addresses | None = None
        self._recorded = 0.0

    def start(self, secrets: Secrets, *, workers: int, dashboard: bool) -> None:
        """Returns when /readyz reports that all is ready, however long that takes. Raises StartupError.

        dashboard: whether Ray's dashboard starts too.
        """
        self._servers.check_external()
        self._set_environment(secrets, workers=workers)
        self._sockets.mkdir(mode=0o700)
        self._fallback.open()
        self._supervisor = Supervisor(
            self._parts(workers, dashboard=dashboard),
            on_event=self._print_event,
            on_phases=self._write_part_states,
            end_process_tree=self._recorder.end_process_tree,
        )
        self._supervisor.start()
        # Checked while Ray starts, which takes longest.
        check_settings()
        while not (self._supervisor.all_run and self._check_readiness()):
            self._wait(PROGRESS_SECONDS)
        self._supervisor.wait_for_lasting_causes()
        self._console.print_line(f"Ready after {self._console.seconds:.1f} s: {self.url}/")

    def greet(self) -> None:
        """Waits until every step is done, then prints the addresses and the next commands."""
        while self._unfinished_steps():
            self._wait(PROGRESS_SECONDS)
        self._printed_addresses = self._ray.addresses
        command = cli_command(os.environ, this_program(), shutil.which("fotograma"))
        lines = greeting(self.url, self._printed_addresses, self._data_dir, command, dashboard=self._head.dashboard)
        self._console.print_line(lines)

    def watch(self) -> None:
        """Supervises until StopRequested is raised."""
        while True:
            try:
                self._watch_once()
            except Exception:  # the supervisor's threads continue, and the next round may succeed
                log.exception("A round of the supervisor failed.")

    def _watch_once(self) -> None:
        self._wait(RECORD_SECONDS)
        if self._ray_runs and time.monotonic() - self._checked_at >= CHECK_SECONDS:
            self._check_readiness()

    def _wait(self, seconds: float) -> None:
        """Waits until a part's phase changes, at most `seconds`. Shows the progress and refreshes the record."""
        assert self._supervisor is not None
        self._supervisor.wait(seconds)
        if self._ray_runs:
            self._ray.update_steps()
        self._console.show_progress(progress_line(self._unfinished_steps(), self._console.seconds))
        if time.monotonic() - self._recorded >= RECORD_SECONDS:
            self._recorder.refresh()
            self._recorded = time.monotonic()

    def _unfinished_steps(self) -> list[str]:
        """Names of the parts and steps that have started and are not ready."""
        assert self._supervisor is not None
        phases = self._supervisor.phases.items()
        parts = [name for name, phase in phases if phase is not Phase.RUNNING and name != self._ray.name]
        return parts if self._ray.step is None else [*parts, self._ray.step]

    @property
    def _ray_runs(self) -> bool:
        assert self._supervisor is not None
        return self._supervisor.phases[self._ray.name] is Phase.RUNNING

    def _print_event(self, event: Event) -> None:
        if isinstance(event, Started) and event.part == self._ray.name and not event.again:
            return  # its steps are printed one by one
        self._console.print_line(event_line(event))

    def _check_readiness(self) -> bool:
        """Asks /readyz, prints what has changed and repairs what it can. Returns whether all is ready."""
        self._checked_at = time.monotonic()
        found = self._readiness.observe(self._probe.parts())
        if found.line is not None:
            self._console.print_line(found.line)
        if found.is_dead:
            self._ray.stop()
        if found.schema_is_old:
            self._schema.renew()
        addresses = self._ray.addresses
        if found.is_ready and self._ray.step is None and self._printed_addresses not in (None, addresses):
            self._printed_addresses = addresses
            dashboard = f"Dashboard  {addresses.dashboard}/  " if addresses.dashboard else ""
            self._console.print_line(f"Ready again. {dashboard}Metrics  {addresses.metrics}/metrics")
        return found.is_ready

    def stop(self) -> None:
        """Ends everything that has started: the workers release their tasks first, the database ends last."""
        self._console.print_line("Ending ...")
        if self._supervisor is not None:
            self._supervisor.stop()
        self._fallback.close()

    def _write_part_states(self, phases: Mapping[str, Phase]) -> None:
        """Writes the state of each part for the /readyz of the API and of the fallback server."""
        self._part_states = {
            PARTS[name]: "ok" if phase is Phase.RUNNING else phase.value
            for name, phase in phases.items()
            # HAProxy has no state of its own there: whoever asks has come through it.
            if name in PARTS
        }
        try:
            write_private(self._state_file, json.dumps(self._part_states))
        except OSError as error:
            # A full disk must not end the service.
            log.warning("The state of the parts could not be written: %s", error)

    def _parts(self, workers: int, *, dashboard: bool) -> list[Part]:
        """The parts in the order of their start. HAProxy is first: it ends last and answers until then. The database
        ends after everything that needs it.
        """
        database = [] if self._servers.postgres is None else [self._servers.postgres.name]
        self._schema = DatabaseSchema(self._servers.database_url, after=database)
        self._head = RayHeadCommand(self._port, workers, self._folder, self._data_dir.logs / "serve", dashboard)
        self._ray = RayCluster(
            self._data_dir,
            self._head,
            self._recorder,
            self._schema.has_been_current,
            on_step=lambda step, seconds: self._console.print_line(step_line(step, seconds)),
        )
        haproxy = HAProxy(
            self._port,
            self._sockets,
            self._fallback.path,
            self._data_dir.logs / "haproxy.log",
            replicas=lambda: check_settings().api_replicas,
        )
        return [haproxy, *self._servers.embedded, self._schema, self._ray]

    def _set_environment(self, secrets: Secrets, *, workers: int) -> None:
        servers = self._servers
        addresses = {DATABASE: servers.database_url, REDIS: servers.redis_url, OBJECTS: servers.objects_url}
        changes = ray_environment.changes(
            os.environ,
            self._data_dir,
            secrets,
            addresses=addresses,
            url=self.url,
            workers=workers,
            run_folder=self._folder,
        )
        for name, value in changes.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def check_settings() -> Settings:
    """Returns the settings of this process's environment. Raises StartupError for one that can't be used."""
    from cluster.checks.start_check import StartRefused, usable_settings  # noqa: PLC0415

    try:
        return usable_settings(os.environ)
    except StartRefused as error:
        raise StartupError(ExitCode.FAILED, error.findings[0].sentence) from error
