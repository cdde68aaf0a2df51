"""The fake service with one video that is extracted and with all that the examples of the docstrings ask for."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from tests.support.clients.fake_messages import ApiRequest, ApiResponse, json_response, problem_response
from tests.support.clients.fake_service import NOW, FakeService
from tests.support.clients.image_archive import png, serve_images

ACCOUNT: dict[str, Any] = {
    "id": "u-1",
    "email": "ana@example.org",
    "name": "Ana",
    "role": "admin",
    "locale": "en",
    "notify": "all",
    "created_at": NOW,
    "quotas": {"waiting": 500, "stored_bytes": None, "minutes_per_day": None},
    "use": {"videos": 1, "waiting": 0, "stored_bytes": 5, "minutes_per_day": 0.5},
}
API_KEY = {"id": "k-1", "name": "a notebook", "created_at": NOW, "last_used_at": None}
WEBHOOK = {"id": "w-1", "url": "https://example.org/hook", "events": ["extraction.failed"], "created_at": NOW}
DELIVERY = {"id": "d-1", "type": "extraction.failed", "extraction_id": "e-1", "status": "delivered", "created_at": NOW}
BALANCE = dict.fromkeys(("accepted", "succeeded"), 1) | dict.fromkeys(
    ("failed", "cancelled", "queued", "running", "deleted", "difference_count"), 0
)
LEDGER = BALANCE | {"balanced": True, "differences": [], "reasons": {}, "users": []}
TIMELINE = [{"at": NOW, "kind": "accepted"}, {"at": NOW, "kind": "published", "frames": 2}]


class DocumentedService(FakeService):
    def __init__(self) -> None:
        super().__init__()
        serve_images(self, [(200, 0, 0), (0, 200, 0)])
        self.presets: dict[str, str] = {}
        self._save_preset("slides", '{"sample":{"mode":"keyframes"}}')
        self.estimate = {"frames": 7, "bytes": 1000, "seconds": 1.5}

    def _route(self, request: ApiRequest) -> ApiResponse:
        match request.method, request.path.split("/")[2:]:
            case "GET", ["me"]:
                return json_response(200, ACCOUNT)
            case "PATCH", ["me"]:
                return json_response(200, ACCOUNT | request.json())
            case "POST", ["me", "password"]:
                return ApiResponse(204)
            case "GET", ["admin", "ledger"]:
                return json_response(200, LEDGER)
            case "GET", [*_, ("api-keys" | "webhooks" | "deliveries" | "timeline") as name]:
                items = {"api-keys": [API_KEY], "webhooks": [WEBHOOK], "deliveries": [DELIVERY], "timeline": TIMELINE}
                return json_response(200, {"items": items[name], "next_cursor": None})
            case "GET", ["presets"]:
                presets = ",".join(self.presets[name] for name in sorted(self.presets))
                return ApiResponse(200, f'{{"items":[{presets}]}}'.encode(), {"Content-Type": "application/json"})
            case "PUT", ["presets", name]:
                # As text, because a JSON number would lose digits.
                return self._save_preset(unquote(name), request.body[len('{"spec":') : -1].decode())
            case "DELETE", ["presets", name]:
                known = self.presets.pop(unquote(name), None)
                return problem_response(404, "not_found") if known is None else ApiResponse(204)
            case "POST", ["api-keys"]:
                return json_response(201, API_KEY | request.json() | {"secret": "fg_secret"})
            case "POST", ["webhooks"]:
                return json_response(201, WEBHOOK | request.json() | {"secret": "whsec_c2VjcmV0"})
            case "POST", [*_, "redeliver"]:
                return json_response(202, DELIVERY | {"status": "pending"})
            case "DELETE", ["api-keys" | "webhooks", _]:
                return ApiResponse(204)
            case "GET", [*_, "report.json"]:
                return ApiResponse(200, json.dumps({"reader": "pyav"}).encode())
            case "GET", [*_, "sheet.jpg"]:
                return ApiResponse(200, png((9, 9, 9)))
            case "GET", [*_, "sheet.vtt"]:
                return ApiResponse(200, b"WEBVTT\n")
        return super()._route(request)

    def _save_preset(self, name: str, spec: str) -> ApiResponse:
        """spec: JSON text."""
        status = 200 if name in self.presets else 201
        times = json.dumps({"created_at": NOW, "updated_at": NOW})[1:]
        self.presets[name] = f'{{"name":{json.dumps(name)},"spec":{spec},{times}'
        return ApiResponse(status, self.presets[name].encode(), {"Content-Type": "application/json"})
