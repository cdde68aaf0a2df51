"""The page and its texts as the service answers them, by language."""

from __future__ import annotations

import re

import httpx


async def test_page_is_in_the_language_of_the_cookie_or_of_the_browser(visitor: httpx.AsyncClient) -> None:
    for headers, language in (
        ({}, "en"),
        ({"Accept-Language": "pt-BR,en;q=0.5"}, "pt-BR"),
        ({"Accept-Language": "pt-BR", "Cookie": "fotograma_language=en"}, "en"),
        ({"Accept-Language": "pt-BR", "Cookie": 'fotograma_language="><script>'}, "pt-BR"),
    ):
        answer = await visitor.get("/", headers=headers)
        assert answer.headers["content-language"] == language
        assert f'<html lang="{language}"' in answer.text
        assert {"Accept-Language", "Cookie"} <= set(answer.headers["vary"].split(", "))


async def test_texts_are_kept_by_browsers_until_they_change(visitor: httpx.AsyncClient) -> None:
    found = re.search(r'data-texts="([^"]+)"', (await visitor.get("/")).text)
    assert found is not None
    texts = await visitor.get(found[1])
    assert texts.headers["content-type"].startswith("text/javascript")
    assert texts.headers["cache-control"] == "public, max-age=31536000, immutable"
    other_version = await visitor.get("/texts/en.0000.js")
    assert (other_version.content, other_version.headers["cache-control"]) == (texts.content, "no-cache")
    assert (await visitor.get("/texts/de.0000.js")).json()["code"] == "not_found"
    assert (await visitor.get("/texts/..%2Fpage.py")).status_code == 404
