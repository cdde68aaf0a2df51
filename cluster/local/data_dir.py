"""The home folder of `fotograma up`: all that must outlive a restart, and where PostgreSQL keeps its part."""

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
"""Free space that a start asks for: PostgreSQL's log, Ray's own files, the first uploads."""
SHELF = Path("/var/lib/fotograma")
"""Where root keeps what another user must be able to reach; unlike /tmp, it is still there after a reboot."""
RUN_PREFIX = "fotograma-"
# Ray puts sockets up to 66 bytes below its folder, and a socket's path has at most 107.
SHORT_PATH_BYTES = 24


@dataclass(frozen=True, slots=True)
class DataDir:
    """The folder and the names in it."""

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
        """Of the process that holds Ray."""
        return self.logs / "head.log"

    @property
    def scratch(self) -> Path:
        return self.path / "scratch"

    @property
    def programs(self) -> Path:
        """For copies of programs that another user has to run."""
        return self.path / "programs"

    @property
    def demo(self) -> Path:
        return self.path / "demo"


def home_at(path: Path) -> DataDir:
    """The home at this path, which may begin with `~`. Raises StartupError when this user has no home folder."""
    try:
        return DataDir(Path(os.path.abspath(path.expanduser())))
    except RuntimeError as error:
        raise StartupError(
            ExitCode.NO_SPACE, f"{path} can't be found: this user has no home folder. Choose one with --home DIR."
        ) from error


def open_data_dir(path: Path) -> DataDir:
    """Makes the folder if it is missing. Raises StartupError when it can't be written."""
    home = home_at(path)
    try:
        # Root's PostgreSQL runs as another user, who has to pass through; what is in here is closed by itself.
        home.path.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
        for folder in (home.logs, home.objects, home.scratch):
            folder.mkdir(exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=home.path) as probe:
            probe.write(b"\0")
    except OSError as error:
        raise unwritable(home.path, error) from error
    return home


def unwritable(folder: Path, error: OSError) -> StartupError:
    """The refusal for an error while writing below `folder`."""
    return StartupError(
        ExitCode.NO_SPACE,
        f"{folder} can't be written: {(error.strerror or str(error)).lower()}. Choose another folder with --home DIR, "
        f"with {NEEDED_BYTES // MIB} MiB free.",
    )


def check_space(folder: Path, free_bytes: int) -> None:
    """Raises StartupError when the disk of `folder`, with `free_bytes` left, is too full to start on."""
    if free_bytes < NEEDED_BYTES:
        raise StartupError(
            ExitCode.NO_SPACE,
            f"The disk of {folder} has {free_bytes // MIB} MiB free; Fotograma needs {NEEDED_BYTES // MIB} MiB to "
            "start. Make room, or choose another folder with --home DIR.",
        )


def postgres_place(home: DataDir, account: OsUser, shelf: Path = SHELF) -> Path:
    """The folder that PostgreSQL's data lie in: `postgres` in the home.

    Root's home is often closed to the user that PostgreSQL has to run as (/root is, to all). Permissions of folders
    above are not ours to change, so `postgres` is then a link to a folder of `shelf`. Raises StartupError when a
    link leads nowhere: data are missing, and an empty database must not take their place; and when the data can't be
    reached.
    """
    if home.postgres.is_symlink() and not home.postgres.exists():
        raise StartupError(
            ExitCode.FAILED,
            f"The database of this home is missing: {home.postgres} leads to {home.postgres.readlink()}. Bring that "
            f"folder back, or remove {home.postgres} to begin with an empty one.",
        )
    if not home.postgres.exists():
        if account.can_reach(home.postgres):
            home.postgres.mkdir(mode=0o700)
        else:
            _make_place_on(shelf, home)
    place = home.postgres.resolve()
    if not account.can_reach(place):
        raise StartupError(
            ExitCode.NO_SPACE,
            f"PostgreSQL runs as another user than root, who can't reach {place}. Let everybody pass through the "
            "folders above it (chmod o+x), or choose another folder with --home DIR.",
        )
    return place


def _make_place_on(shelf: Path, home: DataDir) -> None:
    place = shelf / uuid.uuid4().hex[:12]
    try:
        make_shelf(shelf)
        place.mkdir(mode=0o700)
    except OSError as error:
        raise StartupError(
            ExitCode.NO_SPACE,
            f"PostgreSQL runs as another user than root, who can't reach {home.path}, and {shelf} can't be written: "
            f"{(error.strerror or str(error)).lower()}. Choose a folder that everybody may pass through with "
            "--home DIR.",
        ) from error
    home.postgres.symlink_to(place)


def make_shelf(shelf: Path) -> None:
    """Makes the folder, which others may pass through. Raises OSError, and StartupError when others may change it."""
    shelf.mkdir(parents=True, exist_ok=True)
    found = shelf.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise StartupError(
            ExitCode.FAILED,
            f"{shelf} can be changed by other users, and programs are run from it. Remove it, or give it to root "
            f"alone: chown root {shelf}; chmod 711 {shelf}",
        )
    # Whatever the umask is.
    shelf.chmod(found.st_mode & 0o777 | 0o711)


def make_run_folder(parent: Path | None = None) -> Path:
    """A folder for sockets and Ray's files that goes with this run: in `parent`, or where temporary files belong.

    A place whose path is too long for sockets, or that is closed to the user of root's PostgreSQL, is passed over.
    """
    for place in [*_temporary_places(parent), Path("/tmp"), Path("/var/tmp")]:  # noqa: S108 - made by mkdtemp
        if len(os.fsencode(place)) > SHORT_PATH_BYTES or (os.geteuid() == 0 and not is_open_to_all(place)):
            continue
        try:
            folder = Path(tempfile.mkdtemp(prefix=RUN_PREFIX, dir=place))
        except OSError:
            continue
        # Others may pass through, as root's PostgreSQL must, but not look around.
        folder.chmod(0o711)
        return folder
    raise StartupError(
        ExitCode.NO_SPACE,
        f"Neither TMPDIR nor /tmp nor /var/tmp can be used for temporary files. Set TMPDIR to a folder with a path of "
        f"at most {SHORT_PATH_BYTES} characters that everybody may pass through.",
    )


def _temporary_places(parent: Path | None) -> list[Path]:
    if parent is not None:
        return [parent]
    try:
        return [Path(tempfile.gettempdir())]
    except FileNotFoundError:
        return []


def ray_folder(run_folder: Path) -> Path:
    """Ray's part of it: sockets, logs, and the state of its GCS."""
    return run_folder / "ray"


def remove_run_folder(folder: Path) -> None:
    """Removes what `make_run_folder` made, and nothing that only has its name from a file."""
    ours = folder.name.startswith(RUN_PREFIX) and folder.is_dir() and not folder.is_symlink()
    if ours and folder.stat().st_uid == os.geteuid():
        shutil.rmtree(folder, ignore_errors=True)
