"""What goes into an extraction and what comes out of it, as values. Nothing of FFmpeg is imported here.

`actors.engine` makes them in the decoding child; the worker only reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from db.media import Media

ENGINE_VERSION = "2"
"""Rises whenever the same bytes and specification could give another archive."""


class Reader(StrEnum):
    AUTO = "auto"
    PYAV = "pyav"
    DECORD = "decord"


@dataclass(frozen=True, slots=True)
class Options:
    """How, not what: none of it changes which frames are given.

    threads: decoder threads. careful: sequential, one thread, whatever `reader` says. max_frames: images at most.
    """

    reader: Reader = Reader.AUTO
    threads: int = 1
    careful: bool = False
    max_frames: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Planned:
    """Told once, before the first image is made. frames_total: images that the archive will hold. frames_to_decode: to
    make them."""

    media: Media
    frames_total: int
    frames_to_decode: int


@dataclass(frozen=True, slots=True)
class Scanning:
    """Told before a first pass over the video that looks for shots; the plan is told after it."""

    media: Media
    frames_to_decode: int


@dataclass(frozen=True, slots=True)
class Progress:
    frames_done: int


@dataclass(frozen=True, slots=True)
class ResultWarning:
    """Something that the owner should know about a result that is right as far as it goes."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Extracted:
    """bytes, sha256: of frames.zip."""

    media: Media
    frames: int
    bytes: int
    sha256: str
    warnings: tuple[ResultWarning, ...]


def engine_name(reader: Reader) -> str:
    """Reader and engine version: with the video's bytes and the canonical specification they determine an archive."""
    return f"{reader}/{ENGINE_VERSION}"
