"""A stand-in for the service, for tests of the SDK and the CLI: the contract in memory, with faults on order.

Pure: `answer` maps a request to a reply. Tests put it behind `httpx.MockTransport` or a real socket.
"""

from __future__ import annotations

import email.parser
import email.policy
import hashlib
import io
import json
import re
import threading
import zipfile
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

FRAME = {"n": 1, "name": "frame_000001_t000000.000.jpg", "index": 0, "pts": 0, "time": 0.0, "key": True}
FRAME |= {"width": 64, "height": 48, "bytes": 100, "sha256": "0" * 64, "offset": 58}
MANIFEST = {"version": 1, "spec": {}, "time_base": [1, 15360], "warnings": [], "frames": [FRAME]}
NOW = "2026-01-02T03:04:05.678901Z"


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Told:
    """cut: send only so many bytes of the body, then drop the connection."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


class Dropped(Exception):
    """The connection ends without an answer. acted: after the request was carried out."""


Fault = Callable[[Asked, Callable[[], Told]], Told]
Rule = tuple[str, str, Fault]


def refuses(status: int, code: str, **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda asked, act: problem(status, code, headers=named)


def drops(asked: Asked, act: Callable[[], Told]) -> Told:
    raise Dropped


def acts_and_drops(asked: Asked, act: Callable[[], Told]) -> Told:
    act()
    raise Dropped


def cuts(after: int) -> Fault:
    def fault(asked: Asked, act: Callable[[], Told]) -> Told:
        told = act()
        told.cut = after
        return told

    return fault


def garbles(asked: Asked, act: Callable[[], Told]) -> Told:
    told = act()
    told.body = b"x" * len(told.body)
    return told


def archive_of(names: list[str], size: int = 100) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name in names:
            file.writestr(zipfile.ZipInfo(name), name.encode().ljust(size, b"."))
        manifest = {"version": 2, "frames": [{"name": name} for name in names]}
        file.writestr(zipfile.ZipInfo("manifest.json"), json.dumps(manifest))
    return content.getvalue()


def problem(status: int, code: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> Told:
    body = {"status": status, "code": code, "title": "No.", "detail": f"This is {code}.", "fault": "request"}
    body |= {"remedy": f"Remedy of {code}.", "request_id": "r-1"} | members
    return Told(status, json.dumps(body).encode(), {"Content-Type": "application/problem+json", **(headers or {})})


def as_json(status: int, value: Any) -> Told:
    return Told(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


class StandIn:
    """polls: reads of an extraction before it succeeds. asked: every request, in order."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.faults: deque[Rule] = deque()
        self.polls = 2
        self.archive = archive_of(["frame_000001_t000000.000.jpg", "frame_000002_t000001.000.jpg"])
        self.videos: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.specs: list[str | None] = []
        self.refreshes = 0
        self._pairs = 0
        self._access, self._refresh = "access-0", "refresh-0"
        self._answers: dict[str, Told] = {}
        self._lock = threading.RLock()

    def fault(self, method: str, path: str, *faults: Fault) -> None:
        """The next requests that match are answered by these, one each. path: a regular expression."""
        self.faults.extend((method, path, fault) for fault in faults)

    def expire(self) -> None:
        """The access token that is out no longer works."""
        self._access = "expired"

    def sent(self, method: str, path: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.method == method and re.fullmatch(path, asked.path)]

    def answer(self, asked: Asked) -> Told:
        with self._lock:
            self.asked.append(asked)
            for rule in self.faults:
                if rule[0] == asked.method and re.fullmatch(rule[1], asked.path):
                    self.faults.remove(rule)
                    return rule[2](asked, lambda: self._act(asked))
            return self._act(asked)

    def _act(self, asked: Asked) -> Told:
        open_calls = {
            ("POST", "/v1/users"): self._register,
            ("POST", "/v1/tokens"): self._login,
            ("POST", "/v1/tokens/refresh"): self._renew,
        }
        if (asked.method, asked.path) in open_calls:
            return open_calls[asked.method, asked.path](asked)
        if asked.headers.get("authorization") not in {f"Bearer {self._access}", "Bearer fg_key"}:
            return problem(401, "unauthenticated")
        key = asked.headers.get("idempotency-key")
        if key is not None and key in self._answers:
            return self._answers[key]
        told = self._route(asked)
        if key is not None:
            self._answers[key] = told
        return told

    def _route(self, asked: Asked) -> Told:
        match asked.method, asked.path.split("/")[2:]:
            case "DELETE", ["tokens"]:
                self._access = "ended"
                return Told(204)
            case "GET", ["me"]:
                return as_json(200, {"id": "u-1", "email": "ana@example.org", "name": None, "role": "user"})
            case "POST", ["videos"]:
                return self._accept(asked)
            case "GET", ["videos"]:
                return self._list(asked)
            case method, ["videos", id_, *rest] if id_ in self.videos:
                return self._video(method, self.videos[id_], rest)
            case method, ["extractions", id_, *rest]:
                for video in self.videos.values():
                    if video["extraction"]["id"] == id_:
                        return self._extraction(method, video, rest, asked)
        return problem(404, "not_found")

    def _video(self, method: str, video: dict[str, Any], rest: list[str]) -> Told:
        if method == "DELETE":
            del self.videos[video["id"]]
            return Told(204)
        return as_json(201 if rest else 200, video["extraction"] if rest else video)

    def _extraction(self, method: str, video: dict[str, Any], rest: list[str], asked: Asked) -> Told:
        extraction = video["extraction"]
        match method, rest:
            case "GET", []:
                self._advance(video)
                return as_json(200, extraction)
            case "GET", ["frames.zip"] if extraction["status"] == "succeeded":
                return self._content(asked)
            case "GET", ["manifest.json"]:
                return as_json(200, MANIFEST)
            case "POST", ["cancel"]:
                video["status"] = extraction["status"] = "cancelled"
                return as_json(202, extraction)
            case "POST", ["retry"]:
                return as_json(201, extraction | {"id": "e-retried"})
        return problem(409, "not_ready")

    def _advance(self, video: dict[str, Any]) -> None:
        extraction = video["extraction"]
        if extraction["status"] not in {"queued", "running"}:
            return
        extraction["attempt"] += 1
        if extraction["attempt"] < self.polls:
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

    def _accept(self, asked: Asked) -> Told:
        files, spec = parts(asked)
        for index, (filename, content) in enumerate(files):
            if not content.startswith(b"video"):
                errors = [
                    {
                        "part": "file",
                        "index": index,
                        "filename": filename,
                        "code": "not_a_video",
                        "detail": "Text.",
                        "fault": "file",
                        "remedy": "Send MP4.",
                    }
                ]
                return problem(422, "not_a_video", fault="file", errors=errors)
        return as_json(201, {"items": [self._place(filename, content, spec) for filename, content in files]})

    def _place(self, filename: str, content: bytes, spec: str | None) -> dict[str, Any]:
        number = len(self.contents) + 1
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
        self.videos[video["id"]], self.contents[video["id"]] = video, content
        self.specs.append(spec)
        return video

    def _list(self, asked: Asked) -> Told:
        status, q = asked.query.get("status"), asked.query.get("q", "")
        found = [
            v for v in reversed(self.videos.values()) if v["status"] == (status or v["status"]) and q in v["filename"]
        ]
        start, limit = int(asked.query.get("cursor", 0)), min(2, int(asked.query["limit"]))
        rest = start + limit < len(found)
        return as_json(
            200, {"items": found[start : start + limit], "next_cursor": str(start + limit) if rest else None}
        )

    def _content(self, asked: Asked) -> Told:
        etag = f'"{hashlib.sha256(self.archive).hexdigest()}"'
        whole = Told(200, self.archive, {"ETag": etag, "Content-Length": str(len(self.archive))})
        found = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("range", ""))
        if found is None or asked.headers.get("if-range") != etag:
            return whole
        start, size = int(found[1]), len(self.archive)
        headers = {
            "ETag": etag,
            "Content-Range": f"bytes {start}-{size - 1}/{size}",
            "Content-Length": str(size - start),
        }
        return Told(206, self.archive[start:], headers)

    def _tokens(self) -> Told:
        self._pairs += 1
        number = self._pairs
        self._access, self._refresh = f"access-{number}", f"refresh-{number}"
        pair = {"access_token": self._access, "refresh_token": self._refresh}
        return as_json(200, pair | {"token_type": "Bearer", "expires_in": 600})

    def _register(self, asked: Asked) -> Told:
        given = asked.json()
        if given["email"] == "taken@example.org":
            return problem(409, "email_taken")
        return as_json(201, {"id": "u-1", "email": given["email"], "name": given.get("name"), "role": "user", "new": 1})

    def _login(self, asked: Asked) -> Told:
        if asked.json()["password"] != "right password":
            return problem(401, "bad_credentials")
        return self._tokens()

    def _renew(self, asked: Asked) -> Told:
        if asked.json()["refresh_token"] != self._refresh:
            return problem(401, "refresh_token_reused")
        self.refreshes += 1
        return self._tokens()


def parts(asked: Asked) -> tuple[list[tuple[str, bytes]], str | None]:
    head = f"Content-Type: {asked.headers['content-type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + asked.body)
    files, spec = [], None
    for part in message.iter_parts():
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        if part.get_param("name", header="content-disposition") == "spec":
            spec = content.decode()
        else:
            files.append((part.get_filename() or "", content))
    return files, spec
