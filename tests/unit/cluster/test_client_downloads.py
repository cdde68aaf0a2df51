"""What both clients promise of a download: it is whole, or there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fotograma import ApiError, DownloadCorrupt, UnexpectedAnswer
from tests.support.clients.fake_service import ApiRequest, FakeService, corrupt_body, drop_connection, truncate_body


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
