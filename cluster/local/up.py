"""`fotograma up`: the whole service on one machine, until Ctrl-C or SIGTERM.

It starts PostgreSQL, Valkey, Ray and Serve, tends them, and ends them in the reverse order, and nothing else. All data
are in the home folder, so that the next start continues. Ray's client ends its own process when Ray breaks down, so it
is in another one, `python -m cluster.local.up`, in a session that Ctrl-C does not reach.

Exit codes, each with one line on standard error:

    0  it ran and was asked to end
    1  a setting can't be used, the database can't be migrated, or anything that no other code names
    3  another `fotograma up` runs on this home
    4  the port is taken
    5  the home can't be written, or its disk is too full
    6  a server named by FOTOGRAMA_DATABASE_URL, FOTOGRAMA_REDIS_URL or FOTOGRAMA_OBJECTS_URL does not answer
    7  a package or a program of the service is missing, or can't be run

Each but 0 comes before it is ready for the first time. What ends later is started again, after pauses that grow.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cluster.local import cores_and_ports
from cluster.local.console import Terminal
from cluster.local.data_dir import Home, check_space, open_home, ray_folder, unwritable
from cluster.local.instance_lock import held
from cluster.local.one_machine_service import Service
from cluster.local.ray_head_supervisor import tend_ray
from cluster.local.run_cleanup import (
    Asked,
    end_left_over,
    end_when_closed,
    ignore,
    listen,
    run_folder,
    signals_raise,
)
from cluster.local.secret_files import open_secrets
from cluster.local.servers.backing_services import plan_servers
from cluster.local.servers.ray_cluster import Addresses, Head
from cluster.local.startup_error import FULL_DISK, ExitCode, Refusal

OBJECT_STORE_BYTES = 80_000_000
"""Ray's least; videos and frames never pass through it."""


def up(*, port: int, home: Path, demo: bool, workers: int | None) -> int:
    """Runs until it is asked to end. Gives the exit code.

    port: of the page and the API, on 127.0.0.1. demo: also extract a sample clip. workers: None for one per core.
    """
    terminal, place = Terminal(), None
    try:
        with signals_raise():
            place = open_home(home)
            with held(place.lock, says=f"process {os.getpid()}, http://{cores_and_ports.LOCALHOST}:{port}/"):
                _run(place, terminal, port=port, demo=demo, workers=workers or cores_and_ports.cores())
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
    cores_and_ports.check_port(port)
    check_space(home.path, shutil.disk_usage(home.path).free)
    terminal.say(f"Fotograma starts with {workers} workers; its home is {home.path}")
    secrets = open_secrets(home.secrets, home.ray_token)
    with ExitStack() as stack:
        folder = stack.enter_context(run_folder(home))
        stack.enter_context(terminal.quiet(home.logs / "up.log"))
        servers = plan_servers(home, folder, secrets, os.environ)
        service = Service(home, folder, servers, terminal, port=port)
        stack.callback(service.stop)
        stack.callback(ignore)
        service.start(secrets, workers=workers)
        service.greet()
        if demo:
            from cluster.local.demo import run_demo  # noqa: PLC0415 - FFmpeg's libraries, for the demonstration only

            run_demo(home.demo, service.url, secrets.demo_password, terminal.say)
        service.watch()


def run_head(head: Head) -> None:
    """The process that holds Ray: runs the cluster and the applications until it is asked to end, or one has ended."""
    with signals_raise():
        try:
            addresses = _start_ray(ray_folder(head.folder), head.dashboard_port, cpus=head.workers)
            addresses.write(head.addresses_file)
            # The supervisor writes a byte when the database is there, and its death ends the pipe.
            if not os.read(0, 1):
                raise Asked
            end_when_closed(0)
            _run_applications(head.port, head.logs)
            tend_ray(_restart_gcs)
        except Asked:
            _stop_ray()
            return
    # Without its raylet a cluster can't be asked anything, not even to end; the supervisor sees to the rest.
    os._exit(1)


def _start_ray(folder: Path, dashboard_port: int | None, *, cpus: int) -> Addresses:
    """A cluster of this process's own; another one on the machine is neither used nor touched.

    cpus: logical ones; a worker asks for one, the API and the keeper for none.
    """
    # Ray reads its settings from the environment when it is imported.
    import ray  # noqa: PLC0415

    context: Any = ray.init(
        address="local",
        num_cpus=cpus,
        num_gpus=0,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=True,
        dashboard_host=cores_and_ports.LOCALHOST,
        dashboard_port=dashboard_port,
        logging_level=logging.WARNING,
        log_to_driver=False,
        _node_ip_address=cores_and_ports.LOCALHOST,
        _temp_dir=str(folder),
    )
    listen()
    metrics_port = context.address_info["metrics_export_port"]
    return Addresses(
        dashboard=f"http://{context.dashboard_url}", metrics=f"http://{cores_and_ports.LOCALHOST}:{metrics_port}"
    )


def _restart_gcs() -> None:
    """Starts one that has ended with the state that it has on disk, at the address that everybody knows."""
    import ray._private.worker  # noqa: PLC0415

    # As Ray's own tests do it: there is no public way for a cluster that `ray.init` has started.
    node: Any = ray._private.worker._global_node
    node.kill_gcs_server(check_alive=False)
    node.start_gcs_server()


def _run_applications(port: int, logs: Path) -> None:
    """Starts the proxy and the three applications, and waits until they run."""
    from ray import serve  # noqa: PLC0415

    from cluster.serve_applications import Place, WorkerPlace, api, keeper, pool  # noqa: PLC0415

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    logging_config = {"logs_dir": str(logs)}
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": cores_and_ports.LOCALHOST, "port": port},
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
    """Ends the applications, so that the workers give their tasks back, then the cluster."""
    import ray  # noqa: PLC0415

    if not ray.is_initialized():
        return
    from ray import serve  # noqa: PLC0415

    try:
        serve.shutdown()  # type: ignore[no-untyped-call]
    except Exception:  # the cluster may be broken, and is ended all the same
        logging.getLogger(__name__).exception("Serve did not shut down.")
    ray.shutdown()


if __name__ == "__main__":
    run_head(Head.parse(sys.argv[1]))
