"""The keys of objects: made from ids, and recognized by their form."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

_ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_VIDEO = re.compile(rf"videos/{_ID}")
_CHUNK = re.compile(rf"videos/{_ID}/[0-9]{{15}}-[0-9a-f]{{8}}")
_RESULT = re.compile(rf"results/({_ID})/.+")


def video_key(video_id: UUID) -> str:
    """The key of a video's bytes, when they are one object."""
    return f"videos/{video_id}"


def chunks_prefix(video_id: UUID) -> str:
    """The prefix of a video's bytes, when they are chunks; it ends with a slash, as no key does."""
    return f"{video_key(video_id)}/"


def id_of_chunks(prefix: str) -> UUID:
    """The video whose `chunks_prefix` this is."""
    return UUID(prefix.strip("/").rpartition("/")[2])


def chunk_key(video_id: UUID, start: int) -> str:
    """A new key for a chunk of a video from the byte `start` on. Two writers of one chunk have two keys."""
    return f"{chunks_prefix(video_id)}{start:015d}-{secrets.token_hex(4)}"


def result_prefix(extraction_id: UUID, task_id: UUID, attempt: int) -> str:
    """The prefix of one attempt's results. Objects can't be fenced, so each attempt writes under its own prefix."""
    return f"results/{extraction_id}/{task_id}/{attempt}"


def preview_key(extraction_id: UUID, task_id: UUID, attempt: int, frames: int) -> str:
    """The key of an attempt's preview of so many images, without the suffixes of its two objects.

    It is not below the attempt's `result_prefix`, so no preview stays with a result.
    """
    return f"results/{extraction_id}/previews/{task_id}/{attempt}/{frames}"


@dataclass(frozen=True, slots=True)
class Candidates:
    """Keys that may be orphaned. results: each with the id of its extraction."""

    videos: tuple[str, ...]
    chunks: tuple[str, ...]
    results: tuple[tuple[str, UUID], ...]


def candidates(keys: Sequence[str]) -> Candidates:
    """Returns the keys that have the form of Fotograma's own; other objects are never touched."""
    made = [(key, UUID(match[1])) for key in keys if (match := _RESULT.fullmatch(key))]
    videos, chunks = (tuple(key for key in keys if form.fullmatch(key)) for form in (_VIDEO, _CHUNK))
    return Candidates(videos, chunks, tuple(made))
