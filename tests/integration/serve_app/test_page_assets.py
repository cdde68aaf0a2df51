"""The page's files as they are served: small, compressed, and kept by browsers until they change."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from serve_app.web_ui import static_assets
from serve_app.web_ui.texts import texts_in

STATIC = Path(static_assets.__file__).parent / "static"
MOST_BYTES = 150_000


async def test_page_and_all_its_files_are_compressed_and_have_at_most_150_kilobytes(visitor: httpx.AsyncClient) -> None:
    page = await visitor.get("/")
    addresses = sorted(set(re.findall(r'"(/(?:static|texts)/[^"]+)"', page.text)))
    answers = [page, *[await visitor.get(address) for address in addresses]]
    assert {answer.headers["content-encoding"] for answer in answers} == {"gzip"}
    sizes = {str(answer.url.path): int(answer.headers["content-length"]) for answer in answers}
    assert sum(sizes.values()) <= MOST_BYTES, sizes
    # All modules are named in the page, so that the sum is that of all and the browser asks for all at once.
    named = {address.partition("/v-")[2].partition("/")[2] for address in addresses}
    assert {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.js")} <= named


async def test_files_of_the_present_version_are_kept_and_others_revalidated(visitor: httpx.AsyncClient) -> None:
    present = static_assets.version()
    for path, is_kept in {f"{present}/page.js": True, "v-0123/page.js": False, "page.js": False}.items():
        answer = await visitor.get(f"/static/{path}")
        assert answer.text == (STATIC / "page.js").read_text()
        assert ("immutable" in answer.headers["cache-control"]) == is_kept, path
        for encoding in ("gzip", "identity"):
            headers = {"Accept-Encoding": encoding}
            tag = (await visitor.get(f"/static/{path}", headers=headers)).headers["etag"]
            again = await visitor.get(f"/static/{path}", headers=headers | {"If-None-Match": tag})
            assert (again.status_code, again.content) == (304, b"")
    assert (await visitor.get(f"/static/{present}/../../page.py")).status_code == 404
    assert (await visitor.get(f"/static/{present}/nothing.js")).status_code == 404


async def test_client_without_gzip_gets_the_files_as_they_are(visitor: httpx.AsyncClient) -> None:
    for path in ("/", "/static/page.css", f"/texts/{texts_in('en').file_name}"):
        compressed = await visitor.get(path)
        assert "Accept-Encoding" in compressed.headers["vary"]
        for accepted in ("identity", "br, gzip;q=0", ""):
            plain = await visitor.get(path, headers={"Accept-Encoding": accepted})
            assert "content-encoding" not in plain.headers
            assert plain.content == compressed.content
    head = await visitor.head("/static/page.css")
    assert head.content == b""
    assert int(head.headers["content-length"]) > 1000
