"""The images of an archive as files: all of them or none, and nothing outside the folder."""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from pathlib import Path

from cluster.client.errors import FotogramaError

MANIFEST = "manifest.json"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


class BadArchive(FotogramaError):
    """The archive is damaged, or holds what no archive of frames holds."""


class FolderTaken(FotogramaError):
    """The folder holds other files, which are left alone."""


def unpack(archive: Path, folder: Path) -> None:
    """Puts the archive's files into `folder`, in place of those of an earlier archive.

    Raises BadArchive, FolderTaken, OSError; the folder is then as it was.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise FolderTaken(f"{folder} holds other files. Move them away, or choose another folder.")
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name[:100]}.", dir=folder.parent))
    try:
        _write(archive, fresh / "new")
        if folder.exists():
            folder.rename(fresh / "old")
        (fresh / "new").rename(folder)
    finally:
        shutil.rmtree(fresh)


def _write(archive: Path, folder: Path) -> None:
    folder.mkdir()
    try:
        with zipfile.ZipFile(archive) as content:
            entries = content.infolist()
            _check(archive, entries)
            for entry in entries:
                with content.open(entry) as source, (folder / entry.filename).open("xb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
    except zipfile.BadZipFile as error:
        raise BadArchive(f"{archive} is damaged: {error}.") from error


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
