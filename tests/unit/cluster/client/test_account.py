"""The export and the erasure of an account, through the SDK and the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from cluster.cli.app import main
from fotograma import ApiError, ConnectionFailed
from tests.support.clients.fake_messages import act_and_drop_connection, drop_connection, truncate_body
from tests.support.clients.fake_service import FakeService
from tests.support.clients.fake_service_clients import OpenClient
from tests.support.clients.fake_service_http_server import serve_fake_service

EXPORT = "/v1/me/export"


def test_export_is_complete_after_an_interrupted_connection(
    open_client: OpenClient, service: FakeService, tmp_path: Path
) -> None:
    service.add_faults("GET", EXPORT, truncate_body(50), drop_connection)
    received: list[int] = []
    target = tmp_path / "export.zip"
    assert open_client().export_account(target, on_received=lambda sent_bytes, _: received.append(sent_bytes)) == target
    assert target.read_bytes() == service.archive
    assert received[-1] == len(service.archive)
    assert list(tmp_path.iterdir()) == [target]


def test_failed_export_leaves_no_file_and_keeps_an_older_one(
    open_client: OpenClient, service: FakeService, tmp_path: Path
) -> None:
    target = tmp_path / "export.zip"
    target.write_bytes(b"older")
    service.add_faults("GET", EXPORT, *[truncate_body(50)] * 20)
    with pytest.raises(ConnectionFailed):
        open_client().export_account(target)
    assert list(tmp_path.iterdir()) == [target]
    assert target.read_bytes() == b"older"


@pytest.mark.parametrize("fault", [None, act_and_drop_connection])
@pytest.mark.parametrize("login", [False, True])
def test_erasure_drops_the_tokens_even_when_its_answer_is_lost(
    open_client: OpenClient, service: FakeService, fault: Any, login: bool
) -> None:
    client = open_client(token=None) if login else open_client(token="access-0")
    if login:
        client.login("ana@example.org", "right password")
    service.add_faults("DELETE", "/v1/me", *([fault] if fault else []))
    client.delete_account("right password")
    assert client.tokens is None


def test_wrong_password_is_sent_once_and_erases_nothing(open_client: OpenClient, service: FakeService) -> None:
    client = open_client(token=None)
    client.login("ana@example.org", "right password")
    with pytest.raises(ApiError, match="bad_credentials"):
        client.delete_account("wrong password")
    assert client.me().email == "ana@example.org"
    assert len(service.requests_to("DELETE", "/v1/me")) == 1


def test_ended_session_erases_nothing(open_client: OpenClient, service: FakeService) -> None:
    with pytest.raises(ApiError, match="unauthenticated"):
        open_client(token="ended").delete_account("right password")
    assert not service.requests_to("DELETE", "/v1/me")


@pytest.fixture
def command_line(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    with serve_fake_service(service) as url:
        monkeypatch.setenv("FOTOGRAMA_URL", url)
        monkeypatch.setenv("FOTOGRAMA_API_KEY", "fg_key")
        monkeypatch.setenv("FOTOGRAMA_PASSWORD", "right password")
        yield monkeypatch


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["account", *arguments])
    return int(ended.value.code or 0)


@pytest.mark.usefixtures("command_line")
def test_command_writes_the_export_only_into_a_new_file(
    service: FakeService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "my data.zip"
    assert run("export", str(target)) == 0
    assert target.read_bytes() == service.archive
    assert capsys.readouterr().out == f"{target}: 0.0 MB\n"
    assert run("export", str(target)) == 2
    assert "is there already" in capsys.readouterr().err
    assert len(service.requests_to("GET", EXPORT)) == 1


def test_command_erases_the_account_only_after_confirmation(
    service: FakeService, command_line: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    questions: list[str] = []

    def answer(yes: bool) -> Any:
        def confirm(text: str, **_: Any) -> None:
            questions.append(text)
            if not yes:
                raise typer.Abort

        return confirm

    command_line.setattr(typer, "confirm", answer(False))
    assert run("delete") == 1
    assert not service.requests_to("DELETE", "/v1/me")
    command_line.setattr(typer, "confirm", answer(True))
    assert run("delete") == 0
    assert questions == ["Erase the account ana@example.org with all its videos and results? This can't be undone."] * 2
    assert run("delete", "--yes") == 0
    assert "The account ana@example.org is erased." in capsys.readouterr().out
