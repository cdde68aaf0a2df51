"""The preset resource: list, save under a name, delete."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from db.accounts import presets
from db.accounts.accounts import Principal
from db.accounts.presets import MAX_SPEC_BYTES, Preset
from db.run_to_completion import run_to_completion
from db.values import frame_spec
from db.values.error_catalogue import CatalogueError
from db.values.preset_name import check_preset_name
from serve_app.deps import deps_of
from serve_app.http import json_request_body
from serve_app.http.json_response import JsonResponse


async def list_presets(request: Request, principal: Principal) -> Response:
    """GET /v1/presets"""
    found = await presets.list_presets(deps_of(request).database, principal.user_id)
    return JsonResponse({"items": [preset_json(preset) for preset in found]})


async def save(request: Request, principal: Principal) -> Response:
    """PUT /v1/presets/{name}"""
    name = check_preset_name(request.path_params["name"])
    spec = frame_spec.canonical(await json_request_body.read_spec(request, is_required=True))
    if len(spec) > MAX_SPEC_BYTES:
        raise CatalogueError("too_large", f"The specification of a preset may have at most {MAX_SPEC_BYTES} bytes.")
    saving = presets.save(deps_of(request).database, principal.user_id, name, spec)
    preset, is_new = await run_to_completion(saving)
    return JsonResponse(preset_json(preset), 201 if is_new else 200)


async def delete(request: Request, principal: Principal) -> Response:
    """DELETE /v1/presets/{name}"""
    name = check_preset_name(request.path_params["name"])
    if not await run_to_completion(presets.delete(deps_of(request).database, principal.user_id, name)):
        raise CatalogueError("not_found")
    return Response(status_code=204)


def preset_json(preset: Preset) -> dict[str, Any]:
    return {
        "name": preset.name,
        # The canonical text itself: decimals stay exact.
        "spec": orjson.Fragment(preset.spec),
        "created_at": preset.created_at,
        "updated_at": preset.updated_at,
    }
