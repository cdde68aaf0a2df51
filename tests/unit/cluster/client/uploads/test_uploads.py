"""Uploads by both clients: every byte arrives despite failures, and one file becomes one video."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from fotograma import ApiError, ConnectionFailed, UnexpectedAnswer, UnsendableFile
from tests.support.clients.fake_messages import (
    ApiRequest,
    ApiResponse,
    ConnectionDropped,
    act_and_drop_connection,
    answer_problem,
    drop_connection,
)
from tests.support.clients.fake_service import FakeService
from tests.support.clients.fake_service_clients import FakeClock
from tests.support.clients.upload_faults import ONE_UPLOAD, UPLOADS, offsets, receive_part


def test_files_are_submitted_in_order_with_the_specification(client: Any, service: FakeService, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.mp4" for name in "cab"]
    for path in paths:
        path.write_bytes(b"video" + path.name.encode())
    progress: list[tuple[int, int]] = []
    videos = client.submit(
        paths, {"sample": {"mode": "fps", "fps": 0.1}}, on_sent=lambda *sent_and_total: progress.append(sent_and_total)
    )
    assert [video.filename for video in videos] == ["c.mp4", "a.mp4", "b.mp4"]
    assert service.file_contents[videos[0].id] == b"videoc.mp4"
    assert set(service.specs) == {'{"sample":{"mode":"fps","fps":0.1}}'}
    assert progress[-1] == (30, 30)
    assert len(service.requests_to("POST", UPLOADS)) == 3
    assert not service.requests_to("PATCH", ONE_UPLOAD)


def test_specification_that_is_too_long_for_a_header_is_sent_as_the_body(
    client: Any, service: FakeService, clip: Path
) -> None:
    spec = {"sample": {"mode": "timestamps", "at": list(range(10_000))}}
    video = client.upload(clip, spec)
    assert video.extraction.spec == spec
    assert max(len(value) for request in service.requests for value in request.headers.values()) < 4096
    assert service.file_contents == {video.id: clip.read_bytes()}


def test_large_file_is_sent_in_pieces(client: Any, service: FakeService, large: Path) -> None:
    progress: list[int] = []
    video = client.upload(large, on_sent=lambda sent, total: progress.append(sent))
    assert service.file_contents == {video.id: large.read_bytes()}
    assert max(len(request.body) for request in service.requests) == 400
    assert progress == sorted(progress)
    assert progress[-1] == large.stat().st_size


@pytest.mark.parametrize(
    "fault",
    [
        drop_connection,
        act_and_drop_connection,
        receive_part(7),
        receive_part(0, answer_problem(409, "upload_conflict")),
        answer_problem(409, "upload_conflict"),
        answer_problem(460, "chunk_checksum_mismatch"),
        answer_problem(408, "timeout"),
        answer_problem(500, "internal"),
        answer_problem(503, "busy", Retry_After="3"),
        answer_problem(507, "storage_full", Retry_After="3"),
    ],
)
def test_failed_piece_continues_at_the_committed_offset(
    client: Any, service: FakeService, large: Path, fault: Any
) -> None:
    service.add_faults("PATCH", ONE_UPLOAD, fault, fault)
    video = client.upload(large)
    assert service.file_contents == {video.id: large.read_bytes()}
    assert len(service.requests_to("HEAD", ONE_UPLOAD)) == 2
    assert len(service.requests_to("POST", UPLOADS)) == 1


def test_busy_service_is_asked_again_after_its_retry_after(
    client: Any, service: FakeService, large: Path, clock: FakeClock
) -> None:
    service.add_faults("PATCH", ONE_UPLOAD, answer_problem(503, "busy", Retry_After="7"))
    service.add_faults("PATCH", ONE_UPLOAD, answer_problem(429, "too_many_requests", Retry_After="9"))
    client.upload(large)
    assert sorted(map(int, clock.slept)) == [7, 9]


def test_upload_succeeds_when_its_last_response_is_lost(client: Any, service: FakeService, large: Path) -> None:
    def drop_last_response(request: ApiRequest, carry_out: Any) -> ApiResponse:
        response: ApiResponse = carry_out()
        if "Video-Location" in response.headers:
            raise ConnectionDropped
        return response

    service.add_faults("PATCH", ONE_UPLOAD, *[drop_last_response] * 6)
    assert client.upload(large).id == "v-1"
    assert list(service.videos) == ["v-1"]


def test_upload_that_progresses_is_never_given_up(client: Any, service: FakeService, large: Path) -> None:
    service.add_faults("PATCH", ONE_UPLOAD, *[receive_part(20)] * 60)
    video = client.upload(large)
    assert service.file_contents == {video.id: large.read_bytes()}


@pytest.mark.parametrize(
    ("fault", "error"), [(drop_connection, ConnectionFailed), (answer_problem(500, "internal"), ApiError)]
)
def test_upload_without_progress_is_given_up_after_all_tries(
    client: Any, service: FakeService, large: Path, fault: Any, error: type[Exception]
) -> None:
    service.add_faults("PATCH", ONE_UPLOAD, *[fault] * 100)
    with pytest.raises(error):
        client.upload(large)
    assert len(service.requests_to("PATCH", ONE_UPLOAD)) == 6


def test_service_that_refuses_a_large_piece_gets_smaller_pieces(client: Any, service: FakeService, large: Path) -> None:
    service.add_faults("PATCH", ONE_UPLOAD, *[answer_problem(413, "too_large")] * 2)
    client.upload(large)
    assert {len(request.body) for request in service.requests_to("PATCH", ONE_UPLOAD)[2:]} == {100, 53}


@pytest.mark.parametrize(("status", "code"), [(410, "upload_gone"), (404, "not_found")])
def test_upload_that_is_gone_is_started_again_once(
    client: Any, service: FakeService, large: Path, status: int, code: str
) -> None:
    service.add_faults("PATCH", ONE_UPLOAD, answer_problem(status, code))
    assert service.file_contents == {client.upload(large).id: large.read_bytes()}
    assert len({request.headers["idempotency-key"] for request in service.requests_to("POST", UPLOADS)}) == 2
    service.add_faults("PATCH", ONE_UPLOAD, *[answer_problem(status, code)] * 2)
    with pytest.raises(ApiError, match=code):
        client.upload(large)


def test_status_of_head_is_enough_to_see_that_an_upload_is_gone(client: Any, service: FakeService, large: Path) -> None:
    def answer_gone_without_body(request: ApiRequest, carry_out: Any) -> ApiResponse:
        return ApiResponse(410, b"", {"Content-Type": "application/problem+json"})

    service.add_faults("PATCH", ONE_UPLOAD, drop_connection)
    service.add_faults("HEAD", ONE_UPLOAD, answer_gone_without_body)
    assert service.file_contents == {client.upload(large).id: large.read_bytes()}


def test_404_of_a_proxy_does_not_end_an_upload(client: Any, service: FakeService, large: Path) -> None:
    def proxy_404(request: ApiRequest, carry_out: Any) -> ApiResponse:
        return ApiResponse(404, b"Path not found")

    for method, path in (("POST", UPLOADS), ("PATCH", ONE_UPLOAD), ("HEAD", ONE_UPLOAD)):
        service.add_faults(method, path, proxy_404)
    client.upload(large)
    assert len(service.uploads) == 1


@pytest.mark.parametrize(
    "fault",
    [
        act_and_drop_connection,
        answer_problem(409, "idempotency_in_progress", Retry_After="1"),
        answer_problem(503, "queue_full"),
    ],
)
def test_repeated_creation_has_the_same_key_and_is_one_upload(
    client: Any, service: FakeService, clip: Path, large: Path, fault: Any
) -> None:
    for path in (clip, large):
        service.add_faults("POST", UPLOADS, fault)
        client.upload(path)
    keys = [request.headers["idempotency-key"] for request in service.requests_to("POST", UPLOADS)]
    assert (len(keys), len(set(keys))) == (4, 2)
    assert len(service.uploads) == 2


@pytest.mark.parametrize("size", [0, 3])
def test_small_file_whose_creation_is_interrupted_continues_in_pieces(
    client: Any, service: FakeService, clip: Path, size: int
) -> None:
    def cut_creation(request: ApiRequest, carry_out: Any) -> ApiResponse:
        carry_out()
        upload = service.uploads["u-1"]
        upload.content, upload.video_id = upload.content[:size], None
        service.videos.clear()
        service.file_contents.clear()
        return answer_problem(409, "upload_conflict")(request, carry_out)

    service.add_faults("POST", UPLOADS, cut_creation)
    assert service.file_contents == {client.upload(clip).id: clip.read_bytes()}


def test_wait_for_the_first_call_is_not_shortened_by_a_slow_upload(
    client: Any, service: FakeService, clip: Path, clock: FakeClock
) -> None:
    def drop_after_100_seconds(request: ApiRequest, carry_out: Any) -> Any:
        clock.now += 100
        raise ConnectionDropped

    busy = answer_problem(409, "idempotency_in_progress", Retry_After="1")
    service.add_faults("POST", UPLOADS, drop_after_100_seconds, *[busy] * 9)
    assert client.upload(clip).id == "v-1"
    assert len(service.requests_to("POST", UPLOADS)) == 11


def test_request_that_takes_longer_than_the_patience_is_repeated(
    client: Any, service: FakeService, clip: Path, large: Path, clock: FakeClock
) -> None:
    def answer_busy_after_1000_seconds(request: ApiRequest, carry_out: Any) -> Any:
        clock.now += 1000
        return answer_problem(503, "busy", Retry_After="1")(request, carry_out)

    service.add_faults("POST", UPLOADS, answer_busy_after_1000_seconds)
    service.add_faults("PATCH", ONE_UPLOAD, answer_busy_after_1000_seconds)
    assert client.upload(clip).id == "v-1"
    assert client.upload(large).id == "v-2"


def test_wait_for_a_first_call_that_never_ends_is_bounded(
    client: Any, service: FakeService, clip: Path, clock: FakeClock
) -> None:
    service.add_faults("POST", UPLOADS, *[answer_problem(409, "idempotency_in_progress", Retry_After="1")] * 100)
    with pytest.raises(ApiError, match="idempotency_in_progress"):
        client.upload(clip)
    assert 90 <= clock.now < 120


def test_every_upload_has_its_own_key_unless_one_is_given(client: Any, service: FakeService, clip: Path) -> None:
    client.upload(clip)
    client.upload(clip)
    client.upload(clip, idempotency_key="mine")
    client.upload(clip, idempotency_key="mine")
    assert len(service.videos) == 3


def test_same_key_continues_the_same_upload(client: Any, service: FakeService, large: Path) -> None:
    service.add_faults("PATCH", ONE_UPLOAD, receive_part(20), *[drop_connection] * 6)
    with pytest.raises(ConnectionFailed):
        client.upload(large, idempotency_key="mine")
    client.upload(large, idempotency_key="mine")
    assert len(service.uploads) == 1
    assert offsets(service)[-6:] == [20, 420, 820, 1220, 1620, 2020]


def test_earlier_upload_gives_the_frames_of_this_specification_and_not_of_a_later_one(
    client: Any, service: FakeService, clip: Path
) -> None:
    first = client.upload(clip, idempotency_key="mine")
    assert client.extract_again(first, {"max_frames": 1}).spec == {"max_frames": 1}
    again = client.upload(clip, idempotency_key="mine")
    assert (again.id, again.extraction.spec) == (first.id, {})
    assert len(service.requests_to("POST", "/v1/videos/v-1/extractions")) == 2


def test_new_upload_is_extracted_once_when_the_service_adds_a_field_to_its_specification(
    client: Any, service: FakeService, clip: Path
) -> None:
    def add_unknown_field(request: ApiRequest, carry_out: Any) -> ApiResponse:
        service.videos["v-1"]["extraction"]["spec"] = {"a_later_field": 1}
        response: ApiResponse = carry_out()
        return response

    service.add_faults("GET", "/v1/videos/v-1", add_unknown_field)
    client.upload(clip, by_content=True)
    assert not service.requests_to("POST", "/v1/videos/v-1/extractions")


def test_key_of_a_deleted_video_creates_no_second_video(client: Any, service: FakeService, clip: Path) -> None:
    client.delete(client.upload(clip, idempotency_key="mine"))
    with pytest.raises(ApiError, match="not_found"):
        client.upload(clip, idempotency_key="mine")


def test_files_with_the_same_content_are_the_same_video(client: Any, service: FakeService, clip: Path) -> None:
    first = client.upload(clip, by_content=True)
    (creation,) = service.requests_to("POST", UPLOADS)
    assert service.uploads["u-1"].metadata["sha256"] == hashlib.sha256(clip.read_bytes()).hexdigest()
    os.utime(clip, ns=(1, 1))
    renamed = clip.rename(clip.with_name("renamed.mp4"))
    assert client.upload(renamed, by_content=True).id == first.id
    renamed.write_bytes(b"video of bob")
    assert client.upload(renamed, by_content=True).id != first.id
    assert len(service.requests_to("POST", UPLOADS)) == 2
    assert creation.headers["idempotency-key"].startswith("extract-")


def test_stored_video_is_extracted_by_another_specification_without_an_upload(
    client: Any, service: FakeService, clip: Path
) -> None:
    first = client.upload(clip, by_content=True)
    again = client.upload(clip, {"max_frames": 1}, by_content=True)
    assert again.id == first.id
    assert again.extraction.spec == {"max_frames": 1}
    assert len(service.requests_to("POST", UPLOADS)) == 1


def test_deleted_video_is_sent_again_by_its_content(client: Any, service: FakeService, clip: Path) -> None:
    client.delete(client.upload(clip, by_content=True))
    assert client.upload(clip, by_content=True).id == "v-2"


@pytest.mark.parametrize("moment", ["before", "within"])
def test_file_that_changes_while_it_is_sent_is_refused_and_its_upload_terminated(
    client: Any, service: FakeService, large: Path, moment: str
) -> None:
    def change_file(request: ApiRequest, carry_out: Any) -> ApiResponse:
        response: ApiResponse = carry_out()
        os.utime(large, ns=(1, 1))
        return response

    service.add_faults(
        "PATCH" if moment == "within" else "POST", ONE_UPLOAD if moment == "within" else UPLOADS, change_file
    )
    with pytest.raises(UnsendableFile, match="changed while it was read"):
        client.upload(large)
    assert service.uploads["u-1"].is_gone
    assert not service.videos


def test_path_that_is_not_a_file_is_refused_before_anything_is_sent(
    client: Any, service: FakeService, clip: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnsendableFile, match="is not a file"):
        client.submit([clip, tmp_path])
    with pytest.raises(FileNotFoundError):
        client.submit([clip, tmp_path / "none.mp4"])
    assert not service.requests


def test_error_of_a_refused_file_names_it_and_the_videos_submitted_before(
    client: Any, service: FakeService, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.mp4").write_bytes(b"dear diary")
    with pytest.raises(ApiError, match="not_a_video") as refused:
        client.submit([clip, tmp_path / "notes.mp4"])
    assert [video.id for video in refused.value.submitted] == ["v-1"]
    assert refused.value.failed_file == tmp_path / "notes.mp4"


def test_complete_upload_without_a_video_is_an_unexpected_answer(client: Any, service: FakeService, clip: Path) -> None:
    def remove_video_location(request: ApiRequest, carry_out: Any) -> ApiResponse:
        response: ApiResponse = carry_out()
        del response.headers["Video-Location"]
        return response

    service.add_faults("POST", UPLOADS, remove_video_location)
    with pytest.raises(UnexpectedAnswer, match="names no video"):
        client.upload(clip)


@pytest.mark.parametrize("method", ["PATCH", "HEAD"])
def test_missing_or_unchanged_offset_is_an_unexpected_answer(
    client: Any, service: FakeService, large: Path, method: str
) -> None:
    def answer_without_progress(request: ApiRequest, carry_out: Any) -> ApiResponse:
        return ApiResponse(
            204, headers={"Upload-Offset": request.headers["upload-offset"]} if method == "PATCH" else {}
        )

    service.add_faults("PATCH", ONE_UPLOAD, *[drop_connection] * (method == "HEAD"))
    service.add_faults(method, ONE_UPLOAD, answer_without_progress)
    with pytest.raises(UnexpectedAnswer, match="offset"):
        client.upload(large)


def test_upload_of_a_file_that_was_unreadable_for_a_moment_continues(
    client: Any, service: FakeService, large: Path
) -> None:
    def move_file_away(request: ApiRequest, carry_out: Any) -> ApiResponse:
        response: ApiResponse = carry_out()
        large.rename(large.with_name("away"))
        return response

    service.add_faults("PATCH", ONE_UPLOAD, move_file_away)
    with pytest.raises(FileNotFoundError):
        client.upload(large, idempotency_key="mine")
    large.with_name("away").rename(large)
    client.upload(large, idempotency_key="mine")
    assert len(service.uploads) == 1
