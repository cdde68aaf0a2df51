"""Unpacks the images of an archive into a folder: all or none, and nothing outside the folder."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import tempfile
import zipfile
from pathlib import Path

from cluster.client.errors import FotogramaError

MANIFEST = "manifest.json"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_LEFT_BY_FILE_BROWSERS = {".DS_Store", "Thumbs.db", "desktop.ini"}


class BadArchive(FotogramaError):
    """The archive is damaged or was not made by Fotograma."""


class FolderNotReplaceable(FotogramaError):
    """The folder holds other files. They are not touched."""


def unpack(archive: Path, folder: Path) -> None:
    """Puts the archive's files into `folder`, in place of those of an earlier archive.

    Raises BadArchive, FolderNotReplaceable, OSError; the folder is then as it was. If the process dies in the middle,
    or if somebody makes a folder of that name meanwhile, the earlier files are beside it in `<name>.old-<token>`.
    """
    folder = Path(os.path.realpath(folder))  # a link to a folder stays a link
    _check_replaceable(folder)
    with tempfile.TemporaryDirectory(prefix=".fotograma-", dir=folder.parent, ignore_cleanup_errors=True) as fresh:
        new = Path(fresh, "new")
        _write(archive, new)
        if folder.exists():
            _replace(folder, new)
        else:
            new.rename(folder)


def is_unpacked(archive: Path, folder: Path) -> bool:
    """Whether the folder has the archive's manifest and a file of the right size for each entry. Raises OSError."""
    with zipfile.ZipFile(archive) as source:
        try:
            if source.read(MANIFEST) != (folder / MANIFEST).read_bytes():
                return False
            return all((folder / entry.filename).stat().st_size == entry.file_size for entry in source.infolist())
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
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        return {MANIFEST, "manifest.csv", *(frame["name"] for frame in manifest["frames"])}
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return set()


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
