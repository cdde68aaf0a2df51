"""The page in a real browser: stored videos are extracted again, and several are handled at once."""

from __future__ import annotations

import io
import re

from PIL import Image
from playwright.sync_api import Page, expect

from tests.support.clients.api_client import MP4, make_result, publish_next_task
from tests.support.clients.page_in_browser import Site, choose_files, file_row, needs_chromium

pytestmark = needs_chromium

IMAGE = io.BytesIO()
Image.new("RGB", (64, 48)).save(IMAGE, "JPEG")
JPEG = IMAGE.getvalue()
WARNING = {"code": "frames_missing", "detail": "9 of 39 frames are left out, the first at 1.200 s."}


def upload(page: Page, *names: str) -> None:
    """Uploads videos with different contents, one after the other, and waits until they are in the list."""
    for count, name in enumerate(names, 1):
        choose_files(page, (name, MP4 + name.encode()))
        expect(page.locator("#videos tr")).to_have_count(count)
    expect(page.locator("#uploads tr")).to_have_count(0)


def test_stored_video_is_extracted_again_with_another_choice_and_without_an_upload(page: Page, site: Site) -> None:
    upload(page, "beach.mp4")
    site.run(publish_next_task(site.deps, make_result([JPEG])))
    expect(file_row(page, "beach.mp4")).to_contain_text("Done")
    sent = site.received.by_method["PATCH"], site.received.by_method["POST"]
    again = file_row(page, "beach.mp4").get_by_role("button", name="Extract beach.mp4 again")
    again.click()
    dialog = page.get_by_role("dialog", name="Extract again")
    expect(dialog).to_contain_text("This is the choice of the present result")
    page.keyboard.press("Escape")
    expect(again).to_be_focused()
    again.press("Enter")
    dialog.get_by_label("Frames", exact=True).select_option("uniform")
    dialog.get_by_label("How many frames").fill("none")
    dialog.get_by_role("button", name="Extract", exact=True).click()
    expect(dialog.get_by_label("How many frames")).to_be_focused()
    expect(dialog).to_contain_text("It must be a number.")
    dialog.get_by_label("How many frames").fill("3")
    expect(dialog).to_contain_text(re.compile(r"About \d+ frames?"))
    dialog.get_by_role("button", name="Extract", exact=True).click()
    expect(file_row(page, "beach.mp4")).to_contain_text("Number 1 in line")
    (video,) = page.request.get("/v1/videos").json()["items"]
    assert video["extraction"]["spec"]["sample"] == {"mode": "uniform", "count": 3}
    assert site.received.by_method["PATCH"] == sent[0]
    assert site.received.by_method["POST"] < sent[1] + 5000
    # The first result is still there.
    file_row(page, "beach.mp4").get_by_role("link", name="beach.mp4", exact=True).click()
    page.get_by_role("button", name="Extract again").click()
    dialog.get_by_label("Frames", exact=True).select_option("fps")
    dialog.get_by_role("button", name="Extract", exact=True).click()
    expect(page.get_by_text("beach.mp4: the same result was there, and is given at once")).to_be_visible()
    expect(page.locator("#video-state")).to_contain_text("given at once from an earlier result")


def test_several_videos_are_cancelled_extracted_again_and_deleted_at_once(page: Page) -> None:
    upload(page, "a.mp4", "b.mp4", "c.mp4", "d.mp4")
    page.get_by_label("Select d.mp4").check()
    page.get_by_label("Select b.mp4").click(modifiers=["Shift"])
    expect(page.get_by_text("3 of 4 selected")).to_be_visible()
    expect(page.get_by_label("Select a.mp4")).not_to_be_checked()
    page.get_by_role("button", name="Cancel 3").click()
    expect(page.get_by_text("3 videos: 3 cancelled.")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel 3")).to_be_hidden()
    page.locator("#select-all").check()
    page.get_by_role("button", name="Extract 4 again").click()
    dialog = page.get_by_role("dialog", name="Extract again")
    dialog.get_by_label("Frames", exact=True).select_option("keyframes")
    dialog.get_by_role("button", name="Extract", exact=True).click()
    expect(page.get_by_text("4 videos: 4 extracted again.")).to_be_visible()
    modes = [item["extraction"]["spec"]["sample"]["mode"] for item in page.request.get("/v1/videos").json()["items"]]
    assert modes == ["keyframes"] * 4
    page.get_by_label("Select a.mp4").uncheck()
    page.get_by_role("button", name="Delete 3").click()
    page.get_by_role("button", name="Keep them").click()
    expect(page.locator("#videos tr")).to_have_count(4)
    page.get_by_role("button", name="Delete 3").click()
    expect(page.get_by_text("Delete 3 videos and their frames?")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("3 videos: 3 deleted.")).to_be_visible()
    expect(page.locator("#videos tr")).to_have_count(1)
    expect(page.get_by_text("Select all")).to_be_visible()
    expect(page.locator("#select-all")).to_be_focused()
    page.locator("#select-all").check()
    page.get_by_role("button", name="Delete 1").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("1 video: 1 deleted.")).to_be_visible()
    expect(page.get_by_role("heading", level=1, name="Your videos")).to_be_focused()


def test_summary_of_several_adds_up_when_one_is_refused(page: Page, site: Site) -> None:
    upload(page, "a.mp4", "b.mp4")
    page.locator("#select-all").check()
    path = f"/v1/extractions/{page.request.get('/v1/videos').json()['items'][0]['extraction']['id']}/cancel"
    page.route(
        f"**{path}", lambda route: route.fulfill(status=409, json={"code": "wrong_state", "detail": "It has ended."})
    )
    page.get_by_role("button", name="Cancel 2").click()
    expect(page.get_by_text("2 videos: 1 cancelled, 1 not possible. b.mp4: It has ended.")).to_be_visible()


def test_selected_archives_are_downloaded_and_warned_videos_are_filtered(page: Page, site: Site) -> None:
    upload(page, "a.mp4", "b.mp4", "c.mp4")
    result = make_result([JPEG])
    site.run(publish_next_task(site.deps, result, warnings=[WARNING]))
    site.run(publish_next_task(site.deps, result))
    expect(page.locator("#videos .badge.succeeded")).to_have_count(1)
    page.locator("#select-all").check()
    with (
        page.expect_download(lambda download: download.suggested_filename == "a.zip"),
        page.expect_download(lambda download: download.suggested_filename == "b.zip"),
    ):
        page.get_by_role("button", name="Download 2").click()
    expect(page.get_by_text("2 videos: 2 being downloaded.")).to_be_visible()
    page.get_by_role("button", name="Done with warnings").click()
    expect(page.locator("#videos tr")).to_have_count(1)
    expect(page.locator("#videos tr")).to_contain_text("9 frames missing")
    assert page.url.endswith("?status=warned")
    page.set_viewport_size({"width": 320, "height": 640})
    page.locator("#select-all").check()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
