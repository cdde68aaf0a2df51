"""The server that the command line uses, and where its credentials are stored."""

from __future__ import annotations

import asyncio
import json
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from cluster.cli.commands.sessions import account_language
from cluster.cli.server_url import NotLoggedIn, server_url
from cluster.client.api_types import Tokens
from cluster.client.credentials.credentials_file import CredentialsFile, FileTokenStore, credentials_file
from cluster.client.credentials.server_choice import canonical_url, choose_server, token_store
from cluster.client.credentials.token_store import TokenStore
from cluster.client.errors import BadAddress, FotogramaError
from tests.support.own_process import command_of
from tests.support.programs import hold_credentials_lock

HERE, THERE = "http://127.0.0.1:8000", "https://frames.example.org"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path)}


@pytest.fixture
def file(tmp_path: Path) -> CredentialsFile:
    return CredentialsFile(tmp_path / "fotograma" / "credentials.json")


def chosen_store(environ: dict[str, str]) -> TokenStore:
    """The tokens that a client without arguments uses."""
    return token_store(choose_server(None, None, environ, credentials_file(environ).current_url), environ)


def test_only_the_owner_can_read_the_file(file: CredentialsFile) -> None:
    file.write_tokens(HERE, Tokens("a", "r"), "ana@example.org")
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    assert [path.name for path in file.path.parent.iterdir()] == ["credentials.json"]


def test_sessions_of_several_servers_are_kept_and_the_latest_login_is_the_current_one(
    file: CredentialsFile, environ: dict[str, str]
) -> None:
    file.write_tokens(HERE, Tokens("a", "r"), "ana@example.org")
    file.write_tokens(THERE, Tokens("b"), "ana@example.org")
    file.write_tokens(HERE, Tokens("c", "s"))
    assert server_url(environ) == THERE
    assert chosen_store(environ | {"FOTOGRAMA_URL": f"{HERE}/"}).tokens == Tokens("c", "s")
    assert json.loads(file.path.read_text())["servers"][HERE]["email"] == "ana@example.org"


def test_token_is_never_sent_to_another_server(file: CredentialsFile, environ: dict[str, str]) -> None:
    file.write_tokens(HERE, Tokens("a", "r"), "ana@example.org")
    with pytest.raises(NotLoggedIn, match=r"fotograma login --url https://other\.example"):
        server_url(environ | {"FOTOGRAMA_URL": "https://other.example"})


def test_environment_overrides_the_file(file: CredentialsFile, environ: dict[str, str]) -> None:
    file.write_tokens(HERE, Tokens("a", "r"), "ana@example.org")
    overriding = environ | {"FOTOGRAMA_URL": THERE, "FOTOGRAMA_API_KEY": "key"}
    store = chosen_store(overriding)
    assert (server_url(overriding), store.tokens) == (THERE, Tokens("key"))
    store.change(None)
    assert file.tokens(HERE) == Tokens("a", "r")


def test_nobody_is_logged_in_without_a_file_or_after_a_logout(file: CredentialsFile, environ: dict[str, str]) -> None:
    with pytest.raises(NotLoggedIn):
        server_url(environ)
    file.write_tokens(HERE, Tokens("a", "r"), "ana@example.org")
    chosen_store(environ).change(None)
    with pytest.raises(NotLoggedIn):
        server_url(environ)


def test_damaged_file_is_an_error_and_stays_unchanged(file: CredentialsFile, environ: dict[str, str]) -> None:
    file.path.parent.mkdir()
    file.path.write_text("{")
    with pytest.raises(FotogramaError, match=r"credentials\.json is damaged"):
        server_url(environ)
    assert file.path.read_text() == "{"


def test_renewal_is_exclusive_and_sees_the_tokens_of_an_earlier_renewal(file: CredentialsFile) -> None:
    file.write_tokens(HERE, Tokens("a", "r"), "ana@example.org")
    mine, other = FileTokenStore(file, HERE), FileTokenStore(file, HERE)
    order: list[str] = []

    def renew() -> None:
        with other.exclusive():
            assert other.tokens == Tokens("b", "s")
            order.append("other")

    thread = threading.Thread(target=renew)
    with mine.exclusive():
        thread.start()
        mine.change(Tokens("b", "s"))
        order.append("mine")
    thread.join()
    assert order == ["mine", "other"]


async def test_lock_can_be_released_by_another_thread(file: CredentialsFile) -> None:
    for _ in range(3):
        lock = file.locked()
        await asyncio.to_thread(lock.__enter__)
        with pytest.raises(Timeout), FileLock(file.path.with_suffix(".lock"), blocking=False):
            pass
        lock.__exit__(None, None, None)


def test_lock_of_a_killed_process_is_free(file: CredentialsFile) -> None:
    command = command_of(hold_credentials_lock, file.path)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Timeout), FileLock(file.path.with_suffix(".lock"), blocking=False):
            pass
        holder.kill()
    with file.locked():
        assert stat.S_IMODE(file.path.with_suffix(".lock").stat().st_mode) == 0o600


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", "http://[::1", "http://host:x", ""])
def test_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(BadAddress):
        canonical_url(url)


def test_one_server_has_one_address() -> None:
    assert canonical_url(" http://host:8000/ ") == "http://host:8000"


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({"LANG": "pt_BR.UTF-8"}, "pt-BR"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "pt_PT.UTF-8"}, "pt-BR"),
        ({"LANG": "pt_BR.UTF-8", "LC_ALL": "C.UTF-8"}, None),
        ({"LANG": "pt_BR.UTF-8", "LC_ALL": ""}, "pt-BR"),
        ({}, None),
    ],
)
def test_new_account_has_the_language_of_the_terminal(environment: dict[str, str], language: str | None) -> None:
    assert account_language(environment) == language
