"""The class of each error of the server. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from cluster.client.errors import (
    ApiError,
    BadRequest,
    FileRefused,
    Gone,
    LimitReached,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    ServiceUnavailable,
    WrongState,
)

_FAMILIES: Mapping[int, type[ApiError]] = {
    401: NotAuthenticated,
    403: NotAllowed,
    404: NotFound,
    409: WrongState,
    410: Gone,
    413: LimitReached,
    429: LimitReached,
}


def error_class(status: int, fault: str) -> type[ApiError]:
    """Returns the class of an error by its HTTP status and its fault, so that codes of a later server have one too."""
    if fault == "file":
        return FileRefused
    return _FAMILIES.get(status, ServiceUnavailable if status >= 500 else BadRequest)
