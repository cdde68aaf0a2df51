"""PostgreSQL's programs are found where the server's user can run them, wherever the wheel is installed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from cluster.local.servers.embedded_postgres import Postgres
from cluster.local.servers.os_user import OsUser, server_user
from cluster.local.servers.postgres_programs import LIBRARIES, WHEEL, programs_for, wheel_programs
from cluster.local.startup_error import ExitCode, StartupError
from tests.support.servers.postgres_wheel import link_postgres_wheel

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL runs as another user")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may enter, with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="fotograma-test-", dir="/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
def shared_dir(folder: Path) -> Path:
    return folder / "shared_dir"


@pytest.fixture
def account() -> OsUser:
    return server_user()


@pytest.fixture
def closed_wheel(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel's package, installed below a folder that only its owner can enter, as in a virtual environment."""
    packages = folder / "closed" / "site-packages"
    packages.parent.mkdir(mode=0o700)
    link_postgres_wheel(packages)
    monkeypatch.syspath_prepend(packages)
    assert wheel_programs().is_relative_to(packages)
    return packages / WHEEL


@pytest.fixture
def closing_umask() -> Iterator[None]:
    """The strictest umask: new files are for their owner only."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_programs_run_in_the_wheel_when_their_user_can_reach_it(account: OsUser, shared_dir: Path) -> None:
    if account.run_error(wheel_programs() / "initdb") is None:
        assert programs_for(account, shared_dir) == wheel_programs()
        assert not shared_dir.exists()
    else:
        assert programs_for(account, shared_dir).is_relative_to(shared_dir)


@AS_ROOT
@pytest.mark.usefixtures("closed_wheel", "closing_umask")
def test_server_runs_from_a_copy_of_a_wheel_that_its_user_cannot_reach(
    account: OsUser, folder: Path, shared_dir: Path
) -> None:
    programs = programs_for(account, shared_dir)
    server = Postgres(
        folder / "place", folder / "sockets", folder / "log", password="a secret", os_user=account, programs=programs
    )
    try:
        server.start()
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("SELECT to_tsvector('simple', 'one')::text").fetchone() == ("'one':1",)
    finally:
        server.stop()


@AS_ROOT
@pytest.mark.usefixtures("closed_wheel")
def test_programs_are_copied_once(account: OsUser, shared_dir: Path) -> None:
    first = (programs_for(account, shared_dir) / "postgres").stat()

    assert (programs_for(account, shared_dir) / "postgres").stat() == first


@AS_ROOT
@pytest.mark.usefixtures("closed_wheel")
@pytest.mark.parametrize("missing", [f"{LIBRARIES}", f"{WHEEL}/pginstall18/bin/postgres"])
def test_copy_that_cannot_be_run_is_replaced(account: OsUser, shared_dir: Path, missing: str) -> None:
    copy = programs_for(account, shared_dir).parents[2]
    if (copy / missing).is_dir():
        shutil.rmtree(copy / missing)
    else:
        os.truncate(copy / missing, 4096)

    programs = programs_for(account, shared_dir)

    assert account.run_error(programs / "initdb") is None
    assert account.run_error(programs / "postgres") is None


@AS_ROOT
@pytest.mark.usefixtures("closed_wheel")
def test_incomplete_copy_is_removed(account: OsUser, shared_dir: Path) -> None:
    name = programs_for(account, shared_dir).parents[2].name
    shutil.rmtree(shared_dir)
    partial_copy = shared_dir / f".{name}" / WHEEL / "pginstall18" / "bin"
    partial_copy.mkdir(parents=True)
    (partial_copy / "postgres").write_bytes(b"half")

    programs = programs_for(account, shared_dir)

    assert account.run_error(programs / "postgres") is None
    assert [path.name for path in shared_dir.glob("*postgres-*")] == [name]


@AS_ROOT
@pytest.mark.usefixtures("closed_wheel")
def test_concurrent_starts_share_one_copy(account: OsUser, shared_dir: Path) -> None:
    with ThreadPoolExecutor(3) as threads:
        folders = set(threads.map(lambda _: programs_for(account, shared_dir), range(3)))

    (programs,) = folders
    assert account.run_error(programs / "postgres") is None


@AS_ROOT
@pytest.mark.usefixtures("closed_wheel")
def test_programs_are_copied_to_the_next_folder_when_the_first_is_unwritable(account: OsUser, shared_dir: Path) -> None:
    assert programs_for(account, Path("/proc/fotograma"), shared_dir).is_relative_to(shared_dir)


@AS_ROOT
def test_wheel_without_its_libraries_is_a_broken_installation(
    account: OsUser, closed_wheel: Path, shared_dir: Path
) -> None:
    shutil.rmtree(closed_wheel.with_name(LIBRARIES))

    with pytest.raises(StartupError, match="libpq") as refused:
        programs_for(account, shared_dir)
    assert refused.value.code is ExitCode.NOT_INSTALLED
