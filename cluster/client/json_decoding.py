"""Decodes JSON to dataclasses. Unknown fields are ignored; missing and wrong ones are named in the error."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from cluster.client.errors import UnexpectedAnswer

T = TypeVar("T")


def decode(kind: type[T], content: bytes) -> T:
    """Decodes JSON text to a value of `kind`. Raises UnexpectedAnswer, which names the field."""
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        name = kind.__name__.lower()
        reason = str(error).replace("`$", f"`{name}")
        raise UnexpectedAnswer(f"The answer is no {name} that this client knows: {reason}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnexpectedAnswer("The answer is not JSON; is the address that of a Fotograma server?") from error
