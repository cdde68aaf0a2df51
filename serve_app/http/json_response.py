"""Encodes response bodies as JSON, with exact decimals and UTC times."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
from starlette.responses import Response

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC


def encode_json(value: Any) -> bytes:
    """UTF-8 JSON. Times are RFC 3339 in UTC, decimals keep every digit, an `orjson.Fragment` is copied unchanged."""
    return orjson.dumps(value, default=_default, option=_OPTIONS)


class JsonResponse(Response):
    """A response whose content is encoded by `encode_json`."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return encode_json(content)


def _default(value: object) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f"))
    raise TypeError(f"{type(value).__name__} can't be encoded as JSON")
