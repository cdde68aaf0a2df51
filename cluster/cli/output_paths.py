"""Where results are written: one name per video, never the same twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class Target:
    """archive: the zip. folder: of the images, when unpacked. renamed: another file of the batch has the plain name."""

    archive: Path
    folder: Path
    renamed: bool


def targets(folder: Path, filenames: Iterable[str]) -> list[Target]:
    """`<stem>.zip` for each file name; where the stem was there before, `<stem>-2.zip`, `<stem>-3.zip`, …

    Names that differ in case alone count as the same: some file systems can't tell them apart.
    """
    taken: set[str] = set()
    return [_claim(folder, _stem(filename), taken) for filename in filenames]


def _claim(folder: Path, stem: str, taken: set[str]) -> Target:
    names = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
    name = next(name for name in names if name.casefold() not in taken)
    taken.add(name.casefold())
    return Target(folder / f"{name}.zip", folder / name, renamed=name != stem)


def _stem(filename: str) -> str:
    """A name without folders: the server's word may not lead out of the folder."""
    stem = PurePosixPath(filename.replace("\\", "/")).stem.replace("\0", "")
    return stem if stem.strip(".") else "video"
