"""The temporary folder of a run, and the cleanup of a run that ended or was killed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.local import process_record
from cluster.local.data_dir import DataDir, make_run_folder, ray_folder, remove_run_folder


@contextmanager
def run_folder(data_dir: DataDir) -> Iterator[Path]:
    """Makes the temporary folder of this run. At the end, saves Ray's logs, and removes the folder and the record."""
    folder = make_run_folder()
    process_record.write_record(data_dir.record, process_record.RecordedRun(folder))
    try:
        yield folder
    finally:
        remove_run_files(data_dir, folder)


def clean_up_killed_run(data_dir: DataDir) -> int:
    """Ends the processes of a killed run and removes its files. Returns the number of ended processes.

    The caller has the lock of the data directory.
    """
    run = process_record.read_record(data_dir.record)
    ended = process_record.end_processes(run.processes)
    if run.folder is not None:
        remove_run_files(data_dir, run.folder)
    data_dir.record.unlink(missing_ok=True)
    empty_scratch(data_dir)
    return len(ended)


def empty_scratch(data_dir: DataDir) -> None:
    """Removes the temporary files of killed workers. No worker may run."""
    shutil.rmtree(data_dir.scratch, ignore_errors=True)
    data_dir.scratch.mkdir(mode=0o700, exist_ok=True)


def remove_run_files(data_dir: DataDir, folder: Path) -> None:
    """Removes the run's folder and record. Ray's logs are saved in `logs/ray` of the data directory first."""
    save_ray_logs(folder, data_dir.logs / "ray")
    remove_run_folder(folder)
    data_dir.record.unlink(missing_ok=True)


def save_ray_logs(folder: Path, target: Path) -> None:
    """Replaces `target` by the logs of a run's last Ray cluster, if there are any."""
    sessions = sorted(path for path in ray_folder(folder).glob("session_*/logs") if not path.parent.is_symlink())
    if sessions:
        if target.is_symlink():
            target.unlink()
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(sessions[-1], target, symlinks=True, ignore_dangling_symlinks=True)
