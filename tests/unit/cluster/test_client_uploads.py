"""What both clients promise of an upload: each byte arrives, whatever breaks, and one file is one video."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from cluster.client import resumable_upload, tus_protocol
from fotograma import ApiError, ConnectionFailed, UnexpectedAnswer, UnsendableFile
from tests.support.clients.fake_service import (
    ApiRequest,
    ApiResponse,
    ConnectionDropped,
    FakeService,
    act_and_drop_connection,
    answer_problem,
    drop_connection,
)
from tests.support.clients.fake_service_clients import FakeClock, OpenClient

UPLOADS = "/v1/uploads"
ONE = "/v1/uploads/.*"


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of several pieces."""
    monkeypatch.setattr(resumable_upload, "ONE_REQUEST_BYTES", 10)
    monkeypatch.setattr(resumable_upload, "PIECE_BYTES", 400)
    monkeypatch.setattr(resumable_upload, "MIN_PIECE_BYTES", 100)
    path = tmp_path / "large.mp4"
    path.write_bytes(b"video" + bytes(range(256)) * 8)
    return path


def take(size: int, then: Any = drop_connection) -> Any:
    """The service gets `size` bytes of the request; then something happens."""

    def fault(request: ApiRequest, carry_out: Any) -> ApiResponse:
        request.body = request.body[:size]
        carry_out()
        return then(request, carry_out)  # type: ignore[no-any-return]

    return fault


def offsets(service: FakeService) -> list[int]:
    return [int(request.headers["upload-offset"]) for request in service.requests_to("PATCH", ONE)]


def test_files_are_placed_in_their_order_with_the_specification(
    client: Any, service: FakeService, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{name}.mp4" for name in "cab"]
    for path in paths:
        path.write_bytes(b"video" + path.name.encode())
    told: list[tuple[int, int]] = []
    videos = client.submit(paths, {"sample": {"mode": "fps", "fps": 0.1}}, on_sent=lambda *got: told.append(got))
    assert [video.filename for video in videos] == ["c.mp4", "a.mp4", "b.mp4"]
    assert service.file_contents[videos[0].id] == b"videoc.mp4"
    assert set(service.specs) == {'{"sample":{"mode":"fps","fps":0.1}}'}
    assert told[-1] == (30, 30)
    assert len(service.requests_to("POST", UPLOADS)) == 3
    assert not service.requests_to("PATCH", ONE)


def test_specification_that_is_too_long_for_a_header_comes_as_the_body(
    client: Any, service: FakeService, clip: Path
) -> None:
    spec = {"sample": {"mode": "timestamps", "at": list(range(10_000))}}
    video = client.upload(clip, spec)
    assert video.extraction.spec == spec
    assert max(len(value) for request in service.requests for value in request.headers.values()) < 4096
    assert service.file_contents == {video.id: clip.read_bytes()}


def test_a_large_file_goes_in_pieces(client: Any, service: FakeService, large: Path) -> None:
    told: list[int] = []
    video = client.upload(large, on_sent=lambda done, total: told.append(done))
    assert service.file_contents == {video.id: large.read_bytes()}
    assert max(len(request.body) for request in service.requests) == 400
    assert told == sorted(told)
    assert told[-1] == large.stat().st_size


@pytest.mark.parametrize(
    "fault",
    [
        drop_connection,
        act_and_drop_connection,
        take(7),
        take(0, answer_problem(409, "upload_conflict")),
        answer_problem(409, "upload_conflict"),
        answer_problem(460, "chunk_checksum_mismatch"),
        answer_problem(408, "timeout"),
        answer_problem(500, "internal"),
        answer_problem(503, "busy", Retry_After="3"),
        answer_problem(507, "storage_full", Retry_After="3"),
    ],
)
def test_what_breaks_in_a_piece_goes_on_at_the_committed_offset(
    client: Any, service: FakeService, large: Path, fault: Any
) -> None:
    service.add_faults("PATCH", ONE, fault, fault)
    video = client.upload(large)
    assert service.file_contents == {video.id: large.read_bytes()}
    assert len(service.requests_to("HEAD", ONE)) == 2
    assert len(service.requests_to("POST", UPLOADS)) == 1


def test_a_busy_service_is_asked_when_it_says_so(
    client: Any, service: FakeService, large: Path, clock: FakeClock
) -> None:
    service.add_faults("PATCH", ONE, answer_problem(503, "busy", Retry_After="7"))
    service.add_faults("PATCH", ONE, answer_problem(429, "too_many_requests", Retry_After="9"))
    client.upload(large)
    assert sorted(map(int, clock.slept)) == [7, 9]


def test_the_last_answer_may_be_lost(client: Any, service: FakeService, large: Path) -> None:
    def last(request: ApiRequest, carry_out: Any) -> ApiResponse:
        response: ApiResponse = carry_out()
        if "Video-Location" in response.headers:
            raise ConnectionDropped
        return response

    service.add_faults("PATCH", ONE, *[last] * 6)
    assert client.upload(large).id == "v-1"
    assert list(service.videos) == ["v-1"]


def test_an_upload_that_moves_is_never_given_up(client: Any, service: FakeService, large: Path) -> None:
    service.add_faults("PATCH", ONE, *[take(20)] * 60)
    video = client.upload(large)
    assert service.file_contents == {video.id: large.read_bytes()}


@pytest.mark.parametrize(
    ("fault", "error"), [(drop_connection, ConnectionFailed), (answer_problem(500, "internal"), ApiError)]
)
def test_an_upload_that_does_not_move_is_given_up_after_all_tries(
    client: Any, service: FakeService, large: Path, fault: Any, error: type[Exception]
) -> None:
    service.add_faults("PATCH", ONE, *[fault] * 100)
    with pytest.raises(error):
        client.upload(large)
    assert len(service.requests_to("PATCH", ONE)) == 6


def test_a_service_that_takes_less_in_one_request_gets_smaller_pieces(
    client: Any, service: FakeService, large: Path
) -> None:
    service.add_faults("PATCH", ONE, *[answer_problem(413, "too_large")] * 2)
    client.upload(large)
    assert {len(request.body) for request in service.requests_to("PATCH", ONE)[2:]} == {100, 53}


@pytest.mark.parametrize(("status", "code"), [(410, "upload_gone"), (404, "not_found")])
def test_an_upload_that_is_gone_is_begun_anew_once(
    client: Any, service: FakeService, large: Path, status: int, code: str
) -> None:
    service.add_faults("PATCH", ONE, answer_problem(status, code))
    assert service.file_contents == {client.upload(large).id: large.read_bytes()}
    assert len({request.headers["idempotency-key"] for request in service.requests_to("POST", UPLOADS)}) == 2
    service.add_faults("PATCH", ONE, *[answer_problem(status, code)] * 2)
    with pytest.raises(ApiError, match=code):
        client.upload(large)


def test_a_gone_upload_is_known_from_the_status_of_head_alone(client: Any, service: FakeService, large: Path) -> None:
    def gone(request: ApiRequest, carry_out: Any) -> ApiResponse:
        return ApiResponse(410, b"", {"Content-Type": "application/problem+json"})

    service.add_faults("PATCH", ONE, drop_connection)
    service.add_faults("HEAD", ONE, gone)
    assert service.file_contents == {client.upload(large).id: large.read_bytes()}


def test_a_proxy_that_knows_no_application_is_not_believed(client: Any, service: FakeService, large: Path) -> None:
    def unknown(request: ApiRequest, carry_out: Any) -> ApiResponse:
        return ApiResponse(404, b"Path not found")

    for method, path in (("POST", UPLOADS), ("PATCH", ONE), ("HEAD", ONE)):
        service.add_faults(method, path, unknown)
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
def test_a_creation_that_is_sent_again_has_the_same_key_and_is_one_upload(
    client: Any, service: FakeService, clip: Path, large: Path, fault: Any
) -> None:
    for path in (clip, large):
        service.add_faults("POST", UPLOADS, fault)
        client.upload(path)
    keys = [request.headers["idempotency-key"] for request in service.requests_to("POST", UPLOADS)]
    assert (len(keys), len(set(keys))) == (4, 2)
    assert len(service.uploads) == 2


@pytest.mark.parametrize("size", [0, 3])
def test_a_small_file_whose_creation_breaks_off_goes_on_in_pieces(
    client: Any, service: FakeService, clip: Path, size: int
) -> None:
    def cut(request: ApiRequest, carry_out: Any) -> ApiResponse:
        carry_out()
        upload = service.uploads["u-1"]
        upload.content, upload.video_id = upload.content[:size], None
        service.videos.clear()
        service.file_contents.clear()
        return answer_problem(409, "upload_conflict")(request, carry_out)

    service.add_faults("POST", UPLOADS, cut)
    assert service.file_contents == {client.upload(clip).id: clip.read_bytes()}


def test_a_first_call_is_waited_for_in_full_after_an_upload_that_took_long(
    client: Any, service: FakeService, clip: Path, clock: FakeClock
) -> None:
    def lost_late(request: ApiRequest, carry_out: Any) -> Any:
        clock.now += 100
        raise ConnectionDropped

    busy = answer_problem(409, "idempotency_in_progress", Retry_After="1")
    service.add_faults("POST", UPLOADS, lost_late, *[busy] * 9)
    assert client.upload(clip).id == "v-1"
    assert len(service.requests_to("POST", UPLOADS)) == 11


def test_an_upload_that_took_longer_than_a_client_is_patient_is_sent_again(
    client: Any, service: FakeService, clip: Path, large: Path, clock: FakeClock
) -> None:
    def busy_late(request: ApiRequest, carry_out: Any) -> Any:
        clock.now += 1000
        return answer_problem(503, "busy", Retry_After="1")(request, carry_out)

    service.add_faults("POST", UPLOADS, busy_late)
    service.add_faults("PATCH", ONE, busy_late)
    assert client.upload(clip).id == "v-1"
    assert client.upload(large).id == "v-2"


def test_a_first_call_that_never_ends_is_not_waited_for_forever(
    client: Any, service: FakeService, clip: Path, clock: FakeClock
) -> None:
    service.add_faults("POST", UPLOADS, *[answer_problem(409, "idempotency_in_progress", Retry_After="1")] * 100)
    with pytest.raises(ApiError, match="idempotency_in_progress"):
        client.upload(clip)
    assert 90 <= clock.now < 120


def test_every_upload_has_a_key_of_its_own_unless_one_is_given(client: Any, service: FakeService, clip: Path) -> None:
    client.upload(clip)
    client.upload(clip)
    client.upload(clip, idempotency_key="mine")
    client.upload(clip, idempotency_key="mine")
    assert len(service.videos) == 3


def test_the_same_key_goes_on_with_the_same_upload(client: Any, service: FakeService, large: Path) -> None:
    service.add_faults("PATCH", ONE, take(20), *[drop_connection] * 6)
    with pytest.raises(ConnectionFailed):
        client.upload(large, idempotency_key="mine")
    client.upload(large, idempotency_key="mine")
    assert len(service.uploads) == 1
    assert offsets(service)[-6:] == [20, 420, 820, 1220, 1620, 2020]


def test_earlier_upload_gives_the_frames_of_this_specification_and_not_of_a_later_one(
    client: Any, service: FakeService, clip: Path
) -> None:
    first = client.upload(clip, idempotency_key="mine")
    assert client.extract(first, {"max_frames": 1}).spec == {"max_frames": 1}
    again = client.upload(clip, idempotency_key="mine")
    assert (again.id, again.extraction.spec) == (first.id, {})
    assert len(service.requests_to("POST", "/v1/videos/v-1/extractions")) == 2


def test_new_upload_is_extracted_once_whatever_the_service_adds_to_its_specification(
    client: Any, service: FakeService, clip: Path
) -> None:
    def of_a_later_version(request: ApiRequest, carry_out: Any) -> ApiResponse:
        service.videos["v-1"]["extraction"]["spec"] = {"a_later_field": 1}
        response: ApiResponse = carry_out()
        return response

    service.add_faults("GET", "/v1/videos/v-1", of_a_later_version)
    client.upload(clip, by_content=True)
    assert not service.requests_to("POST", "/v1/videos/v-1/extractions")


def test_a_key_whose_video_was_deleted_brings_no_second_one(client: Any, service: FakeService, clip: Path) -> None:
    client.delete(client.upload(clip, idempotency_key="mine"))
    with pytest.raises(ApiError, match="not_found"):
        client.upload(clip, idempotency_key="mine")


def test_the_content_decides_what_is_the_same_video(client: Any, service: FakeService, clip: Path) -> None:
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


def test_a_video_that_is_there_is_extracted_by_another_specification_without_its_bytes(
    client: Any, service: FakeService, clip: Path
) -> None:
    first = client.upload(clip, by_content=True)
    again = client.upload(clip, {"max_frames": 1}, by_content=True)
    assert again.id == first.id
    assert again.extraction.spec == {"max_frames": 1}
    assert len(service.requests_to("POST", UPLOADS)) == 1


def test_a_video_that_was_deleted_is_sent_anew_by_its_content(client: Any, service: FakeService, clip: Path) -> None:
    client.delete(client.upload(clip, by_content=True))
    assert client.upload(clip, by_content=True).id == "v-2"


@pytest.mark.parametrize("moment", ["before", "within"])
def test_a_file_that_changes_while_it_is_sent_is_refused_and_its_upload_ended(
    client: Any, service: FakeService, large: Path, moment: str
) -> None:
    def changes(request: ApiRequest, carry_out: Any) -> ApiResponse:
        response: ApiResponse = carry_out()
        os.utime(large, ns=(1, 1))
        return response

    service.add_faults("PATCH" if moment == "within" else "POST", ONE if moment == "within" else UPLOADS, changes)
    with pytest.raises(UnsendableFile, match="changed while it was read"):
        client.upload(large)
    assert service.uploads["u-1"].is_gone
    assert not service.videos


def test_what_is_no_file_is_told_before_anything_is_sent(
    client: Any, service: FakeService, clip: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnsendableFile, match="is not a file"):
        client.submit([clip, tmp_path])
    with pytest.raises(FileNotFoundError):
        client.submit([clip, tmp_path / "none.mp4"])
    assert not service.requests


def test_when_one_of_several_files_is_refused_the_error_tells_which_and_what_was_placed(
    client: Any, service: FakeService, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.mp4").write_bytes(b"dear diary")
    with pytest.raises(ApiError, match="not_a_video") as refused:
        client.submit([clip, tmp_path / "notes.mp4"])
    assert [video.id for video in refused.value.submitted] == ["v-1"]
    assert refused.value.failed_file == tmp_path / "notes.mp4"


def test_an_upload_that_is_full_and_no_video_is_an_unexpected_answer(
    client: Any, service: FakeService, clip: Path
) -> None:
    def silent(request: ApiRequest, carry_out: Any) -> ApiResponse:
        response: ApiResponse = carry_out()
        del response.headers["Video-Location"]
        return response

    service.add_faults("POST", UPLOADS, silent)
    with pytest.raises(UnexpectedAnswer, match="names no video"):
        client.upload(clip)


@pytest.mark.parametrize("method", ["PATCH", "HEAD"])
def test_an_offset_that_is_not_told_or_stands_still_is_an_unexpected_answer(
    client: Any, service: FakeService, large: Path, method: str
) -> None:
    def silent(request: ApiRequest, carry_out: Any) -> ApiResponse:
        return ApiResponse(
            204, headers={"Upload-Offset": request.headers["upload-offset"]} if method == "PATCH" else {}
        )

    service.add_faults("PATCH", ONE, *[drop_connection] * (method == "HEAD"))
    service.add_faults(method, ONE, silent)
    with pytest.raises(UnexpectedAnswer, match="offset"):
        client.upload(large)


def test_a_file_that_can_not_be_read_for_a_moment_leaves_its_upload(
    client: Any, service: FakeService, large: Path
) -> None:
    def away(request: ApiRequest, carry_out: Any) -> ApiResponse:
        response: ApiResponse = carry_out()
        large.rename(large.with_name("away"))
        return response

    service.add_faults("PATCH", ONE, away)
    with pytest.raises(FileNotFoundError):
        client.upload(large, idempotency_key="mine")
    large.with_name("away").rename(large)
    client.upload(large, idempotency_key="mine")
    assert len(service.uploads) == 1


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state" / "uploads.json"


def break_off(client: Any, service: FakeService, path: Path, **options: Any) -> None:
    service.add_faults("PATCH", ONE, take(400), *[drop_connection] * 6)
    with pytest.raises(ConnectionFailed):
        client.upload(path, **options)
    service.requests.clear()


def test_another_client_goes_on_with_what_the_state_file_knows(
    open_client: OpenClient, service: FakeService, large: Path, state: Path
) -> None:
    break_off(open_client(upload_state=state), service, large)
    video = open_client(upload_state=state).upload(large)
    assert service.file_contents == {video.id: large.read_bytes()}
    assert offsets(service) == [400, 800, 1200, 1600, 2000]
    assert not service.requests_to("POST", UPLOADS)
    assert open_client(upload_state=state).upload(large).id == video.id
    assert len(service.uploads) == 1


def test_a_client_without_a_state_file_begins_anew(open_client: OpenClient, service: FakeService, large: Path) -> None:
    break_off(open_client(), service, large)
    open_client().upload(large)
    assert offsets(service)[0] == 0


@pytest.mark.parametrize("what", ["content", "specification", "key", "account", "file"])
def test_something_else_is_another_upload(
    open_client: OpenClient, service: FakeService, large: Path, state: Path, what: str
) -> None:
    break_off(open_client(upload_state=state), service, large)
    spec: dict[str, Any] = {}
    if what == "content":
        large.write_bytes(large.read_bytes()[:-1] + b".")
    if what == "account":
        service.account_id = "u-2"
    if what == "file":
        large = large.rename(large.with_name("other.mp4"))
    if what in {"specification", "key"}:
        spec = {"spec": {"max_frames": 1}} if what == "specification" else {"idempotency_key": "mine"}
    open_client(upload_state=state).upload(large, **spec)
    assert offsets(service)[0] == 0
    assert len(service.uploads) == 2


@pytest.mark.parametrize("ending", ["terminated", "deleted", "forgotten"])
def test_what_the_state_file_knows_and_the_service_does_not_is_begun_anew(
    open_client: OpenClient, service: FakeService, large: Path, state: Path, ending: str
) -> None:
    client = open_client(upload_state=state)
    if ending == "deleted":
        client.delete(client.upload(large))
    else:
        break_off(client, service, large)
        upload = service.uploads["u-1"]
        upload.is_gone = ending == "terminated"
        service.uploads = {"u-1": upload} if ending == "terminated" else {"other": upload}
    video = open_client(upload_state=state).upload(large)
    assert service.file_contents[video.id] == large.read_bytes()
    (entry,) = json.loads(state.read_text())["uploads"].values()
    assert entry["upload"] == "/v1/uploads/u-2"


def test_a_refused_or_changed_file_leaves_no_entry(
    open_client: OpenClient, service: FakeService, large: Path, state: Path
) -> None:
    large.write_bytes(b"dear diary, " * 100)
    with pytest.raises(ApiError, match="not_a_video"):
        open_client(upload_state=state).upload(large)
    assert json.loads(state.read_text())["uploads"] == {}


def test_a_file_that_goes_in_one_request_needs_no_entry(
    open_client: OpenClient, service: FakeService, clip: Path, state: Path
) -> None:
    open_client(upload_state=state).upload(clip)
    assert not state.exists()
    assert tus_protocol.ONE_REQUEST_BYTES <= tus_protocol.PIECE_BYTES
