"""`fotograma up`: the whole service on one machine, until Ctrl-C or SIGTERM.

It starts PostgreSQL, Valkey, Ray and Serve, tends them, and ends them in the reverse order, and nothing else. All data
are in the home folder, so that the next start continues. Exit codes, each with one line on standard error:

    0  it ran and was asked to end
    1  a server did not start, or anything that no other code names
    3  another `fotograma up` runs on this home
    4  the port is taken
    5  the home can't be written, or its disk is too full
    6  a server named by FOTOGRAMA_DATABASE_URL, FOTOGRAMA_REDIS_URL or FOTOGRAMA_OBJECTS_URL does not answer
    7  a package of the service is missing
    8  it ran, and Ray ended by itself; starting again continues
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import psutil
from pydantic import ValidationError

from cluster.local import environment, machine, record
from cluster.local.home import Home, check_space, open_home, unwritable
from cluster.local.lock import held
from cluster.local.refusal import ExitCode, Refusal
from cluster.local.secret_files import Secrets, open_secrets
from cluster.local.servers import DATABASE, OBJECTS, REDIS, Servers, plan_servers
from cluster.local.supervision import Asked, Recorder, end_left_over, ignore, listen, run_folder, signals_raise
from cluster.local.terminal import Terminal
from cluster.settings import load

TEND_SECONDS = 1.0
READY_SECONDS = 120.0
DASHBOARD_PORT = 8265
OBJECT_STORE_BYTES = 80_000_000
"""Ray's least; videos and frames never pass through it."""
HEAD_PROCESSES = {"gcs_server", "raylet"}
FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def up(*, port: int, home: Path, demo: bool, workers: int | None) -> int:
    """Runs until it is asked to end. Gives the exit code.

    port: of the page and the API, on 127.0.0.1. demo: also extract a sample clip. workers: None for one per core.
    """
    terminal, place = Terminal(), None
    try:
        with signals_raise():
            place = open_home(home)
            with held(place.lock, says=f"process {os.getpid()}, http://{machine.LOCALHOST}:{port}/"):
                _run(place, terminal, port=port, demo=demo, workers=workers or machine.cores())
    except Asked:
        terminal.say("Ended. All data are kept.")
        return ExitCode.ENDED
    except Refusal as refusal:
        terminal.complain(str(refusal))
        return refusal.code
    except ModuleNotFoundError as error:
        terminal.complain(f'The package {error.name!r} is missing. Run: pip install "fotograma[local]"')
        return ExitCode.NOT_INSTALLED
    except Exception as error:  # noqa: BLE001 - told in one line, and recorded in full
        return _explain(error, terminal, place)
    finally:
        terminal.close()
    return ExitCode.ENDED


def _explain(error: Exception, terminal: Terminal, home: Home | None) -> ExitCode:
    if home is None:
        terminal.complain(f"{type(error).__name__}: {error}")
        return ExitCode.FAILED
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        terminal.complain(str(unwritable(home.path, error)))
        return ExitCode.NO_SPACE
    log = home.logs / "up.log"
    with log.open("a") as file:
        traceback.print_exception(error, file=file)
    terminal.complain(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]} ({log} has more)")
    return ExitCode.FAILED


def _run(home: Home, terminal: Terminal, *, port: int, demo: bool, workers: int) -> None:
    # What a killed run left behind may hold the port, so it is ended first.
    if ended := end_left_over(home):
        terminal.say(f"{ended} processes of a run that was killed are ended.")
    machine.check_port(port)
    check_space(home.path, shutil.disk_usage(home.path).free)
    terminal.say(f"Fotograma starts with {workers} workers; its home is {home.path}")
    secrets = open_secrets(home.secrets, home.ray_token)
    with ExitStack() as stack:
        folder = stack.enter_context(run_folder(home))
        stack.enter_context(terminal.quiet(home.logs / "up.log"))
        servers = plan_servers(home, folder, secrets, os.environ)
        service = Service(home, folder, servers, Recorder(home, folder), terminal)
        stack.callback(service.stop)
        stack.callback(ignore)
        service.start(secrets, port=port, workers=workers)
        service.greet()
        if demo:
            from cluster.demo import run_demo  # noqa: PLC0415 - FFmpeg's libraries, for the demonstration only

            run_demo(home.demo, service.url, secrets.demo_password, terminal.say)
        while True:
            service.tend()
            time.sleep(TEND_SECONDS)


class Service:
    """All that one run starts. folder: its temporary one, with a short path."""

    def __init__(self, home: Home, folder: Path, servers: Servers, recorder: Recorder, terminal: Terminal) -> None:
        self._home, self._folder, self._servers = home, folder, servers
        self._recorder, self._terminal = recorder, terminal
        self._head: list[record.Seen] = []
        self.url = self._dashboard_url = ""

    def start(self, secrets: Secrets, *, port: int, workers: int) -> None:
        """Gives back when /readyz is green. Raises Refusal."""
        dashboard = machine.first_free(DASHBOARD_PORT, but=port)
        self.url, self._dashboard_url = (f"http://{machine.LOCALHOST}:{number}" for number in (port, dashboard))
        self._servers.check_others()
        self._set_environment(secrets, workers=workers)
        with ThreadPoolExecutor(1, thread_name_prefix="servers") as pool:
            # Ray takes seconds to start, and needs nothing of the database.
            storing = pool.submit(self._start_servers)
            with self._terminal.step("Ray"):
                _start_ray(self._folder / "ray", dashboard, cpus=workers)
            self._head = _head_processes()
            self._recorder.refresh()
            storing.result()
        with self._terminal.step("API, workers, keeper"):
            _run_applications(port, self._home.logs / "serve")
            self._wait_until_ready()
        self._recorder.refresh()

    def greet(self) -> None:
        """Says where everything is, and what comes next."""
        self._terminal.say(
            f"Ready after {self._terminal.seconds:.0f} s.\n"
            f"  Page       {self.url}/\n"
            f"  API        {self.url}/v1, described at {self.url}/openapi.json\n"
            f"  Dashboard  {self._dashboard_url}/, its token is in {self._home.ray_token}\n"
            f"  Logs       {self._home.logs}\n"
            "Next, in another terminal:\n"
            f"  fotograma login --register --url {self.url} --email you@example.org\n"
            "  fotograma extract VIDEO... --fps 1 -o frames\n"
            "Ctrl-C ends it; the data are kept."
        )

    def tend(self) -> None:
        """Starts a server again that has ended. Raises Refusal when Ray has: then all of it is to start again."""
        self._servers.tend(self._terminal.say)
        self._recorder.refresh()
        if len(record.left_over(self._head, record.started)) < len(self._head):
            raise Refusal(ExitCode.BROKE_DOWN, "Ray ended by itself. All data are kept; `fotograma up` continues.")

    def stop(self) -> None:
        """Ends what was started, as far as it was: the workers give their tasks back first, the database is last."""
        self._terminal.say("Ending ...")
        try:
            _stop_ray()
            self._recorder.end_others({server.pid for server in self._servers.own.values() if server.pid})
        finally:
            self._servers.stop()

    def _set_environment(self, secrets: Secrets, *, workers: int) -> None:
        servers = self._servers
        addresses = {DATABASE: servers.database_url, REDIS: servers.redis_url, OBJECTS: servers.objects_url}
        wanted = environment.changes(
            os.environ,
            self._home,
            secrets,
            addresses=addresses,
            url=self.url,
            workers=workers,
            ray_folder=self._folder / "ray",
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

    def _start_servers(self) -> None:
        with self._terminal.step("PostgreSQL, Valkey, migrations"):
            self._servers.start()
        self._recorder.refresh()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        answer = "no answer"
        with httpx.Client(base_url=self.url, timeout=5, trust_env=False) as http:
            while time.monotonic() < deadline:
                with suppress(httpx.HTTPError):
                    response = http.get("/readyz")
                    if response.status_code == 200:
                        return
                    answer = f"{response.status_code} {response.text[:200]}"
                time.sleep(0.1)
        raise Refusal(
            ExitCode.FAILED,
            f"{self.url}/readyz was not green in {READY_SECONDS:.0f} s ({answer}). Look into {self._home.logs}.",
        )


def _start_ray(folder: Path, dashboard_port: int, *, cpus: int) -> None:
    """A cluster of this process's own; another one on the machine is neither used nor touched.

    cpus: logical ones; a worker asks for one, the API and the keeper for none.
    """
    # Ray reads its settings from the environment when it is imported.
    import ray  # noqa: PLC0415

    ray.init(
        address="local",
        num_cpus=cpus,
        num_gpus=0,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=True,
        dashboard_host=machine.LOCALHOST,
        dashboard_port=dashboard_port,
        logging_level=logging.WARNING,
        log_to_driver=False,
        _node_ip_address=machine.LOCALHOST,
        _temp_dir=str(folder),
    )
    listen()


def _run_applications(port: int, logs: Path) -> None:
    """Starts the proxy and the three applications, and waits until they run."""
    from ray import serve  # noqa: PLC0415

    from cluster.applications import Place, WorkerPlace, api, keeper, pool  # noqa: PLC0415

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    logging_config = {"logs_dir": str(logs)}
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": machine.LOCALHOST, "port": port},
        logging_config=logging_config,
    )
    applications = {"api": (api(Place()), "/"), "pool": (pool(WorkerPlace()), None), "keeper": (keeper(Place()), None)}
    serve.run_many(
        [
            serve.RunTarget(target=target, name=name, route_prefix=route, logging_config=logging_config)
            for name, (target, route) in applications.items()
        ]
    )


def _stop_ray() -> None:
    """Ends the applications, then the cluster. What does not end is left to the record of processes."""
    import ray  # noqa: PLC0415

    if not ray.is_initialized():
        return
    from ray import serve  # noqa: PLC0415

    try:
        serve.shutdown()  # type: ignore[no-untyped-call]
    except Exception:  # the cluster may be broken, and is ended all the same
        logging.getLogger(__name__).exception("Serve did not shut down.")
    ray.shutdown()


def _head_processes() -> list[record.Seen]:
    """Those of Ray's processes that the cluster can't do without."""
    children = psutil.Process().children()
    return [record.Seen(child.pid, child.create_time()) for child in children if child.name() in HEAD_PROCESSES]
