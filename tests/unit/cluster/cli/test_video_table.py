"""The table of `fotograma list`: the file is always in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len

from cluster.cli.stored_items import short_ids
from cluster.cli.video_table import table_lines, when_text
from cluster.client.api_types import Extraction, Progress, Result, ResultWarning, Status, Video

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
MISSING = ResultWarning("frames_missing", "1234 of 5678 frames could not be decoded with certainty and are left out.")


def video(number: int, filename: str, status: Status = Status.SUCCEEDED, *warnings: ResultWarning) -> Video:
    id_ = f"01890c5e-7b1a-7c3e-9f00-2b6c1d8e4a{number:02d}"
    result = Result(5678, 9, "ab", warnings) if status is Status.SUCCEEDED else None
    extraction = Extraction(f"e{id_[1:]}", id_, {}, status, Progress(12, 5678), NOW, result=result)
    return Video(id_, filename, 9, status, NOW - timedelta(minutes=5), extraction)


VIDEOS = [
    video(10, "Meeting of the committee, first part, with slides.mp4"),
    video(11, "talk.mov", Status.RUNNING),
    video(12, "映画祭の記録映像.mkv", Status.SUCCEEDED, MISSING),
]


def test_table_of_80_columns_has_the_file_the_short_id_and_the_missing_frames() -> None:
    assert [line.plain for line in table_lines(VIDEOS, 80, NOW)] == [
        "ID        FILE                     STATUS                      FRAMES  WHEN",
        "1d8e4a10  Meeting of … slides.mp4  succeeded                     5678  5 min ago",
        "1d8e4a11  talk.mov                 running                    12/5678  5 min ago",
        "1d8e4a12  映画祭の記録映像.mkv     Done, 1234 frames missing     5678  5 min ago",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_every_line_fits_and_every_file_is_shown(width: int) -> None:
    lines = table_lines(VIDEOS, width, NOW)
    assert all(cell_len(line.plain) <= width for line in lines)
    for line, shown in zip(lines[1:], ("Mee", "talk.mov", "映"), strict=True):
        assert shown in line.plain
    assert (width < 80) or lines[1].plain.endswith("5 min ago")


def test_status_of_a_result_with_warnings_is_amber_and_that_of_a_failed_one_red() -> None:
    failed = video(13, "broken.mp4", Status.FAILED)
    lines = table_lines([VIDEOS[2], failed], 100, NOW)
    assert [[span.style for span in line.spans] for line in lines[1:]] == [["yellow"], ["red"]]


def test_control_characters_of_a_name_are_escaped() -> None:
    (_, line) = table_lines([video(10, "a\x1b[2J.mp4")], 80, NOW)
    assert "a\\x1b[2J.mp4" in line.plain


def test_short_ids_are_the_ends_and_grow_until_they_differ() -> None:
    same_end = replace(VIDEOS[0], id="01890c5e-7b1a-7c3e-9f00-3b6c1d8e4a10")
    ids = [VIDEOS[0].id, same_end.id]
    assert short_ids([VIDEOS[0].id, VIDEOS[1].id]) == ["1d8e4a10", "1d8e4a11"]
    assert short_ids(ids) == ["2b6c1d8e4a10", "3b6c1d8e4a10"]
    assert short_ids([]) == []


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(seconds=61), "1 min ago"),
        (timedelta(hours=5, minutes=59), "5 h ago"),
        (timedelta(days=6, hours=23), "6 d ago"),
        (timedelta(days=30), "2025-12-03"),
    ],
)
def test_time_is_told_as_long_ago(ago: timedelta, text: str) -> None:
    assert when_text(NOW - ago, NOW) == text
