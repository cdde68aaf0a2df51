"""Reads and writes untrusted JSON with exact numbers; each field is checked against bounds.

A wrong field raises CatalogueError `invalid_spec`; the detail names the field.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation, localcontext
from enum import StrEnum
from fractions import Fraction
from typing import Any, TypeVar

from db.values.error_catalogue import CatalogueError

# The text of a number is bounded before it becomes a Fraction: 1e999999999 would fill the memory.
MAX_DIGITS = 40

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


def decode(text: str | bytes) -> object:
    """Returns the JSON value with numbers as `Decimal`; a number with too many digits becomes NaN.

    Raises CatalogueError `malformed_request`.
    """
    try:
        return json.loads(text, parse_float=_bounded, parse_int=_bounded, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CatalogueError("malformed_request", "The specification is not well-formed JSON.") from error


def encode(value: Any) -> str:
    """Returns the JSON text without spaces, numbers as plain decimals."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{encode(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(encode, value)) + "]"
    return format(value, "f") if isinstance(value, Decimal) else json.dumps(value)


class Fields:
    """A JSON object whose fields are taken one by one; fields that are left at the end are unknown ones.

    name: the object's own name, for the detail of an error.
    """

    def __init__(self, name: str, value: object) -> None:
        if not isinstance(value, Mapping):
            raise invalid(name, "must be an object")
        self._name, self._rest = name, dict(value)

    def pop(self, key: str, default: object) -> object:
        return self._rest.pop(key, default)

    def require(self, key: str) -> object:
        if key not in self._rest:
            raise invalid(f"{self._name}.{key}", "is required by this mode")
        return self._rest.pop(key)

    def finish(self) -> None:
        if self._rest:
            raise invalid(f"{self._name}.{next(iter(self._rest))!s:.40}", "is not a known field")


def optional(name: str, value: object, read: Callable[[str, object], T]) -> T | None:
    """Returns what `read` returns, or None for null."""
    return None if value is None else read(name, value)


def choice(name: str, choices: type[E], value: object) -> E:
    """Returns the member of an enumeration that has this value."""
    if isinstance(value, str) and value in {one.value for one in choices}:
        return choices(value)
    raise invalid(name, f"must be one of {', '.join(choices)}")


def decimal_of(name: str, value: object) -> Decimal:
    """Returns a finite number of at most MAX_DIGITS digits."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise invalid(name, "must be a number")
    number = Decimal(value)
    if not number.is_finite():
        raise invalid(name, "must be finite")
    if len(number.as_tuple().digits) > MAX_DIGITS or (number and abs(number.adjusted()) > MAX_DIGITS):
        raise invalid(name, f"must have at most {MAX_DIGITS} digits")
    return number


def between(name: str, value: object, least: Decimal | int, most: Decimal | int) -> Fraction:
    """Returns a number within inclusive bounds."""
    number = decimal_of(name, value)
    if not least <= number <= most:
        raise invalid(name, f"must be from {least} to {most}")
    return Fraction(number)


def whole(least: int, most: int) -> Callable[[str, object], int]:
    """Returns a function that reads whole numbers within inclusive bounds."""

    def read(name: str, value: object) -> int:
        number = between(name, value, least, most)
        if number.denominator != 1:
            raise invalid(name, "must be a whole number")
        return number.numerator

    return read


def shortest(value: Fraction) -> int | Decimal:
    """Returns the decimal with the fewest digits. `value` must come from a decimal text."""
    if value.denominator == 1:
        return value.numerator
    # So the power of ten is the larger power of 2 or 5.
    digits = 0
    while (10**digits) % value.denominator:
        digits += 1
    return Decimal(f"{value.numerator * (10**digits // value.denominator)}e-{digits}")


def invalid(name: str, what: str) -> CatalogueError:
    return CatalogueError("invalid_spec", f"{name} {what}.")


def _bounded(text: str) -> Decimal:
    # A huge exponent is not even a Decimal.
    with localcontext() as context:
        context.traps[InvalidOperation] = False
        return Decimal(text) if len(text) <= 2 * MAX_DIGITS else Decimal("NaN")


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not a JSON number")
