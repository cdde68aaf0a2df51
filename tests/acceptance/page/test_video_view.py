"""The page in a real browser: the view of one video, with its frames, and its address."""

from __future__ import annotations

import io
import os
import re
from functools import cache

import pytest
from PIL import Image
from playwright.sync_api import CDPSession, Page, Position, Route, expect

from db.queue import task_queue
from db.queue.task_queue import Claim
from tests.support.clients.api_client import MEDIA, MP4, Result, make_result, publish_next_task, tell_preview
from tests.support.clients.page_in_browser import Site, choose_files, file_row, needs_chromium
from tests.support.clients.uploads_in_browser import wait_until

pytestmark = needs_chromium

SHEET_INDEX = b"""WEBVTT

00:00:01.000 --> 00:00:02.000
sheet.jpg#xywh=0,0,160,120

00:00:03.000 --> 00:00:04.000
sheet.jpg#xywh=160,0,160,120
"""
REPORT = b"""{"reader": "pyav", "engine_version": 2, "libraries": {"av": "18.1.0", "ffmpeg": "8.1.2"}, "fallbacks": [],
"frames": {"table": 300, "planned": 31, "decoded": 90, "given": 30, "missing": 1, "repeated": 0},
"seconds": {"read": 1.5, "encode": 0.25}}"""
MISSING = {
    "code": "frames_missing",
    "detail": "9 of 39 frames could not be decoded with certainty and are left out, the first at 1.200 s.",
}
LONG_FRAMES = 10_000
FULL = os.environ.get("FOTOGRAMA_SUITE") == "full"
SCROLLED_FRAMES = 120
MOST_CELLS = 250
"""Cells that exist at a time, whatever the number of frames."""


@cache
def jpeg(width: int = 64, height: int = 48, color: str = "teal") -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (width, height), color).save(target, "JPEG")
    return target.getvalue()


def publish(site: Site, result: Result, *, warned: bool = False) -> None:
    files = {"sheet.jpg": jpeg(320, 120), "sheet.vtt": SHEET_INDEX, "report.json": REPORT}
    warnings = [MISSING] if warned else []
    site.run(publish_next_task(site.deps, result, warnings=warnings, files=files))


def open_result(page: Page, site: Site, frames: int, *, warned: bool = False) -> None:
    """Uploads a video, publishes a result with so many frames, and opens its view."""
    choose_files(page, ("beach.mp4", MP4))
    expect(file_row(page, "beach.mp4")).to_contain_text("Waiting")
    publish(site, make_result([jpeg()] * frames), warned=warned)
    expect(file_row(page, "beach.mp4")).to_contain_text("Done")
    file_row(page, "beach.mp4").get_by_role("link", name="beach.mp4", exact=True).click()
    expect(page.get_by_role("heading", name="beach.mp4", level=1)).to_be_focused()
    expect(page.get_by_role("list", name="All frames")).to_be_visible()


def frame_title(page: Page, n: int, total: int) -> None:
    expect(page.get_by_role("dialog")).to_contain_text(f"Frame {n} of {total}")


def test_frames_are_looked_at_one_by_one_with_the_keyboard(page: Page, site: Site) -> None:
    open_result(page, site, 30)
    expect(page.get_by_role("img", name="Contact sheet with 30 of 30 frames")).to_be_visible()
    first = page.get_by_role("link", name="Frame 1, at 0:00.000, key frame")
    first.focus()
    first.press("ArrowRight")
    expect(page.get_by_role("link", name="Frame 2, at")).to_be_focused()
    page.keyboard.press("Enter")
    frame_title(page, 2, 30)
    expect(page.get_by_role("dialog")).to_contain_text("0:01.000 · Key frame · 8 × 8")
    expect(page.get_by_role("img", name="Frame 2 of beach.mp4, at 0:01.000")).to_be_visible()
    for key, n in [("ArrowRight", 3), ("End", 30), ("ArrowRight", 30), ("PageUp", 20), ("Home", 1), ("ArrowLeft", 1)]:
        page.keyboard.press(key)
        frame_title(page, n, 30)
    page.keyboard.press("End")
    frame_title(page, 30, 30)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download frame").click()
    assert download.value.suggested_filename == "frame_000030_t000029.000.jpg"
    assert download.value.path().read_bytes() == jpeg()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("link", name="Frame 30, at")).to_be_focused()


def test_click_on_the_contact_sheet_opens_the_frame_at_that_place(page: Page, site: Site) -> None:
    held: list[Route] = []
    page.route("**/sheet.jpg", lambda route: held.append(route))  # noqa: PLW0108  # Playwright marks the handler
    with page.expect_response("**/sheet.vtt"):
        open_result(page, site, 30)
    sheet = page.get_by_role("img", name="Contact sheet")
    box = sheet.bounding_box()
    assert box is not None
    place = Position(x=box["width"] * 0.75, y=box["height"] / 2)
    sheet.click(position=place)
    expect(page.get_by_role("dialog")).to_have_count(0)
    held[0].continue_()
    sheet.evaluate("image => image.decode()")
    expect(page.get_by_role("dialog")).to_have_count(0)
    sheet.click(position=place)
    frame_title(page, 4, 30)


def test_address_leads_back_forward_and_to_the_same_place_after_a_reload(page: Page, site: Site) -> None:
    open_result(page, site, 30)
    page.get_by_role("link", name="Frame 1, at").click()
    page.keyboard.press("ArrowRight")
    frame_title(page, 2, 30)
    page.reload()
    frame_title(page, 2, 30)
    page.go_back()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("heading", name="beach.mp4")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Your videos", level=1)).to_be_visible()
    expect(page.locator("#videos .open")).to_be_focused()
    page.go_forward()
    expect(page.get_by_role("heading", name="beach.mp4")).to_be_visible()
    page.get_by_role("link", name="Your videos").click()
    page.get_by_label("Search by file name").fill("sea")
    expect(page.get_by_text("No video matches.")).to_be_visible()
    page.get_by_role("button", name="Failed").click()
    page.reload()
    expect(page.get_by_label("Search by file name")).to_have_value("sea")
    expect(page.get_by_role("button", name="Failed")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_text("No video matches.")).to_be_visible()


def test_video_that_is_not_there_is_told_as_such(page: Page) -> None:
    page.goto("/?video=01a22551-c70e-7370-80d4-9a14d1bd7ab2")
    expect(page.get_by_role("heading", name="This video is not here")).to_be_visible()
    expect(page.get_by_text("There is nothing of yours under this address.")).to_be_visible()
    page.get_by_role("link", name="Your videos").click()
    expect(page.get_by_text("Nothing here yet.")).to_be_visible()


def test_table_report_and_time_line_tell_how_the_result_was_made(page: Page, site: Site) -> None:
    open_result(page, site, 30)
    page.get_by_role("link", name="Table").click()
    row = page.get_by_role("row").filter(has_text="frame_000002_t000001.000.jpg")
    expect(row).to_contain_text("1.000 s")
    row.get_by_role("link", name="2", exact=True).click()
    frame_title(page, 2, 30)
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Report").click()
    expect(page.get_by_text("The video has 300 frames. 31 were asked for, and 30 are in the archive.")).to_be_visible()
    expect(page.get_by_text("It was read with PyAV 18.1.0 on FFmpeg 8.1.2")).to_be_visible()
    expect(page.get_by_text("1.500 s")).to_be_visible()
    page.get_by_role("link", name="Time line").click()
    expect(page.get_by_text("A worker took it (attempt 1)")).to_be_visible()
    expect(page.get_by_text("The result is ready")).to_be_visible()


def test_view_of_a_running_extraction_follows_it_to_its_frames(page: Page, site: Site) -> None:
    choose_files(page, ("long.mp4", MP4))
    expect(file_row(page, "long.mp4")).to_contain_text("Waiting")
    file_row(page, "long.mp4").get_by_role("link", name="long.mp4", exact=True).click()
    expect(page.locator("#video-progress")).to_contain_text("Number 1 in line")

    database = site.deps.database

    async def claim() -> Claim:
        (claimed,) = await task_queue.claim(database, worker="w")
        await task_queue.plan(database, claimed.lease, media=MEDIA, frames_total=1200)
        return claimed

    claimed = site.run(claim())
    preview = page.get_by_role("region", name="Frames so far")
    site.run(tell_preview(site.deps, claimed, 300, jpeg(1600, 360)))
    expect(preview).to_contain_text("300 of 1,200 frames so far")
    picture = preview.get_by_role("img", name="Contact sheet of the frames so far")
    # The time line is read by a request of its own, and grows by this line.
    expect(page.get_by_text("A worker took it (attempt 1)")).to_be_visible()
    place, below = picture.bounding_box(), page.locator("#part-timeline").bounding_box()
    site.run(tell_preview(site.deps, claimed, 420, jpeg(1600, 480)))
    expect(preview).to_contain_text("420 of 1,200 frames so far")
    wait_until(page, "document.querySelector('#video-preview img').naturalHeight === 480")
    assert (picture.bounding_box(), page.locator("#part-timeline").bounding_box()) == (place, below)
    site.run(task_queue.release(database, claimed.lease))
    expect(page.get_by_text("The worker gave it back unharmed")).to_be_visible()
    expect(preview).to_be_hidden()
    publish(site, make_result([jpeg()] * 3))
    expect(page.get_by_role("link", name="Frame 3, at")).to_be_visible()
    expect(page.locator("#video-progress")).to_be_hidden()


def test_gallery_of_ten_thousand_frames_scrolls_fluently_to_its_end(page: Page, site: Site) -> None:
    open_result(page, site, LONG_FRAMES)
    images: list[str] = []
    page.on("request", lambda sent: images.append(sent.url) if "/frames/" in sent.url else None)
    devtools = page.context.new_cdp_session(page)
    # The processor time of the page's main thread, which no other process makes longer.
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = _task_seconds(devtools)
    page.evaluate(
        """async (frames) => {
            for (let n = 0; n < frames; n += 1) {
                scrollBy(0, 400);
                await new Promise(requestAnimationFrame);
            }
        }""",
        SCROLLED_FRAMES,
    )
    # On a quiet machine 50 frames a second; beside other tests the caches of the processor are not the page's own.
    assert (_task_seconds(devtools) - before) / SCROLLED_FRAMES <= (0.020 if FULL else 0.040)
    assert page.locator(".frame-cell").count() <= MOST_CELLS
    page.get_by_role("link", name="Frame 1, at").focus()
    page.keyboard.press("End")
    expect(page.get_by_role("link", name="Frame 10,000, at")).to_be_focused()
    expect(page.locator(".frame-cell:visible img.loaded").last).to_be_visible()
    assert page.locator(".frame-cell").count() <= MOST_CELLS
    # Of what passes by while it scrolls, and of the end.
    assert len(images) < LONG_FRAMES / 5


def _task_seconds(devtools: CDPSession) -> float:
    metrics = devtools.send("Performance.getMetrics")["metrics"]
    return next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")


def test_view_fits_a_narrow_phone_and_its_targets_are_large(page: Page, site: Site) -> None:
    open_result(page, site, 30, warned=True)
    page.set_viewport_size({"width": 320, "height": 640})
    for part in ("Frames", "Table", "Report", "Time line"):
        page.get_by_role("navigation").get_by_role("link", name=part).click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), part
        for target in page.locator("#video-view :is(a, button):visible").all():
            box = target.bounding_box()
            assert box is not None
            assert box["height"] >= 44, target.evaluate("e => e.outerHTML")


def test_result_with_missing_frames_is_not_shown_as_a_perfect_one(page: Page, site: Site) -> None:
    choose_files(page, ("perfect.mp4", MP4))
    expect(file_row(page, "perfect.mp4")).to_contain_text("Waiting")
    publish(site, make_result([jpeg()] * 30))
    expect(file_row(page, "perfect.mp4")).to_contain_text("Done")
    choose_files(page, ("damaged.mp4", MP4 + b"1"))
    expect(file_row(page, "damaged.mp4")).to_contain_text("Waiting")
    publish(site, make_result([jpeg()] * 30), warned=True)
    row = file_row(page, "damaged.mp4")
    expect(row).to_contain_text("Done, 9 frames missing")
    expect(row).to_contain_text("9 of 39 frames could not be decoded with certainty")
    page.get_by_role("button", name="Done with warnings").click()
    expect(page.locator("#videos tr")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"\?status=warned$"))
    row.get_by_role("link", name="damaged.mp4", exact=True).click()
    expect(page.locator("#video-view")).to_contain_text("Done, 9 frames missing")
    expect(page.locator("#video-warning")).to_contain_text("the first at 1.2 s")


@pytest.mark.parametrize(
    ("code", "can_retry"), [("no_video_stream", False), ("empty_selection", False), ("workers_lost", True)]
)
def test_retry_is_offered_only_where_another_try_can_help(page: Page, site: Site, code: str, can_retry: bool) -> None:
    choose_files(page, ("clip.mp4", MP4))
    expect(file_row(page, "clip.mp4")).to_contain_text("Waiting")
    site.fail(code, "It did not work.")
    expect(file_row(page, "clip.mp4")).to_contain_text("Failed")
    retry = file_row(page, "clip.mp4").get_by_role("button", name="Retry")
    expect(retry).to_have_count(1 if can_retry else 0)
    if can_retry:
        retry.click()
        expect(file_row(page, "clip.mp4")).to_contain_text("Waiting")
        expect(file_row(page, "clip.mp4").get_by_role("button", name="Cancel")).to_be_focused()
