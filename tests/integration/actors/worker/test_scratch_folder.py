"""Each worker has its own scratch folder, and folders of dead workers are removed."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.worker.scratch_folder import free_bytes, own_folder, remove_dead
from db.values.error_catalogue import CatalogueError
from tests.support.own_process import command_of
from tests.support.programs import hold_scratch_folder


@pytest.fixture
def other_worker(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process with a scratch folder."""
    command = command_of(hold_scratch_folder, tmp_path)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_scratch_folder_starts_empty_and_is_removed_by_its_worker(tmp_path: Path) -> None:
    with own_folder(tmp_path / "root", "mine") as folder:
        assert list(folder.iterdir()) == []
        (folder / "source").write_text("x")
    assert list((tmp_path / "root").iterdir()) == []


def test_scratch_folder_of_a_live_worker_stays(tmp_path: Path, other_worker: subprocess.Popen[bytes]) -> None:
    with own_folder(tmp_path, "mine"):
        assert (tmp_path / "other" / "source").exists()
    assert other_worker.poll() is None


def test_scratch_folder_of_a_killed_worker_is_removed_by_the_next(
    tmp_path: Path, other_worker: subprocess.Popen[bytes]
) -> None:
    other_worker.kill()
    other_worker.wait()
    assert (tmp_path / "other" / "source").exists()
    with own_folder(tmp_path, "mine"):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "mine.lock"]
    assert remove_dead(tmp_path) == 0


def test_full_disk_has_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_bytes(tmp_path) > 0
    monkeypatch.setattr("actors.worker.scratch_folder.DISK_RESERVE_BYTES", 1 << 60)
    with pytest.raises(CatalogueError, match="storage_full"):
        free_bytes(tmp_path)
