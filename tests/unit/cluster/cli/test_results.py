"""Where results are written, and what is printed."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from rich.console import Console

from cluster.cli.batch.batch_output import failures, outcome_lines, summary, summary_line
from cluster.cli.batch.batch_types import Stage
from cluster.cli.batch.output_paths import output_paths
from cluster.cli.batch.progress_display import LineDisplay, ProgressBars, UploadTotal, rate_text
from cluster.cli.batch.video_outcome import VideoOutcome, exit_code
from cluster.cli.failures import failure_of
from cluster.cli.output.terminal_output import printable
from cluster.cli.output.warned_status import warned_status
from cluster.client.api_types import Extraction, Failure, Progress, Result, ResultWarning, Status
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
        "1 of 2 not done:",
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
    assert out.getvalue() == "a.mp4: accepted\nnotes.mp4: refused\n"


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


MISSING = ResultWarning("frames_missing", "9 of 21 frames could not be decoded with certainty and are left out.")
MORE = ResultWarning("max_frames_reached", "There are more.")
WARNED = VideoOutcome("d.mp4", archive=Path("out/d.zip"), result=Result(12, 100, "ab", (MISSING,)))
KEPT = VideoOutcome("e.mp4", archive=Path("out/e.zip"), is_kept=True)
EXTRACTION = Extraction("e-1", "v-1", {}, Status.RUNNING, Progress(), datetime(2026, 1, 2, tzinfo=UTC))
BROKEN = VideoOutcome(
    "f.mp4",
    extraction=replace(EXTRACTION, status=Status.FAILED),
    failure=Failure("no_video_stream", "Only sound.", "file"),
)
UNFINISHED = VideoOutcome("g.mp4", extraction=EXTRACTION, failure=Failure("connection_failed", "Away.", "service"))
LOGGED_OUT = VideoOutcome("h.mp4", failure=Failure("unauthenticated", "No.", "request"))
BUSY = VideoOutcome("i.mp4", failure=Failure("queue_full", "Many wait.", "service"))


def test_summary_counts_every_video_once() -> None:
    outcomes = [SUCCEEDED, UNCHANGED, FAILED, UNREACHABLE, WARNED, KEPT, BROKEN, UNFINISHED]
    counts = summary(outcomes, 65.04)
    assert counts == {
        "status": "unreachable",
        "exit_code": 69,
        "videos": 8,
        "taken": 5,
        "done": 2,
        "done_with_warnings": 1,
        "failed": 1,
        "unfinished": 1,
        "refused": 1,
        "not_sent": 1,
        "kept": 1,
        "unchanged": 1,
        "frames": 27,
        "sent_bytes": 34_500_000,
        "seconds": 65.0,
    }
    assert summary_line(counts) == (
        "8 videos: 5 taken, 1 refused, 1 not sent, 1 kept; 2 done, 1 done with warnings, 1 failed, 1 not finished "
        "(1 unchanged); 27 frames, 34.5 MB sent in 0:01:05"
    )


@pytest.mark.parametrize("number", range(30))
def test_summary_adds_up_for_every_mixture(number: int) -> None:
    every = [SUCCEEDED, UNCHANGED, FAILED, UNREACHABLE, WARNED, KEPT, BROKEN, UNFINISHED, LOGGED_OUT, BUSY]
    outcomes = Random(number).choices(every, k=number)
    counts = summary(outcomes, 1.0)
    assert counts["videos"] == counts["taken"] + counts["refused"] + counts["not_sent"] + counts["kept"] == number
    assert counts["taken"] == sum(counts[kind] for kind in ("done", "done_with_warnings", "failed", "unfinished"))


def test_outcome_is_one_line_and_a_result_with_warnings_is_amber() -> None:
    assert outcome_lines(UNCHANGED) == [("b.mp4: 3 frames → out/b.zip (unchanged)", "")]
    assert outcome_lines(KEPT) == [("e.mp4: kept, out/e.zip is there", "")]
    assert outcome_lines(BROKEN) == [("f.mp4: failed", "")]
    assert outcome_lines(UNFINISHED) == [("g.mp4: not finished", "")]
    assert outcome_lines(UNREACHABLE) == [("c.mp4: not sent", "")]
    assert outcome_lines(WARNED) == [
        ("d.mp4: Done, 9 frames missing: 12 frames → out/d.zip", "yellow"),
        (f"d.mp4: warning: {MISSING.detail} (frames_missing)", "yellow"),
    ]


@pytest.mark.parametrize(
    ("warnings", "status"),
    [
        ([MISSING], "Done, 9 frames missing"),
        ([ResultWarning("frames_missing", "1 of 2 frames could not be decoded.")], "Done, 1 frame missing"),
        ([MORE], "Done, with a warning"),
        ([MORE, MORE], "Done, 2 warnings"),
    ],
)
def test_status_of_a_result_with_warnings_tells_how_many_frames_are_missing(
    warnings: list[ResultWarning], status: str
) -> None:
    assert warned_status(warnings) == status


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([SUCCEEDED, UNCHANGED, WARNED, KEPT], None),
        ([BROKEN], 1),
        ([BROKEN, FAILED], 1),
        ([SUCCEEDED, FAILED], 3),
        ([KEPT, BROKEN], 3),
        ([FAILED, FAILED], 65),
        ([FAILED, UNREACHABLE], 69),
        ([SUCCEEDED, UNFINISHED], 69),
        ([SUCCEEDED, BUSY], 75),
        ([UNREACHABLE, LOGGED_OUT], 77),
    ],
)
def test_exit_code_says_what_the_user_can_do(outcomes: list[VideoOutcome], code: int | None) -> None:
    assert exit_code(outcomes) == code


def test_control_characters_of_names_are_escaped() -> None:
    assert printable("a\x1b[2J\tß→\udc80") == "a\\x1b[2J\\tß→\\udc80"
