"""The page in a real browser: logging in, adding files, and a table that updates itself."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from playwright.sync_api import Browser, FilePayload, Page, Route, expect, sync_playwright

from db.cache import open_cache
from db.connection import open_database
from db.queue import task_queue
from db.values.lifecycle import Blame
from serve_app.app import create_app
from serve_app.deps import Deps
from tests.support.api_client import MEDIA, MP4, PASSWORD, listen, make_deps, make_result, publish_next_task

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SECONDS_10 = 10_000
JPEG = bytes.fromhex("ffd8ffd9")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="there is no chromium on this machine"
)

T = TypeVar("T")


@dataclass(frozen=True)
class Site:
    """The application on a real port, served by a thread of its own."""

    address: str
    deps: Deps
    loop: asyncio.AbstractEventLoop

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


@pytest.fixture
def site(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Site]:
    ready, made, stop = threading.Event(), list[Site](), asyncio.Event()

    async def serve() -> None:
        database, cache = open_database(database_url, name="test", connections=10), open_cache(redis_url)
        deps = make_deps(database, tmp_path / "objects", cache)
        async with listen(create_app(deps)) as port:
            made.append(Site(f"http://127.0.0.1:{port}", deps, asyncio.get_running_loop()))
            ready.set()
            await stop.wait()
        deps.password_hasher.close()
        await cache.close()
        await database.dispose()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(30)
    yield made[0]
    made[0].loop.call_soon_threadsafe(stop.set)
    thread.join(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """The page with a fresh account, logged in. No script may fail and nothing may break the page's own policy."""
    context = browser.new_context(accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(SECONDS_10)
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda message: complaints.append(message.text) if "Policy" in message.text else None)
    opened.goto(site.address)
    opened.get_by_role("button", name="Create account").click()
    opened.get_by_label("E-mail").fill("ana@example.org")
    opened.get_by_label("Password").fill(PASSWORD)
    opened.locator("#credentials-submit").click()
    expect(opened.get_by_text("ana@example.org")).to_be_visible()
    yield opened
    context.close()
    assert complaints == []


def add(page: Page, *files: tuple[str, bytes]) -> None:
    payloads = [FilePayload(name=name, mimeType="video/mp4", buffer=content) for name, content in files]
    page.locator("#files").set_input_files(payloads)


def row(page: Page, name: str) -> Any:
    return page.locator("table.videos tbody tr").filter(has_text=name)


def test_several_files_go_from_the_drop_to_the_download_without_a_reload(page: Page, site: Site) -> None:
    page.get_by_label("Per second", exact=True).fill("0.5")
    page.get_by_label("Longest side").select_option("640")
    add(page, ("one.mp4", MP4), ("two.mp4", MP4 + b"2"))
    expect(row(page, "one.mp4")).to_contain_text("Waiting")
    expect(row(page, "two.mp4")).to_contain_text("Waiting")
    expect(page.locator("#videos tr")).to_have_count(2)
    result = make_result([JPEG, JPEG])
    site.run(publish_next_task(site.deps, result))
    site.run(publish_next_task(site.deps, result))
    for name in ("one.mp4", "two.mp4"):
        expect(row(page, name)).to_contain_text("Done", timeout=SECONDS_10)
        expect(row(page, name).locator("td.number")).to_have_text("2")
    with page.expect_download() as download:
        row(page, "one.mp4").get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "one.zip"
    assert download.value.path().read_bytes() == result.archive


def test_files_can_be_dropped_anywhere_on_the_page(page: Page) -> None:
    page.evaluate(
        """bytes => {
            const dataTransfer = new DataTransfer();
            for (const name of ["left.mp4", "right.mp4"]) {
                dataTransfer.items.add(new File([new Uint8Array(bytes)], name));
            }
            const options = { dataTransfer, bubbles: true, cancelable: true };
            for (const type of ["dragenter", "dragover", "drop"]) {
                document.querySelector("#videos-title").dispatchEvent(new DragEvent(type, options));
            }
        }""",
        list(MP4),
    )
    expect(row(page, "left.mp4")).to_contain_text("Waiting")
    expect(row(page, "right.mp4")).to_contain_text("Waiting")


def test_what_was_chosen_is_what_is_asked_for(page: Page) -> None:
    page.get_by_label("Frames", exact=True).select_option("keyframes")
    page.get_by_label("Longest side").select_option("320")
    expect(page.get_by_label("Per second", exact=True)).to_be_hidden()
    with page.expect_response(lambda answer: answer.request.method == "POST") as answer:
        add(page, ("keys.mp4", MP4))
    spec = answer.value.json()["items"][0]["extraction"]["spec"]
    assert (spec["sample"], spec["image"]["max_side"]) == ({"mode": "keyframes"}, 320)


def test_progress_is_seen_while_it_runs(page: Page, site: Site) -> None:
    add(page, ("long.mp4", MP4))
    expect(row(page, "long.mp4")).to_contain_text("Number 1 in line")

    async def half() -> None:
        (claim,) = await task_queue.claim(site.deps.database, worker="w")
        await task_queue.plan(site.deps.database, claim.lease, media=MEDIA, frames_total=1200)
        await task_queue.heartbeat(site.deps.database, claim.lease, frames_done=300)

    site.run(half())
    expect(row(page, "long.mp4")).to_contain_text("300 of 1,200", timeout=SECONDS_10)
    expect(row(page, "long.mp4")).to_contain_text("64 × 48")
    assert float(row(page, "long.mp4").get_by_role("progressbar").get_attribute("value")) == 0.25


def test_a_failure_tells_reason_and_remedy_and_can_be_retried(page: Page, site: Site) -> None:
    add(page, ("sound.mp4", MP4))
    expect(row(page, "sound.mp4")).to_contain_text("Waiting")
    site.fail("no_video_stream", "The file has only sound.")
    expect(row(page, "sound.mp4")).to_contain_text("Failed", timeout=SECONDS_10)
    expect(row(page, "sound.mp4")).to_contain_text("The file has only sound.")
    expect(row(page, "sound.mp4")).to_contain_text("Send a file that has pictures")
    row(page, "sound.mp4").get_by_role("button", name="Retry").click()
    expect(row(page, "sound.mp4")).to_contain_text("Waiting")


def test_a_file_that_is_no_video_is_refused_and_the_others_go_on(page: Page) -> None:
    add(page, ("notes.mp4", b"some text"), ("empty.mp4", b""), ("good.mp4", MP4))
    expect(row(page, "notes.mp4")).to_contain_text("The file is not a video of a known container.")
    expect(row(page, "empty.mp4")).to_contain_text("The file is empty.")
    expect(row(page, "good.mp4")).to_contain_text("Waiting")
    row(page, "notes.mp4").get_by_role("button", name="Dismiss").click()
    expect(row(page, "notes.mp4")).to_have_count(0)


def test_a_hostile_file_name_is_only_text(page: Page) -> None:
    name = "<img src=x onerror=document.title='broken'>&amp;\"'.mp4"
    add(page, (name, MP4))
    expect(page.locator("#videos .name")).to_have_text(name)
    assert page.locator("#videos .name img").count() == 0
    assert page.title() == "Fotograma"


def test_cancel_filter_search_and_delete(page: Page) -> None:
    add(page, ("beach.mp4", MP4), ("city.mp4", MP4))
    expect(page.locator("#videos tr")).to_have_count(2)
    row(page, "beach.mp4").get_by_role("button", name="Cancel").click()
    expect(row(page, "beach.mp4")).to_contain_text("Cancelled")
    page.get_by_role("button", name="Cancelled", exact=True).click()
    expect(row(page, "city.mp4")).to_have_count(0)
    expect(row(page, "beach.mp4")).to_have_count(1)
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_label("Search by file name").fill("CITY")
    expect(row(page, "beach.mp4")).to_have_count(0)
    page.get_by_label("Search by file name").fill("")
    row(page, "beach.mp4").get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Keep it").click()
    expect(row(page, "beach.mp4")).to_have_count(1)
    row(page, "beach.mp4").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row(page, "beach.mp4")).to_have_count(0)
    expect(row(page, "city.mp4")).to_have_count(1)


def test_an_upload_whose_answer_was_lost_is_sent_again_and_is_there_once(page: Page, site: Site) -> None:
    lost: list[str] = []

    def lose_first_answer(route: Route) -> None:
        if route.request.method == "POST" and not lost:
            lost.append(route.request.headers["idempotency-key"])
            route.fetch()
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/v1/videos", lose_first_answer)
    with page.expect_response(lambda answer: answer.request.method == "POST") as answer:
        add(page, ("once.mp4", MP4))
    assert answer.value.headers["idempotency-replayed"] == "true"
    assert answer.value.request.headers["idempotency-key"] == lost[0]
    expect(page.locator("#uploads tr")).to_have_count(0)
    expect(row(page, "once.mp4")).to_have_count(1)


def test_a_lost_connection_is_said_and_mends_by_itself(page: Page) -> None:
    add(page, ("clip.mp4", MP4))
    expect(row(page, "clip.mp4")).to_contain_text("Waiting")
    page.route("**/v1/videos?*", lambda route: route.abort("connectionrefused"))
    expect(page.get_by_text("Connection lost")).to_be_visible()
    page.unroute("**/v1/videos?*")
    expect(page.get_by_text("Connection lost")).to_be_hidden()
    expect(row(page, "clip.mp4")).to_contain_text("Waiting")


def test_logging_out_and_in_again(page: Page) -> None:
    add(page, ("mine.mp4", MP4))
    expect(row(page, "mine.mp4")).to_contain_text("Waiting")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("E-mail")).to_be_visible()
    page.reload()
    page.get_by_label("E-mail").fill("ana@example.org")
    page.get_by_label("Password").fill("wrong horse")
    page.locator("#credentials-submit").click()
    expect(page.get_by_role("alert")).to_contain_text("The e-mail or the password is wrong.")
    page.get_by_label("Password").fill(PASSWORD)
    page.locator("#credentials-submit").click()
    expect(row(page, "mine.mp4")).to_have_count(1)


def test_it_fits_a_narrow_screen_and_every_control_has_a_name(page: Page) -> None:
    add(page, ("a-very-long-file-name-without-any-space-" * 5 + ".mp4", MP4))
    expect(page.locator("#videos tr")).to_have_count(1)
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for control in page.locator("button:visible, a:visible, input:visible, select:visible").all():
        named = control.evaluate("e => e.textContent.trim() || e.ariaLabel || e.labels?.[0]?.textContent.trim()")
        assert named, control.evaluate("e => e.outerHTML")
