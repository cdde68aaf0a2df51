"""Lines of a log for people: time, source, what happened, and its facts as name=value."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_PLAIN = re.compile(r"[^\s\"=]+")


def log_line(at: datetime, *words: str, facts: Mapping[str, Any]) -> str:
    """Returns one line. A fact without a value is left out. Times are UTC."""
    time = at.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
    return "  ".join([time, *words, *(f"{name}={_value(value)}" for name, value in facts.items() if value is not None)])


def json_line(values: Mapping[str, Any]) -> str:
    """Returns the values as JSON on one line."""
    return json.dumps({name: value for name, value in values.items() if value is not None}, default=_json_value)


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=_json_value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _json_value(value: Any) -> str:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)
