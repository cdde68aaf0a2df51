"""An operating system user without privileges, and a command line that it can run."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cluster
from cluster.local.servers.os_user import is_open_to_all
from tests.support.hard_link_tree import Ignore, make_hard_link_tree
from tests.support.servers.running_service import FOTOGRAMA

USER_NAME = "fotograma-test"
UNUSED_CHECKOUT_FILES = shutil.ignore_patterns(".*", "tests", "benchmarks")
# The bytecode is needed: the user can't write it, and a dozen processes would compile the standard library anew.
UNUSED_PYTHON_FILES = shutil.ignore_patterns("site-packages", "test", "include", "share")


@dataclass(frozen=True, slots=True)
class UnprivilegedUser:
    """uid, gid: None: those of the user that runs the tests. home: a folder that only this user may enter.

    command: the start of a command line of `fotograma`. environment: the variables that it needs.
    """

    uid: int | None
    gid: int | None
    home: Path
    command: Sequence[str]
    environment: Mapping[str, str]

    @property
    def popen_options(self) -> dict[str, Any]:
        """Options that start a process as this user."""
        as_user: dict[str, Any] = {} if self.uid is None else {"user": self.uid, "group": self.gid, "extra_groups": []}
        return {**as_user, "cwd": self.home}


@contextmanager
def unprivileged_user(folder: Path) -> Iterator[UnprivilegedUser]:
    """Creates the user when root runs the tests. folder: an empty folder that every user may enter."""
    home = folder / "user"
    home.mkdir(mode=0o700)
    if os.geteuid() != 0:
        yield UnprivilegedUser(None, None, home, [FOTOGRAMA], {"HOME": str(home)})
        return
    try:
        entry = pwd.getpwnam(USER_NAME)
    except KeyError:
        subprocess.run(["useradd", "--system", "--no-create-home", "--user-group", USER_NAME], check=True)
        entry = pwd.getpwnam(USER_NAME)
    os.chown(home, entry.pw_uid, entry.pw_gid)
    command, environment = _command_for_all(folder)
    yield UnprivilegedUser(entry.pw_uid, entry.pw_gid, home, command, {"HOME": str(home), **environment})


def _command_for_all(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Python and the packages in place, or as links in `folder` when they lie where only root may enter."""
    interpreter, checkout = Path(sys.executable).resolve(), Path(cluster.__file__).parents[1]
    packages = Path(sysconfig.get_path("purelib"))
    if all(map(is_open_to_all, (interpreter.parent, checkout, packages))):
        return [FOTOGRAMA], {}
    make_hard_link_tree(Path(sys.base_prefix), folder / "python", ignore=UNUSED_PYTHON_FILES).chmod(0o755)
    paths = [
        _open_to_all(checkout, folder / "checkout", ignore=UNUSED_CHECKOUT_FILES),
        _open_to_all(packages, folder / "packages"),
    ]
    python = folder / "python" / "bin" / interpreter.name
    environment = {"PYTHONPATH": os.pathsep.join(map(str, paths)), "LD_LIBRARY_PATH": str(folder / "python" / "lib")}
    return [str(python), "-m", "cluster.cli.app"], environment


def _open_to_all(tree: Path, links: Path, *, ignore: Ignore | None = None) -> Path:
    """Returns the tree, or hard links to its files when other users may not enter it."""
    if is_open_to_all(tree):
        return tree
    make_hard_link_tree(tree, links, ignore=ignore).chmod(0o755)
    return links
