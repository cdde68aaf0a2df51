"""The page's static files: modules, style sheets and the icon.

The page names them by a version, the digest of all of them, so browsers keep them without asking again. Modules import
each other by relative paths, so they follow the page's version.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import os
import re
from functools import cache, lru_cache
from os import PathLike
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

_FOLDER = Path(__file__).parent / "static"
_VERSION_PREFIX = "v-"
_GZIP_REFUSED = re.compile(r"gzip\s*;\s*q=0(?:\.0*)?\s*(?:,|$)")


class StaticAssets(StaticFiles):
    """`/static/…` and `/static/{version}/…`, compressed for a client that takes it.

    Browsers keep the files of the present version. They revalidate all others, and get 304 while one is unchanged.
    """

    def __init__(self) -> None:
        super().__init__(directory=_FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        first, _, rest = path.partition("/")
        response = await super().get_response(rest if first.startswith(_VERSION_PREFIX) else path, scope)
        is_present = first == version()
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if is_present else "no-cache"
        response.headers["Vary"] = "Accept-Encoding"
        return response

    def file_response(
        self, full_path: PathLike[str] | str, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        headers = Headers(scope=scope)
        if not accepts_gzip(headers):
            return super().file_response(full_path, stat_result, scope, status_code)
        content, etag = _compressed_file(str(full_path), stat_result.st_mtime_ns)
        response = Response(
            b"" if scope["method"] == "HEAD" else content,
            status_code,
            {"Content-Encoding": "gzip", "Content-Length": str(len(content)), "ETag": etag},
            mimetypes.guess_type(full_path)[0],
        )
        return NotModifiedResponse(response.headers) if self.is_not_modified(response.headers, headers) else response


def accepts_gzip(headers: Headers) -> bool:
    """Whether a client takes a response that is compressed by gzip (RFC 9110, 12.5.3)."""
    accepted = headers.get("accept-encoding", "").lower()
    return "gzip" in accepted and not _GZIP_REFUSED.search(accepted)


@cache
def version() -> str:
    """Changes with the content of any file."""
    digest = hashlib.sha256()
    for path in sorted(path for path in _FOLDER.rglob("*") if path.is_file()):
        digest.update(path.relative_to(_FOLDER).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return _VERSION_PREFIX + digest.hexdigest()[:16]


@cache
def modules() -> list[str]:
    """The paths of all modules. The browser asks for all at once, instead of finding one after the other."""
    return sorted(path.relative_to(_FOLDER).as_posix() for path in _FOLDER.rglob("*.js"))


@lru_cache(maxsize=256)
def _compressed_file(path: str, _changed_at: int) -> tuple[bytes, str]:
    """The compressed content of a file, and its entity tag."""
    content = gzip.compress(Path(path).read_bytes(), mtime=0)
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
