"""JSON → values: by the fields of the dataclass, unknown fields passed over, missing ones told by name."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from cluster.client.errors import UnexpectedAnswer

T = TypeVar("T")


def read(kind: type[T], content: bytes) -> T:
    """The JSON text as a value of `kind`. Raises UnexpectedAnswer, which names the field."""
    try:
        document = json.loads(content)
    except ValueError as error:
        raise UnexpectedAnswer("The answer is not JSON; is the address that of a Fotograma server?") from error
    value: T = _value(kind, document, kind.__name__.lower())
    return value


def _value(kind: Any, raw: Any, name: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return raw
    if origin in {UnionType, Union}:
        return None if raw is None else _value(next(a for a in arguments if a is not NoneType), raw, name)
    if origin is tuple:
        return tuple(_value(arguments[0], item, f"{name}[{i}]") for i, item in enumerate(_list(raw, name)))
    if origin is Mapping:
        return _object(raw, name)
    if dataclasses.is_dataclass(origin or kind):
        return _record(origin or kind, arguments, _object(raw, name), name)
    return _scalar(kind, raw, name)


def _record(kind: Any, arguments: tuple[Any, ...], raw: Mapping[str, Any], name: str) -> Any:
    values = {}
    for field, hint, needed in _fields(kind):
        if field in raw:
            values[field] = _value(_bound(hint, arguments), raw[field], f"{name}.{field}")
        elif needed:
            raise UnexpectedAnswer(f"The answer lacks {name}.{field}.")
    return kind(**values)


def _bound(hint: Any, arguments: tuple[Any, ...]) -> Any:
    """Puts the one type argument of a generic dataclass into its field's type."""
    if not arguments or not getattr(hint, "__parameters__", ()):
        return hint
    return hint[arguments[0]]


@cache
def _fields(kind: Any) -> tuple[tuple[str, Any, bool], ...]:
    hints = get_type_hints(kind)
    missing = dataclasses.MISSING
    return tuple(
        (field.name, hints[field.name], field.default is missing and field.default_factory is missing)
        for field in dataclasses.fields(kind)
    )


def _scalar(kind: Any, raw: Any, name: str) -> Any:
    try:
        if kind is datetime:
            return datetime.fromisoformat(raw)
        if issubclass(kind, StrEnum):
            return kind(raw)
    except (TypeError, ValueError) as error:
        raise _wrong(name, raw) from error
    fits = isinstance(raw, int | float if kind is float else kind)
    if not fits or (isinstance(raw, bool) and kind is not bool):
        raise _wrong(name, raw)
    return raw


def _list(raw: Any, name: str) -> list[Any]:
    if not isinstance(raw, list):
        raise _wrong(name, raw)
    return raw


def _object(raw: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise _wrong(name, raw)
    return raw


def _wrong(name: str, raw: Any) -> UnexpectedAnswer:
    return UnexpectedAnswer(f"The answer's {name} is {raw!r:.60}, which this client does not know.")
