"""`extract` of both clients: many videos by one call, in order, nothing twice, and a failure stops no other one."""

from __future__ import annotations

import io
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from cluster.client import httpx_adapter
from cluster.client.authorized_requests import Session
from cluster.client.batch.outcome import ExtractProgress, ExtractStage
from cluster.client.batch.progress_bars import ProgressBars, ProgressLines, display_for
from cluster.client.credentials.token_store import TokenStore
from fotograma import (
    Client,
    ExtractionFailed,
    FileRefused,
    InvalidArgument,
    InvalidSpec,
    LocalFileNotFound,
    Tokens,
)
from tests.support.clients.fake_messages import answer_problem, problem_response
from tests.support.clients.fake_service import FakeService
from tests.support.clients.fake_service_clients import OpenClient, blocking_transport

VIDEO = b"video of ana"


def make_clip(folder: Path, name: str, content: bytes = VIDEO) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def test_outcomes_are_in_order_with_what_failed_and_why(client: Any, tmp_path: Path) -> None:
    outcomes = client.extract(
        [
            make_clip(tmp_path, "warned.mp4", b"video 1"),
            tmp_path / "missing.mp4",
            str(make_clip(tmp_path, "broken.mp4", b"video 2")),
            b"#EXTM3U",
            b"video in memory",
            io.BytesIO(b"video in a buffer"),
        ]
    )
    names = ["warned.mp4", "missing.mp4", "broken.mp4", "video-4", "video-5", "video-6"]
    assert [outcome.name for outcome in outcomes] == names
    errors = [outcome.error for outcome in outcomes]
    assert [type(error) for error in errors if error] == [LocalFileNotFound, ExtractionFailed, FileRefused]
    assert [outcome.result is not None for outcome in outcomes] == [error is None for error in errors]
    assert errors[2].code == "no_video_stream"
    assert outcomes[2].extraction.status.value == "failed"
    assert [warning.code for warning in outcomes[0].warnings] == ["max_frames_reached"]
    assert all(outcome.to_dict()["name"] == outcome.name for outcome in outcomes)


def test_one_path_text_is_one_video(client: Any, service: FakeService, clip: Path) -> None:
    for source in (str(clip), clip, b"video bytes", bytearray(b"video bytes"), io.BytesIO(b"video of a buffer")):
        (outcome,) = client.extract(source, {"max_frames": 1})
        assert outcome.error is None
    assert len(service.file_contents) == 3


def test_open_file_is_sent_from_where_it_stands_under_its_own_name(
    client: Any, service: FakeService, tmp_path: Path
) -> None:
    path = make_clip(tmp_path, "talk.mp4", b"skippedvideo")
    with path.open("rb") as file:
        file.seek(7)
        (outcome,) = client.extract(file)
    assert outcome.video.filename == "talk.mp4"
    assert service.file_contents[outcome.video.id] == b"video"


def test_same_call_again_sends_and_extracts_nothing(client: Any, service: FakeService, clip: Path) -> None:
    first = client.extract([clip, b"video 2"], {"max_frames": 1})
    service.requests.clear()
    second = client.extract([clip, b"video 2"], {"max_frames": 1})
    assert [outcome.video.id for outcome in second] == [outcome.video.id for outcome in first]
    assert service.requests_to("POST", ".*") == []


def test_equal_content_of_one_call_is_sent_once(client: Any, service: FakeService, tmp_path: Path) -> None:
    clips = [make_clip(tmp_path, f"{n}.mp4") for n in range(6)]
    outcomes = client.extract([*clips, io.BytesIO(VIDEO)])
    assert len({outcome.video.id for outcome in outcomes}) == 1
    assert len(service.file_contents) == 1


def test_extraction_that_the_service_made_fail_is_tried_again(client: Any, service: FakeService, clip: Path) -> None:
    video = client.upload(clip)
    error = {"code": "workers_lost", "detail": "Lost.", "fault": "service", "remedy": "Retry."}
    service.videos[video.id]["extraction"] |= {"status": "failed", "error": error}
    client.extract(clip)
    assert len(service.requests_to("POST", ".*/retry")) == 1


def test_result_that_has_expired_is_made_again(client: Any, service: FakeService, clip: Path) -> None:
    (first,) = client.extract(clip)
    service.add_faults("HEAD", ".*frames.zip", answer_problem(410, "expired"))
    (second,) = client.extract(clip)
    assert (second.error, second.video.id) == (None, first.video.id)
    assert len(service.requests_to("POST", f"/v1/videos/{first.video.id}/extractions")) == 1


def test_video_that_has_expired_is_sent_again(client: Any, service: FakeService, clip: Path) -> None:
    (first,) = client.extract(clip)
    service.add_faults("HEAD", ".*frames.zip", answer_problem(410, "expired"))
    service.add_faults(
        "POST", ".*/extractions", lambda request, carry_out: problem_response(410, "video_expired", fault="request")
    )
    (second,) = client.extract(clip)
    assert second.error is None
    assert second.video.id != first.video.id
    assert len(service.file_contents) == 2


def test_interrupted_upload_goes_on_by_the_state_file(
    open_client: OpenClient, service: FakeService, large: Path, state: Path
) -> None:
    service.add_faults("PATCH", ".*", lambda request, carry_out: carry_out(), answer_problem(403, "stop"))
    (stopped,) = open_client(upload_state=state).extract(large)
    assert stopped.error.code == "stop"
    (outcome,) = open_client(upload_state=state).extract(large)
    assert outcome.error is None
    assert len(service.uploads) == 1
    assert service.file_contents[outcome.video.id] == large.read_bytes()


@pytest.mark.parametrize("sources", [7, None, [7], [None], object()])
def test_source_that_is_none_is_an_error_before_anything_is_sent(
    client: Any, service: FakeService, sources: Any
) -> None:
    with pytest.raises(InvalidArgument, match="no path, no bytes and no open file"):
        client.extract(sources)
    assert service.requests == []


def test_wrong_specification_is_an_error_before_anything_is_sent(client: Any, service: FakeService, clip: Path) -> None:
    with pytest.raises(InvalidSpec):
        client.extract(clip, "{")
    assert service.requests == []


def test_file_that_was_opened_as_text_is_an_explained_failure(client: Any, clip: Path) -> None:
    with clip.open() as text:
        (outcome,) = client.extract(text)
    assert isinstance(outcome.error, InvalidArgument)
    assert outcome.error.remedy == 'Open it with mode "rb".'


def test_no_sources_give_no_outcomes(client: Any) -> None:
    assert client.extract([]) == []


def test_progress_of_each_video_ends_with_its_outcome(client: Any, service: FakeService, clip: Path) -> None:
    service.polls_until_end = 3
    steps: list[ExtractProgress] = []
    client.extract([clip, b"#EXTM3U"], on_progress=steps.append)
    stages = [[step.stage for step in steps if step.index == index] for index in (0, 1)]
    assert list(dict.fromkeys(stages[0])) == [
        ExtractStage.READING, ExtractStage.UPLOADING, ExtractStage.QUEUED, ExtractStage.EXTRACTING,
        ExtractStage.SUCCEEDED,
    ]  # fmt: skip
    assert stages[1][-1] is ExtractStage.FAILED


def test_callback_that_raises_ends_the_call(client: Any, clip: Path) -> None:
    class Stop(Exception):
        pass

    def stop(step: ExtractProgress) -> None:
        raise Stop

    with pytest.raises(Stop):
        client.extract(clip, on_progress=stop)


def test_ctrl_c_ends_the_call_and_its_threads(service: FakeService, clip: Path) -> None:
    service.polls_until_end = 10**9
    session = Session("http://fotograma", TokenStore(Tokens("fg_key")))
    arguments = httpx_adapter.client_arguments(session.base_url, None)
    client = Client._assemble(session, httpx.Client(**arguments, transport=blocking_transport(service)))

    def interrupt(step: ExtractProgress) -> None:
        if step.stage is ExtractStage.EXTRACTING:
            main_thread = threading.main_thread().ident
            assert main_thread is not None
            signal.pthread_kill(main_thread, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        client.extract([clip, b"video 2"], on_progress=interrupt)
    for thread in threading.enumerate():
        if thread.name.startswith("fotograma"):
            thread.join(30)
            assert not thread.is_alive()


def console(**options: Any) -> Console:
    return Console(file=io.StringIO(), width=100, highlight=False, **options)


def test_terminal_gets_bars_and_a_file_gets_lines(client: Any, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(display_for(2, console(force_terminal=True)), ProgressBars)
    assert isinstance(display_for(2, console()), ProgressLines)
    client.extract([clip, clip.with_name("missing.mp4")], progress=True)
    assert sorted(capsys.readouterr().err.splitlines()) == ["clip.mp4: succeeded", "missing.mp4: failed"]


def test_notebook_gets_bars_only_when_it_can_draw_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for found, kind in ((object(), ProgressBars), (None, ProgressLines)):
        monkeypatch.setattr("cluster.client.batch.progress_bars.find_spec", lambda name, found=found: found)
        assert isinstance(display_for(2, console(force_jupyter=True)), kind)


def test_bars_show_stage_amount_and_end_of_each_video() -> None:
    screen = console(force_terminal=True)
    with ProgressBars(screen, 2) as bars:
        bars.show(ExtractProgress(0, "a[red]\n.mp4", ExtractStage.UPLOADING, 500_000, 2_000_000))
        bars.show(ExtractProgress(1, "b.mp4", ExtractStage.EXTRACTING, 3, 7))
        bars._progress.refresh()
        bars.show(ExtractProgress(0, "a[red]\n.mp4", ExtractStage.SUCCEEDED))
    assert isinstance(screen.file, io.StringIO)
    shown = screen.file.getvalue()
    for text in ("0.5/2.0 MB", "3/7 frames", "a[red]\\n.mp4: succeeded", "1/2"):
        assert text in shown
