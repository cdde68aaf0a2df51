"""Uploads of the page in a real browser: files to send, requests that wait, and conditions to wait for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import Error, Page, Request, Route, expect

from tests.support.clients.api_client import MP4
from tests.support.clients.page_in_browser import file_row, send_chosen_files

UPLOADS = "**/v1/uploads/*"
MIB = 1 << 20
SECONDS_60 = 60_000


def offset_of(request: Request) -> int:
    return int(request.headers["upload-offset"])


class PausedSlices:
    """Pauses the requests that send slices from an offset on, inside the browser, until one of the other methods is
    called. Meanwhile each slice is copied to the driver, which takes more processor time than to send it.
    """

    def __init__(self, page: Page, offset: int) -> None:
        self._page, self._offset = page, offset
        self._routes: list[Route] = []
        page.route(UPLOADS, self._handle)

    def _handle(self, route: Route) -> None:
        if route.request.method == "PATCH" and offset_of(route.request) >= self._offset:
            self._routes.append(route)
        else:
            route.continue_()

    def release(self) -> None:
        """Sends the paused requests."""
        self._stop_pausing(lambda route: route.continue_())

    def drop(self) -> None:
        """Forgets the paused requests. Their page must have been left before, or have ended them: otherwise a slice
        that was not paused yet would be sent.
        """
        self._stop_pausing(lambda route: None)

    def reset_connections(self) -> None:
        """Resets the connections of the paused requests."""
        self._stop_pausing(lambda route: route.abort("connectionreset"))

    def _stop_pausing(self, end: Callable[[Route], None]) -> None:
        self._offset = 1 << 62
        for route in self._routes:
            end(route)
        # A page that has crashed has no routes.
        with suppress(Error):
            self._page.unroute(UPLOADS, self._handle)


def make_video(folder: Path, name: str = "holiday.mp4", size: int = 16 * MIB) -> Path:
    """A file with the first bytes of a video."""
    path = folder / name
    path.write_bytes(MP4)
    os.truncate(path, size)
    return path


def choose_paths(page: Page, *paths: Path) -> None:
    expect(page.locator("#workspace")).to_be_visible()
    page.locator("#files").set_input_files(paths)
    send_chosen_files(page)


def expect_sent(page: Page, name: str, percent: int) -> None:
    """Waits until the service has confirmed this share of the file."""
    bar = file_row(page, name).get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuetext", f"{percent}%", timeout=SECONDS_60)


def wait_until(page: Page, condition: str, then: str = "") -> None:
    """Waits for a condition in JavaScript. The page's Content-Security-Policy forbids `wait_for_function`.

    then: what the page does as soon as the condition is met, without the driver, which may need long.
    """
    is_met = page.evaluate(
        f"""async () => {{
            const deadline = performance.now() + {SECONDS_60};
            while (!({condition}) && performance.now() < deadline) await new Promise(requestAnimationFrame);
            const isMet = {condition};
            if (isMet) {{ {then} }}
            return isMet;
        }}"""
    )
    assert is_met, condition


def record_texts(page: Page, selector: str) -> None:
    """Keeps each text that this element gets from now on: one that follows soon replaces it."""
    page.evaluate(
        """selector => {
            const element = document.querySelector(selector);
            window.recordedTexts = [];
            const record = () => recordedTexts.push(element.textContent);
            new MutationObserver(record).observe(element, { subtree: true, childList: true, characterData: true });
        }""",
        selector,
    )


def expect_recorded(page: Page, text: str) -> None:
    """Waits until the element of `record_texts` has had this text, although it may have another one now."""
    wait_until(page, f"recordedTexts.some(recorded => recorded.includes({json.dumps(text)}))")


def wait_until_recorded(page: Page, size: int) -> None:
    """Waits until the browser remembers so many bytes as sent, or about to be sent."""
    record = "Object.entries(localStorage).find(([key]) => key.startsWith('fotograma.upload '))"
    wait_until(page, f"JSON.parse({record}?.[1] ?? null)?.content.bytes >= {size}")


def expect_accepted(page: Page, name: str) -> None:
    """Waits until the file has left the uploads, and is one of the videos."""
    expect(page.locator("#videos tr").filter(has_text=name)).to_have_count(1, timeout=SECONDS_60)
    expect(page.locator("#uploads tr").filter(has_text=name)).to_have_count(0)


def count_upload_records(page: Page) -> int:
    """How many unfinished uploads the browser remembers."""
    count = page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('fotograma.upload ')).length")
    return int(count)
