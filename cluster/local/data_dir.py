"""The home folder of `fotograma up`: all that must outlive a restart, and where PostgreSQL keeps its part."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from cluster.local.servers.os_user import Account
from cluster.local.startup_error import ExitCode, Refusal

MIB = 1 << 20
NEEDED_BYTES = 1024 * MIB
"""Free space that a start asks for: PostgreSQL's log, Ray's own files, the first uploads."""
SHELF = Path("/var/lib/fotograma")
"""Where root keeps what another user must be able to reach; unlike /tmp, it is still there after a reboot."""
RUN_PREFIX = "fotograma-"
# Ray puts sockets up to 66 bytes below its folder, and a socket's path has at most 107.
SHORT_PATH_BYTES = 24


@dataclass(frozen=True, slots=True)
class Home:
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
    def scratch(self) -> Path:
        return self.path / "scratch"

    @property
    def demo(self) -> Path:
        return self.path / "demo"


def open_home(path: Path) -> Home:
    """Makes the folder if it is missing. Raises Refusal when it can't be written."""
    home = Home(Path(os.path.abspath(path)))
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


def unwritable(folder: Path, error: OSError) -> Refusal:
    """The refusal for an error while writing below `folder`."""
    return Refusal(
        ExitCode.NO_SPACE,
        f"{folder} can't be written: {(error.strerror or str(error)).lower()}. Choose another folder with --home DIR, "
        f"with {NEEDED_BYTES // MIB} MiB free.",
    )


def check_space(folder: Path, free_bytes: int) -> None:
    """Raises Refusal when the disk of `folder`, with `free_bytes` left, is too full to start on."""
    if free_bytes < NEEDED_BYTES:
        raise Refusal(
            ExitCode.NO_SPACE,
            f"The disk of {folder} has {free_bytes // MIB} MiB free; Fotograma needs {NEEDED_BYTES // MIB} MiB to "
            "start. Make room, or choose another folder with --home DIR.",
        )


def postgres_place(home: Home, account: Account, shelf: Path = SHELF) -> Path:
    """The folder that PostgreSQL's data lie in: `postgres` in the home.

    Root's home is often closed to the user that PostgreSQL has to run as (/root is, to all). Permissions of folders
    above are not ours to change, so `postgres` is then a link to a folder of `shelf`. Raises Refusal when a link leads
    nowhere: data are missing, and an empty database must not take their place.
    """
    if home.postgres.is_symlink() and not home.postgres.exists():
        raise Refusal(
            ExitCode.FAILED,
            f"The database of this home is missing: {home.postgres} leads to {home.postgres.readlink()}. Bring that "
            f"folder back, or remove {home.postgres} to begin with an empty one.",
        )
    if not home.postgres.exists():
        if account.can_reach(home.postgres):
            home.postgres.mkdir(mode=0o700)
        else:
            shelf.mkdir(parents=True, exist_ok=True, mode=0o755)
            place = shelf / uuid.uuid4().hex[:12]
            place.mkdir(mode=0o700)
            home.postgres.symlink_to(place)
    return home.postgres.resolve()


def make_run_folder(parent: Path | None = None) -> Path:
    """A folder for sockets and Ray's files that goes with this run, its path short enough for sockets."""
    asked = parent or Path(tempfile.gettempdir())
    short = asked if len(os.fsencode(asked)) <= SHORT_PATH_BYTES else Path("/tmp")  # noqa: S108 - made by mkdtemp
    folder = Path(tempfile.mkdtemp(prefix=RUN_PREFIX, dir=short))
    # Others may pass through, as root's PostgreSQL must, but not look around.
    folder.chmod(0o711)
    return folder


def ray_folder(run_folder: Path) -> Path:
    """Ray's part of it: sockets, logs, and the state of its GCS."""
    return run_folder / "ray"


def remove_run_folder(folder: Path) -> None:
    """Removes what `make_run_folder` made, and nothing that only has its name from a file."""
    ours = folder.name.startswith(RUN_PREFIX) and folder.is_dir() and not folder.is_symlink()
    if ours and folder.stat().st_uid == os.geteuid():
        shutil.rmtree(folder, ignore_errors=True)
