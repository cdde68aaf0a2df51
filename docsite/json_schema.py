"""A JSON schema in words: its type with its bounds, and its default."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from docsite.markdown import code

Schema = Mapping[str, Any]
_NUMBER_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_LENGTHS = (("minLength", "maxLength", "characters"), ("minItems", "maxItems", "items"))


def type_of(schema: Schema, definitions: Mapping[str, Schema] | None = None, link: str = "") -> str:
    """The type and its bounds. definitions: those of enumerations are told in place; `link` leads to the others."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        found = (definitions or {}).get(name, {})
        return type_of(found) if "enum" in found else f"[{name}]({link}#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(type_of(each, definitions, link) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(code(json.dumps(each)) for each in schema["enum"])
    if "const" in schema:
        return code(json.dumps(schema["const"]))
    return f"{_plain_type(schema, definitions, link)} {', '.join(_bounds(schema))}".strip()


def _plain_type(schema: Schema, definitions: Mapping[str, Schema] | None, link: str) -> str:
    kind = schema.get("type", "any value")
    if kind == "array" and schema.get("items"):
        return f"array of {type_of(schema['items'], definitions, link)}"
    return f"{kind} ({schema['format']})" if "format" in schema else str(kind)


def _bounds(schema: Schema) -> Iterator[str]:
    for key, sign in _NUMBER_BOUNDS.items():
        if key in schema:
            yield f"{sign} {_number(schema[key])}"
    for least, most, unit in _LENGTHS:
        match schema.get(least), schema.get(most):
            case None, None:
                continue
            case None, high:
                yield f"of at most {_number(high)} {unit}"
            case low, None:
                yield f"of at least {_number(low)} {unit}"
            case low, high:
                yield f"of {_number(low)} to {_number(high)} {unit}"


def _number(value: Any) -> str:
    return f"{int(value) if value == int(value) else value:,}"


def default_of(schema: Schema) -> str:
    """The default as JSON, or nothing when there is none."""
    if "default" not in schema:
        return ""
    default = schema["default"]
    return code(json.dumps(int(default) if isinstance(default, float) and default == int(default) else default))
