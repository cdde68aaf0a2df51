"""Where results are written, and what is printed."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from cluster.cli.batch.batch_results import failures, outcome_lines, summary, summary_line
from cluster.cli.batch.output_paths import output_paths
from cluster.cli.batch.progress_display import LineDisplay, ProgressBars, UploadTotal, rate_text
from cluster.cli.batch.run_batch import exit_code
from cluster.cli.batch.server_batch import Stage, VideoOutcome
from cluster.cli.failures import failure_of
from cluster.cli.terminal_output import printable
from cluster.client.api_types import Failure, Result
from cluster.client.errors import ApiError


def archive_names(*filenames: str) -> list[str]:
    return [target.archive.name for target in output_paths(Path("out"), filenames)]


def test_archive_has_the_stem_of_its_file() -> None:
    assert archive_names("a.mp4", "b.c.mov", "plain") == ["a.zip", "b.c.zip", "plain.zip"]


def test_repeated_stem_gets_a_unique_number() -> None:
    assert archive_names("a.mp4", "a.mov", "a-2.mp4", "a.avi", "A.mp4") == [
        "a.zip",
        "a-2.zip",
        "a-2-2.zip",
        "a-3.zip",
        "A-4.zip",
    ]
    assert [target.renamed for target in output_paths(Path("out"), ["a.mp4", "a.mov"])] == [False, True]


@pytest.mark.parametrize("name", ["../../etc/x.mp4", "/etc/x.mp4", "..\\..\\x.mp4"])
def test_archive_is_always_inside_the_folder(name: str) -> None:
    assert archive_names(name) == ["x.zip"]


def test_name_that_is_not_a_file_name_is_replaced() -> None:
    assert archive_names("..", "") == ["video.zip", "video-2.zip"]


FAILED = VideoOutcome("notes.mp4", failure=Failure("not_a_video", "It is text.", "file", "Send MP4."))


def test_failures_are_listed_with_code_detail_and_remedy() -> None:
    assert failures([FAILED, VideoOutcome("a.mp4")]) == [
        "1 of 2 failed:",
        "  notes.mp4: It is text. (not_a_video)",
        "    Send MP4.",
    ]
    assert failures([VideoOutcome("a.mp4")]) == []


def test_remedy_of_an_ended_session_is_the_login_command() -> None:
    error = ApiError(status=401, code="unauthenticated", detail="No.", fault="request", remedy="Send a header.")
    assert failure_of(error).remedy == "Log in again: fotograma login"


def test_without_a_terminal_there_are_lines_without_control_sequences() -> None:
    out = io.StringIO()
    with LineDisplay(Console(file=out)) as lines:
        lines.stage(0, "a.mp4", Stage.UPLOADING, 1, 2)
        lines.stage(0, "a.mp4", Stage.QUEUED)
        lines.stage(0, "a.mp4", Stage.RUNNING, 1, 2)
        lines.end(1, FAILED)
    assert out.getvalue() == "a.mp4: accepted\nnotes.mp4: failed\n"


def test_on_a_terminal_there_is_a_bar_for_each_video() -> None:
    out = io.StringIO()
    with ProgressBars(Console(file=out, force_terminal=True, width=100), 2) as bars:
        bars.stage(0, "[red]a.mp4", Stage.RUNNING, 3, 7)
    assert "[red]a.mp4" in out.getvalue()
    assert "3/7 frames" in out.getvalue()


def test_bars_show_rate_and_remaining_time_of_each_upload_and_of_all() -> None:
    out, clock = io.StringIO(), iter(range(10**6))
    with ProgressBars(Console(file=out, force_terminal=True, width=140, get_time=lambda: next(clock)), 2) as bars:
        for sent in (40_000_000, 44_000_000, 48_000_000):
            for index in (0, 1):
                bars.stage(index, f"{index}.mp4", Stage.UPLOADING, sent, 100_000_000)
    shown = out.getvalue()
    assert "48.0/100.0 MB" in shown
    assert "16.0/120.0 MB" in shown
    assert re.search(r"\d\.\d MB/s, 0:\d\d:\d\d left", shown)


def test_rate_is_unknown_until_something_was_sent() -> None:
    assert rate_text(None, None) == rate_text(0.0, None) == ""
    assert rate_text(2_500_000.0, 3661.9) == "2.5 MB/s, 1:01:01 left"
    assert rate_text(2_500_000.0, None) == "2.5 MB/s"


def test_upload_total_excludes_bytes_that_were_sent_before() -> None:
    total = UploadTotal()
    for index, sent in ((0, 30), (1, 0), (0, 50), (1, 10), (0, 40)):
        total.report(index, sent, 100)
    assert (total.sent, total.size, total.active) == (20, 170, 2)
    assert total.end(0)
    assert not total.end(0)
    assert (total.sent, total.size, total.active) == (20, 170, 1)


SUCCEEDED = VideoOutcome("a.mp4", result=Result(12, 100, "ab"), sent_bytes=34_500_000)
UNCHANGED = VideoOutcome("b.mp4", archive=Path("out/b.zip"), result=Result(3, 100, "ab"), is_unchanged=True)
UNREACHABLE = VideoOutcome("c.mp4", failure=Failure("connection_failed", "Away.", "service"))


def test_summary_counts_succeeded_unchanged_and_failed_videos() -> None:
    counts = summary([SUCCEEDED, UNCHANGED, FAILED], 65.04)
    assert counts == {
        "videos": 3,
        "succeeded": 2,
        "unchanged": 1,
        "failed": 1,
        "frames": 15,
        "sent_bytes": 34_500_000,
        "seconds": 65.0,
    }
    line = "3 videos: 2 succeeded (1 of them unchanged), 1 failed; 15 frames, 34.5 MB sent in 0:01:05"
    assert summary_line(counts) == line
    assert outcome_lines(UNCHANGED) == ["b.mp4: 3 frames → out/b.zip (unchanged)"]


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [([SUCCEEDED, UNCHANGED], None), ([SUCCEEDED, FAILED], 1), ([FAILED, UNREACHABLE], 75), ([UNREACHABLE], 75)],
)
def test_exit_code_says_whether_a_repeated_command_can_succeed(outcomes: list[VideoOutcome], code: int | None) -> None:
    assert exit_code(outcomes) == code


def test_control_characters_of_names_are_escaped() -> None:
    assert printable("a\x1b[2J\tß→\udc80") == "a\\x1b[2J\\tß→\\udc80"
