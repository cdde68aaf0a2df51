"""Where a client gets its address and its key from: arguments, environment, stored log-in, this machine."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from cluster.client.credentials.credentials_file import CredentialsFile
from cluster.client.credentials.server_choice import ServerChoice, choose_server
from fotograma import AsyncClient, BadAddress, Client, InvalidArgument, LocalFileError, Tokens

A, B, C = "http://a:1", "http://b:2", "http://c:3"
KEY_OF_A = {"FOTOGRAMA_URL": A, "FOTOGRAMA_API_KEY": "key-of-a"}


def never_called() -> NoReturn:
    raise AssertionError("the stored log-in does not matter here")


@pytest.mark.parametrize(
    ("url", "api_key", "environ", "chosen"),
    [
        (A, "k", {}, ServerChoice(A, "k")),
        (A, "k", {"FOTOGRAMA_URL": B, "FOTOGRAMA_API_KEY": "of-b"}, ServerChoice(A, "k")),
        (None, None, KEY_OF_A, ServerChoice(A, "key-of-a")),
        (None, "k", KEY_OF_A, ServerChoice(A, "k")),
        (f"{A}/", None, KEY_OF_A, ServerChoice(A, "key-of-a")),
        (B, None, KEY_OF_A, ServerChoice(B, None)),
        (B, None, {"FOTOGRAMA_API_KEY": "k"}, ServerChoice(B, "k")),
        (B, None, {"FOTOGRAMA_URL": "", "FOTOGRAMA_API_KEY": ""}, ServerChoice(B, None)),
        (A, " k\n", {}, ServerChoice(A, "k")),
    ],
)
def test_arguments_are_before_the_environment_whose_key_goes_to_its_own_server_only(
    url: str | None, api_key: str | None, environ: dict[str, str], chosen: ServerChoice
) -> None:
    assert choose_server(url, api_key, environ, never_called) == chosen


def test_stored_log_in_is_after_the_environment_and_this_machine_is_the_last() -> None:
    assert choose_server(None, None, {}, lambda: C) == ServerChoice(C, None)
    assert choose_server(None, None, {"FOTOGRAMA_API_KEY": "k"}, lambda: C) == ServerChoice(C, "k")
    assert choose_server(None, None, {}, lambda: None) == ServerChoice("http://127.0.0.1:8000", None)


@pytest.mark.parametrize("key", ["", " ", "two words", "naïve", "a\nb", "a\0b"])
def test_key_that_no_header_can_hold_is_refused_at_once(key: str) -> None:
    with pytest.raises(InvalidArgument, match="API key"):
        choose_server(A, key, {}, never_called)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CredentialsFile:
    """The file of the command line, with a log-in at A."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in KEY_OF_A:
        monkeypatch.delenv(name, raising=False)
    file = CredentialsFile(tmp_path / "fotograma" / "credentials.json")
    file.write_tokens(A, Tokens("access", "refresh"), "ana@example.org")
    return file


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_client_without_arguments_uses_the_log_in_of_the_command_line(
    kind: type[Client | AsyncClient], file: CredentialsFile
) -> None:
    assert (kind().url, kind().tokens) == (A, Tokens("access", "refresh"))
    assert (kind(B).url, kind(B).tokens) == (B, None)
    assert kind(A, "key").tokens == Tokens("key")
    assert kind(A, tokens=Tokens("mine")).tokens == Tokens("mine")
    assert kind(A, on_tokens=print).tokens is None
    for own in ({"tokens": Tokens("mine")}, {"on_tokens": print}):
        with pytest.raises(InvalidArgument, match="api_key, or tokens and on_tokens"):
            kind(A, "key", **own)


def test_log_in_of_a_client_leaves_that_of_the_command_line_as_it_is(file: CredentialsFile) -> None:
    store = Client()._session.store
    store.begin(Tokens("mine", "mine"))
    with store.exclusive():
        store.change(Tokens("renewed", "renewed"))
    assert (store.tokens, file.tokens(A)) == (Tokens("renewed", "renewed"), Tokens("access", "refresh"))


def test_credentials_that_cannot_be_read_are_an_explained_error(file: CredentialsFile) -> None:
    file.path.unlink()
    file.path.mkdir()
    with pytest.raises(LocalFileError, match=r"credentials\.json") as unreadable:
        Client()
    assert unreadable.value.remedy
    assert Client(A, "key").url == A


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://a", "http://"])
def test_address_of_no_server_is_an_error_with_an_example(url: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(BadAddress, match=r"one looks like http://127\.0\.0\.1:8000"):
            kind(url)
