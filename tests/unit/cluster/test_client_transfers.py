"""Transfers of both clients: uploads once and in order, downloads complete or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster.client.errors import PartError
from fotograma import (
    ApiError,
    DownloadCorrupt,
    UnexpectedAnswer,
    UnsendableFile,
)
from tests.support.fake_service import (
    ApiRequest,
    ConnectionDropped,
    FakeService,
    act_and_drop_connection,
    answer_problem,
    corrupt_body,
    drop_connection,
    truncate_body,
)
from tests.support.fake_service_clients import FakeClock, OpenClient


def test_files_are_placed_in_their_order_with_the_specification(
    client: Any, service: FakeService, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{name}.mp4" for name in "cab"]
    for path in paths:
        path.write_bytes(b"video" + path.name.encode())
    videos = client.submit(paths, {"sample": {"mode": "fps", "fps": 0.1}})
    assert [video.filename for video in videos] == ["c.mp4", "a.mp4", "b.mp4"]
    assert service.file_contents[videos[0].id] == b"videoc.mp4"
    assert set(service.specs) == {'{"sample":{"mode":"fps","fps":0.1}}'}
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    "fault",
    [
        act_and_drop_connection,
        answer_problem(409, "idempotency_in_progress", Retry_After="1"),
        answer_problem(503, "queue_full"),
    ],
)
def test_an_upload_that_is_sent_again_has_the_same_key_and_is_placed_once(
    client: Any, service: FakeService, clip: Path, fault: Any
) -> None:
    service.add_faults("POST", "/v1/videos", fault)
    assert client.upload(clip).id == "v-1"
    keys = {request.headers["idempotency-key"] for request in service.requests}
    assert len(service.requests) == 2
    assert len(keys) == 1
    assert list(service.videos) == ["v-1"]


def test_a_first_call_is_waited_for_in_full_after_an_upload_that_took_long(
    client: Any, service: FakeService, clip: Path, clock: FakeClock
) -> None:
    def lost_late(request: ApiRequest, carry_out: Any) -> Any:
        clock.now += 100
        raise ConnectionDropped

    busy = answer_problem(409, "idempotency_in_progress", Retry_After="1")
    service.add_faults("POST", "/v1/videos", lost_late, *[busy] * 9)
    assert client.upload(clip).id == "v-1"
    assert len(service.requests) == 11


def test_an_upload_that_took_longer_than_a_client_is_patient_is_sent_again(
    client: Any, service: FakeService, clip: Path, clock: FakeClock
) -> None:
    def busy_late(request: ApiRequest, carry_out: Any) -> Any:
        clock.now += 1000
        return answer_problem(503, "busy", Retry_After="1")(request, carry_out)

    service.add_faults("POST", "/v1/videos", busy_late)
    assert client.upload(clip).id == "v-1"


def test_a_first_call_that_never_ends_is_not_waited_for_forever(
    client: Any, service: FakeService, clip: Path, clock: FakeClock
) -> None:
    service.add_faults("POST", "/v1/videos", *[answer_problem(409, "idempotency_in_progress", Retry_After="1")] * 100)
    with pytest.raises(ApiError, match="idempotency_in_progress"):
        client.upload(clip)
    assert 90 <= clock.now < 120


def test_every_upload_has_a_key_of_its_own_unless_one_is_given(client: Any, service: FakeService, clip: Path) -> None:
    client.upload(clip)
    client.upload(clip)
    client.upload(clip, idempotency_key="mine")
    client.upload(clip, idempotency_key="mine")
    assert len(service.videos) == 3


def test_files_beyond_the_limit_of_one_request_go_in_several(
    open_client: OpenClient, service: FakeService, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{n}.mp4" for n in range(3)]
    for path in paths:
        path.write_bytes(b"video" * 10)
    videos = open_client(request_bytes=110).submit(paths, idempotency_key="k")
    assert [video.filename for video in videos] == ["0.mp4", "1.mp4", "2.mp4"]
    assert [request.headers["idempotency-key"] for request in service.requests] == ["k", "k-1"]


def test_a_file_that_fits_no_request_is_told_before_anything_is_sent(
    open_client: OpenClient, service: FakeService, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "big.mp4").write_bytes(b"video" * 100)
    with pytest.raises(UnsendableFile, match=r"big\.mp4 has 500 bytes; one request takes 200"):
        open_client(request_bytes=200).submit([clip, tmp_path / "big.mp4"])
    assert not service.requests


def test_when_a_later_request_is_refused_the_error_tells_what_was_placed(
    open_client: OpenClient, service: FakeService, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.mp4").write_bytes(b"dear diary")
    with pytest.raises(ApiError) as refused:
        open_client(request_files=1).submit([clip, tmp_path / "notes.mp4"])
    assert [video.id for video in refused.value.submitted] == ["v-1"]
    assert refused.value.errors == (
        PartError("file", 0, "notes.mp4", code="not_a_video", detail="Text.", fault="file", remedy="Send MP4."),
    )


@pytest.fixture
def done(client: Any, clip: Path) -> Any:
    return client.wait(client.upload(clip).extraction)


@pytest.mark.parametrize("by_id", [True, False])
def test_an_archive_is_written_whole_and_nothing_else_is_left(
    client: Any, service: FakeService, done: Any, tmp_path: Path, by_id: bool
) -> None:
    told: list[tuple[int, int | None]] = []
    target = tmp_path / "out.zip"
    path = client.download(done.id if by_id else done, target, on_received=lambda *got: told.append(got))
    assert path == target
    assert target.read_bytes() == service.archive
    assert told[-1] == (len(service.archive), len(service.archive))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4", "out.zip"]


def test_a_download_to_a_long_name_in_letters_of_several_bytes(
    client: Any, service: FakeService, done: Any, tmp_path: Path
) -> None:
    target = tmp_path / ("映" * 83 + ".zip")
    client.download(done, target)
    assert target.read_bytes() == service.archive


def test_a_broken_download_goes_on_where_it_broke(client: Any, service: FakeService, done: Any, tmp_path: Path) -> None:
    service.add_faults("GET", ".*zip", truncate_body(100), drop_connection, truncate_body(50))
    client.download(done, tmp_path / "out.zip")
    assert (tmp_path / "out.zip").read_bytes() == service.archive
    ranges = [request.headers.get("range") for request in service.requests_to("GET", ".*zip")]
    assert ranges == [None, "bytes=100-", "bytes=100-", "bytes=150-"]


def test_a_download_that_moves_is_never_given_up(client: Any, service: FakeService, done: Any, tmp_path: Path) -> None:
    service.add_faults("GET", ".*zip", *[truncate_body(10)] * 20)
    client.download(done, tmp_path / "out.zip")
    assert (tmp_path / "out.zip").read_bytes() == service.archive


def test_a_download_whose_content_changed_begins_again(
    client: Any, service: FakeService, done: Any, tmp_path: Path
) -> None:
    def other(request: ApiRequest, carry_out: Any) -> Any:
        response = carry_out()
        response.headers["ETag"], response.truncated_at = '"of before"', 30
        return response

    service.add_faults("GET", ".*zip", other)
    client.download(done, tmp_path / "out.zip")
    assert (tmp_path / "out.zip").read_bytes() == service.archive


def test_wrong_bytes_are_never_given_the_name(client: Any, service: FakeService, done: Any, tmp_path: Path) -> None:
    (tmp_path / "out.zip").write_bytes(b"the one of before")
    service.add_faults("GET", ".*zip", corrupt_body)
    with pytest.raises(DownloadCorrupt, match="SHA-256"):
        client.download(done, tmp_path / "out.zip")
    assert (tmp_path / "out.zip").read_bytes() == b"the one of before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4", "out.zip"]


def test_what_is_not_ready_leaves_nothing(client: Any, clip: Path, tmp_path: Path) -> None:
    extraction = client.upload(clip).extraction
    with pytest.raises(ApiError, match="not_ready"):
        client.download(extraction, tmp_path / "out.zip")
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_wrong_range_is_not_put_together(client: Any, service: FakeService, done: Any, tmp_path: Path) -> None:
    def elsewhere(request: ApiRequest, carry_out: Any) -> Any:
        response = carry_out()
        response.headers["Content-Range"] = "bytes 7-9/10"
        return response

    service.add_faults("GET", ".*zip", truncate_body(100), elsewhere)
    with pytest.raises(UnexpectedAnswer, match="from byte 100 on"):
        client.download(done, tmp_path / "out.zip")
