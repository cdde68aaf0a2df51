"""The page in a real browser: uploads are paused, resumed, cancelled and refused; many uploads don't block the page."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

import pytest
from playwright.sync_api import Browser, Dialog, Page, Route, expect
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.acceptance.quotas import Quotas
from serve_app.submission.receive_chunks import UploadPolicy
from tests.support.clients.api_client import MP4, make_limits
from tests.support.clients.page_in_browser import Site, file_row, needs_chromium, send_chosen_files
from tests.support.clients.uploads_in_browser import (
    MIB,
    SECONDS_60,
    PausedSlices,
    choose_paths,
    count_upload_records,
    expect_accepted,
    expect_sent,
    make_video,
    wait_until,
)

pytestmark = needs_chromium

LONGEST_TASK_IN_COMPUTATIONS = 12
"""The longest task of the page may need as much processor time as twelve of a fixed computation, which needs 8 ms on an
idle machine of 2026. People who type or scroll notice a task of 100 ms."""
MOST_ROWS_AT_ONCE = 60
"""Rows that are made or changed before the browser shows the next frame."""


async def locked_videos(site: Site) -> AsyncConnection:
    """Locks the table of videos, so that no video is accepted; returns the connection that has the lock."""
    connection = await site.deps.database.connect()
    # Otherwise the database would end it after some seconds, for which a busy machine is too slow.
    await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    await connection.execute(text("LOCK TABLE videos IN SHARE MODE"))
    return connection


async def expire_uploads(site: Site) -> None:
    async with site.deps.database.begin() as connection:
        await connection.execute(text("UPDATE uploads SET expires_at = clock_timestamp()"))


def test_upload_is_paused_and_resumed(page: Page, site: Site, tmp_path: Path) -> None:
    video = make_video(tmp_path)
    paused = PausedSlices(page, 2 * MIB)
    choose_paths(page, video)
    expect_sent(page, video.name, 32)
    file_row(page, video.name).get_by_role("button", name="Pause").click()
    expect(file_row(page, video.name)).to_contain_text("Paused")
    expect(file_row(page, video.name).get_by_role("button", name="Resume")).to_be_focused()
    paused.drop()
    file_row(page, video.name).get_by_role("button", name="Resume").press("Enter")
    expect_accepted(page, video.name)
    assert site.received.by_method["PATCH"] == 16 * MIB


def test_pause_during_a_slice_keeps_the_bytes_that_arrived(page: Page, site: Site, tmp_path: Path) -> None:
    video = make_video(tmp_path)
    network = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 4 * MIB}
    network.send("Network.enable")
    network.send("Network.emulateNetworkConditions", slow)
    choose_paths(page, video)
    pause = "document.querySelector('#uploads button[data-verb=pause]').click();"
    wait_until(page, "document.querySelector('#uploads .sent')?.value > 7 / 16", then=pause)
    expect(file_row(page, video.name)).to_contain_text("Paused")
    network.send("Network.emulateNetworkConditions", slow | {"uploadThroughput": -1})
    file_row(page, video.name).get_by_role("button", name="Resume").click()
    expect_accepted(page, video.name)
    assert site.received.by_method["PATCH"] == 16 * MIB


def test_cancel_deletes_the_upload_from_the_service(page: Page, tmp_path: Path) -> None:
    video = make_video(tmp_path)
    PausedSlices(page, 2 * MIB)
    choose_paths(page, video)
    expect_sent(page, video.name, 32)
    assert count_upload_records(page) == 1
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as answer:
        file_row(page, video.name).get_by_role("button", name="Cancel").click()
    assert answer.value.status == 204
    expect(file_row(page, video.name)).to_have_count(0)
    assert count_upload_records(page) == 0
    deleted = page.request.head(answer.value.url, headers={"Tus-Resumable": "1.0.0"})
    assert deleted.status == 410


def test_all_uploads_can_be_paused_resumed_and_cancelled(page: Page, tmp_path: Path) -> None:
    videos = [make_video(tmp_path, f"part-{n}.mp4", 2 * MIB) for n in range(5)]
    PausedSlices(page, 0)
    choose_paths(page, *videos)
    expect(page.locator("#upload-counts")).to_contain_text("3 uploading · 2 waiting · 0% of 10 MiB")
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


def test_leaving_the_page_during_an_upload_needs_a_confirmation(page: Page, tmp_path: Path) -> None:
    video = make_video(tmp_path)
    paused = PausedSlices(page, 0)
    choose_paths(page, video)
    expect(file_row(page, video.name)).to_contain_text("Uploading")
    dialogs: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        dialogs.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", dismiss)
    with page.expect_event("dialog"):
        page.evaluate("location.reload()")
    expect(file_row(page, video.name)).to_contain_text("Uploading")
    paused.release()
    expect_accepted(page, video.name)
    assert dialogs == ["beforeunload"]
    page.evaluate("location.reload()")
    expect(file_row(page, video.name)).to_have_count(1)
    assert dialogs == ["beforeunload"]


def test_upload_is_shown_as_checking_between_its_last_byte_and_its_acceptance(
    page: Page, site: Site, tmp_path: Path
) -> None:
    video = make_video(tmp_path, size=2 * MIB)
    # Bytes are still received, but no video can be accepted.
    lock = site.run(locked_videos(site))
    choose_paths(page, video)
    expect(file_row(page, video.name)).to_contain_text("Checking")
    expect(file_row(page, video.name).get_by_role("button", name="Pause")).to_be_hidden()
    site.run(lock.close())
    expect_accepted(page, video.name)


def test_large_non_video_is_refused_by_its_first_slice(page: Page, site: Site, tmp_path: Path) -> None:
    text_file = tmp_path / "notes.mp4"
    text_file.write_bytes(b"some text\n" * (2 * MIB))
    choose_paths(page, text_file)
    expect(file_row(page, text_file.name)).to_contain_text("The file is not a video of a known container.")
    expect(page.locator("#announcer")).to_contain_text("notes.mp4: Not accepted.")
    assert site.received.by_method["PATCH"] <= MIB // 4
    expect(file_row(page, text_file.name).get_by_role("button", name="Try again")).to_be_hidden()
    file_row(page, text_file.name).get_by_role("button", name="Dismiss").click()
    expect(file_row(page, text_file.name)).to_have_count(0)
    assert count_upload_records(page) == 0


def test_file_that_was_deleted_during_its_upload_is_refused(page: Page, tmp_path: Path) -> None:
    video = make_video(tmp_path)
    paused = PausedSlices(page, 2 * MIB)
    choose_paths(page, video)
    expect_sent(page, video.name, 32)
    video.unlink()
    paused.release()
    expect(file_row(page, video.name)).to_contain_text("The file can't be read.")


SMALL = UploadPolicy(max_bytes=3 * MIB, max_request_bytes=MIB, expiry_seconds=3600.0)


@pytest.mark.parametrize("site", [{"uploads": SMALL}], indirect=True)
def test_maximum_size_is_shown_and_a_larger_file_is_refused_before_its_first_byte(
    page: Page, site: Site, tmp_path: Path
) -> None:
    expect(page.locator("#formats")).to_contain_text("up to 3.0 MiB each")
    choose_paths(page, make_video(tmp_path, "large.mp4", 4 * MIB), make_video(tmp_path, "small.mp4", 3 * MIB))
    expect(file_row(page, "large.mp4")).to_contain_text("The file is larger than 3.0 MiB.")
    expect_accepted(page, "small.mp4")
    assert site.received.by_method["PATCH"] == 3 * MIB
    assert site.received.by_method["POST"] < 1000


@pytest.mark.parametrize("site", [{"uploads": SMALL}], indirect=True)
def test_service_refuses_a_too_large_file_when_a_proxy_answers_options(page: Page, tmp_path: Path) -> None:
    def answer_options(route: Route) -> None:
        if route.request.method == "OPTIONS":
            route.fulfill(status=204)
        else:
            route.continue_()

    page.route("**/v1/uploads", answer_options)
    page.reload()
    choose_paths(page, make_video(tmp_path, "large.mp4", 4 * MIB))
    expect(file_row(page, "large.mp4")).to_contain_text("A video may have at most 3145728 bytes.")


@pytest.mark.parametrize(("limit", "is_expired"), [(2 * MIB, False), (3 * MIB, True)])
def test_begun_upload_for_which_there_is_no_room_any_more_is_refused_before_its_next_byte(
    page: Page, site: Site, tmp_path: Path, limit: int, is_expired: bool
) -> None:
    """1.25 of 4 MiB have arrived. There is no room for the rest, or for the whole file after the upload expired."""
    video = make_video(tmp_path, size=4 * MIB)
    paused = PausedSlices(page, MIB)
    choose_paths(page, video)
    expect_sent(page, video.name, 31)
    headers = {"Tus-Resumable": "1.0.0", "Tus-Max-Size": str(limit)}
    page.route(
        "**/v1/uploads",
        lambda route: route.fulfill(headers=headers) if route.request.method == "OPTIONS" else route.continue_(),
    )
    page.reload()
    paused.drop()
    if is_expired:
        site.run(expire_uploads(site))
    expect(page.locator("#formats")).to_contain_text(f"up to {limit // MIB}.0 MiB each")
    choose_paths(page, video)
    expect(file_row(page, video.name)).to_contain_text(f"The file is larger than {limit // MIB}.0 MiB.")
    assert site.received.by_method["PATCH"] == int(1.25 * MIB)


@pytest.mark.parametrize("site", [{"limits": make_limits(quotas=Quotas(stored_bytes=3 * MIB))}], indirect=True)
def test_file_above_the_quota_is_refused_and_can_be_tried_again(page: Page, tmp_path: Path) -> None:
    choose_paths(page, make_video(tmp_path, "first.mp4", 2 * MIB))
    expect_accepted(page, "first.mp4")
    choose_paths(page, make_video(tmp_path, "second.mp4", 2 * MIB))
    expect(file_row(page, "second.mp4")).to_contain_text("Not accepted")
    expect(file_row(page, "second.mp4")).to_contain_text(
        "Delete videos that you no longer need, or ask the operator for more."
    )
    file_row(page, "first.mp4").get_by_role("button", name="Cancel").click()
    file_row(page, "first.mp4").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(file_row(page, "first.mp4")).to_have_count(0)
    file_row(page, "second.mp4").get_by_role("button", name="Try again").click()
    expect_accepted(page, "second.mp4")


def test_thousand_files_do_not_block_the_page(browser: Browser, page: Page, site: Site) -> None:
    """Adds a thousand files, shows all, searches while they are sent, and cancels them."""
    page.evaluate(
        """bytes => {
            window.files = new DataTransfer();
            for (let n = 0; n < 1000; n += 1) {
                files.items.add(new File([new Uint8Array(bytes), String(n)], `clip-${n}.mp4`, { lastModified: n }));
            }
            window.mostRowsAtOnce = 0;
            new MutationObserver(records => {
                const nodes = records.flatMap(({ target, addedNodes }) => [target, ...addedNodes]);
                const rows = new Set(nodes.map(node => (node.closest ? node : node.parentElement)?.closest("tr")));
                mostRowsAtOnce = Math.max(mostRowsAtOnce, rows.size - rows.has(null) - rows.has(undefined));
            }).observe(document.querySelector("#uploads"), { subtree: true, childList: true, attributes: true });
        }""",
        list(MP4),
    )
    # None is accepted until all have been counted and shown, however long the driver takes for that.
    lock = site.run(locked_videos(site))
    computations_ms = [page.evaluate(FIXED_COMPUTATION) for _ in range(5)]
    browser.start_tracing(page=page, categories=["toplevel"])
    page.evaluate(
        """() => {
            const options = { dataTransfer: files, bubbles: true, cancelable: true };
            setTimeout(() => document.querySelector("#drop").dispatchEvent(new DragEvent("drop", options)));
        }"""
    )
    send_chosen_files(page)
    expect(page.locator("#upload-counts")).to_contain_text("3 uploading · 997 waiting")
    expect(page.locator("#uploads tr")).to_have_count(50)
    more = page.get_by_role("button", name="other uploads")
    more.click()
    expect(page.locator("#uploads tr")).to_have_count(250)
    while more.is_visible():
        more.click()
    wait_until(page, "document.querySelectorAll('#uploads tr').length > 500")
    site.run(lock.close())
    page.get_by_label("Search by file name").press_sequentially("clip")
    waiting = r"Number(/(\d+) waiting/.exec(document.querySelector('#upload-counts').textContent)[1])"
    wait_until(page, f"{waiting} < 950")
    page.get_by_role("button", name="Cancel all").click()
    page.get_by_role("button", name="Cancel them").click()
    expect(page.locator("#uploads tr")).to_have_count(0, timeout=SECONDS_60)
    longest_ms = longest_task_ms(browser.stop_tracing())
    assert 0 < page.evaluate("mostRowsAtOnce") <= MOST_ROWS_AT_ONCE
    computations_ms += [page.evaluate(FIXED_COMPUTATION) for _ in range(5)]
    assert longest_ms < LONGEST_TASK_IN_COMPUTATIONS * median(computations_ms), (longest_ms, computations_ms)


FIXED_COMPUTATION = """() => {
    const start = performance.now();
    for (let n = 0, x = 1; n < 6e6; n += 1) x = Math.imul(x ^ n, 0x01000193);
    return performance.now() - start;
}"""


def longest_task_ms(trace: bytes) -> float:
    """The processor time of the page's longest task. On a busy machine a task lasts longer, but needs no more of it.

    Source: the Trace Event Format, whose times are microseconds (`tdur`: of the processor). Tasks in which the driver
    looks for elements are not the page's; one that runs when the trace ends (phase B, not X) has no times.
    """
    events = json.loads(trace)["traceEvents"]
    threads = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    of_page = [event for event in events if (event["pid"], event["tid"]) in threads]
    driver_calls = [
        event["ts"]
        for event in of_page
        if event["args"].get("chrome_mojo_event_info", {}).get("mojo_interface_tag") == "blink.mojom.DevToolsSession"
    ]
    tasks = [event for event in of_page if event["name"] == "ThreadControllerImpl::RunTask" and event["ph"] == "X"]
    own = [task for task in tasks if not any(0 <= call - task["ts"] <= task["dur"] for call in driver_calls)]
    assert 0 < len(own) < len(tasks)
    longest = max(int(task["tdur"]) for task in own)
    return longest / 1000
