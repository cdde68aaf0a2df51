"""The lines of one extraction in the logs of Ray's workers: all of them, no others, and no more than is asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cluster.operations import log_files
from cluster.operations.log_files import LogFiles, LogRecord, Subject

MINE, OTHER = "0199a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b", "0199a1b2-c3d4-7e5f-8a9b-000000000000"
SUBJECT = Subject(MINE, "req-1")


def line(second: int, **fields: Any) -> str:
    return json.dumps({"timestamp": f"2026-01-31T10:00:{second:02}.5Z", **fields}) + "\n"


def write(folder: Path, name: str, content: str, mtime: float) -> Path:
    path = folder / name
    path.write_text(content)
    os.utime(path, (mtime, mtime))
    return path


def seconds_of(records: list[LogRecord]) -> list[int]:
    return [record.at.second for record in records]


@pytest.mark.parametrize("block_bytes", [1, 7, 64, 1 << 20])
def test_lines_of_all_files_are_found_in_order_of_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(log_files, "BLOCK_BYTES", block_bytes)
    write(tmp_path, "worker-a.out", line(3, extraction_id=MINE) + line(5, extraction_id=OTHER), 1)
    write(tmp_path, "worker-b.out", ":job_id:01\n" + line(1, request_id="req-1") + line(9, extraction_id=MINE), 2)
    write(tmp_path, "raylet.out", line(4, extraction_id=MINE), 3)
    found = LogFiles(tmp_path).newest(SUBJECT, 100)
    assert seconds_of(found) == [1, 3, 9]
    assert [record.file for record in found] == ["worker-b.out", "worker-a.out", "worker-b.out"]


def test_request_id_that_a_client_uses_twice_brings_no_lines_of_another_extraction(tmp_path: Path) -> None:
    write(tmp_path, "worker-a.out", line(1, request_id="req-1", extraction_id=OTHER) + line(2, request_id="req-1"), 1)
    assert seconds_of(LogFiles(tmp_path).newest(SUBJECT, 100)) == [2]
    assert LogFiles(tmp_path).newest(Subject(MINE), 100) == []


def test_lines_that_are_no_log_of_the_service_are_passed_over(tmp_path: Path) -> None:
    strange = [f"{MINE} in a text", f'["{MINE}"]', f'{{"extraction_id": "{MINE}"}}', f'{{"a": "{MINE}"', "[" * 99_999]
    strange += [line(1, extraction_id=[MINE]).strip(), json.dumps({"extraction_id": MINE, "timestamp": "soon"})]
    path = write(tmp_path, "worker-a.out", "\n".join([*strange, line(7, extraction_id=MINE)]), 1)
    path.write_bytes(b"\xff\xfe" + MINE.encode() + b"\n" + path.read_bytes())
    assert seconds_of(LogFiles(tmp_path).newest(SUBJECT, 100)) == [7]


def test_newest_lines_are_kept_when_there_are_more(tmp_path: Path) -> None:
    write(tmp_path, "worker-a.out", "".join(line(second, extraction_id=MINE) for second in range(0, 40, 2)), 2)
    write(tmp_path, "worker-b.out", "".join(line(second, extraction_id=MINE) for second in range(1, 40, 2)), 1)
    assert seconds_of(LogFiles(tmp_path).newest(SUBJECT, 4)) == [36, 37, 38, 39]


def test_old_part_of_large_logs_is_not_read(tmp_path: Path) -> None:
    content = line(1, extraction_id=MINE) + line(2, extraction_id=OTHER) * 1000 + line(3, extraction_id=MINE)
    write(tmp_path, "worker-a.out", content, 2)
    write(tmp_path, "worker-b.out", line(4, extraction_id=MINE), 1)
    files = LogFiles(tmp_path, max_bytes=10_000)
    assert seconds_of(files.newest(SUBJECT, 100)) == [3]
    assert files.is_cut
    # What was left out does not come later either.
    assert files.more(SUBJECT) == []


def test_line_without_an_end_is_not_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_files, "BLOCK_BYTES", 100)
    monkeypatch.setattr(log_files, "MAX_LINE_BYTES", 1000)
    write(tmp_path, "worker-a.out", line(1, extraction_id=MINE) + "x" * 5000 + "\n" + line(2, extraction_id=MINE), 1)
    assert seconds_of(LogFiles(tmp_path).newest(SUBJECT, 100)) == [1, 2]


def test_only_new_and_whole_lines_follow(tmp_path: Path) -> None:
    whole, half = line(1, extraction_id=MINE), line(2, extraction_id=MINE)
    path = write(tmp_path, "worker-a.out", whole + half[:20], 1)
    files = LogFiles(tmp_path)
    assert seconds_of(files.newest(SUBJECT, 100)) == [1]
    assert files.more(SUBJECT) == []
    with path.open("a") as file:
        file.write(half[20:] + line(3, extraction_id=OTHER))
    write(tmp_path, "worker-new.out", line(4, extraction_id=MINE), 3)
    assert seconds_of(files.more(SUBJECT)) == [2, 4]
    assert files.more(SUBJECT) == []
    path.write_text(line(5, extraction_id=MINE))
    assert seconds_of(files.more(SUBJECT)) == [5]
