"""The videos that a caller gives: paths, open files and bytes. Each becomes a file on the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO, TypeAlias

from cluster.client.errors import InvalidArgument

Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]
"""A path, the bytes of a video, or a file that was opened for reading bytes."""


@dataclass(frozen=True, slots=True)
class NamedSource:
    """name: how the service calls the video."""

    name: str
    source: Source


def named_sources(sources: Source | Iterable[Source]) -> list[NamedSource]:
    """Returns the sources with their names. One source, such as a bare string, is a list of one. Pure.

    Raises InvalidArgument for anything else.
    """
    single = isinstance(sources, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(sources, "read")
    try:
        listed: list[Source] = [sources] if single else list(sources)  # type: ignore[arg-type, list-item]
    except TypeError as error:
        raise InvalidArgument(f"{type(sources).__name__} is no path, no bytes and no open file.") from error
    return [NamedSource(_name(source, number), source) for number, source in enumerate(listed, 1)]


def _name(source: Source, number: int) -> str:
    if isinstance(source, str | os.PathLike):
        return PurePath(os.fspath(source)).name or str(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return f"video-{number}"
    if not hasattr(source, "read"):
        raise InvalidArgument(f"{type(source).__name__} is no path, no bytes and no open file.")
    name = getattr(source, "name", None)
    return (PurePath(name).name if isinstance(name, str) else "") or f"video-{number}"


def size_of(source: Source) -> int | None:
    """Returns the bytes of a source; None when that is not known."""
    if isinstance(source, str | os.PathLike):
        try:
            return os.stat(source).st_size
        except (OSError, ValueError):
            # The upload says why.
            return -1
    return memoryview(source).nbytes if isinstance(source, bytes | bytearray | memoryview) else None


def on_disk(named: NamedSource, folder: Path) -> Path:
    """Returns the path of a source. Bytes and open files are written into a file of that name in the new `folder`.

    Raises OSError; InvalidArgument for a file that gives text.
    """
    source = named.source
    if isinstance(source, str | os.PathLike):
        return Path(source)
    folder.mkdir()
    path = folder / named.name
    with path.open("xb") as target:
        if isinstance(source, bytes | bytearray | memoryview):
            target.write(source)
            return path
        try:
            shutil.copyfileobj(source, target, 1 << 20)
        except (TypeError, ValueError) as error:
            raise InvalidArgument(
                f"{named.name} can't be read as bytes: {error}.", 'Open it with mode "rb".'
            ) from error
    return path
