"""The web page: one HTML document and its texts. It loads nothing from other sites."""

from __future__ import annotations

import asyncio
import gzip
import json
from functools import cache
from pathlib import Path

import jinja2
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from db.accounts import accounts
from db.values.error_catalogue import CatalogueError
from serve_app.deps import deps_of
from serve_app.web_ui import static_assets, texts
from serve_app.web_ui.static_assets import accepts_gzip

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
        # The page asks the browser for the duration of a file that was chosen.
        "media-src blob:",
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
        settings=json.dumps(settings),
        language=language,
        texts_file=chosen.file_name,
        static=f"/static/{static_assets.version()}",
        modules=static_assets.modules(),
        t=chosen.text,
        **settings,
    )
    headers = {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Content-Language": language,
        "Vary": "Accept-Encoding, Accept-Language, Cookie",
    }
    if accepts_gzip(request.headers):
        return HTMLResponse(gzip.compress(html.encode(), mtime=0), headers=headers | {"Content-Encoding": "gzip"})
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
    headers = {"Cache-Control": cache_control, "Vary": "Accept-Encoding"}
    if accepts_gzip(request.headers):
        return Response(found.compressed, headers=headers | {"Content-Encoding": "gzip"}, media_type="text/javascript")
    return Response(found.module, headers=headers, media_type="text/javascript")


@cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(_HERE / "templates")
    return jinja2.Environment(loader=loader, autoescape=True).get_template("page.html")
