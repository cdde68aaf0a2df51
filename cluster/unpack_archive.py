"""Unpacks the images of an archive into a folder: all or none, and nothing outside the folder.

Two files are added that are in no archive. video.json tells what does not follow from the video's bytes: its name, ids,
the times of the run. metadata.csv is the manifest as Hugging Face's `imagefolder` reads it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import tempfile
import zipfile
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from cluster.client.errors import FotogramaError

MANIFEST, MANIFEST_CSV = "manifest.json", "manifest.csv"
VIDEO, METADATA = "video.json", "metadata.csv"
MAX_PREFIX_BYTES = 200
"""Of an image's name; file systems take 255 bytes for a whole name."""
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_LEFT_BY_FILE_BROWSERS = {".DS_Store", "Thumbs.db", "desktop.ini"}


class BadArchive(FotogramaError):
    """The archive is damaged or was not made by Fotograma."""


class FolderNotReplaceable(FotogramaError):
    """The folder holds other files. They are not touched."""


@dataclass(frozen=True, slots=True)
class Run:
    """How an archive was made. filename: of the video. prefix: of the images' names in the folder. The ids are those of
    a service, None without one."""

    filename: str
    prefix: str = ""
    video_id: str | None = None
    extraction_id: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    def json(self) -> str:
        values = {name: _plain(value) for name, value in asdict(self).items()}
        return json.dumps({"version": 1} | values, indent=2) + "\n"


def image_prefix(name: str) -> str:
    """A prefix with the name of a video, for images of several videos in one folder."""
    encoded = os.fsencode(name)
    if len(encoded) > MAX_PREFIX_BYTES:
        digest = hashlib.sha256(encoded).hexdigest()[:8]
        name = f"{encoded[: MAX_PREFIX_BYTES - 9].decode(errors='ignore')}-{digest}"
    return f"{name}_"


def unpack(archive: Path, folder: Path, run: Run | None = None) -> None:
    """Puts the archive's files into `folder`, in place of those of an earlier archive. With `run`, it adds video.json
    and metadata.csv.

    Raises BadArchive, FolderNotReplaceable, OSError; the folder is then as it was. If the process dies in the middle,
    or if somebody makes a folder of that name meanwhile, the earlier files are beside it in `<name>.old-<token>`.
    """
    folder = Path(os.path.realpath(folder))  # a link to a folder stays a link
    _check_replaceable(folder)
    with tempfile.TemporaryDirectory(prefix=".fotograma-", dir=folder.parent, ignore_cleanup_errors=True) as fresh:
        new = Path(fresh, "new")
        _write(archive, new, run)
        if folder.exists():
            _replace(folder, new)
        else:
            new.rename(folder)


def is_unpacked(archive: Path, folder: Path, run: Run | None = None) -> bool:
    """Whether the folder has what `unpack` writes: the manifest, and a file of the right size for each entry. Columns
    that somebody added to metadata.csv count as its own. Raises OSError."""
    with zipfile.ZipFile(archive) as source:
        try:
            if source.read(MANIFEST) != (folder / MANIFEST).read_bytes():
                return False
            if run is not None and not ((folder / VIDEO).is_file() and (folder / METADATA).is_file()):
                return False
            return all(
                (folder / _file_name(entry.filename, run)).stat().st_size == entry.file_size
                for entry in source.infolist()
            )
        except (FileNotFoundError, NotADirectoryError):
            return False


def _check_replaceable(folder: Path) -> None:
    """Raises FolderNotReplaceable when the folder holds a file that does not come from an archive of frames."""
    if folder.is_mount():
        raise FolderNotReplaceable(f"{folder} is a mount point, which can't be replaced. Choose another folder.")
    if folder.exists():
        others = {file.name for file in folder.iterdir()} - _names_of_earlier(folder) - _LEFT_BY_FILE_BROWSERS
        if others:
            raise FolderNotReplaceable(
                f"{folder} holds other files ({min(others)}). Move them away, or choose another folder."
            )


def _names_of_earlier(folder: Path) -> set[str]:
    """Of the files that an earlier archive brought; none when there is no manifest of frames."""
    run = _earlier_run(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        names = {MANIFEST, MANIFEST_CSV, *(_file_name(frame["name"], run) for frame in manifest["frames"])}
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return set()
    return names if run is None else names | {VIDEO} | _own_metadata(folder, run)


def _earlier_run(folder: Path) -> Run | None:
    """What video.json tells; None when `unpack` has written none."""
    try:
        values = json.loads((folder / VIDEO).read_bytes())
        return Run(values["filename"], values["prefix"]) if values["version"] == 1 else None
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return None


def _own_metadata(folder: Path, run: Run) -> set[str]:
    """metadata.csv, unless somebody has changed it: labels that were added to it are not replaced."""
    try:
        is_own = (folder / METADATA).read_bytes() == _metadata(folder, run)
    except (FileNotFoundError, BadArchive):
        return set()
    return {METADATA} if is_own else set()


def _replace(folder: Path, new: Path) -> None:
    # A plain name beside it: after a death between the two renames, the owner must see where the files are.
    old = folder.with_name(f"{folder.name[:40]}.old-{secrets.token_hex(4)}")
    folder.rename(old)
    try:
        new.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    # The new files are in their place: what can't be removed of the old ones is no failure.
    shutil.rmtree(old, ignore_errors=True)


def _write(archive: Path, folder: Path, run: Run | None) -> None:
    folder.mkdir()
    try:
        with zipfile.ZipFile(archive) as content:
            entries = content.infolist()
            _check(archive, entries)
            for entry in entries:
                with content.open(entry) as source, (folder / _file_name(entry.filename, run)).open("xb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
    except zipfile.BadZipFile as error:
        raise BadArchive(f"{archive} is damaged: {error}.") from error
    if run is not None:
        (folder / METADATA).write_bytes(_metadata(folder, run))
        (folder / VIDEO).write_text(run.json(), "utf-8")


def _file_name(entry: str, run: Run | None) -> str:
    """An entry's name in the folder."""
    return entry if run is None or entry in {MANIFEST, MANIFEST_CSV} else f"{run.prefix}{entry}"


def _metadata(folder: Path, run: Run) -> bytes:
    """The content of metadata.csv: the manifest, with the images' names in this folder as the first column.

    Raises BadArchive when the folder has no manifest.csv of an archive.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    try:
        with (folder / MANIFEST_CSV).open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            head = next(rows, [])
            name = head.index("name")
            writer.writerow(["file_name", *head])
            writer.writerows([_file_name(row[name], run), *row] for row in rows)
    except (FileNotFoundError, ValueError, LookupError, csv.Error) as error:
        raise BadArchive(f"The archive has no {MANIFEST_CSV} of frames.") from error
    return os.fsencode(text.getvalue())


def _plain(value: str | datetime | None) -> str | None:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def _check(archive: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Plain names, each once, stored: such entries can't leave the folder and are no larger than the archive."""
    names = {entry.filename.casefold() for entry in entries}
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    plain = all(_PLAIN_NAME.fullmatch(entry.filename) for entry in entries)
    sizes = sum(entry.file_size for entry in entries)
    if not (plain and stored and len(names) == len(entries) and sizes <= archive.stat().st_size):
        raise BadArchive(f"{archive} holds entries that no archive of frames has.")
    if MANIFEST not in names:
        raise BadArchive(f"{archive} has no {MANIFEST}.")
