"""`fotograma up`: the whole service on one machine, until Ctrl-C or SIGTERM.

It starts PostgreSQL, Valkey, Ray and Serve, supervises them, and ends them in the reverse order. All data are in
the data directory, so that the next start continues.

Exit codes, each with one line on standard error:

    0  it ran until a signal stopped it
    1  a setting can't be used, the database can't be migrated, or another error without a code of its own
    3  another `fotograma up` runs on this data directory
    4  the port is taken
    5  the data directory can't be written, or its disk is too full
    6  a server named by FOTOGRAMA_DATABASE_URL, FOTOGRAMA_REDIS_URL or FOTOGRAMA_OBJECTS_URL does not answer
    7  a package or a program of the service is missing, or can't be run

The codes above 0 come before the service is ready for the first time. What ends later is restarted, after pauses that
grow.
"""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from contextlib import ExitStack
from pathlib import Path

from actors.sandbox.process_hardening import hide_memory
from cluster.local import cores_and_ports
from cluster.local.console import Console
from cluster.local.data_dir import DataDir, check_space, open_data_dir, unwritable
from cluster.local.instance_lock import instance_lock
from cluster.local.run_cleanup import clean_up_killed_run, run_folder
from cluster.local.secret_files import open_secrets
from cluster.local.signal_handling import StopRequested, ignore_signals, stop_on_signals
from cluster.local.startup_error import FULL_DISK, ExitCode, StartupError


def up(*, port: int, data_dir: Path, demo: bool, workers: int | None, dashboard: bool = True) -> int:
    """Runs until a signal stops it. Returns the exit code.

    port: of the page and the API, on 127.0.0.1. demo: also extract a sample clip. workers: None for one per core.
    dashboard: whether Ray's dashboard starts too.
    """
    # This process has the secrets in its memory.
    hide_memory()
    console = Console()
    opened: DataDir | None = None
    try:
        with stop_on_signals():
            opened = open_data_dir(data_dir)
            with instance_lock(
                opened.lock, description=f"process {os.getpid()}, http://{cores_and_ports.LOCALHOST}:{port}/"
            ):
                _run(
                    opened,
                    console,
                    port=port,
                    demo=demo,
                    workers=workers or cores_and_ports.cores(),
                    dashboard=dashboard,
                )
    except StopRequested:
        console.print_line("Ended. All data are kept.")
        return ExitCode.ENDED
    except StartupError as refusal:
        console.print_error(str(refusal))
        return refusal.code
    except ModuleNotFoundError as error:
        console.print_error(f'The package {error.name!r} is missing. Run: pip install "fotograma[local]"')
        return ExitCode.NOT_INSTALLED
    except Exception as error:  # noqa: BLE001 - printed in one line, logged in full
        return _explain(error, console, opened)
    finally:
        console.close()
    return ExitCode.ENDED


def _explain(error: Exception, console: Console, data_dir: DataDir | None) -> ExitCode:
    if data_dir is None:
        console.print_error(f"{type(error).__name__}: {error}")
        return ExitCode.FAILED
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        console.print_error(str(unwritable(data_dir.path, error)))
        return ExitCode.NO_SPACE
    log = data_dir.logs / "up.log"
    with log.open("a") as file:
        traceback.print_exception(error, file=file)
    console.print_error(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]} ({log} has more)")
    return ExitCode.FAILED


def _run(data_dir: DataDir, console: Console, *, port: int, demo: bool, workers: int, dashboard: bool) -> None:
    console.print_line(f"Fotograma starts with {workers} workers; its data are in {data_dir.path}")
    # A process of a killed run may still listen on the port.
    if ended := clean_up_killed_run(data_dir):
        console.print_line(f"Ended {ended} processes of a killed run.")
    cores_and_ports.check_port(port)
    check_space(data_dir.path, shutil.disk_usage(data_dir.path).free)
    secrets = open_secrets(data_dir.secrets, data_dir.ray_token)
    with ExitStack() as stack:
        folder = stack.enter_context(run_folder(data_dir))
        stack.enter_context(console.redirect_to_log(data_dir.logs / "up.log"))
        # The rest of the program takes long to import: the first line is there before. Bytecode is kept, as in the
        # processes that this one starts (`ray_environment.SLOW`).
        sys.dont_write_bytecode = False
        from cluster.local.one_machine_service import OneMachineService  # noqa: PLC0415
        from cluster.local.servers.backing_service_plan import plan_backing_services  # noqa: PLC0415

        servers = plan_backing_services(data_dir, folder, secrets, os.environ)
        service = OneMachineService(data_dir, folder, servers, console, port=port)
        stack.callback(service.stop)
        stack.callback(ignore_signals)
        service.start(secrets, workers=workers, dashboard=dashboard)
        service.greet()
        if demo:
            from cluster.local.demo import run_demo  # noqa: PLC0415 - FFmpeg's libraries, for the demonstration only

            run_demo(data_dir.demo, service.url, secrets.demo_password, console.print_line)
        service.watch()
