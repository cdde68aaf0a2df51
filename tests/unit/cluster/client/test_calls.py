"""The calls of both clients: accounts, waiting, videos and extractions."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cluster.client.api_types import Estimate, Media, Status, Tokens
from fotograma import (
    ApiError,
    AsyncClient,
    Client,
    ConnectionFailed,
    ExtractionFailed,
    UnexpectedAnswer,
    WaitTimeout,
)
from tests.support.clients.fake_messages import (
    ApiRequest,
    act_and_drop_connection,
    answer_problem,
    drop_connection,
    json_response,
    problem_response,
)
from tests.support.clients.fake_service import NOW, FakeService
from tests.support.clients.fake_service_clients import FakeClock, OpenClient


def test_account_registers_logs_in_and_logs_out(open_client: OpenClient, service: FakeService) -> None:
    reported: list[Tokens | None] = []
    client = open_client(token=None, on_tokens=reported.append)
    assert client.register("ana@example.org", "right password", name="Ana").email == "ana@example.org"
    assert client.login("ana@example.org", "right password").refresh_token == "refresh-1"
    assert client.me().id == "u-1"
    client.logout()
    assert [tokens and tokens.access_token for tokens in reported] == ["access-1", None]
    assert client.tokens is None
    with pytest.raises(ApiError):
        client.me()


def test_api_error_has_every_member_of_the_problem(client: Any) -> None:
    with pytest.raises(ApiError, match="This is bad_credentials") as refused:
        client.login("ana@example.org", "wrong")
    error = refused.value
    assert (error.status, error.code, error.fault) == (401, "bad_credentials", "request")
    assert (error.remedy, error.request_id) == ("Remedy of bad_credentials.", "r-1")


def test_tokens_are_not_in_the_repr(open_client: OpenClient) -> None:
    client = open_client(token="secret-a", refresh_token="secret-b")
    assert "secret" not in repr(client.tokens)


def test_expired_access_token_is_renewed_and_the_new_pair_is_reported(
    open_client: OpenClient, service: FakeService
) -> None:
    reported: list[Tokens | None] = []
    client = open_client(token="old", refresh_token="refresh-0", on_tokens=reported.append)
    assert client.me().id == "u-1"
    assert service.refresh_count == 1
    assert [tokens and tokens.refresh_token for tokens in reported] == ["refresh-1"]


def test_refused_refresh_is_an_error_and_is_not_repeated(open_client: OpenClient, service: FakeService) -> None:
    client = open_client(token="old", refresh_token="used before")
    with pytest.raises(ApiError) as refused:
        client.me()
    assert refused.value.code == "refresh_token_reused"
    assert len(service.requests_to("POST", "/v1/tokens/refresh")) == 1


def test_token_without_a_refresh_token_is_not_renewed(open_client: OpenClient, service: FakeService) -> None:
    with pytest.raises(ApiError):
        open_client(token="old").me()
    assert len(service.requests) == 1


def test_renewal_is_repeated_after_an_outage(open_client: OpenClient, service: FakeService) -> None:
    service.add_faults("POST", "/v1/tokens/refresh", answer_problem(503, "unavailable", Retry_After="1"))
    assert open_client(token="old", refresh_token="refresh-0").me().id == "u-1"


def test_logging_out_of_a_session_that_has_ended_is_no_error(open_client: OpenClient, service: FakeService) -> None:
    client = open_client(token="old")
    client.logout()
    assert client.tokens is None


def test_read_is_repeated_after_transient_answers_and_lost_connections(
    client: Any, service: FakeService, clock: FakeClock
) -> None:
    service.add_faults(
        "GET",
        "/v1/me",
        answer_problem(503, "unavailable", Retry_After="4"),
        drop_connection,
        answer_problem(429, "too_many_requests"),
    )
    assert client.me().id == "u-1"
    assert clock.slept == [4.25, 0.5, 1.0]


def test_registration_is_repeated_only_after_a_refusal_by_the_rate_limit(client: Any, service: FakeService) -> None:
    service.add_faults("POST", "/v1/users", answer_problem(429, "too_many_requests", Retry_After="3"), drop_connection)
    with pytest.raises(ConnectionFailed):
        client.register("ana@example.org", "right password")
    assert len(service.requests) == 2


def test_login_is_repeated_after_a_refusal_by_the_rate_limit_and_a_lost_answer(
    client: Any, service: FakeService, clock: FakeClock
) -> None:
    service.add_faults(
        "POST", "/v1/tokens", answer_problem(429, "too_many_requests", Retry_After="3"), act_and_drop_connection
    )
    client.login("ana@example.org", "right password")
    assert client.me().id == "u-1"
    assert clock.slept == [3.25, 0.5]


def test_redelivery_is_repeated_when_its_answer_is_lost(client: Any, service: FakeService) -> None:
    delivery = {
        "id": "d-1",
        "type": "extraction.failed",
        "extraction_id": "e-1",
        "status": "pending",
        "created_at": NOW,
    }
    service.add_faults("POST", ".*/redeliver", drop_connection, lambda request, carry_out: json_response(202, delivery))
    assert client.redeliver("w-1", "d-1").id == "d-1"
    assert len(service.requests_to("POST", ".*/redeliver")) == 2


def test_retries_are_bounded(client: Any, service: FakeService) -> None:
    service.add_faults("GET", "/v1/me", *[drop_connection] * 10)
    with pytest.raises(ConnectionFailed, match=r"http://fotograma can't be reached: reset"):
        client.me()
    assert len(service.requests) == 6


def test_answer_without_a_problem_gets_a_code_from_its_status(client: Any, service: FakeService) -> None:
    def proxy(request: ApiRequest, carry_out: Any) -> Any:
        response = problem_response(500, "x")
        response.body = b"<html>Bad"
        return response

    service.add_faults("GET", "/v1/me", *[proxy] * 6)
    with pytest.raises(ApiError) as refused:
        client.me()
    assert (refused.value.code, refused.value.fault) == ("http_500", "service")


def test_redirect_is_an_error_and_is_not_followed(client: Any, service: FakeService) -> None:
    service.add_faults("GET", "/v1/me", answer_problem(307, "x", Location="https://elsewhere/"))
    with pytest.raises(UnexpectedAnswer, match="https://elsewhere/"):
        client.me()


def test_videos_are_listed_over_all_pages_and_filtered(client: Any, service: FakeService, clip: Path) -> None:
    for _ in range(5):
        client.upload(clip)
    assert [video.id for video in client.videos()] == ["v-5", "v-4", "v-3", "v-2", "v-1"]
    assert list(client.videos(status=Status.FAILED)) == []
    assert len(list(client.videos(status="queued", q="clip"))) == 5
    page = client.video_page(limit=2)
    assert page.next_cursor is not None
    assert client.video_page(limit=2, cursor=page.next_cursor).items[0].id == "v-3"


def test_video_is_read_extracted_again_and_deleted(client: Any, clip: Path) -> None:
    video = client.upload(clip)
    assert client.video(video.id) == video
    assert client.extract_again(video, {"max_frames": 3}).video_id == video.id
    client.delete(video)
    with pytest.raises(ApiError, match="not_found"):
        client.video(video.id)


def test_deletion_with_a_lost_answer_succeeds(client: Any, service: FakeService, clip: Path) -> None:
    video = client.upload(clip)
    service.add_faults("DELETE", ".*", act_and_drop_connection)
    client.delete(video)
    with pytest.raises(ApiError, match="not_found"):
        client.delete(video)


def test_id_is_one_segment_of_the_path(client: Any, service: FakeService) -> None:
    with pytest.raises(ApiError, match="not_found"):
        client.video("../me?x=1")
    assert service.requests[-1].path.startswith("/v1/videos/")


def test_wait_reports_progress_until_the_extraction_ends(
    client: Any, service: FakeService, clip: Path, clock: FakeClock
) -> None:
    service.polls_until_end = 12
    statuses: list[Status] = []
    ended = client.wait(
        client.upload(clip).extraction, on_progress=lambda extraction: statuses.append(extraction.status)
    )
    assert ended.result is not None
    assert [statuses[0], statuses[1], statuses[-1]] == [Status.QUEUED, Status.RUNNING, Status.SUCCEEDED]
    assert clock.slept == sorted(clock.slept)
    assert clock.slept[-1] == 3.0


@pytest.mark.parametrize("by_id", [True, False])
def test_failed_extraction_is_an_error_with_its_reason(client: Any, tmp_path: Path, by_id: bool) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"video")
    extraction = client.upload(tmp_path / "broken.mp4").extraction
    with pytest.raises(ExtractionFailed, match=r"Only sound\. \(no_video_stream\)") as failed:
        client.wait(extraction.id if by_id else extraction)
    assert failed.value.extraction.error is not None
    assert failed.value.extraction.error.remedy == "Send pictures."


def test_cancelled_extraction_is_an_error_and_can_be_retried(client: Any, clip: Path) -> None:
    extraction = client.cancel(client.upload(clip).extraction)
    with pytest.raises(ExtractionFailed, match="cancelled"):
        client.wait(extraction)
    assert client.retry(extraction).id == "e-retried"


def test_cancellation_with_a_lost_answer_succeeds(client: Any, service: FakeService, clip: Path) -> None:
    extraction = client.upload(clip).extraction
    service.add_faults("POST", ".*/cancel", act_and_drop_connection, answer_problem(409, "wrong_state"))
    assert client.cancel(extraction).status is Status.CANCELLED
    service.add_faults("POST", ".*/cancel", answer_problem(409, "wrong_state"))
    with pytest.raises(ApiError, match="wrong_state"):
        client.cancel(extraction.id)


def test_cancellation_of_an_extraction_that_has_ended_is_an_error(
    client: Any, service: FakeService, clip: Path
) -> None:
    ended = client.wait(client.upload(clip).extraction)
    service.add_faults("POST", ".*/cancel", drop_connection, answer_problem(409, "wrong_state"))
    with pytest.raises(ApiError, match="wrong_state"):
        client.cancel(ended)


def test_wait_ends_at_its_timeout_with_the_last_state(
    client: Any, service: FakeService, clip: Path, clock: FakeClock
) -> None:
    service.polls_until_end = 10**6
    with pytest.raises(WaitTimeout) as timeout:
        client.wait(client.upload(clip).extraction, timeout_seconds=10)
    assert clock.now == 10
    assert timeout.value.extraction.status is Status.RUNNING


def test_wait_survives_an_outage_that_is_longer_than_the_retries_of_one_call(
    client: Any, service: FakeService, clip: Path
) -> None:
    extraction = client.upload(clip).extraction
    service.add_faults("GET", "/v1/extractions/.*", *[drop_connection] * 20)
    assert client.wait(extraction).status is Status.SUCCEEDED


def test_wait_ends_when_the_server_stays_away(client: Any, service: FakeService, clip: Path) -> None:
    extraction = client.upload(clip).extraction
    service.add_faults("GET", "/v1/extractions/.*", *[drop_connection] * 2000)
    with pytest.raises(ConnectionFailed):
        client.wait(extraction)


def test_manifest_is_read(client: Any, clip: Path) -> None:
    assert client.manifest(client.wait(client.upload(clip).extraction)).frames[0].name.endswith(".jpg")


def test_address_without_a_scheme_is_refused_at_once() -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ValueError, match="http://"):
            kind("localhost:8000")


def test_estimate_is_of_a_stored_video_or_of_the_media_of_a_file(client: Any, service: FakeService) -> None:
    service.estimate = {"frames": 7, "bytes": 1000, "seconds": 1.5}
    media = Media(codec="h264", width=64, height=48, duration=2.5, fps_average=25.0, frames=62)
    assert client.estimate(media, {"sample": {"mode": "fps", "fps": Decimal("29.970")}}) == Estimate(7, 1000, 1.5)
    assert client.estimate("v-1").frames == 7
    assert client.estimate({"codec": "vp9"}).frames == 7
    of_media, of_video, of_facts = (request.body.decode() for request in service.requests)
    assert json.loads(of_media)["media"] == {
        "codec": "h264", "width": 64, "height": 48, "duration": 2.5, "fps_average": 25.0,
    }  # fmt: skip
    assert '"fps":29.970' in of_media
    assert json.loads(of_facts)["media"] == {"codec": "vp9"}
    assert json.loads(of_video) == {"video_id": "v-1", "spec": {}}
