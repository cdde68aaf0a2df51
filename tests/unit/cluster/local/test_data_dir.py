"""Decisions of `fotograma up`: recorded processes, the environment of the replicas, refused starts."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cluster.local import up
from cluster.local.cores_and_ports import cpu_limit
from cluster.local.data_dir import (
    MIB,
    NEEDED_BYTES,
    DataDir,
    check_space,
    make_run_folder,
    make_shared_dir,
    open_data_dir,
    postgres_folder,
    remove_run_folder,
)
from cluster.local.process_record import RecordedProcess, RecordedRun, read_record, still_running, write_record
from cluster.local.ray_environment import changes
from cluster.local.secret_files import Secrets, open_secrets
from cluster.local.servers.backing_service_plan import address_without_secrets
from cluster.local.servers.os_user import OsUser, is_open_to_all, server_user
from cluster.local.startup_error import ExitCode, StartupError
from cluster.settings import load

SECRETS = Secrets(secret_key="s" * 64, postgres_password="p", valkey_password="v", ray_token="r", demo_password="d")
ADDRESSES = {"FOTOGRAMA_DATABASE_URL": "postgresql://db/x"}


def variables_of(environment: dict[str, str], data_dir: Path = Path("/home")) -> dict[str, str | None]:
    return changes(
        environment,
        DataDir(data_dir),
        SECRETS,
        addresses=ADDRESSES,
        url="http://127.0.0.1:8000",
        workers=3,
        run_folder=Path("/r"),
    )


def test_jobs_find_the_programs_of_this_installation_first() -> None:
    path = variables_of({"PATH": "/usr/bin:/bin"})["PATH"]
    assert path == f"{Path(sys.executable).parent}:/usr/bin:/bin"


def test_recorded_process_still_runs_when_pid_and_start_time_agree() -> None:
    running = {10: 1000.0, 11: 1000.9, 12: 5000.0}
    recorded = [
        RecordedProcess(10, 1000.0),
        RecordedProcess(11, 1000.2),
        RecordedProcess(12, 1000.0),
        RecordedProcess(13, 1000.0),
    ]

    assert still_running(recorded, running.get) == [RecordedProcess(10, 1000.0), RecordedProcess(11, 1000.2)]


def test_record_survives_writing_and_reading(tmp_path: Path) -> None:
    run = RecordedRun(Path("/tmp/fotograma-x"), (RecordedProcess(1, 2.25), RecordedProcess(3, 4.5)))

    write_record(tmp_path / "record", run)

    assert read_record(tmp_path / "record") == run


@pytest.mark.parametrize("text", ["", "[]", "{", '{"folder": "", "processes": [[1]]}', '{"processes": 3}'])
def test_damaged_record_counts_as_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "record").write_text(text)

    assert read_record(tmp_path / "record") == RecordedRun()


@pytest.mark.parametrize(
    ("text", "limit"), [("max 100000\n", None), ("150000 100000\n", 2), ("50000 100000\n", 1), ("", None)]
)
def test_cpu_limit_of_a_container_is_rounded_up_to_whole_cores(text: str, limit: int | None) -> None:
    assert cpu_limit(text) == limit


def test_settings_and_secrets_reach_the_replicas_by_the_environment() -> None:
    variables = variables_of({"RAY_ADDRESS": "elsewhere:6379"})

    assert variables["FOTOGRAMA_DATABASE_URL"] == "postgresql://db/x"
    assert variables["FOTOGRAMA_SECRET_KEY"] == SECRETS.secret_key
    assert variables["FOTOGRAMA_WORKERS"] == "3"
    assert variables["RAY_AUTH_MODE"] == "token"
    assert variables["RAY_ADDRESS"] is None, "it names another cluster"


def test_serve_starts_no_ingress_of_its_own() -> None:
    variables = variables_of({"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_ENABLE_DIRECT_INGRESS": "1"})

    assert variables["RAY_SERVE_ENABLE_HA_PROXY"] is None
    assert variables["RAY_SERVE_ENABLE_DIRECT_INGRESS"] is None
    assert variables["FOTOGRAMA_API_SOCKETS"] == "/r/api"


def test_processes_of_the_service_write_bytecode() -> None:
    assert variables_of({"PYTHONDONTWRITEBYTECODE": "1"})["PYTHONDONTWRITEBYTECODE"] is None


def test_variables_of_the_environment_override_the_defaults() -> None:
    variables = variables_of({"FOTOGRAMA_PUBLIC_URL": "https://frames.example", "FOTOGRAMA_WORKERS": "9"})

    assert variables["FOTOGRAMA_PUBLIC_URL"] == "https://frames.example"
    assert variables["FOTOGRAMA_WORKERS"] == "3", "the number of workers of this run"


def test_up_sets_no_limit_for_the_bytes_of_an_upload_request(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "FOTOGRAMA_UPLOAD_REQUEST_MAX_BYTES"
    variables = {**variables_of({}), "FOTOGRAMA_OBJECTS_URL": "file:///x"}
    for variable, value in variables.items():
        if variable.startswith("FOTOGRAMA_") and value is not None:
            monkeypatch.setenv(variable, value)

    assert load().upload_request_max_bytes is None
    assert variables_of({name: "1048576"})[name] == "1048576"


def test_full_disk_is_refused_with_the_needed_space() -> None:
    check_space(Path("/data"), NEEDED_BYTES)

    with pytest.raises(StartupError, match=rf"/data has 7 MiB free; .* needs {NEEDED_BYTES // MIB} MiB") as refused:
        check_space(Path("/data"), 7 * MIB)
    assert refused.value.code is ExitCode.NO_SPACE


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://me:secret@db.example:5433/frames?password=secret", "postgresql://db.example:5433/frames"),
        ("redis://:secret@cache/0", "redis://cache/0"),
        ("s3://bucket/prefix?aws_secret_access_key=secret", "s3://bucket/prefix"),
        ("postgresql://me:secret@[half", "an address that can't be read"),
    ],
)
def test_message_about_a_server_contains_no_secret(url: str, place: str) -> None:
    assert address_without_secrets(url) == place


def test_secrets_are_generated_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    files = tmp_path / "secrets.json", tmp_path / "ray-token"

    secrets = open_secrets(*files)

    assert open_secrets(*files) == secrets
    assert files[1].read_text() == secrets.ray_token
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
    assert secrets.secret_key not in repr(secrets)


@pytest.fixture
def shared_dir() -> Iterator[Path]:
    """A folder that does not exist yet, in a folder that every user may enter."""
    with tempfile.TemporaryDirectory(prefix="fotograma-test-", dir="/tmp") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "shared_dir"


@pytest.fixture
def strict_umask() -> Iterator[None]:
    """The strictest umask."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("strict_umask")
def test_database_is_stored_in_the_shared_folder_when_its_user_can_t_enter_the_data_directory(
    tmp_path: Path, shared_dir: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    other = OsUser(uid=os.geteuid(), gid=os.getegid())

    place = postgres_folder(DataDir(closed), other, shared_dir)

    assert place.parent == shared_dir
    assert is_open_to_all(shared_dir)
    assert postgres_folder(DataDir(closed), other, shared_dir) == place


def test_database_that_its_user_can_t_reach_is_refused(shared_dir: Path) -> None:
    shared_dir.mkdir()
    data_dir, other = DataDir(shared_dir / "data"), OsUser(uid=os.geteuid(), gid=os.getegid())
    data_dir.path.mkdir(mode=0o711)
    postgres_folder(data_dir, other, shared_dir)
    data_dir.path.chmod(0o700)

    with pytest.raises(StartupError, match="can't reach") as refused:
        postgres_folder(data_dir, other, shared_dir)
    assert refused.value.code is ExitCode.NO_SPACE


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o771])
def test_shared_folder_that_other_users_can_change_is_refused(shared_dir: Path, mode: int) -> None:
    shared_dir.mkdir()
    shared_dir.chmod(mode)

    with pytest.raises(StartupError, match="can be changed by other users"):
        make_shared_dir(shared_dir)


def test_user_without_a_home_folder_gets_an_error_with_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)

    with pytest.raises(StartupError, match="--home DIR"):
        open_data_dir(Path("~/.fotograma"))


def test_user_of_postgres_that_another_process_creates_meanwhile_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    me, lookups = pwd.getpwuid(os.getuid()), iter([KeyError(), None, None])

    def find(name: str) -> pwd.struct_passwd:
        if (error := next(lookups)) is not None:
            raise error
        return me

    def run(command: Sequence[str], *, check: bool, **_options: Any) -> None:
        if check:
            raise subprocess.CalledProcessError(9, command, stderr="useradd: user 'pgserver' already exists")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", find)
    monkeypatch.setattr(subprocess, "run", run)

    assert server_user() == OsUser(me.pw_uid, me.pw_gid)


def test_user_without_a_name_gets_an_error_with_the_remedy() -> None:
    with pytest.raises(StartupError, match="54321"):
        OsUser(uid=54321, gid=54321).check_name()


def test_missing_database_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "postgres").symlink_to(tmp_path / "gone")

    with pytest.raises(StartupError, match="The database is missing"):
        postgres_folder(DataDir(tmp_path), OsUser(), shared_dir=tmp_path / "shared_dir")


def test_run_folder_has_a_path_short_enough_for_sockets(tmp_path: Path) -> None:
    deep = tmp_path / ("long" * 30)
    deep.mkdir()

    folder = make_run_folder(deep)

    assert len(os.fsencode(folder)) < 40
    remove_run_folder(folder)
    assert not folder.exists()


def test_run_folder_can_be_entered_by_the_user_of_postgres() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as closed:
        folder = make_run_folder(Path(closed))

        # Root's PostgreSQL runs as another user; everybody else's does not.
        assert is_open_to_all(folder) if os.geteuid() == 0 else folder.parent == Path(closed)
        remove_run_folder(folder)


def test_only_run_folders_are_removed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "fotograma-link").symlink_to(tmp_path / "mine")

    for path in (tmp_path / "mine", tmp_path / "fotograma-link"):
        remove_run_folder(path)

    assert (tmp_path / "mine").is_dir()


def test_every_exit_code_is_documented() -> None:
    assert up.__doc__ is not None
    documented = {int(line.split()[0]) for line in up.__doc__.splitlines() if line.strip()[:1].isdigit()}

    assert documented == set(ExitCode)
