"""A frame specification as the JSON text that is sent: decimals stay digit by digit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

Spec = Mapping[str, Any] | str
"""A specification as the contract describes it, or its JSON text."""


def spec_text(spec: Spec) -> str:
    """JSON text. Raises ValueError for text that is not JSON or a number that JSON can't hold, TypeError otherwise."""
    if isinstance(spec, str):
        json.loads(spec)
        return spec
    return _encode(spec)


def _encode(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(str(key))}:{_encode(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_encode, value)) + "]"
    if isinstance(value, Decimal) and value.is_finite():
        return format(value, "f")
    return json.dumps(value, allow_nan=False)
