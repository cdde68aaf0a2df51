"""The commands for what is on a service, with a fake service over real connections, in this process."""

from __future__ import annotations

import io
import json
import time
import webbrowser
from pathlib import Path
from typing import Any

import pytest

from cluster.cli import service_client
from cluster.cli.app import main
from cluster.cli.batch import batch_client
from cluster.cli.output.exit_codes import exit_code_of
from cluster.client.api_types import Failure
from cluster.client.retry_policy import RetryPolicy
from tests.support.clients.cli_run import Run
from tests.support.clients.fake_messages import answer_problem, make_result_archive
from tests.support.clients.fake_service import NOW, FakeService
from tests.support.servers.reserved_ports import reserved_port

VIDEO = "01890c5e-7b1a-7c3e-9f00-2b6c1d8e4a10"
OTHER = "01890c5e-7b1a-7c3e-9f00-5b6c1d8e4a77"
EXTRACTION = "01890c5e-7b1b-7c3e-9f00-aaaa1d8e0001"


def add_video(service: FakeService, video_id: str, extraction_id: str, filename: str) -> None:
    facts: dict[str, Any] = {"status": "queued", "created_at": NOW}
    extraction = {"id": extraction_id, "video_id": video_id, "spec": {}, "progress": {}, "attempt": 0} | facts
    service.videos[video_id] = {
        "id": video_id,
        "filename": filename,
        "size": 9,
        "sha256": None,
        "extraction": extraction,
    } | facts


def finish(service: FakeService, video_id: str, *warnings: dict[str, str]) -> None:
    video = service.videos[video_id]
    result = {"frames": 12, "bytes": 9, "sha256": "ab", "warnings": warnings}
    video["status"] = video["extraction"]["status"] = "succeeded"
    video["extraction"]["result"] = result


@pytest.fixture
def service() -> FakeService:
    fake = FakeService()
    add_video(fake, VIDEO, EXTRACTION, "talk.mov")
    add_video(fake, OTHER, EXTRACTION.replace("aaaa", "bbbb"), "other.mp4")
    return fake


@pytest.mark.parametrize("id_", [VIDEO, EXTRACTION, "1d8e4a10", "aaaa1d8e0001", VIDEO[:30], EXTRACTION[:26]])
def test_every_form_of_an_id_names_the_same_video(run: Run, service: FakeService, id_: str) -> None:
    assert run("cancel", id_).out == "talk.mov: cancelled\n"
    assert service.videos[VIDEO]["status"] == "cancelled"
    assert service.videos[OTHER]["status"] == "queued"


def test_part_of_an_id_that_several_videos_share_is_refused_with_their_names(run: Run, service: FakeService) -> None:
    done = run("cancel", "01890c5e")
    assert (done.code, done.out) == (65, "")
    assert f"2 videos have an id like 01890c5e: {OTHER} (other.mp4), {VIDEO} (talk.mov)." in done.err
    assert not service.requests_to("POST", ".*")


@pytest.mark.parametrize(
    ("id_", "said"),
    [
        (
            "abcd1234",
            "begins or ends with abcd1234. Ids are in: fotograma list. An older extraction needs its whole id.",
        ),
        ("talk.mov", "(not_found)"),
    ],
)
def test_unknown_id_is_refused_before_anything_is_done(run: Run, service: FakeService, id_: str, said: str) -> None:
    done = run("delete", VIDEO, id_, "--yes")
    assert (done.code, done.out, said in done.err) == (65, "", True)
    assert set(service.videos) == {VIDEO, OTHER}


def test_cancel_of_an_ended_extraction_is_a_part(run: Run, service: FakeService) -> None:
    service.add_faults("POST", f"/v1/extractions/{EXTRACTION}/cancel", answer_problem(409, "wrong_state"))
    done = run("cancel", VIDEO, OTHER)
    assert (done.code, done.out) == (3, "other.mp4: cancelled\n")
    assert done.err.splitlines() == [
        "talk.mov: This is wrong_state. (wrong_state)",
        "  Remedy of wrong_state.",
    ]
    service.add_faults("POST", f"/v1/extractions/{EXTRACTION}/cancel", answer_problem(409, "wrong_state"))
    assert run("cancel", VIDEO).code == 65


def test_retry_prints_the_command_that_fetches_the_new_result(run: Run) -> None:
    assert run("retry", VIDEO).out == "talk.mov: queued. Fetch it with: fotograma download e-retried\n"


def test_again_extracts_by_other_options_without_an_upload(run: Run, service: FakeService) -> None:
    assert run("again", "1d8e4a10", "--every", "5s", "--format", "png").code == 0
    (request,) = service.requests_to("POST", "/v1/videos/.*")
    assert request.json()["spec"] == {"sample": {"mode": "interval", "seconds": 5}, "image": {"format": "png"}}
    assert run("again", "1d8e4a10", "--json").code == 0
    (_, request) = service.requests_to("POST", "/v1/videos/.*")
    assert request.json()["spec"]["sample"] == {"mode": "interval", "seconds": 5}


def test_delete_asks_first_or_needs_yes(run: Run, service: FakeService) -> None:
    done = run("delete", EXTRACTION)
    assert done.code == 2
    assert "nobody can be asked. To delete talk.mov, add it." in done.err
    assert run("delete", EXTRACTION, "--yes").out == "talk.mov: deleted\n"
    assert set(service.videos) == {OTHER}
    assert json.loads(run("delete", OTHER, "-y", "--json").out)["items"][0]["filename"] == "other.mp4"


def test_whoami_names_account_and_service(run: Run, url: str) -> None:
    assert run("whoami").out.splitlines()[0] == f"ana@example.org, user, at {url}"
    assert json.loads(run("whoami", "--json").out)["url"] == url


def test_open_shows_the_page_of_a_video(run: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert run("open").out == f"{url}/\n"
    assert run("open", "1d8e4a10").out == f"{url}/?video={VIDEO}\n"
    assert opened == [f"{url}/", f"{url}/?video={VIDEO}"]


def test_list_shows_only_results_with_warnings(run: Run, service: FakeService) -> None:
    finish(service, VIDEO, {"code": "frames_missing", "detail": "9 of 21 frames could not be decoded."})
    finish(service, OTHER)
    assert [row.split("\t")[3] for row in run("list", "--status", "warned").out.splitlines()] == ["talk.mov"]
    assert len(run("list").out.splitlines()) == 2
    refused = run("list", "--status", "broken")
    assert (refused.code, "'broken' is not one of 'queued', 'running'" in refused.err) == (2, True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_asks_this_program(run: Run, shell: str) -> None:
    assert f"_FOTOGRAMA_COMPLETE=complete_{shell}" in run("completion", shell).out


@pytest.mark.usefixtures("url")
def test_completion_gives_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {
        "_FOTOGRAMA_COMPLETE": "complete_bash",
        "COMP_WORDS": "fotograma ex",
        "COMP_CWORD": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["fotograma"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().out.split() == ["extract"]


def test_no_clobber_keeps_an_archive_and_asks_nothing_of_the_service(
    run: Run, service: FakeService, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.zip").write_bytes(b"precious")
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"video " + name.encode())
    done = run("extract", "a.mp4", "b.mp4", "-o", "out", "--no-clobber")
    assert done.code == 0, done.err
    assert "a.mp4: kept, out/a.zip is there\n" in done.out
    assert "2 videos: 1 taken, 1 kept; 1 done; 2 frames" in done.out
    assert (tmp_path / "out" / "a.zip").read_bytes() == b"precious"
    assert [video["filename"] for video in service.videos.values()][2:] == ["b.mp4"]


def test_timeout_ends_the_waiting_and_says_how_to_fetch_the_result_later(
    run: Run, service: FakeService, tmp_path: Path
) -> None:
    service.polls_until_end = 10**9
    (tmp_path / "a.mp4").write_bytes(b"video a")
    done = run("extract", "a.mp4", "--timeout", "2", "--json")
    assert done.code == 75
    document = json.loads(done.out)
    assert (document["summary"]["unfinished"], document["summary"]["status"]) == (1, "try_again")
    assert document["items"][0]["error"] == {
        "code": "wait_timeout",
        "detail": "It was not finished after 2 s.",
        "fault": "service",
        "remedy": "Fetch it later: fotograma download e-1",
    }
    assert run("extract", "a.mp4", "--timeout", "0").code == 2


class _Stdin(io.TextIOWrapper):
    def isatty(self) -> bool:
        return False


def test_video_comes_from_standard_input(
    run: Run, service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", _Stdin(io.BytesIO(b"video from a pipe")))
    done = run("extract", "-", "--stdin-name", "camera.mp4", "-o", "out")
    assert done.code == 0, done.err
    assert (tmp_path / "out" / "camera.zip").read_bytes() == service.archive
    assert b"video from a pipe" in service.file_contents.values()
    assert done.out == "camera.mp4: accepted\ncamera.mp4: 2 frames → out/camera.zip\n"
    refused = run("extract", "-", "--stdin-name", "../camera.mp4")
    assert (refused.code, "is not a plain file name, such as talk.mp4" in refused.err) == (2, True)


@pytest.fixture
def away() -> int:
    return reserved_port()


def test_unreachable_service_is_said_within_2_seconds_with_how_long_it_is_tried(
    run: Run, away: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FOTOGRAMA_URL", f"http://127.0.0.1:{away}")
    once = RetryPolicy(attempts=1, patience_seconds=30.0)
    monkeypatch.setattr(service_client, "SHORT_RETRY_POLICY", once)
    monkeypatch.setattr(batch_client, "BATCH_RETRY_POLICY", RetryPolicy(attempts=1, patience_seconds=900.0))
    seconds = []
    for _ in range(5):
        started_at = time.monotonic()
        listed = run("list")
        seconds.append(time.monotonic() - started_at)
    # The least of several: a busy machine delays some.
    assert min(seconds) < 2
    assert listed.code == 69
    said = f"http://127.0.0.1:{away} can't be reached: connection refused. It is tried for"
    assert listed.err.splitlines()[0] == f"{said} 30 s; Ctrl-C stops."
    (tmp_path / "a.mp4").write_bytes(b"video a")
    extracted = run("extract", "a.mp4")
    assert extracted.err.splitlines()[0] == f"{said} 15 minutes; Ctrl-C stops."
    assert (extracted.code, "a.mp4: not sent\n" in extracted.out) == (69, True)


def test_watch_extracts_what_comes_until_it_is_idle(run: Run, service: FakeService, tmp_path: Path) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    (incoming / "a.mp4").write_bytes(b"video a")
    (incoming / "empty.mp4").touch()
    done = run("watch", "incoming", "--count", "2", "-o", "out", "--idle", "1")
    assert done.code == 0, done.err
    assert "incoming/a.mp4: 2 frames → out/a.zip" in done.out
    assert "1 video: 1 taken; 1 done; 2 frames" in done.out
    assert service.specs == ['{"sample":{"mode":"uniform","count":2}}']
    refused = run("watch", "nowhere")
    assert (refused.code, "nowhere is not a folder" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Failure("not_found", fault="request"), 65),
        (Failure("too_large", fault="request"), 65),
        (Failure("connection_failed", fault="service"), 69),
        (Failure("queue_full", fault="service"), 75),
        (Failure("unauthenticated", fault="request"), 77),
        (Failure("registration_closed", fault="request"), 77),
        (Failure("local_file", fault="request"), 1),
    ],
)
def test_exit_code_of_a_command_tells_why_it_failed(failure: Failure, code: int) -> None:
    assert exit_code_of(failure) == code


def test_archive_of_another_content_is_replaced_without_no_clobber(
    run: Run, service: FakeService, tmp_path: Path
) -> None:
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "a.zip").write_bytes(make_result_archive(["old.jpg"]))
    (tmp_path / "a.mp4").write_bytes(b"video a")
    assert run("extract", "a.mp4").code == 0
    assert (tmp_path / "frames" / "a.zip").read_bytes() == service.archive


def test_refused_account_is_told_apart_from_other_refusals(run: Run, service: FakeService) -> None:
    service.add_faults("GET", "/v1/videos", answer_problem(401, "unauthenticated"))
    done: Any = run("list")
    assert done.code == 77
    assert done.err.splitlines()[-1] == "  Log in again: fotograma login"
