"""The keys of objects: made from ids, and recognized by their form. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

_ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_VIDEO = re.compile(rf"videos/{_ID}")
_RESULT = re.compile(rf"results/({_ID})/.+")


def video_key(video_id: UUID) -> str:
    """The key of a video's bytes."""
    return f"videos/{video_id}"


def result_prefix(extraction_id: UUID, task_id: UUID, attempt: int) -> str:
    """The prefix of one attempt's results. Objects can't be fenced, so each attempt writes under its own prefix."""
    return f"results/{extraction_id}/{task_id}/{attempt}"


@dataclass(frozen=True, slots=True)
class Candidates:
    """Keys that may be orphaned. results: each with the id of its extraction."""

    videos: tuple[str, ...]
    results: tuple[tuple[str, UUID], ...]


def candidates(keys: Sequence[str]) -> Candidates:
    """Returns the keys that have the form of Fotograma's own; other objects are never touched."""
    made = [(key, UUID(match[1])) for key in keys if (match := _RESULT.fullmatch(key))]
    return Candidates(tuple(key for key in keys if _VIDEO.fullmatch(key)), tuple(made))
