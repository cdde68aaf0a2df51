"""A browser context for many tests, so that the browser keeps the page's static files and their compiled scripts.

Each page starts as in a new context: nothing that an earlier page stored is left, and what would outlast a page is
refused. Only what the HTTP cache holds stays: what a browser that visits for the first time does needs a new context.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from playwright.sync_api import Browser, Page

ALLOWED = {"cookies", "clear_cookies", "new_page", "new_cdp_session"}
"""The methods of a context that leave nothing, or only what the next page clears."""


class ReusedContext:
    """A context whose pages all have the address of one origin."""

    def __init__(self, browser: Browser, address: str) -> None:
        self._address = address
        self._context = browser.new_context(base_url=address, accept_downloads=True, locale="en-US")
        # A page's clock is that of its context.
        for lasting in (self._context, self._context.clock, self._context.tracing):
            _refuse_what_lasts(lasting)

    @contextmanager
    def open_page(self) -> Iterator[Page]:
        """An empty page. In the end all pages are closed, also those that the page or its test has opened."""
        assert not self._context.pages
        page = self._context.new_page()
        try:
            self._clear(page)
            yield page
        finally:
            for opened in self._context.pages:
                opened.close()

    def _clear(self, page: Page) -> None:
        self._context.clear_cookies()
        devtools = self._context.new_cdp_session(page)
        # All that pages can store, but not the HTTP cache.
        devtools.send("Storage.clearDataForOrigin", {"origin": self._address, "storageTypes": "all"})
        devtools.detach()


def _refuse_what_lasts(target: object) -> None:
    """Makes the public methods of this object fail, except those that are allowed."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("This would last for the next tests too. Use a page of `open_visitor_page`.")

    for name, _method in inspect.getmembers(type(target), inspect.isfunction):
        if not name.startswith("_") and name not in ALLOWED:
            setattr(target, name, refuse)
