"""Estimates of an extraction's images, bytes and time, before anything is queued or sent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from db import estimate_inputs
from db.accounts.accounts import Principal
from db.values import client_media, frame_spec
from db.values.error_catalogue import CatalogueError
from db.values.extraction_estimate import EarlierResult, MediaFacts, estimate
from serve_app.deps import Deps, deps_of
from serve_app.http import json_request_body
from serve_app.http.json_request_body import RequestModel
from serve_app.http.json_response import JsonResponse

Pixels = Annotated[int, Field(gt=0, lt=1 << 16)]


class MediaOfClient(RequestModel):
    """What a client knows of a file. width, height: pixels as displayed. duration: seconds. codec: FFmpeg's name, or
    that of RFC 6381. Without codec or fps_average, those of the account's latest videos are assumed, or else H.264 and
    30 frames a second.
    """

    codec: Annotated[str, Field(max_length=40)] | None = None
    width: Pixels
    height: Pixels
    duration: Annotated[float, Field(gt=0, le=1e9)]
    fps_average: Annotated[float, Field(gt=0, le=1e6)] | None = None

    def complete(self, earlier: Sequence[EarlierResult]) -> MediaFacts:
        """With what the account's latest videos have in place of what is not known."""
        return MediaFacts(
            codec=client_media.codec_or_usual(self.codec, earlier),
            width=self.width,
            height=self.height,
            duration=self.duration,
            fps_average=client_media.fps_or_usual(self.fps_average, earlier),
        )


async def create(request: Request, principal: Principal) -> Response:
    """POST /v1/estimates"""
    deps = deps_of(request)
    body = await json_request_body.read_json(request, json_request_body.MAX_SPEC_BYTES)
    if not isinstance(body, dict):
        raise CatalogueError("invalid_field", "body: Must be an object.")
    unknown = next((name for name in body if name not in {"video_id", "media", "spec"}), None)
    if unknown is not None:
        raise CatalogueError("invalid_field", f"{unknown[:40]}: Unknown field.")
    spec = frame_spec.from_document(body.get("spec", {}))
    video_id, media = await _media(deps, principal, body)
    earlier = await estimate_inputs.earlier_results(deps.database, principal.user_id, video_id)
    result = estimate(spec, media.complete(earlier) if isinstance(media, MediaOfClient) else media, earlier)
    return JsonResponse({"frames": result.frames, "bytes": result.size, "seconds": result.seconds})


async def _media(
    deps: Deps, principal: Principal, body: dict[str, Any]
) -> tuple[UUID | None, MediaFacts | MediaOfClient]:
    """Returns the media of the stored video with its id, or those that the client sent. Raises CatalogueError."""
    if ("video_id" in body) == ("media" in body):
        raise CatalogueError("invalid_field", "body: Give either video_id or media.")
    if "media" in body:
        fields = body["media"] if isinstance(body["media"], dict) else {}
        floats = {name: _as_float(fields[name]) for name in ("duration", "fps_average") if name in fields}
        return None, json_request_body.validate(MediaOfClient, fields | floats)
    video_id = _video_id(body["video_id"])
    exists, media = await estimate_inputs.media_of(deps.database, principal.user_id, video_id)
    if not exists:
        raise CatalogueError("not_found")
    if media is None:
        raise CatalogueError("not_probed", retry_after=2)
    return video_id, media


def _as_float(value: object) -> object:
    """The JSON parser returns decimals. A float is exact enough for an estimate. What is no number stays as it is."""
    if not isinstance(value, int | Decimal) or isinstance(value, bool):
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _video_id(value: object) -> UUID:
    try:
        return UUID(str(value))
    except ValueError as error:
        raise CatalogueError("malformed_request", "video_id: This is no id.") from error
