"""The browser context that tests of the page share: no page has anything of an earlier one, and nothing can last."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.support.clients.page_in_browser import Site, needs_chromium
from tests.support.clients.reused_context import ReusedContext

pytestmark = needs_chromium

STORE = """async () => {
    document.cookie = "kept=1; max-age=1000";
    localStorage.kept = sessionStorage.kept = name = "1";
    await new Promise(resolve => { indexedDB.open("kept").onsuccess = resolve; });
    await (await caches.open("kept")).put("/kept", new Response("1"));
    await (await navigator.storage.getDirectory()).getFileHandle("kept", { create: true });
}"""
READ_STORED = """async () => [
    document.cookie,
    ...Object.keys(localStorage),
    ...Object.keys(sessionStorage),
    name,
    ...(await indexedDB.databases()).map(({ name }) => name),
    ...await caches.keys(),
    ...await Array.fromAsync((await navigator.storage.getDirectory()).keys()),
].filter(Boolean)"""
TRANSFERRED = """() => performance.getEntriesByType("resource")
    .filter(({ transferSize }) => transferSize)
    .map(({ name }) => new URL(name).pathname)"""
LASTING: dict[str, Callable[[Page], object]] = {
    "route": lambda page: page.context.route("**", lambda route: route.abort()),
    "offline": lambda page: page.context.set_offline(True),
    "permissions": lambda page: page.context.grant_permissions(["notifications"]),
    "script": lambda page: page.context.add_init_script("0"),
    "listener": lambda page: page.context.on("request", lambda request: None),
    "clock": lambda page: page.clock.install(),
    "end": lambda page: page.context.close(),
}


def test_page_has_only_static_files_of_an_earlier_one(reused_context: ReusedContext, site: Site) -> None:
    with reused_context.open_page() as page:
        page.goto("/")
        expect(page.locator("#email")).to_be_visible()
        page.evaluate(STORE)
        assert page.evaluate(READ_STORED) == ["kept=1", "kept", "kept", "1", "kept", "kept", "kept"]
        page.context.new_page().goto("/")
    with reused_context.open_page() as page:
        page.goto("/")
        expect(page.locator("#email")).to_be_visible()
        assert page.evaluate(READ_STORED) == []
        assert page.evaluate("history.length") == 2  # the empty page, and this one
        assert page.context.pages == [page]
        transferred = page.evaluate(TRANSFERRED)
    assert transferred == ["/v1/me"]


@pytest.mark.parametrize("lasting", LASTING.values(), ids=LASTING)
def test_what_would_last_is_refused(page: Page, lasting: Callable[[Page], object]) -> None:
    with pytest.raises(AssertionError, match="would last"):
        lasting(page)
