"""The user that PostgreSQL runs as. It refuses to be root, so root lends it an account without any rights."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.local.startup_error import ExitCode, Refusal

NAME = "pgserver"
"""The same account that the PostgreSQL wheel makes for itself."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine. uid, gid: None for the one that this process has."""

    uid: int | None = None
    gid: int | None = None

    def popen_options(self) -> dict[str, Any]:
        """What makes subprocess run something as this user."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Gives this user the file or folder."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def can_run(self, program: Path) -> bool:
        """Whether this user may execute the program where it is."""
        command = [str(program), "--version"]
        try:
            done = subprocess.run(command, check=False, capture_output=True, cwd="/", **self.popen_options())  # noqa: S603
        except PermissionError:
            return False
        return done.returncode == 0

    def can_reach(self, folder: Path) -> bool:
        """Whether this user may pass through all folders above `folder`."""
        return self.uid is None or all(parent.stat().st_mode & stat.S_IXOTH for parent in folder.resolve().parents)


def server_account() -> Account:
    """This user, or for root the account `pgserver`, made if it is missing. Raises Refusal."""
    if os.geteuid() != 0:
        return Account()
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        _add_user()
        entry = pwd.getpwnam(NAME)
    return Account(entry.pw_uid, entry.pw_gid)


def _add_user() -> None:
    useradd = shutil.which("useradd")
    command = [useradd or "useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", NAME]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", None) or str(error)
        raise Refusal(
            ExitCode.FAILED,
            f"PostgreSQL does not run as root, and its user {NAME!r} could not be made ({why.strip()}). "
            "Start Fotograma as another user than root.",
        ) from error
