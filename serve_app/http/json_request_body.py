"""Reads JSON request bodies and validates them with pydantic."""

from __future__ import annotations

import json
from decimal import Context, Decimal
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request

from db.values import frame_spec
from db.values.error_catalogue import CatalogueError
from db.values.frame_spec import FrameSpec
from serve_app.http.server.slow_clients import enforce_min_rate

MAX_JSON_BYTES = 1 << 16
MAX_SPEC_BYTES = 1 << 22
"""Enough for a specification with 100,000 times."""

MAX_NUMBER_CHARACTERS = 1000
MAX_EXPONENT = 300
"""Beyond both no number means anything here, and its arithmetic would fill the memory."""
_UNREADABLE = Context(prec=MAX_NUMBER_CHARACTERS, traps=[])
"""Reads a number that no Decimal can hold as NaN or infinity."""

M = TypeVar("M", bound="RequestModel")


class RequestModel(BaseModel):
    """A JSON object of a request. Unknown fields are refused and no type is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


async def read_model(request: Request, model: type[M]) -> M:
    """The body as `model`.

    Raises CatalogueError `unsupported_media_type`, `too_large`, `request_timeout`, `malformed_request`, or
    `invalid_field` with the name of the field.
    """
    return validate(model, await read_json(request, MAX_JSON_BYTES))


async def read_spec(request: Request, *, is_required: bool = False) -> FrameSpec:
    """The `spec` of the body, a JSON object; without it the default. Raises as `read_model`, and `invalid_spec`."""
    body = await read_json(request, MAX_SPEC_BYTES)
    if not isinstance(body, dict):
        raise CatalogueError("invalid_field", "body: Must be an object.")
    unknown = next((name for name in body if name != "spec"), None)
    if unknown is not None:
        raise CatalogueError("invalid_field", f"{unknown[:40]}: Unknown field.")
    if is_required and "spec" not in body:
        raise CatalogueError("invalid_field", "spec: Field required.")
    return frame_spec.from_document(body.get("spec", {}))


def has_json(headers: Headers) -> bool:
    """Whether the body is JSON."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


async def read_json(request: Request, max_bytes: int) -> Any:
    """The body as JSON with exact decimals. Raises as `read_model`."""
    if not has_json(request.headers):
        raise CatalogueError("unsupported_media_type", "This route takes application/json.")
    body = bytearray()
    async for chunk in enforce_min_rate(request.stream()):
        body += chunk
        if len(body) > max_bytes:
            raise CatalogueError("too_large", f"The body may have at most {max_bytes} bytes.")
    return parse_json(bytes(body), "The body")


def parse_json(text: bytes, subject: str) -> Any:
    """JSON with numbers as `int` or `Decimal`.

    Raises CatalogueError `malformed_request`, or `invalid_field` for a key that comes twice or a number that is too
    large to be read.
    """
    try:
        value = json.loads(
            text.decode(),
            parse_int=_parse_int,
            parse_float=_parse_decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_without_repeated_keys,
        )
        # json accepts lone surrogates, which no UTF-8 response can contain. They can only come as escapes.
        if b"\\u" in text:
            json.dumps(value, ensure_ascii=False, default=str).encode()
    except (ValueError, RecursionError) as error:
        raise CatalogueError("malformed_request", f"{subject} is not well-formed JSON in UTF-8.") from error
    return value


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise CatalogueError("invalid_field", f"{_shown(repeated)}: This key comes twice in one object.")
    return found


def _parse_int(text: str) -> int:
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise _unreadable_number(text)
    return int(text)


def _parse_decimal(text: str) -> Decimal:
    number = _UNREADABLE.create_decimal(text) if len(text) <= MAX_NUMBER_CHARACTERS else Decimal("NaN")
    if not number.is_finite() or (number and abs(number.adjusted()) > MAX_EXPONENT):
        raise _unreadable_number(text)
    return number


def _unreadable_number(text: str) -> CatalogueError:
    detail = f"{text[:20]}{'…' if len(text) > 20 else ''}: This number is too large, too small or too long to be read."
    return CatalogueError("invalid_field", detail)


def _refuse_constant(text: str) -> object:
    raise ValueError(f"{text} is not a JSON number")


def _shown(name: str) -> str:
    """The beginning of a client's text, fit for a response in UTF-8."""
    return name[:40].encode(errors="replace").decode()


def validate(model: type[M], value: Any) -> M:
    """`value` as `model`. Raises CatalogueError `invalid_field`."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(place) for place in first["loc"]) or "body"
        raise CatalogueError("invalid_field", f"{field[:80]}: {first['msg']}.") from error
