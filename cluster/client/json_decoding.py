"""Decodes JSON to dataclasses. Unknown fields are ignored; missing and wrong ones are named in the error."""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar

import msgspec

from cluster.client.errors import UnexpectedAnswer

T = TypeVar("T")


def decode(kind: type[T], content: bytes, *, keeps_digits: bool = False) -> T:
    """Decodes JSON text to a value of `kind`. keeps_digits: decimals in fields of any type become `Decimal`.

    Raises UnexpectedAnswer, which names the field.
    """
    try:
        return msgspec.json.Decoder(kind, float_hook=Decimal if keeps_digits else None).decode(content)
    except msgspec.ValidationError as error:
        name = kind.__name__.lower()
        reason = str(error).replace("`$", f"`{name}")
        raise UnexpectedAnswer(f"The answer is no {name} that this client knows: {reason}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnexpectedAnswer("The answer is not JSON; is the address that of a Fotograma server?") from error
