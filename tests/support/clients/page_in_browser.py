"""The page in a real browser, on an application that a thread serves, and the steps of its tests."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from playwright.sync_api import Browser, FilePayload, Locator, Page, expect, sync_playwright
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from db.cache import open_cache
from db.connection import open_database
from db.queue import task_queue
from db.values.lifecycle import Blame
from serve_app.app import create_app
from serve_app.deps import Deps
from tests.support.clients.api_client import PASSWORD, listen, make_deps
from tests.support.clients.reused_context import ReusedContext

# The first is Chromium without its window, which needs half of the processor time.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# These bound only failures, and on a busy machine the browser itself can need seconds.
SECONDS_30 = 30_000
expect.set_options(timeout=SECONDS_30)
EMAIL = "ana@example.org"

MAX_PAINT_MILLISECONDS = 1000.0
FIRST_PAINT = """() => new Promise(resolve => {
    const observer = new PerformanceObserver(list => {
        const paint = list.getEntries().find(({ name }) => name === "first-contentful-paint");
        if (paint) resolve(paint.startTime);
    });
    observer.observe({ type: "paint", buffered: true });
})"""

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="there is no chromium on this machine"
)

T = TypeVar("T")


class ReceivedBytes:
    """Counts the bytes of the bodies that reach the application, by method."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.by_method: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted() -> Message:
            message = await receive()
            self.by_method[scope["method"]] += len(message.get("body", b""))
            return message

        await self._app(scope, counted if scope["type"] == "http" else receive, send)


@dataclass(frozen=True)
class Site:
    """The application on a real port, served by a thread of its own."""

    address: str
    deps: Deps
    loop: asyncio.AbstractEventLoop
    received: ReceivedBytes

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work` on the server's own loop, where its connections belong."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def fail(self, code: str, detail: str) -> None:
        """Claims the next task and fails it."""

        async def work() -> None:
            (claim,) = await task_queue.claim(self.deps.database, worker="w")
            await task_queue.fail(
                self.deps.database, claim.lease, blame=Blame.FILE, code=code, detail=detail, jitter=0.0
            )

        self.run(work())


@pytest.fixture(scope="package")
def site_port() -> Iterator[int]:
    """A port for one application after the other: a browser keeps static files by their origin.

    No other program gets it meanwhile.
    """
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


@pytest.fixture
def site(
    database_url: str, redis_url: str, tmp_path: Path, site_port: int, request: pytest.FixtureRequest
) -> Iterator[Site]:
    """The fixture's parameter replaces arguments of `make_deps`."""
    replacements: dict[str, Any] = getattr(request, "param", {})
    ready, sites, stop = threading.Event(), list[Site](), asyncio.Event()

    async def serve() -> None:
        database, cache = open_database(database_url, name="test", connections=10), open_cache(redis_url)
        deps = make_deps(database, tmp_path / "objects", cache, **replacements)
        received = ReceivedBytes(create_app(deps))
        async with listen(received, site_port) as port:
            sites.append(Site(f"http://127.0.0.1:{port}", deps, asyncio.get_running_loop(), received))
            ready.set()
            await stop.wait()
        deps.password_hasher.close()
        await cache.close()
        await database.dispose()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(30)
    yield sites[0]
    sites[0].loop.call_soon_threadsafe(stop.set)
    thread.join(30)
    # It would answer the browser of the next test.
    assert not thread.is_alive()


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Its driver has a running event loop, so no test with an event loop of its own may run meanwhile."""
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@contextmanager
def open_visitor_page(browser: Browser, address: str, locale: str = "en-US") -> Iterator[Page]:
    """The page in a browser of its own that has nothing stored, without an account. Fails as `no_problems`."""
    context = browser.new_context(base_url=address, accept_downloads=True, locale=locale)
    page = context.new_page()
    with no_problems(page):
        page.goto("/")
        yield page
        context.close()


@contextmanager
def no_problems(page: Page) -> Iterator[None]:
    """Fails when a script of the page fails or breaks the Content-Security-Policy."""
    page.set_default_timeout(SECONDS_30)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if "Policy" in message.text else None)
    yield
    assert not problems, problems


@contextmanager
def open_page(browser: Browser, address: str) -> Iterator[Page]:
    """The page, logged in with a new account."""
    with open_visitor_page(browser, address) as page:
        create_account(page)
        yield page


@pytest.fixture(scope="package")
def reused_context(browser: Browser, site_port: int) -> ReusedContext:
    return ReusedContext(browser, f"http://127.0.0.1:{site_port}")


@pytest.fixture
def page(reused_context: ReusedContext, site: Site) -> Iterator[Page]:
    """The page, logged in with a new account, in a browser that has the static files already.

    It is a browser of its own otherwise. What would last longer than the page needs that of `open_visitor_page`.
    """
    with reused_context.open_page() as opened, no_problems(opened):
        log_in_with_a_new_account(opened)
        yield opened


def first_paint_milliseconds(page: Page) -> float:
    """The time from the navigation to the first contentful paint."""
    milliseconds: float = page.evaluate(FIRST_PAINT)
    return milliseconds


def log_in_with_a_new_account(page: Page) -> None:
    """Does without the form, which costs more than the rest of a short test."""
    account, headers = {"email": EMAIL, "password": PASSWORD}, {"X-Fotograma-Page": "1"}
    for path, data in {"/v1/users": account | {"locale": "en"}, "/session": account}.items():
        answer = page.request.post(path, data=data, headers=headers)
        assert answer.ok, answer.text()
    page.goto("/")
    expect(page.get_by_text(EMAIL)).to_be_visible()


def create_account(page: Page) -> None:
    """Creates an account with the form, and logs in."""
    page.locator("#choose-register").click()
    fill_credentials(page)
    expect(page.get_by_text(EMAIL)).to_be_visible()


def fill_credentials(page: Page, email: str = EMAIL, password: str = PASSWORD) -> None:
    page.locator("#email").fill(email)
    page.locator("#password").fill(password)
    page.locator("#credentials-submit").click()


def choose_files(page: Page, *files: tuple[str, bytes]) -> None:
    add_files(page, *files)
    send_chosen_files(page)


def add_files(page: Page, *files: tuple[str, bytes]) -> None:
    """Chooses files without sending them."""
    payloads = [FilePayload(name=name, mimeType="video/mp4", buffer=content) for name, content in files]
    page.locator("#files").set_input_files(payloads)


def send_chosen_files(page: Page) -> None:
    """Sends the files that the page shows with an estimate."""
    page.locator("#send-files").click()


def file_row(page: Page, name: str) -> Locator:
    """The row of a file. For a moment both its upload and its video have a row: this is the upload's."""
    return page.locator("table.videos tbody tr").filter(has_text=name).first
