"""Finds videos and extractions by the ids that a user gives: whole ones, or the beginning or the end of one.

UUIDv7 begin with the time, so those of one upload share their beginning. The end tells them apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cluster.client.api_types import Extraction, Video
from cluster.client.errors import ApiError, FotogramaError
from cluster.client.sync_client import Client

SHORT_LENGTH = 8
MAX_SEARCHED = 2000
_PART = re.compile(r"[0-9a-f-]{4,35}")


class UnknownId(FotogramaError):
    """No video or extraction has an id that begins or ends like this."""

    default_code, default_fault = "unknown_id", "request"


class AmbiguousId(FotogramaError):
    """Several videos or extractions have an id that begins or ends like this."""

    default_code, default_fault = "ambiguous_id", "request"


class StoredItem(NamedTuple):
    """A video, and the extraction of it that is meant."""

    video: Video
    extraction: Extraction


def short_ids(ids: Sequence[str]) -> list[str]:
    """Returns the ends of the ids, so long that they differ."""
    length = SHORT_LENGTH
    while len({id_[-length:] for id_ in ids}) < len(set(ids)):
        length += 1
    return [id_[-length:] for id_ in ids]


def find_items(client: Client, ids: Sequence[str]) -> list[StoredItem]:
    """Returns an item for each id of a video (its newest extraction) or an extraction.

    Raises ApiError `not_found`, UnknownId, AmbiguousId.
    """
    return [_find_part(client, text) if _PART.fullmatch(text) else _find_whole(client, text) for text in ids]


def _find_whole(client: Client, id_: str) -> StoredItem:
    try:
        video = client.video(id_)
    except ApiError as error:
        if error.status != 404:
            raise
        extraction = client.extraction(id_)
        return StoredItem(client.video(extraction.video_id), extraction)
    return StoredItem(video, video.extraction)


def _find_part(client: Client, text: str) -> StoredItem:
    newest = _newest(client)
    matches = [video for video in newest if matches_id(video.id, text) or matches_id(video.extraction.id, text)]
    if not matches:
        raise UnknownId(
            f"None of your newest {MAX_SEARCHED} videos has an id that begins or ends with {text}. Ids are in: "
            "fotograma list. An older extraction needs its whole id."
        )
    if len(matches) > 1:
        names = ", ".join(f"{video.id} ({video.filename})" for video in matches[:3])
        raise AmbiguousId(f"{len(matches)} videos have an id like {text}: {names}. Give more of the id.")
    return StoredItem(matches[0], matches[0].extraction)


def matches_id(id_: str, text: str) -> bool:
    """Whether the id begins or ends with this text."""
    return id_.startswith(text) or id_.endswith(text)


def _newest(client: Client) -> Iterator[Video]:
    cursor, count = None, 0
    while count < MAX_SEARCHED:
        page = client.video_page(limit=200, cursor=cursor)
        yield from page.items
        count += len(page.items)
        if (cursor := page.next_cursor) is None:
            return
