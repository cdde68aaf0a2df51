"""Every error of the service has a class; every error of the SDK has code, detail, fault and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster.client import errors, httpx_adapter
from cluster.client.effects import ConnectionLost
from cluster.client.error_families import error_class
from db.values.error_catalogue import CATALOGUE
from fotograma import (
    ApiError,
    Client,
    FileRefused,
    FotogramaError,
    InvalidArgument,
    InvalidSpec,
    LimitReached,
    LocalFileNotFound,
    NotAuthenticated,
    NotFound,
    ServiceUnavailable,
    UnexpectedAnswer,
    WrongState,
)
from serve_app.http.problem_details import HTTP_STATUS
from tests.support.clients.fake_messages import answer_problem
from tests.support.clients.fake_service import FakeService
from tests.unit.cluster.client.test_errors_copied import SDK_ERRORS

FAMILIES: dict[type[ApiError], set[str]] = {
    NotAuthenticated: {"unauthenticated", "token_expired", "bad_credentials", "refresh_token_reused"},
    errors.NotAllowed: {"account_disabled", "registration_closed", "cross_site", "session_required"},
    NotFound: {"not_found"},
    errors.Gone: {"upload_gone", "expired", "video_expired", "damaged_result"},
    WrongState: {
        "idempotency_in_progress", "upload_conflict", "email_taken", "not_ready", "not_probed", "no_result",
        "wrong_state", "webhook_off",
    },
    LimitReached: {
        "too_large", "too_many_files", "too_many_requests", "too_many_waiting", "quota_exceeded", "minutes_exceeded",
        "too_many_webhooks", "too_many_api_keys", "too_many_presets",
    },
    FileRefused: {"empty_file", "playlist", "not_a_video"},
    ServiceUnavailable: {"paused", "queue_full", "busy", "storage_full", "unavailable", "internal"},
}  # fmt: skip


def test_codes_of_the_service_are_in_their_families() -> None:
    for family, codes in FAMILIES.items():
        assert {error_class(HTTP_STATUS[code], CATALOGUE[code].fault.value) for code in codes} == {family}


def test_all_other_codes_are_of_bad_requests() -> None:
    others = HTTP_STATUS.keys() - set().union(*FAMILIES.values())
    classes = {code: error_class(HTTP_STATUS[code], CATALOGUE[code].fault.value) for code in others}
    assert {code for code, kind in classes.items() if kind is errors.BadRequest} >= {
        "malformed_request", "invalid_field", "invalid_spec", "unsupported_media_type", "empty_selection",
    }  # fmt: skip
    later = {code for code, kind in classes.items() if kind is not errors.BadRequest}
    assert {classes[code] for code in later} <= set(ApiError.__subclasses__())


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(404, "not_found", NotFound), (409, "not_ready", WrongState), (422, "of_a_later_server", errors.BadRequest)],
)
def test_refusal_is_raised_as_its_class(
    client: Any, service: FakeService, status: int, code: str, kind: type[ApiError]
) -> None:
    service.add_faults("GET", "/v1/me", answer_problem(status, code))
    with pytest.raises(kind) as refused:
        client.me()
    assert (refused.value.code, refused.value.fault, refused.value.remedy) == (code, "request", f"Remedy of {code}.")


@pytest.mark.parametrize("error", SDK_ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_has_a_code_a_fault_and_a_remedy(error: FotogramaError) -> None:
    assert error.code.isidentifier()
    assert error.fault in {"request", "file", "service"}
    assert error.remedy
    assert error.detail


def test_missing_file_is_an_error_of_the_sdk_and_of_python(client: Any, tmp_path: Path) -> None:
    with pytest.raises(LocalFileNotFound, match=r"none\.mp4") as missing:
        client.upload(tmp_path / "none.mp4")
    assert isinstance(missing.value, FileNotFoundError)
    assert (missing.value.code, missing.value.errno, missing.value.filename) == (
        "local_file", 2, str(tmp_path / "none.mp4"),
    )  # fmt: skip


def test_folder_that_is_not_there_is_an_explained_error_of_a_download(client: Any, clip: Path, tmp_path: Path) -> None:
    extraction = client.wait(client.upload(clip).extraction)
    with pytest.raises(LocalFileNotFound, match="No such file") as missing:
        client.download(extraction, tmp_path / "none" / "out.zip")
    assert missing.value.remedy == "Check the path."


@pytest.mark.parametrize("spec", ["{", {"fps": float("nan")}, {"at": object()}, {"max_frames": {1}}])
def test_specification_that_is_no_json_is_an_error_before_anything_is_sent(
    client: Any, service: FakeService, clip: Path, spec: Any
) -> None:
    with pytest.raises(InvalidSpec) as refused:
        client.upload(clip, spec)
    assert isinstance(refused.value, ValueError)
    assert refused.value.code == "invalid_spec"
    assert service.requests == []


def test_key_that_no_header_can_hold_is_an_explained_error(client: Any, clip: Path) -> None:
    with pytest.raises(InvalidArgument, match="header"):
        client.upload(clip, idempotency_key="naïve ☃")


@pytest.mark.parametrize("call", [lambda client: client.video(""), lambda client: client.delete_webhook("")])
def test_empty_id_is_an_error_before_anything_is_sent(client: Any, service: FakeService, call: Any) -> None:
    with pytest.raises(InvalidArgument, match="id is empty"):
        call(client)
    assert service.requests == []


def test_call_after_close_is_an_explained_error(client: Any) -> None:
    client.close()
    with pytest.raises(FotogramaError, match="client is closed") as closed:
        client.me()
    assert closed.value.code == "client_closed"


REQUEST = httpx.Request("GET", "http://fotograma")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ReadTimeout("slow"), ConnectionLost),
        (httpx.RemoteProtocolError("cut"), ConnectionLost),
        (httpx.DecodingError("not gzip"), ConnectionLost),
        (httpx.TooManyRedirects("round", request=REQUEST), UnexpectedAnswer),
        (httpx.UnsupportedProtocol("gopher"), UnexpectedAnswer),
        (httpx.InvalidURL("http://["), UnexpectedAnswer),
        (httpx.LocalProtocolError("Illegal header value"), InvalidArgument),
    ],
)
def test_every_failure_of_httpx_is_explained(error: Exception, kind: type[Exception]) -> None:
    assert isinstance(error, httpx_adapter.FAILURES)
    assert type(httpx_adapter.explained(error)) is kind


def test_callback_of_the_caller_raises_what_it_raises(client: Any, clip: Path) -> None:
    class Stop(Exception):
        pass

    def stop(sent: int, total: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        client.upload(clip, on_sent=stop)


def test_unreachable_server_names_address_and_remedy() -> None:
    with Client("http://127.0.0.1:1", "key") as client:
        error = errors.ConnectionFailed(client.url, "refused")
    assert (error.code, error.fault) == ("connection_failed", "service")
    assert "address" in error.remedy
