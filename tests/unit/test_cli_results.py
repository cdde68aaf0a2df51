"""Where results are written, how archives are unpacked, and what is shown."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from rich.console import Console

from cluster.batch import Outcome, Stage, failure_of
from cluster.client.errors import ApiError
from cluster.client.values import Failure
from cluster.display import Bars, Lines, failures, printable
from cluster.targets import targets
from cluster.unpack import BadArchive, FolderTaken, unpack
from tests.stand_in import archive_of


def names(*filenames: str) -> list[str]:
    return [target.archive.name for target in targets(Path("out"), filenames)]


def test_every_file_has_an_archive_of_its_stem() -> None:
    assert names("a.mp4", "b.c.mov", "plain") == ["a.zip", "b.c.zip", "plain.zip"]


def test_the_same_stem_again_gets_a_number_that_no_other_has() -> None:
    assert names("a.mp4", "a.mov", "a-2.mp4", "a.avi", "A.mp4") == [
        "a.zip",
        "a-2.zip",
        "a-2-2.zip",
        "a-3.zip",
        "A-4.zip",
    ]
    assert [target.renamed for target in targets(Path("out"), ["a.mp4", "a.mov"])] == [False, True]


@pytest.mark.parametrize("name", ["../../etc/x.mp4", "/etc/x.mp4", "..\\..\\x.mp4"])
def test_a_name_never_leads_out_of_the_folder(name: str) -> None:
    assert names(name) == ["x.zip"]


def test_a_name_that_is_no_file_name_becomes_one() -> None:
    assert names("..", "") == ["video.zip", "video-2.zip"]


def archive(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def test_an_archive_becomes_a_folder_of_its_files(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"frame_1.jpg": b"1", "manifest.json": b"{}"})
    unpack(path, tmp_path / "a")
    assert {file.name: file.read_bytes() for file in (tmp_path / "a").iterdir()} == {
        "frame_1.jpg": b"1",
        "manifest.json": b"{}",
    }
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "a.zip"]


def test_frames_of_an_earlier_archive_do_not_stay(tmp_path: Path) -> None:
    unpack(archive(tmp_path / "a.zip", {"old.jpg": b"1", "manifest.json": b"{}"}), tmp_path / "a")
    unpack(archive(tmp_path / "a.zip", {"new.jpg": b"1", "manifest.json": b"{}"}), tmp_path / "a")
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["manifest.json", "new.jpg"]


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.txt").write_text("three years")
    with pytest.raises(FolderTaken):
        unpack(archive(tmp_path / "a.zip", {"manifest.json": b"{}"}), tmp_path / "a")
    assert (tmp_path / "a" / "thesis.txt").read_text() == "three years"


@pytest.mark.parametrize("name", ["../out.jpg", "/out.jpg", "a/b.jpg", "..", ".hidden", "a\\b.jpg", "C:x.jpg", "d/"])
def test_an_entry_that_is_no_plain_file_is_refused_and_nothing_written(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / "a.zip", {"frame.jpg": b"1", name: b"", "manifest.json": b"{}"})
    with pytest.raises(BadArchive):
        unpack(path, tmp_path / "a")
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]


def test_an_archive_that_would_grow_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"manifest.json": b"0" * 10**6}, zipfile.ZIP_DEFLATED)
    with pytest.raises(BadArchive):
        unpack(path, tmp_path / "a")


def test_a_damaged_archive_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    unpack(archive(tmp_path / "a.zip", {"old.jpg": b"1", "manifest.json": b"{}"}), tmp_path / "a")
    content = bytearray(archive_of(["frame.jpg"]))
    content[60] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(BadArchive):
        unpack(tmp_path / "a.zip", tmp_path / "a")
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["manifest.json", "old.jpg"]


FAILED = Outcome("notes.mp4", failure=Failure("not_a_video", "It is text.", "file", "Send MP4."))


def test_failures_are_listed_with_code_detail_and_remedy() -> None:
    assert failures([FAILED, Outcome("a.mp4")]) == [
        "1 of 2 failed:",
        "  notes.mp4: It is text. (not_a_video)",
        "    Send MP4.",
    ]
    assert failures([Outcome("a.mp4")]) == []


def test_a_session_that_ended_is_told_in_the_command_lines_words() -> None:
    error = ApiError(status=401, code="unauthenticated", detail="No.", fault="request", remedy="Send a header.")
    assert failure_of(error).remedy == "Log in again: fotograma login"


def test_without_a_terminal_there_are_lines_without_control_sequences() -> None:
    out = io.StringIO()
    with Lines(Console(file=out)) as lines:
        lines.stage(0, "a.mp4", Stage.UPLOADING, 1, 2)
        lines.stage(0, "a.mp4", Stage.QUEUED)
        lines.stage(0, "a.mp4", Stage.RUNNING, 1, 2)
        lines.end(1, FAILED)
    assert out.getvalue() == "a.mp4: accepted\nnotes.mp4: failed\n"


def test_on_a_terminal_there_is_a_bar_for_each_video() -> None:
    out = io.StringIO()
    with Bars(Console(file=out, force_terminal=True, width=100), 2) as bars:
        bars.stage(0, "[red]a.mp4", Stage.RUNNING, 3, 7)
    assert "[red]a.mp4" in out.getvalue()
    assert "3/7 frames" in out.getvalue()


def test_control_characters_of_names_are_shown_and_not_obeyed() -> None:
    assert printable("a\x1b[2J\tß→\udc80") == "a\\x1b[2J\\tß→\\udc80"
