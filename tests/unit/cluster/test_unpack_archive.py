"""Archives are unpacked into folders, all or none; what somebody else has put into a folder stays."""

from __future__ import annotations

import errno
import json
import subprocess
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from cluster.unpack_archive import BadArchive, FolderNotReplaceable, Run, image_prefix, is_unpacked, unpack
from tests.support.clients.fake_messages import make_archive, make_result_archive
from tests.support.own_process import command_of
from tests.support.programs import exit_while_unpacking


def write_archive(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def write_frames_archive(path: Path, *names: str) -> Path:
    path.write_bytes(make_archive(list(names)))
    return path


def listing(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_archive_becomes_a_folder_of_its_files(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.zip", {"frame_1.jpg": b"1", "manifest.json": b"{}"})
    unpack(path, tmp_path / "a")
    assert {file.name: file.read_bytes() for file in (tmp_path / "a").iterdir()} == {
        "frame_1.jpg": b"1",
        "manifest.json": b"{}",
    }
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "a.zip"]


def test_frames_of_an_earlier_archive_are_removed(tmp_path: Path) -> None:
    unpack(write_frames_archive(tmp_path / "a.zip", "old.jpg"), tmp_path / "a")
    unpack(write_frames_archive(tmp_path / "a.zip", "new.jpg"), tmp_path / "a")
    assert listing(tmp_path / "a") == ["manifest.json", "new.jpg"]
    assert listing(tmp_path) == ["a", "a.zip"]


def test_folder_with_other_files_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.txt").write_text("three years")
    with pytest.raises(FolderNotReplaceable):
        unpack(write_archive(tmp_path / "a.zip", {"manifest.json": b"{}"}), tmp_path / "a")
    assert (tmp_path / "a" / "thesis.txt").read_text() == "three years"


@pytest.mark.parametrize("manifest", ['{"name": "An app", "icons": []}', "[]", "no JSON", "\udcff"])
def test_folder_with_the_manifest_of_another_program_is_not_replaced(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "manifest.json").write_text(manifest, errors="surrogateescape")
    with pytest.raises(FolderNotReplaceable):
        unpack(write_frames_archive(tmp_path / "a.zip", "new.jpg"), tmp_path / "a")
    assert (tmp_path / "a" / "manifest.json").read_text(errors="surrogateescape") == manifest


def test_folder_of_frames_with_a_file_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    unpack(write_frames_archive(tmp_path / "a.zip", "old.jpg"), tmp_path / "a")
    (tmp_path / "a" / "notes.txt").write_text("The third one is good.")
    with pytest.raises(FolderNotReplaceable, match=r"notes\.txt"):
        unpack(write_frames_archive(tmp_path / "a.zip", "new.jpg"), tmp_path / "a")
    assert listing(tmp_path / "a") == ["manifest.json", "notes.txt", "old.jpg"]


def test_folder_of_frames_with_a_file_of_a_file_browser_is_replaced(tmp_path: Path) -> None:
    unpack(write_frames_archive(tmp_path / "a.zip", "old.jpg"), tmp_path / "a")
    (tmp_path / "a" / ".DS_Store").write_bytes(b"\0")
    unpack(write_frames_archive(tmp_path / "a.zip", "new.jpg"), tmp_path / "a")
    assert listing(tmp_path / "a") == ["manifest.json", "new.jpg"]


RUN = Run("a.mp4", video_id="v-1", extraction_id="e-1", finished_at=datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC))


def unpack_result(folder: Path, run: Run = RUN) -> Path:
    (folder / "a.zip").write_bytes(make_result_archive(["1.jpg", "2.jpg"]))
    unpack(folder / "a.zip", folder / "a", run)
    return folder / "a"


def test_name_ids_and_times_of_the_run_are_beside_the_manifest(tmp_path: Path) -> None:
    folder = unpack_result(tmp_path)
    assert listing(folder) == ["1.jpg", "2.jpg", "manifest.csv", "manifest.json", "metadata.csv", "video.json"]
    assert json.loads((folder / "video.json").read_text()) == {
        "version": 1,
        "filename": "a.mp4",
        "prefix": "",
        "video_id": "v-1",
        "extraction_id": "e-1",
        "created_at": None,
        "started_at": None,
        "finished_at": "2026-05-04T03:02:01Z",
    }


def test_metadata_has_the_name_of_the_file_before_the_columns_of_the_manifest(tmp_path: Path) -> None:
    folder = unpack_result(tmp_path, replace(RUN, prefix='a, "b"_'))
    assert {'a, "b"_1.jpg', 'a, "b"_2.jpg'} < set(listing(folder))
    assert (folder / "metadata.csv").read_bytes() == (
        b'file_name,n,name\r\n"a, ""b""_1.jpg",1,1.jpg\r\n"a, ""b""_2.jpg",2,2.jpg\r\n'
    )
    assert (folder / "manifest.csv").read_bytes() == b"n,name\r\n1,1.jpg\r\n2,2.jpg\r\n"


def test_folder_with_prefixed_images_is_replaced_by_one_with_plain_names(tmp_path: Path) -> None:
    unpack_result(tmp_path, replace(RUN, prefix="a_"))
    assert not is_unpacked(tmp_path / "a.zip", tmp_path / "a", RUN)
    folder = unpack_result(tmp_path)
    assert is_unpacked(tmp_path / "a.zip", folder, RUN)
    assert listing(folder) == ["1.jpg", "2.jpg", "manifest.csv", "manifest.json", "metadata.csv", "video.json"]
    unpack(tmp_path / "a.zip", folder)
    assert listing(folder) == ["1.jpg", "2.jpg", "manifest.csv", "manifest.json"]
    assert not is_unpacked(tmp_path / "a.zip", folder, RUN)


def test_labels_that_somebody_added_to_the_metadata_are_not_replaced(tmp_path: Path) -> None:
    folder = unpack_result(tmp_path)
    labelled = (folder / "metadata.csv").read_bytes().replace(b"\r\n", b",cat\r\n")
    (folder / "metadata.csv").write_bytes(labelled)
    assert is_unpacked(tmp_path / "a.zip", folder, RUN)
    with pytest.raises(FolderNotReplaceable, match=r"metadata\.csv"):
        unpack_result(tmp_path)
    assert (folder / "metadata.csv").read_bytes() == labelled


def test_video_json_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    folder = unpack_result(tmp_path)
    (folder / "metadata.csv").unlink()
    (folder / "video.json").write_text('{"title": "My holiday"}')
    with pytest.raises(FolderNotReplaceable, match=r"video\.json"):
        unpack_result(tmp_path)


def test_archive_without_a_csv_manifest_is_refused_when_metadata_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match=r"manifest\.csv"):
        unpack(write_frames_archive(tmp_path / "a.zip", "1.jpg"), tmp_path / "a", RUN)
    assert listing(tmp_path) == ["a.zip"]


def test_prefix_of_a_long_name_leaves_room_for_the_image_and_stays_unique() -> None:
    assert image_prefix("b.c") == "b.c_"
    first, second = image_prefix("映" * 82 + "a"), image_prefix("映" * 82 + "b")
    assert first != second
    assert max(len(prefix.encode()) for prefix in (first, second)) <= 201


@pytest.mark.parametrize("failing_call", [1, 2])
def test_failed_swap_leaves_the_folder_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing_call: int
) -> None:
    unpack(write_frames_archive(tmp_path / "a.zip", "old.jpg"), tmp_path / "a")
    rename, calls = Path.rename, count(1)

    def fail_one_call(self: Path, target: Path) -> Path:
        if next(calls) == failing_call:
            raise PermissionError(errno.EACCES, "The folder is in use")
        return rename(self, target)

    new = write_frames_archive(tmp_path / "a.zip", "new.jpg")
    monkeypatch.setattr(Path, "rename", fail_one_call)
    with pytest.raises(PermissionError):
        unpack(new, tmp_path / "a")
    assert listing(tmp_path / "a") == ["manifest.json", "old.jpg"]
    assert listing(tmp_path) == ["a", "a.zip"]


def test_folder_that_appears_during_the_swap_stays_and_so_does_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack(write_frames_archive(tmp_path / "a.zip", "old.jpg"), tmp_path / "a")
    rename = Path.rename

    def rename_and_make_folder(self: Path, target: Path) -> Path:
        renamed = rename(self, target)
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "thesis.txt").write_text("three years")
        return renamed

    new = write_frames_archive(tmp_path / "a.zip", "new.jpg")
    monkeypatch.setattr(Path, "rename", rename_and_make_folder)
    with pytest.raises(OSError, match=r"a\.old-"):
        unpack(new, tmp_path / "a")
    assert listing(tmp_path / "a") == ["thesis.txt"]
    (aside,) = tmp_path.glob("a.old-*")
    assert listing(aside) == ["manifest.json", "old.jpg"]


def test_exit_during_the_swap_leaves_the_earlier_frames_beside_the_folder(tmp_path: Path) -> None:
    unpack(write_frames_archive(tmp_path / "a.zip", "old.jpg"), tmp_path / "a")
    write_frames_archive(tmp_path / "a.zip", "new.jpg")
    command = command_of(exit_while_unpacking, tmp_path / "a.zip", tmp_path / "a")
    assert subprocess.run(command, check=False).returncode == 9
    (aside,) = tmp_path.glob("a.old-*")
    assert listing(aside) == ["manifest.json", "old.jpg"]
    unpack(tmp_path / "a.zip", tmp_path / "a")
    assert listing(tmp_path / "a") == ["manifest.json", "new.jpg"]
    assert listing(aside) == ["manifest.json", "old.jpg"]


def test_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "large-disk").mkdir()
    (tmp_path / "a").symlink_to("large-disk")
    for name in ("old.jpg", "new.jpg"):
        unpack(write_frames_archive(tmp_path / "a.zip", name), tmp_path / "a")
    assert (tmp_path / "a").is_symlink()
    assert listing(tmp_path / "large-disk") == ["manifest.json", "new.jpg"]


def test_mount_point_is_refused() -> None:
    with pytest.raises(FolderNotReplaceable, match="mount point"):
        unpack(Path("a.zip"), Path("/"))


def test_folder_with_a_long_name_of_multibyte_letters_is_unpacked(tmp_path: Path) -> None:
    folder = tmp_path / ("映" * 83)
    for name in ("old.jpg", "new.jpg"):
        unpack(write_frames_archive(tmp_path / "a.zip", name), folder)
    assert listing(folder) == ["manifest.json", "new.jpg"]


@pytest.mark.parametrize("name", ["../out.jpg", "/out.jpg", "a/b.jpg", "..", ".hidden", "a\\b.jpg", "C:x.jpg", "d/"])
def test_archive_with_an_unsafe_entry_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    path = write_archive(tmp_path / "a.zip", {"frame.jpg": b"1", name: b"", "manifest.json": b"{}"})
    with pytest.raises(BadArchive):
        unpack(path, tmp_path / "a")
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]


def test_compressed_archive_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.zip", {"manifest.json": b"0" * 10**6}, zipfile.ZIP_DEFLATED)
    with pytest.raises(BadArchive):
        unpack(path, tmp_path / "a")


def test_damaged_archive_leaves_the_folder_unchanged(tmp_path: Path) -> None:
    unpack(write_frames_archive(tmp_path / "a.zip", "old.jpg"), tmp_path / "a")
    content = bytearray(make_archive(["frame.jpg"]))
    content[60] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(BadArchive):
        unpack(tmp_path / "a.zip", tmp_path / "a")
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["manifest.json", "old.jpg"]


def test_folder_is_unpacked_when_it_has_every_file_of_the_archive(tmp_path: Path) -> None:
    path = write_frames_archive(tmp_path / "a.zip", "1.jpg", "2.jpg")
    assert not is_unpacked(path, tmp_path / "a")
    unpack(path, tmp_path / "a")
    assert is_unpacked(path, tmp_path / "a")
    (tmp_path / "a" / "2.jpg").write_bytes(b"half")
    assert not is_unpacked(path, tmp_path / "a")
    unpack(write_frames_archive(tmp_path / "b.zip", "1.jpg"), tmp_path / "a")
    assert not is_unpacked(path, tmp_path / "a")
