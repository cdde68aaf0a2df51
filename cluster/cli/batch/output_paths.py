"""The output paths of a batch: a unique name for each video."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class OutputPath:
    """archive: the zip. folder: for the unpacked images. renamed: another video has the plain name."""

    archive: Path
    folder: Path
    renamed: bool


def output_paths(folder: Path, filenames: Iterable[str], taken: set[str] | None = None) -> list[OutputPath]:
    """Returns `<stem>.zip` for each file name; a repeated stem becomes `<stem>-2.zip`, `<stem>-3.zip`, …

    Names that differ only in case count as equal: some file systems can't tell them apart. taken: the names of earlier
    calls; those of this one are added.
    """
    names = set() if taken is None else taken
    return [_unique_path(folder, _stem(filename), names) for filename in filenames]


def _unique_path(folder: Path, stem: str, taken: set[str]) -> OutputPath:
    names = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
    name = next(name for name in names if name.casefold() not in taken)
    taken.add(name.casefold())
    return OutputPath(folder / f"{name}.zip", folder / name, renamed=name != stem)


def _stem(filename: str) -> str:
    """Returns the name without folders: a name from the server must not lead out of the output folder."""
    stem = PurePosixPath(filename.replace("\\", "/")).stem.replace("\0", "")
    return stem if stem.strip(".") else "video"
