"""Decodes JSON to dataclasses. Unknown fields are ignored; missing and wrong ones are named in the error."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from cluster.client.errors import UnexpectedAnswer

T = TypeVar("T")

_decoders: dict[tuple[type, bool], msgspec.json.Decoder[Any]] = {}
_preparing = threading.Lock()


def decode(kind: type[T], content: bytes, *, keeps_digits: bool = False) -> T:
    """Decodes JSON text to a value of `kind`. keeps_digits: decimals in fields of any type become `Decimal`.

    Raises UnexpectedAnswer, which names the field.
    """
    try:
        return _decoder_of(kind, keeps_digits=keeps_digits).decode(content)
    except msgspec.ValidationError as error:
        name = kind.__name__.lower()
        reason = str(error).replace("`$", f"`{name}")
        raise UnexpectedAnswer(f"The answer is no {name} that this client knows: {reason}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnexpectedAnswer("The answer is not JSON; is the address that of a Fotograma server?") from error


def _decoder_of(kind: type[T], *, keeps_digits: bool) -> msgspec.json.Decoder[T]:
    # When two threads prepare a decoder of one dataclass at once, the second uses what the first has half prepared: the
    # process ended with a segmentation fault in one of 25 runs that sent two files.
    with _preparing:
        if (kind, keeps_digits) not in _decoders:
            hook = Decimal if keeps_digits else None
            _decoders[kind, keeps_digits] = msgspec.json.Decoder(kind, float_hook=hook)
        return _decoders[kind, keeps_digits]
