"""The page in a real browser: uploads that break off go on, and can be paused, resumed and cancelled."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Dialog, Page, Request, Route, expect
from playwright.sync_api import Error as BrowserError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from cluster.local.cores_and_ports import cores
from serve_app.submission.receive_chunks import UploadPolicy
from tests.support.api_client import MP4
from tests.support.page_in_browser import Site, browser, fill_credentials, needs_chromium, page, row, site

__all__ = ["browser", "page", "site"]

pytestmark = needs_chromium

MIB = 1 << 20
UPLOADS = "**/v1/uploads/*"
SECONDS_30 = 30_000
SECONDS_60 = 60_000
LONGEST_TASK_MS = 100
"""A longer one is felt by people who type or scroll."""


def make_video(folder: Path, name: str = "holiday.mp4", size: int = 16 * MIB) -> Path:
    """A file with the first bytes of a video."""
    path = folder / name
    path.write_bytes(MP4)
    os.truncate(path, size)
    return path


def choose(page: Page, *paths: Path) -> None:
    expect(page.locator("#workspace")).to_be_visible()
    page.locator("#files").set_input_files(paths)


def offset_of(request: Request) -> int:
    return int(request.headers["upload-offset"])


class Held:
    """Slices from an offset on wait in the browser until they are let go."""

    def __init__(self, page: Page, offset: int) -> None:
        self._offset = offset
        self._routes: list[Route] = []
        page.route(UPLOADS, self._handle)

    def _handle(self, route: Route) -> None:
        if route.request.method == "PATCH" and offset_of(route.request) >= self._offset:
            self._routes.append(route)
        else:
            route.continue_()

    def release(self) -> None:
        """Lets those that wait go, and holds none from now on."""
        self._offset = 1 << 62
        for route in self._routes:
            route.continue_()

    def drop(self) -> None:
        """Those that wait never arrive, because their page is left. Holds none from now on."""
        self._offset = 1 << 62
        self._routes.clear()

    def break_off(self) -> None:
        """Breaks the connections of those that wait, and holds none from now on."""
        self._offset = 1 << 62
        for route in self._routes:
            route.abort("connectionreset")


def expect_sent(page: Page, name: str, percent: int) -> None:
    """Waits until the service has confirmed so much of the file."""
    expect(row(page, name).get_by_role("progressbar")).to_have_attribute("aria-valuetext", f"{percent} %")


def wait_until(page: Page, condition: str) -> None:
    """Waits for a condition in JavaScript. The page's own policy forbids Playwright's way."""
    held = page.evaluate(
        f"""async () => {{
            const deadline = performance.now() + {SECONDS_60};
            while (!({condition}) && performance.now() < deadline) await new Promise(requestAnimationFrame);
            return {condition};
        }}"""
    )
    assert held, condition


def expect_accepted(page: Page, name: str) -> None:
    """Waits until the file has left the uploads, and is one of the videos."""
    expect(page.locator("#videos tr").filter(has_text=name)).to_have_count(1, timeout=SECONDS_60)
    expect(page.locator("#uploads tr").filter(has_text=name)).to_have_count(0)


async def execute(site: Site, statement: str) -> None:
    async with site.deps.database.begin() as connection:
        await connection.execute(text(statement))


async def locked_videos(site: Site) -> AsyncConnection:
    """A connection that lets no video be stored until it is closed."""
    connection = await site.deps.database.connect()
    await connection.execute(text("LOCK TABLE videos IN EXCLUSIVE MODE"))
    return connection


def records(page: Page) -> int:
    """How many unfinished uploads the browser remembers."""
    count = page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('fotograma.upload ')).length")
    return int(count)


def reload(page: Page) -> Page:
    page.reload()
    return page


def crash(page: Page) -> Page:
    """The process of the page dies; the user opens a new one."""
    with pytest.raises(BrowserError):
        page.goto("chrome://crash")
    opened = page.context.new_page()
    opened.goto("/")
    return opened


@pytest.mark.parametrize("leave", [reload, crash])
def test_the_same_file_chosen_again_goes_on_where_it_was(
    page: Page, site: Site, tmp_path: Path, leave: Callable[[Page], Page]
) -> None:
    video = make_video(tmp_path)
    page.get_by_label("Per second", exact=True).fill("0.5")
    page.get_by_label("Longest side").select_option("640")
    held = Held(page, 2 * MIB)
    choose(page, video)
    expect_sent(page, video.name, 32)
    sent_before = site.received.by_method["PATCH"]
    assert sent_before == int(5.25 * MIB)
    held.drop()
    page = leave(page)
    expect(page.get_by_text("Not uploaded completely: holiday.mp4.")).to_be_visible()
    choose(page, video)
    expect(page.locator("#announcer")).to_contain_text("holiday.mp4 goes on at 32 %")
    expect_accepted(page, video.name)
    assert site.received.by_method["PATCH"] == 16 * MIB
    expect(page.get_by_text("Not uploaded completely")).to_be_hidden()
    assert records(page) == 0


def test_a_file_that_is_chosen_with_other_frames_is_an_upload_of_its_own(
    page: Page, site: Site, tmp_path: Path
) -> None:
    video = make_video(tmp_path)
    held = Held(page, 2 * MIB)
    choose(page, video)
    expect_sent(page, video.name, 32)
    held.drop()
    page.reload()
    page.get_by_label("Frames", exact=True).select_option("keyframes")
    choose(page, video)
    expect_accepted(page, video.name)
    assert site.received.by_method["PATCH"] == int(5.25 * MIB) + 16 * MIB
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as answer:
        page.get_by_role("button", name="Discard what was uploaded").click()
    assert answer.value.status == 204
    assert records(page) == 0


def test_leaving_the_page_is_warned_of_while_something_is_sent(page: Page, tmp_path: Path) -> None:
    video = make_video(tmp_path)
    held = Held(page, 0)
    choose(page, video)
    expect(row(page, video.name)).to_contain_text("Uploading")
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.evaluate("location.reload()")
    expect(row(page, video.name)).to_contain_text("Uploading")
    held.release()
    expect_accepted(page, video.name)
    assert asked == ["beforeunload"]
    page.evaluate("location.reload()")
    expect(row(page, video.name)).to_have_count(1)
    assert asked == ["beforeunload"]


def test_a_connection_that_breaks_again_and_again_loses_only_the_slice_under_way(
    page: Page, site: Site, tmp_path: Path
) -> None:
    video = make_video(tmp_path)
    slices: list[int] = []

    def break_often(route: Route) -> None:
        if route.request.method == "PATCH":
            slices.append(offset_of(route.request))
        if route.request.method == "PATCH" and len(slices) in (2, 4, 5):
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route(UPLOADS, break_often)
    choose(page, video)
    expect(row(page, video.name)).to_contain_text("The connection was lost. The upload goes on by itself.")
    expect_accepted(page, video.name)
    assert slices[:6] == [0, MIB // 4, MIB // 4, MIB // 2, MIB // 2, MIB // 2]
    assert site.received.by_method["PATCH"] == 16 * MIB


def test_an_answer_that_is_lost_costs_no_byte(page: Page, site: Site, tmp_path: Path) -> None:
    video = make_video(tmp_path, size=2 * MIB)
    lost: list[int] = []

    def lose_answer(route: Route) -> None:
        if route.request.method == "PATCH" and len(lost) < 2:
            lost.append(route.fetch().status)
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route(UPLOADS, lose_answer)
    choose(page, video)
    expect_accepted(page, video.name)
    assert lost == [204, 204]
    assert site.received.by_method["PATCH"] == 2 * MIB


def test_two_pages_that_send_one_file_end_with_one_video(page: Page, site: Site, tmp_path: Path) -> None:
    video = make_video(tmp_path)
    held = Held(page, 2 * MIB)
    choose(page, video)
    expect_sent(page, video.name, 32)
    other = page.context.new_page()
    other.goto("/")
    choose(other, video)
    expect_accepted(other, video.name)
    held.release()  # its slice conflicts with those of the other page
    page.bring_to_front()
    expect_accepted(page, video.name)
    assert len(page.request.get("/v1/videos").json()["items"]) == 1


def test_a_proxys_own_404_while_the_service_starts_ends_no_upload(page: Page, site: Site, tmp_path: Path) -> None:
    video = make_video(tmp_path)
    answered: list[str] = []

    def start_slowly(route: Route) -> None:
        if len(answered) < 2 and (route.request.method == "HEAD" or offset_of(route.request) > 2 * MIB):
            answered.append(route.request.method)
            route.fulfill(status=404, body="Path '/v1/uploads' not found.")
        else:
            route.continue_()

    page.route(UPLOADS, start_slowly)
    choose(page, video)
    expect_accepted(page, video.name)
    assert answered == ["PATCH", "HEAD"]
    assert site.received.by_method["PATCH"] == 16 * MIB


def test_an_upload_that_has_expired_begins_anew(page: Page, site: Site, tmp_path: Path) -> None:
    video = make_video(tmp_path)
    held = Held(page, 2 * MIB)
    choose(page, video)
    expect_sent(page, video.name, 32)
    site.run(execute(site, "UPDATE uploads SET expires_at = clock_timestamp()"))
    held.break_off()
    expect_accepted(page, video.name)
    assert site.received.by_method["PATCH"] == int(5.25 * MIB) + 16 * MIB


def test_pause_and_resume(page: Page, site: Site, tmp_path: Path) -> None:
    video = make_video(tmp_path)
    held = Held(page, 2 * MIB)
    choose(page, video)
    expect_sent(page, video.name, 32)
    row(page, video.name).get_by_role("button", name="Pause").click()
    expect(row(page, video.name)).to_contain_text("Paused")
    expect(row(page, video.name).get_by_role("button", name="Resume")).to_be_focused()
    held.drop()
    row(page, video.name).get_by_role("button", name="Resume").press("Enter")
    expect_accepted(page, video.name)
    assert site.received.by_method["PATCH"] == 16 * MIB


def test_a_pause_within_a_slice_loses_nothing_that_has_arrived(page: Page, site: Site, tmp_path: Path) -> None:
    video = make_video(tmp_path)
    network = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 4 * MIB}
    network.send("Network.enable")
    network.send("Network.emulateNetworkConditions", slow)
    choose(page, video)
    wait_until(page, "document.querySelector('#uploads .sent')?.value > 7 / 16")
    row(page, video.name).get_by_role("button", name="Pause").click()
    expect(row(page, video.name)).to_contain_text("Paused")
    network.send("Network.emulateNetworkConditions", slow | {"uploadThroughput": -1})
    row(page, video.name).get_by_role("button", name="Resume").click()
    expect_accepted(page, video.name)
    assert site.received.by_method["PATCH"] == 16 * MIB


def test_cancel_takes_the_upload_off_the_service(page: Page, tmp_path: Path) -> None:
    video = make_video(tmp_path)
    Held(page, 2 * MIB)
    choose(page, video)
    expect_sent(page, video.name, 32)
    assert records(page) == 1
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as answer:
        row(page, video.name).get_by_role("button", name="Cancel").click()
    assert answer.value.status == 204
    expect(row(page, video.name)).to_have_count(0)
    assert records(page) == 0
    gone = page.request.head(answer.value.url, headers={"Tus-Resumable": "1.0.0"})
    assert gone.status == 410


def test_all_can_be_paused_resumed_and_cancelled(page: Page, tmp_path: Path) -> None:
    videos = [make_video(tmp_path, f"part-{n}.mp4", 2 * MIB) for n in range(5)]
    Held(page, 0)
    choose(page, *videos)
    expect(page.locator("#upload-counts")).to_contain_text("3 uploading · 2 waiting · 0 % of 10 MiB")
    page.get_by_role("button", name="Pause all").click()
    expect(page.locator("#upload-counts")).to_contain_text("5 paused")
    page.get_by_role("button", name="Resume all").click()
    expect(page.locator("#upload-counts")).to_contain_text("3 uploading · 2 waiting")
    page.get_by_role("button", name="Cancel all").click()
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#uploads tr")).to_have_count(5)
    page.get_by_role("button", name="Cancel all").click()
    page.get_by_role("button", name="Cancel them").click()
    expect(page.locator("#uploads tr")).to_have_count(0)
    expect(page.get_by_role("group", name="All uploads")).to_be_hidden()
    page.reload()
    expect(page.get_by_text("Nothing here yet.")).to_be_visible()
    expect(page.get_by_text("Not uploaded completely")).to_be_hidden()


def test_an_upload_goes_on_after_a_session_that_ended_in_the_middle(page: Page, site: Site, tmp_path: Path) -> None:
    video = make_video(tmp_path)
    held = Held(page, 2 * MIB)
    choose(page, video)
    expect_sent(page, video.name, 32)
    page.context.clear_cookies()
    held.break_off()
    expect(page.get_by_label("E-mail")).to_be_visible()
    fill_credentials(page)
    expect_accepted(page, video.name)
    assert site.received.by_method["PATCH"] == 16 * MIB


def test_between_the_last_byte_and_the_acceptance_it_is_checking(page: Page, site: Site, tmp_path: Path) -> None:
    video = make_video(tmp_path, size=2 * MIB)
    # Uploads go on, but no video can be accepted.
    lock = site.run(locked_videos(site))
    choose(page, video)
    expect(row(page, video.name)).to_contain_text("Checking")
    expect(row(page, video.name).get_by_role("button", name="Pause")).to_be_hidden()
    site.run(lock.close())
    expect_accepted(page, video.name)


def test_a_large_file_that_is_no_video_is_refused_by_its_first_slice(page: Page, site: Site, tmp_path: Path) -> None:
    notes = tmp_path / "notes.mp4"
    notes.write_bytes(b"some text\n" * (2 * MIB))
    choose(page, notes)
    expect(row(page, notes.name)).to_contain_text("The file is not a video of a known container.")
    expect(page.locator("#announcer")).to_contain_text("notes.mp4: Not accepted.")
    assert site.received.by_method["PATCH"] <= MIB // 4
    expect(row(page, notes.name).get_by_role("button", name="Try again")).to_be_hidden()
    row(page, notes.name).get_by_role("button", name="Dismiss").click()
    expect(row(page, notes.name)).to_have_count(0)
    assert records(page) == 0


def test_a_file_that_was_deleted_meanwhile_is_refused(page: Page, tmp_path: Path) -> None:
    video = make_video(tmp_path)
    held = Held(page, 2 * MIB)
    choose(page, video)
    expect_sent(page, video.name, 32)
    video.unlink()
    held.release()
    expect(row(page, video.name)).to_contain_text("The file can't be read.")


SMALL = UploadPolicy(max_bytes=3 * MIB, max_request_bytes=MIB, expiry_seconds=3600.0)


@pytest.mark.parametrize("site", [{"uploads": SMALL}], indirect=True)
def test_the_largest_size_is_told_and_a_larger_file_is_refused_before_its_first_byte(
    page: Page, site: Site, tmp_path: Path
) -> None:
    expect(page.locator("#formats")).to_contain_text("up to 3.0 MiB each")
    choose(page, make_video(tmp_path, "large.mp4", 4 * MIB), make_video(tmp_path, "small.mp4", 3 * MIB))
    expect(row(page, "large.mp4")).to_contain_text("The file is larger than 3.0 MiB.")
    expect_accepted(page, "small.mp4")
    assert site.received.by_method["PATCH"] == 3 * MIB
    assert site.received.by_method["POST"] < 1000


def test_a_thousand_files_keep_the_page_fluent(page: Page) -> None:
    page.evaluate(
        """bytes => {
            window.longTasks = [];
            window.files = new DataTransfer();
            for (let n = 0; n < 1000; n += 1) {
                files.items.add(new File([new Uint8Array(bytes), String(n)], `clip-${n}.mp4`, { lastModified: n }));
            }
            const note = list => longTasks.push(...list.getEntries().map(entry => entry.duration));
            new PerformanceObserver(note).observe({ entryTypes: ["longtask"] });
            const options = { dataTransfer: files, bubbles: true, cancelable: true };
            setTimeout(() => document.querySelector("#drop").dispatchEvent(new DragEvent("drop", options)));
        }""",
        list(MP4),
    )
    expect(page.locator("#upload-counts")).to_contain_text("3 uploading · 9")
    expect(page.locator("#uploads tr")).to_have_count(50)
    page.get_by_role("button", name="other uploads").click()
    expect(page.locator("#uploads tr")).to_have_count(250)
    page.get_by_label("Search by file name").press_sequentially("clip")
    waiting = r"Number(/(\d+) waiting/.exec(document.querySelector('#upload-counts').textContent)[1])"
    wait_until(page, f"{waiting} < 900")
    page.get_by_role("button", name="Cancel all").click()
    page.get_by_role("button", name="Cancel them").click()
    expect(page.locator("#uploads tr")).to_have_count(0, timeout=SECONDS_30)
    longest = max(page.evaluate("longTasks"), default=0)
    # Other work on the machine makes every task longer.
    busy = max(1.0, os.getloadavg()[0] / cores())
    assert longest < LONGEST_TASK_MS * busy
