"""Where the servers of a service are: as its settings say, or as the `fotograma up` of a data directory has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.operations.operation_errors import MissingSetting, NoService, OperationError

if TYPE_CHECKING:
    from cluster.local.data_dir import DataDir
    from cluster.settings import Settings

DATABASE, REDIS, OBJECTS = "FOTOGRAMA_DATABASE_URL", "FOTOGRAMA_REDIS_URL", "FOTOGRAMA_OBJECTS_URL"
SECRET_KEY = "FOTOGRAMA_SECRET_KEY"  # noqa: S105 - the name of a variable
RAY_ADDRESS_FILE = "ray_current_cluster"


@dataclass(frozen=True, slots=True)
class LocatedService:
    """Addresses of the servers. None: not known here. ray_token: file with the token of the Ray cluster; None when the
    environment has it. data_dir: of `fotograma up`. secret_key: of the service.
    """

    database_url: str
    redis_url: str | None = None
    objects_url: str | None = None
    ray_address: str | None = None
    ray_token: Path | None = None
    data_dir: DataDir | None = None
    secret_key: str | None = field(default=None, repr=False)

    def required_objects_url(self) -> str:
        """Raises MissingSetting."""
        if self.objects_url is None:
            raise MissingSetting(OBJECTS, "it says where videos and results are")
        return self.objects_url

    def required_redis_url(self) -> str:
        """Raises MissingSetting."""
        if self.redis_url is None:
            raise MissingSetting(REDIS, "it says where the stream of events is")
        return self.redis_url


def settings_of(service: LocatedService) -> Settings:
    """The settings of this environment for a service of which only some are known here. Raises OperationError."""
    from pydantic import ValidationError  # noqa: PLC0415

    from cluster.settings import Settings  # noqa: PLC0415

    known = {
        "database_url": service.database_url,
        "redis_url": service.redis_url,
        "objects_url": service.objects_url or "",
        "secret_key": service.secret_key or "",
    }
    try:
        return Settings.model_validate(known)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        raise OperationError(f"FOTOGRAMA_{fault['loc'][0]}".upper() + f" can't be used: {fault['msg']}.") from error


def locate_service(data_dir: Path, environment: Mapping[str, str]) -> LocatedService:
    """Returns the servers that the environment names, or else those of the running `fotograma up`. Raises NoService."""
    if url := environment.get(DATABASE):
        return LocatedService(
            url,
            environment.get(REDIS) or None,
            environment.get(OBJECTS) or None,
            environment.get("RAY_ADDRESS") or None,
            secret_key=environment.get(SECRET_KEY) or None,
        )
    return _locate_up(data_dir, environment)


def _locate_up(path: Path, environment: Mapping[str, str]) -> LocatedService:
    from cluster.local import process_record  # noqa: PLC0415
    from cluster.local.data_dir import data_dir_at, ray_folder  # noqa: PLC0415
    from cluster.local.secret_files import open_secrets  # noqa: PLC0415
    from cluster.local.servers.embedded_postgres import url_of  # noqa: PLC0415
    from cluster.local.servers.embedded_valkey import Valkey  # noqa: PLC0415
    from cluster.local.startup_error import StartupError  # noqa: PLC0415

    try:
        data_dir = data_dir_at(path)
    except StartupError as error:
        raise NoService(path) from error
    folder = process_record.read_record(data_dir.record).folder
    if folder is None or not folder.is_dir():
        raise NoService(path)
    secrets = open_secrets(data_dir.secrets, data_dir.ray_token)
    valkey = Valkey(data_dir.valkey, folder / "valkey.sock", data_dir.logs, password=secrets.valkey_password)
    return LocatedService(
        url_of(folder / "postgres", secrets.postgres_password),
        environment.get(REDIS) or valkey.url,
        environment.get(OBJECTS) or data_dir.objects.as_uri(),
        _address_in(ray_folder(folder)),
        data_dir.ray_token,
        data_dir,
        environment.get(SECRET_KEY) or secrets.secret_key,
    )


def _address_in(ray_folder: Path) -> str | None:
    """The address that Ray's head has written for others on the machine."""
    try:
        return (ray_folder / RAY_ADDRESS_FILE).read_text().strip() or None
    except OSError:
        return None
