"""The page in a real browser: changes come by live events, and without them by asking again."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from db.queue import task_queue
from tests.support.clients.api_client import MEDIA, MP4, make_result, publish_next_task
from tests.support.clients.page_in_browser import Site, choose_files, file_row, needs_chromium

JPEG = bytes.fromhex("ffd8ffd9")

pytestmark = needs_chromium


async def plan(site: Site, frames_total: int) -> None:
    (claim,) = await task_queue.claim(site.deps.database, worker="w")
    await task_queue.plan(site.deps.database, claim.lease, media=MEDIA, frames_total=frames_total)
    await task_queue.release(site.deps.database, claim.lease)


def test_change_is_shown_by_its_event_without_another_request(page: Page, site: Site) -> None:
    choose_files(page, ("beach.mp4", MP4))
    # What follows within half a second would be said in the same sentence.
    expect(page.locator("#announcer")).to_have_text("beach.mp4: Accepted")
    expect(file_row(page, "beach.mp4")).to_contain_text("Number 1 in line")
    # The event does not tell the size of the pictures, so the list is read again until it is known.
    site.run(plan(site, 3))
    expect(file_row(page, "beach.mp4")).to_contain_text("64 × 48")
    page.route("**/v1/videos?*", lambda route: route.abort("connectionrefused"))
    site.run(publish_next_task(site.deps, make_result([JPEG] * 3)))
    expect(file_row(page, "beach.mp4")).to_contain_text("Done")
    expect(file_row(page, "beach.mp4").locator("td.number")).to_have_text("3")
    expect(page.locator("#announcer")).to_have_text("beach.mp4: Done")


NO_LONG_TIMERS = """
    const original = setTimeout;
    window.setTimeout = (work, ms, ...rest) => ms >= 5000 ? 0 : original(work, ms, ...rest);
"""


def test_video_of_another_page_appears_and_the_open_video_is_followed(page: Page, site: Site) -> None:
    other = page.context.new_page()
    # It does not ask for its list again by itself: what it shows later comes by an event.
    other.add_init_script(NO_LONG_TIMERS)
    other.goto("/")
    expect(other.get_by_text("Nothing here yet.")).to_be_visible()
    choose_files(page, ("beach.mp4", MP4))
    file_row(page, "beach.mp4").get_by_role("link", name="beach.mp4", exact=True).click()
    expect(page.locator("#video-progress")).to_contain_text("Number 1 in line")
    expect(file_row(other, "beach.mp4")).to_contain_text("Waiting")
    site.run(publish_next_task(site.deps, make_result([JPEG] * 3)))
    page.bring_to_front()
    expect(page.locator("#video-state")).to_contain_text("Done")


def test_changes_are_shown_without_a_stream_of_events(page: Page, site: Site) -> None:
    page.route("**/v1/events", lambda route: route.fulfill(status=503))
    page.reload()
    choose_files(page, ("beach.mp4", MP4))
    expect(file_row(page, "beach.mp4")).to_contain_text("Number 1 in line")
    site.run(publish_next_task(site.deps, make_result([JPEG] * 3)))
    expect(file_row(page, "beach.mp4")).to_contain_text("Done")


def test_ended_session_ends_the_stream_and_asks_for_the_password(page: Page, site: Site) -> None:
    choose_files(page, ("beach.mp4", MP4))
    expect(file_row(page, "beach.mp4")).to_contain_text("Waiting")
    page.context.request.delete("/session", headers={"X-Fotograma-Page": "1"})
    expect(page.get_by_role("dialog", name="Your session has ended")).to_be_visible()
