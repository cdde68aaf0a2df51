"""`docs/reference/specification.md`: the fields of a frame specification, from the models of the OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from docsite.json_schema import default_of, type_of
from docsite.markdown import code, code_block, page, table
from serve_app.openapi.frame_spec_schema import FrameSpec, Image, Range, Sample

_INTRO = """# The specification

It says which frames of a video are wanted, and as which images: the command line's options, the page's form, the SDK's
`ExtractionSpec` and the API's `spec` all mean this JSON. [What the words mean](../frames.md#what-the-words-mean).

These are the defaults. Every part may be left out. A field that is not listed is refused, with its name.
"""


def specification_page() -> str:
    """The whole document, in Markdown."""
    defaults = json.dumps(FrameSpec().model_dump(mode="json"), indent=2)
    return page(
        _INTRO,
        code_block(_integers(defaults), "json"),
        "## Modes",
        table(("`sample.mode`", "fields", "which frames"), map(_mode, get_args(Sample))),
        "## Other fields",
        table(("field", "type", "default", "meaning"), _fields()),
    )


def _integers(text: str) -> str:
    """Without the `.0` that a field of the type float adds."""
    return text.replace(".0,", ",").replace(".0\n", "\n")


def _mode(model: type[BaseModel]) -> tuple[str, str, str]:
    schema = model.model_json_schema()
    named = [(name, field) for name, field in schema["properties"].items() if name != "mode"]
    fields = ", ".join(f"{code(name)} ({_bounds_and_default(field)})" for name, field in named)
    mode = schema["properties"]["mode"]["const"]
    return code(mode) + (" (default)" if model is type(FrameSpec().sample) else ""), fields, schema["description"]


def _bounds_and_default(field: dict[str, Any]) -> str:
    default = default_of(field)
    return type_of(field) + (f"; {default}" if default else "")


def _fields() -> Iterator[tuple[str, str, str, str]]:
    for prefix, model in (("range.", Range), ("image.", Image), ("", FrameSpec)):
        schema = model.model_json_schema()
        for name, field in schema["properties"].items():
            if not (model is FrameSpec and name in {"sample", "range", "image"}):
                yield (
                    code(f"{prefix}{name}"),
                    type_of(field, schema.get("$defs", {})),
                    default_of(field),
                    field.get("description", ""),
                )
