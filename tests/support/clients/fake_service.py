"""A fake of the HTTP API for tests of the SDK and the CLI. It keeps its state in memory and injects faults.

`FakeService.respond` does no I/O. Tests put it behind an httpx transport or a real socket.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections import deque
from dataclasses import dataclass, field
from queue import Queue
from typing import Any

from tests.support.clients.fake_messages import (
    ApiRequest,
    ApiResponse,
    Fault,
    FaultRule,
    json_response,
    make_result_archive,
    problem_response,
)

FRAME = {"n": 1, "name": "frame_000001_t000000.000.jpg", "index": 0, "pts": 0, "time": 0.0, "key": True}
FRAME |= {"width": 64, "height": 48, "bytes": 100, "sha256": "0" * 64, "offset": 58}
MANIFEST_VIDEO: dict[str, Any] = {"sha256": "5e" * 32, "size": 9, "container": "mp4", "codec": "h264"}
MANIFEST_VIDEO |= {"width": 64, "height": 48, "rotation": 90, "duration": 2.5, "frames": 60, "fps_average": 24.0}
MANIFEST_VIDEO |= {"variable_frame_rate": False}
MANIFEST = {
    "version": 2,
    "spec": {},
    "video": MANIFEST_VIDEO,
    "time_base": [1, 15360],
    "warnings": [],
    "frames": [FRAME],
}
UPLOAD_EXPIRES = "Wed, 21 Oct 2099 07:28:00 GMT"
NOW = "2026-01-02T03:04:05.678901Z"


@dataclass
class FakeUpload:
    """An upload by tus."""

    id: str
    size: int
    metadata: dict[str, str]
    content: bytearray = field(default_factory=bytearray)
    video_id: str | None = None
    is_gone: bool = False

    @property
    def fingerprint(self) -> tuple[int, dict[str, str]]:
        return self.size, self.metadata


class FakeService:
    """requests: all requests in order. polls_until_end: how often an extraction is read before it ends.
    max_append_bytes: told in `Upload-Limit`. estimate: what POST /v1/estimates answers; None: there is no such route.
    is_staged_at_once: a worker reads each video at once, and then it has its SHA-256. event_streams: what each request
    for events gets, in turn, until a None; without them there is no such route."""

    def __init__(self) -> None:
        self.requests: list[ApiRequest] = []
        self.faults: deque[FaultRule] = deque()
        self.polls_until_end = 2
        self.max_append_bytes: int | None = None
        self.archive = make_result_archive(["frame_000001_t000000.000.jpg", "frame_000002_t000001.000.jpg"])
        self.manifest: dict[str, Any] = MANIFEST
        self.uploads: dict[str, FakeUpload] = {}
        self.videos: dict[str, dict[str, Any]] = {}
        self.file_contents: dict[str, bytes] = {}
        self.specs: list[str | None] = []
        self.refresh_count = 0
        self.account_id = "u-1"
        self.estimate: dict[str, Any] | None = None
        self.is_staged_at_once = True
        self.event_streams: deque[Queue[bytes | None]] | None = None
        self._token_pairs = 0
        self._access, self._refresh = "access-0", "refresh-0"
        self._uploads_by_key: dict[str, FakeUpload] = {}
        self._responses_by_key: dict[str, ApiResponse] = {}
        self._lock = threading.RLock()

    def add_faults(self, method: str, path: str, *faults: Fault) -> None:
        """Each of the next matching requests meets one fault, in this order. path: a regular expression."""
        self.faults.extend((method, path, fault) for fault in faults)

    def expire_access_token(self) -> None:
        """Makes the present access token invalid."""
        self._access = "expired"

    def requests_to(self, method: str, path: str) -> list[ApiRequest]:
        return [request for request in self.requests if request.method == method and re.fullmatch(path, request.path)]

    def respond(self, request: ApiRequest) -> ApiResponse:
        with self._lock:
            self.requests.append(request)
            for rule in self.faults:
                if rule[0] == request.method and re.fullmatch(rule[1], request.path):
                    self.faults.remove(rule)
                    return rule[2](request, lambda: self._carry_out(request))
            return self._carry_out(request)

    def _carry_out(self, request: ApiRequest) -> ApiResponse:
        calls_without_token = {
            ("POST", "/v1/users"): self._register,
            ("POST", "/v1/tokens"): self._login,
            ("POST", "/v1/tokens/refresh"): self._renew,
        }
        if (request.method, request.path) in calls_without_token:
            return calls_without_token[request.method, request.path](request)
        if request.headers.get("authorization") not in {f"Bearer {self._access}", "Bearer fg_key"}:
            return problem_response(401, "unauthenticated")
        key = request.headers.get("idempotency-key")
        if request.path == "/v1/uploads":
            return self._create_upload(request)
        if key is not None and key in self._responses_by_key:
            return self._responses_by_key[key]
        response = self._route(request)
        if key is not None:
            self._responses_by_key[key] = response
        return response

    def _route(self, request: ApiRequest) -> ApiResponse:
        match request.method, request.path.split("/")[2:]:
            case "DELETE", ["tokens"]:
                self._access = "revoked"
                return ApiResponse(204)
            case "GET", ["me"]:
                return json_response(
                    200, {"id": self.account_id, "email": "ana@example.org", "name": None, "role": "user"}
                )
            case "DELETE", ["me"] if request.json()["password"] == "right password":
                self._access = self._refresh = "erased"
                return ApiResponse(204)
            case "DELETE", ["me"]:
                return problem_response(401, "bad_credentials")
            case "GET", ["me", "export"]:
                return ApiResponse(200, self.archive, {"Content-Type": "application/zip"})
            case "HEAD", ["events"] if self.event_streams is not None:
                return ApiResponse(200, headers={"Content-Type": "text/event-stream"})
            case "GET", ["events"] if self.event_streams is not None:
                return self._events(self.event_streams)
            case method, ["uploads", id_]:
                return self._upload(method, id_, request)
            case "POST", ["estimates"] if self.estimate is not None:
                return json_response(200, self.estimate)
            case "GET", ["videos"]:
                return self._list(request)
            case method, ["videos", id_, *rest] if id_ in self.videos:
                return self._video(method, self.videos[id_], rest, request)
            case method, ["extractions", id_, *rest]:
                for video in self.videos.values():
                    if video["extraction"]["id"] == id_:
                        return self._extraction(method, video, rest, request)
        return problem_response(404, "not_found")

    def _events(self, streams: deque[Queue[bytes | None]]) -> ApiResponse:
        if not streams:
            return problem_response(429, "too_many_streams")
        chunks = iter(streams.popleft().get, None)
        return ApiResponse(200, headers={"Content-Type": "text/event-stream"}, chunks=chunks)

    def _video(self, method: str, video: dict[str, Any], rest: list[str], request: ApiRequest) -> ApiResponse:
        if method == "DELETE":
            del self.videos[video["id"]]
            return ApiResponse(204)
        if rest:
            video["extraction"] |= {"spec": request.json()["spec"]}
        return json_response(201 if rest else 200, video["extraction"] if rest else video)

    def _extraction(self, method: str, video: dict[str, Any], rest: list[str], request: ApiRequest) -> ApiResponse:
        extraction = video["extraction"]
        match method, rest:
            case "GET", []:
                self._advance(video)
                return json_response(200, extraction)
            case "GET" | "HEAD", ["frames.zip"] if extraction["status"] == "succeeded":
                return self._content(request)
            case "GET", ["manifest.json"]:
                return json_response(200, self.manifest)
            case "POST", ["cancel"]:
                video["status"] = extraction["status"] = "cancelled"
                return json_response(202, extraction)
            case "POST", ["retry"]:
                return json_response(201, extraction | {"id": "e-retried"})
        return problem_response(409, "not_ready")

    def _advance(self, video: dict[str, Any]) -> None:
        extraction = video["extraction"]
        if extraction["status"] not in {"queued", "running"}:
            return
        extraction["attempt"] += 1
        if extraction["attempt"] < self.polls_until_end:
            extraction["status"] = "running"
            extraction["progress"] = {"frames_done": 1, "frames_total": 2, "fraction": 0.5}
        elif video["filename"].startswith("broken"):
            extraction["status"] = "failed"
            extraction["error"] = {
                "code": "no_video_stream",
                "detail": "Only sound.",
                "fault": "file",
                "remedy": "Send pictures.",
            }
        else:
            extraction["status"] = "succeeded"
            sha256 = hashlib.sha256(self.archive).hexdigest()
            warnings = (
                [{"code": "max_frames_reached", "detail": "There are more."}] if "warned" in video["filename"] else []
            )
            extraction["result"] = {"frames": 2, "bytes": len(self.archive), "sha256": sha256, "warnings": warnings}
        video["status"] = extraction["status"]

    def _create_upload(self, request: ApiRequest) -> ApiResponse:
        asked = self._upload_of(request)
        existing = self._uploads_by_key.get(request.headers["idempotency-key"])
        if existing is not None and existing.is_gone:
            return problem_response(410, "upload_gone")
        if existing is not None and existing.fingerprint != asked.fingerprint:
            return problem_response(422, "idempotency_key_reused")
        upload = existing or asked
        self.uploads[upload.id] = self._uploads_by_key[request.headers["idempotency-key"]] = upload
        headers = {"Location": f"/v1/uploads/{upload.id}"} | ({"Idempotency-Replayed": "true"} if existing else {})
        if request.headers.get("content-type") != "application/offset+octet-stream":
            return ApiResponse(201, headers=headers | self._state_headers(upload))
        refusal = None if upload.content else self._append(upload, request.body)
        return refusal or ApiResponse(201, headers=headers | self._position(upload))

    def _upload_of(self, request: ApiRequest) -> FakeUpload:
        pairs = [pair.split(" ") for pair in request.headers["upload-metadata"].split(",")]
        metadata = {key: base64.b64decode(value).decode() for key, value in pairs}
        if request.headers.get("content-type") == "application/json":
            metadata["spec"] = json.dumps(request.json()["spec"])
        return FakeUpload(f"u-{len(self.uploads) + 1}", int(request.headers["upload-length"]), metadata)

    def _upload(self, method: str, id_: str, request: ApiRequest) -> ApiResponse:
        upload = self.uploads.get(id_)
        if upload is None or upload.is_gone:
            return problem_response(404, "not_found") if upload is None else problem_response(410, "upload_gone")
        if method == "DELETE":
            upload.is_gone = True
            return ApiResponse(204)
        if method == "PATCH":
            if int(request.headers["upload-offset"]) != len(upload.content):
                return problem_response(409, "upload_conflict")
            return self._append(upload, request.body) or ApiResponse(204, headers=self._position(upload))
        return ApiResponse(200, headers=self._position(upload))

    def _append(self, upload: FakeUpload, content: bytes) -> ApiResponse | None:
        upload.content += content
        if not b"video".startswith(upload.content[:5]) and upload.content[4:8] != b"ftyp":
            upload.is_gone = True
            return problem_response(422, "not_a_video", fault="file")
        if len(upload.content) == upload.size:
            video = self._create_video(upload.metadata["filename"], bytes(upload.content), upload.metadata.get("spec"))
            upload.video_id = video["id"]
        return None

    def _position(self, upload: FakeUpload) -> dict[str, str]:
        return {"Upload-Offset": str(len(upload.content))} | self._state_headers(upload)

    def _state_headers(self, upload: FakeUpload) -> dict[str, str]:
        video_location = {"Video-Location": f"/v1/videos/{upload.video_id}"} if upload.video_id else {}
        return {
            "Upload-Expires": UPLOAD_EXPIRES,
            "Upload-Limit": f"max-append-size={self.max_append_bytes or ''}",
        } | video_location

    def _create_video(self, filename: str, content: bytes, spec: str | None) -> dict[str, Any]:
        number = len(self.file_contents) + 1
        extraction = {
            "id": f"e-{number}",
            "video_id": f"v-{number}",
            "spec": json.loads(spec or "{}"),
            "status": "queued",
            "progress": {"frames_done": 0, "frames_total": None, "fraction": None, "queue_position": 1},
            "attempt": 0,
            "created_at": NOW,
            "a_later_field": [],
        }
        video: dict[str, Any] = {"id": f"v-{number}", "filename": filename, "size": len(content), "status": "queued"}
        video |= {"created_at": NOW, "media": None, "extraction": extraction}
        video["sha256"] = hashlib.sha256(content).hexdigest() if self.is_staged_at_once else None
        self.videos[video["id"]], self.file_contents[video["id"]] = video, content
        self.specs.append(spec)
        return video

    def _list(self, request: ApiRequest) -> ApiResponse:
        query = request.query
        matching = [
            video
            for video in reversed(self.videos.values())
            if video["status"] == query.get("status", video["status"])
            and query.get("q", "") in video["filename"]
            and video["sha256"] == query.get("sha256", video["sha256"])
        ]
        start, limit = int(request.query.get("cursor", 0)), min(2, int(request.query.get("limit", 2)))
        has_more = start + limit < len(matching)
        return json_response(
            200, {"items": matching[start : start + limit], "next_cursor": str(start + limit) if has_more else None}
        )

    def _content(self, request: ApiRequest) -> ApiResponse:
        closed_range = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
        if closed_range is not None:
            start, end = int(closed_range[1]), int(closed_range[2])
            headers = {"Content-Range": f"bytes {start}-{end}/{len(self.archive)}"}
            return ApiResponse(206, self.archive[start : end + 1], headers)
        etag = f'"{hashlib.sha256(self.archive).hexdigest()}"'
        complete = ApiResponse(200, self.archive, {"ETag": etag, "Content-Length": str(len(self.archive))})
        open_range = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        if open_range is None or request.headers.get("if-range") != etag:
            return complete
        start, size = int(open_range[1]), len(self.archive)
        headers = {
            "ETag": etag,
            "Content-Range": f"bytes {start}-{size - 1}/{size}",
            "Content-Length": str(size - start),
        }
        return ApiResponse(206, self.archive[start:], headers)

    def _tokens(self) -> ApiResponse:
        self._token_pairs += 1
        number = self._token_pairs
        self._access, self._refresh = f"access-{number}", f"refresh-{number}"
        pair = {"access_token": self._access, "refresh_token": self._refresh}
        return json_response(200, pair | {"token_type": "Bearer", "expires_in": 600})

    def _register(self, request: ApiRequest) -> ApiResponse:
        account = request.json()
        if account["email"] == "taken@example.org":
            return problem_response(409, "email_taken")
        return json_response(
            201, {"id": "u-1", "email": account["email"], "name": account.get("name"), "role": "user", "new": 1}
        )

    def _login(self, request: ApiRequest) -> ApiResponse:
        if request.json()["password"] != "right password":
            return problem_response(401, "bad_credentials")
        return self._tokens()

    def _renew(self, request: ApiRequest) -> ApiResponse:
        if request.json()["refresh_token"] != self._refresh:
            return problem_response(401, "refresh_token_reused")
        self.refresh_count += 1
        return self._tokens()
