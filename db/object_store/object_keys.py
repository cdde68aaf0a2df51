"""The keys of objects: how they are made from ids, and which of a store's keys have that form. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

_ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_VIDEO = re.compile(rf"videos/{_ID}")
_RESULT = re.compile(rf"results/({_ID})/.+")


def video_key(video_id: UUID) -> str:
    """Where a video's bytes stand."""
    return f"videos/{video_id}"


def result_prefix(extraction_id: UUID, task_id: UUID, attempt: int) -> str:
    """Where one attempt's results stand. Objects can't be fenced, so each attempt has a place of its own."""
    return f"results/{extraction_id}/{task_id}/{attempt}"


@dataclass(frozen=True, slots=True)
class Candidates:
    """Keys of objects old enough to judge. results: with the extraction that each was made for."""

    videos: tuple[str, ...]
    results: tuple[tuple[str, UUID], ...]


def candidates(keys: Sequence[str]) -> Candidates:
    """Keys that have the form of our own; others are left alone, whoever put them there."""
    made = [(key, UUID(match[1])) for key in keys if (match := _RESULT.fullmatch(key))]
    return Candidates(tuple(key for key in keys if _VIDEO.fullmatch(key)), tuple(made))
