"""Downloads by both clients: the file is complete, or there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fotograma import ApiError, DownloadCorrupt, UnexpectedAnswer
from tests.support.clients.fake_messages import ApiRequest, corrupt_body, drop_connection, truncate_body
from tests.support.clients.fake_service import FakeService


@pytest.fixture
def ended(client: Any, clip: Path) -> Any:
    return client.wait(client.upload(clip).extraction)


@pytest.mark.parametrize("by_id", [True, False])
def test_archive_is_complete_and_no_other_file_is_left(
    client: Any, service: FakeService, ended: Any, tmp_path: Path, by_id: bool
) -> None:
    progress: list[tuple[int, int | None]] = []
    target = tmp_path / "out.zip"
    path = client.download(
        ended.id if by_id else ended,
        target,
        on_received=lambda *received_and_total: progress.append(received_and_total),
    )
    assert path == target
    assert target.read_bytes() == service.archive
    assert progress[-1] == (len(service.archive), len(service.archive))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4", "out.zip"]


def test_download_to_a_long_name_of_multibyte_letters_succeeds(
    client: Any, service: FakeService, ended: Any, tmp_path: Path
) -> None:
    target = tmp_path / ("映" * 83 + ".zip")
    client.download(ended, target)
    assert target.read_bytes() == service.archive


def test_interrupted_download_continues_where_it_ended(
    client: Any, service: FakeService, ended: Any, tmp_path: Path
) -> None:
    service.add_faults("GET", ".*zip", truncate_body(100), drop_connection, truncate_body(50))
    client.download(ended, tmp_path / "out.zip")
    assert (tmp_path / "out.zip").read_bytes() == service.archive
    ranges = [request.headers.get("range") for request in service.requests_to("GET", ".*zip")]
    assert ranges == [None, "bytes=100-", "bytes=100-", "bytes=150-"]


def test_download_that_progresses_is_never_given_up(
    client: Any, service: FakeService, ended: Any, tmp_path: Path
) -> None:
    service.add_faults("GET", ".*zip", *[truncate_body(10)] * 20)
    client.download(ended, tmp_path / "out.zip")
    assert (tmp_path / "out.zip").read_bytes() == service.archive


def test_download_of_changed_content_starts_again(
    client: Any, service: FakeService, ended: Any, tmp_path: Path
) -> None:
    def truncate_with_earlier_etag(request: ApiRequest, carry_out: Any) -> Any:
        response = carry_out()
        response.headers["ETag"], response.truncated_at = '"earlier"', 30
        return response

    service.add_faults("GET", ".*zip", truncate_with_earlier_etag)
    client.download(ended, tmp_path / "out.zip")
    assert (tmp_path / "out.zip").read_bytes() == service.archive


def test_corrupt_download_does_not_replace_the_earlier_file(
    client: Any, service: FakeService, ended: Any, tmp_path: Path
) -> None:
    (tmp_path / "out.zip").write_bytes(b"the earlier archive")
    service.add_faults("GET", ".*zip", corrupt_body)
    with pytest.raises(DownloadCorrupt, match="SHA-256"):
        client.download(ended, tmp_path / "out.zip")
    assert (tmp_path / "out.zip").read_bytes() == b"the earlier archive"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4", "out.zip"]


def test_download_of_an_unfinished_extraction_writes_nothing(client: Any, clip: Path, tmp_path: Path) -> None:
    extraction = client.upload(clip).extraction
    with pytest.raises(ApiError, match="not_ready"):
        client.download(extraction, tmp_path / "out.zip")
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]


def test_response_with_a_wrong_range_is_refused(client: Any, service: FakeService, ended: Any, tmp_path: Path) -> None:
    def answer_wrong_range(request: ApiRequest, carry_out: Any) -> Any:
        response = carry_out()
        response.headers["Content-Range"] = "bytes 7-9/10"
        return response

    service.add_faults("GET", ".*zip", truncate_body(100), answer_wrong_range)
    with pytest.raises(UnexpectedAnswer, match="from byte 100 on"):
        client.download(ended, tmp_path / "out.zip")
