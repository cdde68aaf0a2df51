"""The web page: one HTML document and its static files. It loads nothing from other sites."""

from __future__ import annotations

import json
import os
from functools import cache
from os import PathLike
from pathlib import Path

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from serve_app.deps import deps_of

_HERE = Path(__file__).parent
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)


async def show(request: Request) -> Response:
    """GET /"""
    deps = deps_of(request)
    settings = {
        "upload_request_max_bytes": deps.uploads.max_request_bytes,
        "password_min_length": deps.password_min_length,
        "registration_open": deps.registration_open,
    }
    html = _template().render(settings=json.dumps(settings), **settings)
    return HTMLResponse(html, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})


class StaticAssets(StaticFiles):
    """`/static/…`. Browsers revalidate each file, and get 304 while it is unchanged."""

    def __init__(self) -> None:
        super().__init__(directory=_HERE / "static")

    def file_response(
        self, full_path: PathLike[str] | str, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = "no-cache"
        return response


@cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(_HERE / "templates")
    return jinja2.Environment(loader=loader, autoescape=True).get_template("page.html")
