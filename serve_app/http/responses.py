"""JSON out: exact, small, and the same for every route."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson
from starlette.responses import Response

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC


def encode(value: Any) -> bytes:
    """UTF-8 JSON; times as RFC 3339 in UTC, `orjson.Fragment`s as they are, decimals digit by digit."""
    return orjson.dumps(value, default=_default, option=_OPTIONS)


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(encode(value), status, headers, media_type="application/json")


def no_content(headers: Mapping[str, str] | None = None) -> Response:
    """204."""
    return Response(status_code=204, headers=headers)


def _default(value: object) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f"))
    raise TypeError(f"{type(value).__name__} is not JSON")
