"""The data directory of `fotograma up`: all that must outlive a restart, and the place of PostgreSQL's data."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from cluster.local.servers.os_user import OsUser, is_open_to_all
from cluster.local.startup_error import ExitCode, StartupError

MIB = 1 << 20
NEEDED_BYTES = 1024 * MIB
"""Free space that a start requires: for PostgreSQL's log, Ray's files and the first uploads."""
SHARED_DIR = Path("/var/lib/fotograma")
"""Where root puts what PostgreSQL's user must be able to reach. Unlike /tmp, it outlives a reboot."""
RUN_PREFIX = "fotograma-"
# Ray adds up to 66 bytes to this path for its sockets, and a socket's path has at most 107 bytes.
MAX_PATH_BYTES = 24


@dataclass(frozen=True, slots=True)
class DataDir:
    """The folder, and the paths in it."""

    path: Path

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def record(self) -> Path:
        return self.path / "processes.json"

    @property
    def secrets(self) -> Path:
        return self.path / "secrets.json"

    @property
    def ray_token(self) -> Path:
        return self.path / "ray-token"

    @property
    def metrics_targets(self) -> Path:
        """Where a Prometheus finds the address of the metrics, which every start may change (`file_sd_configs`)."""
        return self.path / "prometheus-targets.json"

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def valkey(self) -> Path:
        return self.path / "valkey"

    @property
    def objects(self) -> Path:
        return self.path / "objects"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def ray_log(self) -> Path:
        """The log of the process of Ray's head."""
        return self.logs / "head.log"

    @property
    def scratch(self) -> Path:
        return self.path / "scratch"

    @property
    def programs(self) -> Path:
        """Copies of programs for another user."""
        return self.path / "programs"

    @property
    def demo(self) -> Path:
        return self.path / "demo"


def data_dir_at(path: Path) -> DataDir:
    """The data directory at this path, which may begin with `~`.

    Raises StartupError for a user without a home folder.
    """
    try:
        return DataDir(Path(os.path.abspath(path.expanduser())))
    except RuntimeError as error:
        raise StartupError(
            ExitCode.NO_SPACE, f"{path} can't be found: this user has no home folder. Choose one with --home DIR."
        ) from error


def open_data_dir(path: Path) -> DataDir:
    """Creates the folder if it is missing. Raises StartupError when it can't be written."""
    data_dir = data_dir_at(path)
    try:
        # Root's PostgreSQL runs as another user, who has to pass through. The files inside are closed to that user.
        data_dir.path.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
        for folder in (data_dir.logs, data_dir.objects, data_dir.scratch):
            folder.mkdir(exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=data_dir.path) as probe:
            probe.write(b"\0")
    except OSError as error:
        raise unwritable(data_dir.path, error) from error
    return data_dir


def unwritable(folder: Path, error: OSError) -> StartupError:
    """Returns the error for a failed write below `folder`."""
    return StartupError(
        ExitCode.NO_SPACE,
        f"{folder} can't be written: {(error.strerror or str(error)).lower()}. Choose another folder with --home DIR, "
        f"with {NEEDED_BYTES // MIB} MiB free.",
    )


def check_space(folder: Path, free_bytes: int) -> None:
    """Raises StartupError when `free_bytes`, the free space of the disk of `folder`, do not suffice."""
    if free_bytes < NEEDED_BYTES:
        raise StartupError(
            ExitCode.NO_SPACE,
            f"The disk of {folder} has {free_bytes // MIB} MiB free; Fotograma needs {NEEDED_BYTES // MIB} MiB to "
            "start. Make room, or choose another folder with --home DIR.",
        )


def postgres_folder(data_dir: DataDir, account: OsUser, shared_dir: Path = SHARED_DIR) -> Path:
    """The folder of PostgreSQL's data: `postgres` in the data directory.

    Root's data directory is often closed to the user that PostgreSQL runs as (/root is closed to all others). This
    program does not change the permissions of folders above it. `postgres` is then a link into `shared_dir`.
    Raises StartupError when the link leads nowhere, because an empty database must not replace missing data; and when
    PostgreSQL's user can't reach the folder.
    """
    if data_dir.postgres.is_symlink() and not data_dir.postgres.exists():
        raise StartupError(
            ExitCode.FAILED,
            f"The database is missing: {data_dir.postgres} leads to {data_dir.postgres.readlink()}. Bring that folder "
            f"back, or remove {data_dir.postgres} to begin with an empty one.",
        )
    if not data_dir.postgres.exists():
        if account.can_reach(data_dir.postgres):
            data_dir.postgres.mkdir(mode=0o700)
        else:
            _link_to_shared_dir(shared_dir, data_dir)
    folder = data_dir.postgres.resolve()
    if not account.can_reach(folder):
        raise StartupError(
            ExitCode.NO_SPACE,
            f"PostgreSQL runs as another user than root, who can't reach {folder}. Let everybody pass through the "
            "folders above it (chmod o+x), or choose another folder with --home DIR.",
        )
    return folder


def _link_to_shared_dir(shared_dir: Path, data_dir: DataDir) -> None:
    folder = shared_dir / uuid.uuid4().hex[:12]
    try:
        make_shared_dir(shared_dir)
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise StartupError(
            ExitCode.NO_SPACE,
            f"PostgreSQL runs as another user than root, who can't reach {data_dir.path}, and {shared_dir} can't be "
            f"written: {(error.strerror or str(error)).lower()}. Choose a folder that everybody may pass through with "
            "--home DIR.",
        ) from error
    data_dir.postgres.symlink_to(folder)


def make_shared_dir(shared_dir: Path) -> None:
    """Creates the folder so that other users may pass through it.

    Raises OSError; StartupError when other users may change it.
    """
    shared_dir.mkdir(parents=True, exist_ok=True)
    found = shared_dir.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise StartupError(
            ExitCode.FAILED,
            f"{shared_dir} can be changed by other users, and programs are run from it. Remove it, or give it to root "
            f"alone: chown root {shared_dir}; chmod 711 {shared_dir}",
        )
    # The umask may have removed these bits.
    shared_dir.chmod(found.st_mode & 0o777 | 0o711)


def make_run_folder(parent: Path | None = None) -> Path:
    """Creates a temporary folder for sockets and Ray's files: in `parent`, or in a folder for temporary files.

    Skips a folder whose path is too long for sockets, or that is closed to the user of root's PostgreSQL.
    """
    for above in [*_temporary_folders(parent), Path("/tmp"), Path("/var/tmp")]:  # noqa: S108 - mkdtemp is safe
        if len(os.fsencode(above)) > MAX_PATH_BYTES or (os.geteuid() == 0 and not is_open_to_all(above)):
            continue
        try:
            folder = Path(tempfile.mkdtemp(prefix=RUN_PREFIX, dir=above))
        except OSError:
            continue
        # Others may pass through it, as root's PostgreSQL must, but not list it.
        folder.chmod(0o711)
        return folder
    raise StartupError(
        ExitCode.NO_SPACE,
        f"Neither TMPDIR nor /tmp nor /var/tmp can be used for temporary files. Set TMPDIR to a folder with a path of "
        f"at most {MAX_PATH_BYTES} characters that everybody may pass through.",
    )


def _temporary_folders(parent: Path | None) -> list[Path]:
    if parent is not None:
        return [parent]
    try:
        return [Path(tempfile.gettempdir())]
    except FileNotFoundError:
        return []


def ray_folder(run_folder: Path) -> Path:
    """Ray's folder in it: sockets, logs, and the state of its GCS."""
    return run_folder / "ray"


def api_sockets(run_folder: Path) -> Path:
    """The folder in it for the sockets of the API's replicas."""
    return run_folder / "api"


def part_states_file(run_folder: Path) -> Path:
    """The file in it in which the supervisor says what its parts do."""
    return run_folder / "parts.json"


def remove_run_folder(folder: Path) -> None:
    """Removes a folder of `make_run_folder`. Ignores any other path, because the path may come from a file."""
    is_run_folder = folder.name.startswith(RUN_PREFIX) and folder.is_dir() and not folder.is_symlink()
    if is_run_folder and folder.stat().st_uid == os.geteuid():
        shutil.rmtree(folder, ignore_errors=True)
