"""The JSON schemas of presets."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from db.accounts.presets import MAX_SPEC_BYTES
from db.values.preset_name import MAX_NAME_CHARACTERS, RULE
from serve_app.openapi.frame_spec_schema import FrameSpec, Schema

NAME_PARAMETER: dict[str, Any] = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_NAME_CHARACTERS,
    "description": RULE,
}
"""The name in the path."""


class NewPreset(Schema):
    """The body of PUT /v1/presets/{name}."""

    spec: Annotated[FrameSpec, Field(description=f"With its defaults, {MAX_SPEC_BYTES:,} bytes at most.")]


class Preset(Schema):
    """A frame specification under a name. spec: with its defaults."""

    name: str
    spec: FrameSpec
    created_at: datetime
    updated_at: datetime


class Presets(Schema):
    items: list[Preset]
