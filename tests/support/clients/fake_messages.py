"""Requests, responses, faults and archives of the fake service."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class ApiRequest:
    """A request as the fake service receives it. path: without the query."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class ApiResponse:
    """truncated_at: the server sends this many bytes of the body, then drops the connection; None sends all.

    chunks: sent after the body as they come, then the connection ends. Only over a real socket.
    """

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    truncated_at: int | None = None
    chunks: Iterable[bytes] | None = None


class ConnectionDropped(Exception):
    """The connection ends without a response."""


Fault = Callable[[ApiRequest, Callable[[], ApiResponse]], ApiResponse]
"""A request and the function that carries it out, to the response. Raises ConnectionDropped."""
FaultRule = tuple[str, str, Fault]
"""Method, path as a regular expression, fault."""


def answer_problem(status: int, code: str, **headers: str) -> Fault:
    """Answers with a problem. headers: an underscore stands for a hyphen."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request, carry_out: problem_response(status, code, headers=fields)


def drop_connection(request: ApiRequest, carry_out: Callable[[], ApiResponse]) -> ApiResponse:
    raise ConnectionDropped


def act_and_drop_connection(request: ApiRequest, carry_out: Callable[[], ApiResponse]) -> ApiResponse:
    carry_out()
    raise ConnectionDropped


def truncate_body(body_bytes: int) -> Fault:
    def truncate(request: ApiRequest, carry_out: Callable[[], ApiResponse]) -> ApiResponse:
        response = carry_out()
        response.truncated_at = body_bytes
        return response

    return truncate


def corrupt_body(request: ApiRequest, carry_out: Callable[[], ApiResponse]) -> ApiResponse:
    response = carry_out()
    response.body = b"x" * len(response.body)
    return response


def make_archive(names: list[str], size: int = 100) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name in names:
            file.writestr(zipfile.ZipInfo(name), name.encode().ljust(size, b"."))
        manifest = {"version": 2, "frames": [{"name": name} for name in names]}
        file.writestr(zipfile.ZipInfo("manifest.json"), json.dumps(manifest))
    return content.getvalue()


def make_result_archive(names: list[str]) -> bytes:
    """An archive as that of the engine, with both manifests."""
    content = io.BytesIO(make_archive(names))
    with zipfile.ZipFile(content, "a") as file:
        rows = [f"{n},{name}" for n, name in enumerate(names, 1)]
        file.writestr(zipfile.ZipInfo("manifest.csv"), "\r\n".join(["n,name", *rows, ""]))
    return content.getvalue()


def problem_response(
    status: int, code: str, *, headers: Mapping[str, str] | None = None, **members: Any
) -> ApiResponse:
    body = {"status": status, "code": code, "title": "No.", "detail": f"This is {code}.", "fault": "request"}
    body |= {"remedy": f"Remedy of {code}.", "request_id": "r-1"} | members
    return ApiResponse(
        status, json.dumps(body).encode(), {"Content-Type": "application/problem+json", **(headers or {})}
    )


def json_response(status: int, value: Any) -> ApiResponse:
    return ApiResponse(status, json.dumps(value).encode(), {"Content-Type": "application/json"})
