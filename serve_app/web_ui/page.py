"""The web page: one HTML document and its static files. It loads nothing from other sites."""

from __future__ import annotations

import asyncio
import json
import os
from functools import cache
from os import PathLike
from pathlib import Path

import jinja2
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from db import accounts
from db.values.error_catalogue import CatalogueError
from serve_app.deps import deps_of
from serve_app.web_ui import texts

LANGUAGE_COOKIE = "fotograma_language"
"""The page's script stores the language of the account here. It is no secret."""
DATABASE_SECONDS = 2.0
"""The page does not wait longer for the database."""
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
    has_accounts = await _has_accounts(request)
    settings = {
        "upload_request_max_bytes": deps.uploads.max_request_bytes,
        "password_min_length": deps.password_min_length,
        "registration_open": deps.registration_open,
        "has_accounts": has_accounts,
        "languages": texts.LANGUAGES,
    }
    language = texts.choose_language(
        request.cookies.get(LANGUAGE_COOKIE, ""), ",".join(request.headers.getlist("accept-language"))
    )
    chosen = texts.texts_in(language)
    html = _template().render(
        settings=json.dumps(settings), language=language, texts_file=chosen.file_name, t=chosen.text, **settings
    )
    headers = {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Content-Language": language,
        "Vary": "Accept-Language, Cookie",
    }
    return HTMLResponse(html, headers=headers)


async def _has_accounts(request: Request) -> bool:
    """Whether anybody can log in. Once there was an account, or when the database is away, the answer is yes."""
    state = request.app.state
    if not getattr(state, "has_accounts", False):
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                state.has_accounts = await accounts.exist(deps_of(request).database)
        except (SQLAlchemyError, OSError):
            return True
    return bool(state.has_accounts)


async def show_texts(request: Request) -> Response:
    """GET /texts/{file}: a catalogue. A page of another version gets the present one, which is then not kept."""
    file_name = request.path_params["file"]
    language = file_name.partition(".")[0]
    if language not in texts.LANGUAGES:
        raise CatalogueError("not_found")
    found = texts.texts_in(language)
    is_same = file_name == found.file_name
    cache_control = "public, max-age=31536000, immutable" if is_same else "no-cache"
    return Response(found.module, headers={"Cache-Control": cache_control}, media_type="text/javascript")


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
