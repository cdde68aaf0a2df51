"""One browser for the tests of the page, and an application for each of them."""

from tests.support.clients.page_in_browser import browser, page, reused_context, site, site_port

__all__ = ["browser", "page", "reused_context", "site", "site_port"]
