"""The paths of resources. An id from a caller is always one segment, with every reserved character quoted. Pure."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import quote

from cluster.client.errors import InvalidArgument


class HasId(Protocol):
    @property
    def id(self) -> str: ...


def id_of(resource: HasId | str) -> str:
    """Raises InvalidArgument for an empty id, which would name the list instead."""
    found = resource if isinstance(resource, str) else resource.id
    if not found:
        raise InvalidArgument("The id is empty.")
    return found


def path_segment(resource: HasId | str) -> str:
    """Returns the id of a resource as one segment of a path."""
    return quote(id_of(resource), safe="")


def video_path(video: HasId | str) -> str:
    return f"/v1/videos/{path_segment(video)}"


def extraction_path(extraction: HasId | str) -> str:
    return f"/v1/extractions/{path_segment(extraction)}"
