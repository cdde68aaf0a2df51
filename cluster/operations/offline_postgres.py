"""The database of a `fotograma up` that does not run: it is started alone, for a restore into its data directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.local.data_dir import open_data_dir
from cluster.local.instance_lock import instance_lock
from cluster.local.run_cleanup import clean_up_killed_run, run_folder
from cluster.local.secret_files import open_secrets
from cluster.local.servers.backing_service_plan import plan_backing_services
from cluster.local.servers.server_process import ServerDidNotStart
from cluster.local.startup_error import StartupError
from cluster.operations.located_service import LocatedService
from cluster.operations.operation_errors import OperationError


@contextmanager
def database_of_stopped_service(path: Path) -> Iterator[LocatedService]:
    """Starts the database and ends it after the block. A new data directory gets an empty one.

    Raises OperationError, also when a service runs on the data directory.
    """
    try:
        data_dir = open_data_dir(path)
        with instance_lock(data_dir.lock, description=f"process {os.getpid()}, which restores a backup"):
            clean_up_killed_run(data_dir)
            secrets = open_secrets(data_dir.secrets, data_dir.ray_token)
            with run_folder(data_dir) as folder:
                servers = plan_backing_services(data_dir, folder, secrets, os.environ)
                if servers.postgres is None:
                    raise OperationError("FOTOGRAMA_DATABASE_URL names another database than that of the data folder.")
                servers.postgres.start()
                try:
                    yield LocatedService(
                        servers.database_url,
                        objects_url=servers.objects_url,
                        data_dir=data_dir,
                        secret_key=secrets.secret_key,
                    )
                finally:
                    servers.postgres.stop()
    except (StartupError, ServerDidNotStart) as error:
        raise OperationError(str(error)) from error
