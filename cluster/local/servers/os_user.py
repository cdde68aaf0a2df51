"""The user that PostgreSQL runs as. PostgreSQL refuses to run as root, so root uses an account without rights."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import stat
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.local.startup_error import ExitCode, StartupError

USER_NAME = "pgserver"
"""The account that the PostgreSQL wheel creates, too."""


@dataclass(frozen=True, slots=True)
class OsUser:
    """A user of this machine. uid, gid: None for the user of this process."""

    uid: int | None = None
    gid: int | None = None

    def popen_options(self) -> dict[str, Any]:
        """Returns the options with which subprocess.Popen runs a program as this user."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Makes this user the owner of the file or folder."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def check_name(self) -> None:
        """Raises StartupError for a user without a name, such as a container's numeric user."""
        uid = os.geteuid() if self.uid is None else self.uid
        try:
            pwd.getpwuid(uid)
        except KeyError as error:
            raise StartupError(
                ExitCode.FAILED,
                f"PostgreSQL asks for the name of its user, and the user {uid} has none in /etc/passwd. Add one, or "
                "name a PostgreSQL server with FOTOGRAMA_DATABASE_URL.",
            ) from error

    def run_error(self, program: Path) -> str | None:
        """Returns why this user can't execute the program; None when the user can."""
        command = [str(program), "--version"]
        try:
            completed = subprocess.run(  # noqa: S603
                command, check=False, capture_output=True, text=True, cwd="/", **self.popen_options()
            )
        except OSError as error:
            return f"{program}: {(error.strerror or str(error)).lower()}"
        if completed.returncode == 0:
            return None
        lines: list[str] = completed.stderr.strip().splitlines()
        return lines[-1] if lines else f"{program}: exit code {completed.returncode}"

    def can_reach(self, folder: Path) -> bool:
        """Whether this user may pass through all folders above `folder`."""
        return self.uid is None or is_open_to_all(folder.resolve().parent)


def is_open_to_all(folder: Path) -> bool:
    """Whether every user may pass through the folder and all above it."""
    resolved = folder.resolve()
    return all(part.stat().st_mode & stat.S_IXOTH for part in (resolved, *resolved.parents))


def server_user() -> OsUser:
    """Returns this user; for root the account `pgserver`, created if missing. Raises StartupError."""
    if os.geteuid() != 0:
        return OsUser()
    try:
        entry = pwd.getpwnam(USER_NAME)
    except KeyError:
        _add_user()
        entry = pwd.getpwnam(USER_NAME)
    os_user = OsUser(entry.pw_uid, entry.pw_gid)
    _check_may_run_as(os_user)
    return os_user


def _check_may_run_as(os_user: OsUser) -> None:
    """Raises StartupError when root may not start programs as this user, as in a container without that capability."""
    program = shutil.which("true", path=os.defpath) or "/bin/true"
    try:
        subprocess.run([program], check=False, cwd="/", **os_user.popen_options())  # noqa: S603
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL):
            return
        raise StartupError(
            ExitCode.FAILED,
            f"PostgreSQL does not run as root, and this root may not start it as the user {USER_NAME!r} "
            f"({(error.strerror or str(error)).lower()}). Start Fotograma as another user than root.",
        ) from error


def _add_user() -> None:
    useradd = shutil.which("useradd")
    command = [useradd or "useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", USER_NAME]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        with suppress(KeyError):
            pwd.getpwnam(USER_NAME)
            return  # another process has created it meanwhile
        reason = getattr(error, "stderr", None) or str(error)
        raise StartupError(
            ExitCode.FAILED,
            f"PostgreSQL does not run as root, and its user {USER_NAME!r} could not be created ({reason.strip()}). "
            "Start Fotograma as another user than root.",
        ) from error
