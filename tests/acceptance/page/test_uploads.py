"""The page in a real browser: an interrupted upload continues, and no byte that arrived is sent again."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Page, Response, Route, expect
from playwright.sync_api import Error as BrowserError
from sqlalchemy import text

from serve_app.security.rate_limit import RateLimit
from tests.support.clients.api_client import MP4, PASSWORD, make_limits
from tests.support.clients.page_in_browser import (
    ARGUMENTS,
    CHROMIUM,
    EMAIL,
    Site,
    choose_files,
    create_account,
    file_row,
    fill_credentials,
    needs_chromium,
)
from tests.support.clients.tus_client import stored_bytes
from tests.support.clients.uploads_in_browser import (
    MIB,
    UPLOADS,
    PausedSlices,
    choose_paths,
    count_upload_records,
    expect_accepted,
    expect_recorded,
    expect_sent,
    make_video,
    offset_of,
    record_texts,
    wait_until_recorded,
)

pytestmark = needs_chromium


async def execute(site: Site, statement: str) -> None:
    async with site.deps.database.begin() as connection:
        await connection.execute(text(statement))


def reload(page: Page) -> Page:
    page.reload()
    return page


def crash(page: Page) -> Page:
    """Crashes the process of the page, and opens a new page."""
    with pytest.raises(BrowserError):
        page.goto("chrome://crash")
    opened = page.context.new_page()
    opened.goto("/")
    return opened


@pytest.mark.parametrize("leave", [reload, crash])
def test_same_file_chosen_again_resumes_at_its_offset(
    page: Page, site: Site, tmp_path: Path, leave: Callable[[Page], Page]
) -> None:
    video = make_video(tmp_path)
    page.get_by_label("Per second", exact=True).fill("0.5")
    page.get_by_label("Longest side").select_option("640")
    paused = PausedSlices(page, 2 * MIB)
    choose_paths(page, video)
    expect_sent(page, video.name, 32)
    sent_before = site.received.by_method["PATCH"]
    assert sent_before == int(5.25 * MIB)
    page = leave(page)
    paused.drop()
    expect(page.get_by_text("Not uploaded completely: holiday.mp4.")).to_be_visible()
    record_texts(page, "#announcer")
    choose_paths(page, video)
    expect_recorded(page, "holiday.mp4 goes on at 32%")
    expect_accepted(page, video.name)
    assert site.received.by_method["PATCH"] == 16 * MIB
    expect(page.get_by_text("Not uploaded completely")).to_be_hidden()
    assert count_upload_records(page) == 0


@pytest.mark.parametrize(("changed_at", "is_resumed"), [(MIB, False), (10 * MIB, False), (14 * MIB, True)])
def test_file_whose_sent_bytes_have_changed_is_sent_from_its_beginning(
    page: Page, site: Site, tmp_path: Path, changed_at: int, is_resumed: bool
) -> None:
    """At the reload, 5.25 MiB are confirmed and a slice of 8 MiB is being sent."""
    video = make_video(tmp_path)
    slices = PausedSlices(page, 2 * MIB)
    choose_paths(page, video)
    expect_sent(page, video.name, 32)
    wait_until_recorded(page, int(13.25 * MIB))
    page.reload()
    slices.drop()
    before = video.stat()
    with video.open("r+b") as file:
        file.seek(changed_at)
        file.write(b"another content")
    os.utime(video, ns=(before.st_atime_ns, before.st_mtime_ns))
    record_texts(page, "#announcer")
    choose_paths(page, video)
    if not is_resumed:
        expect_recorded(page, "holiday.mp4 is uploaded from its beginning")
    expect_accepted(page, video.name)
    assert site.received.by_method["PATCH"] == 16 * MIB + (0 if is_resumed else int(5.25 * MIB))
    (listed,) = page.request.get("/v1/videos").json()["items"]
    stored = site.run(stored_bytes(site.deps.database, site.deps.objects, listed["id"]))
    assert hashlib.sha256(stored).digest() == hashlib.sha256(video.read_bytes()).digest()


def test_upload_shows_its_rate_and_remaining_time_without_announcing_them(page: Page, tmp_path: Path) -> None:
    video = make_video(tmp_path)
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    network.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": MIB // 2},
    )
    choose_paths(page, video)
    expect(file_row(page, video.name)).to_contain_text(re.compile(r"MiB · [0-9.]+ (KiB|MiB)/s · about 0:[0-9]{2} left"))
    assert "left" not in str(page.locator("#announcer").text_content())
    assert file_row(page, video.name).locator("[aria-live], [role=status]").count() == 0
    file_row(page, video.name).get_by_role("button", name="Pause").click()
    expect(file_row(page, video.name)).to_contain_text("Paused")
    expect(file_row(page, video.name)).not_to_contain_text("left")


def test_rate_is_of_the_last_seconds_and_digests_do_not_depend_on_slices(page: Page) -> None:
    rates, digests = page.evaluate(
        """async () => {
            const { TransferRate } = await import("/static/uploads/transfer_rate.js");
            const { ContentHash } = await import("/static/uploads/content_hash.js");
            const rate = new TransferRate();
            const sent = [[0, 0], [0, 500], [100, 900], [2000, 2000], [20_000, 12_000], [26_000, 32_000], [9, 33_000]];
            const rates = sent.map(([bytes, atMs]) => { rate.add(bytes, atMs); return rate.bytesPerSecond; });
            const bytes = Uint8Array.from({ length: 1003 }, (_, n) => n * 7);
            const digest = (content, ...ends) => {
                const hash = new ContentHash();
                [0, ...ends].forEach((start, n) => hash.update(content.slice(start, ends[n]).buffer));
                return hash.value;
            };
            const changed = Array.from(bytes, (_, n) => digest(bytes.with(n, bytes[n] ^ 1)).digest);
            return [rates, [digest(bytes), digest(bytes, 4, 512), new Set(changed).add(digest(bytes).digest).size]];
        }"""
    )
    # At 32,000 ms the window starts at 12,000 ms. A smaller number of bytes belongs to another transfer.
    assert rates == [None, None, None, 1000, pytest.approx(20_000 / 12), 300, None]
    assert digests == [digests[0], digests[0], 1004]
    assert digests[0]["bytes"] == 1003


def open_profile(browser: Browser, site: Site, profile: Path) -> Page:
    """Starts another browser, which stores its data in a folder; returns its page."""
    context = browser.browser_type.launch_persistent_context(
        profile, executable_path=CHROMIUM, args=ARGUMENTS, base_url=site.address
    )
    return context.new_page()


def wait_for_record_on_disk(page: Page, profile: Path) -> None:
    """Waits until the browser has written its local storage to the disk, which takes some seconds."""
    deadline = time.monotonic() + 30
    while not any(
        b"fotograma.upload" in log.read_bytes() for log in profile.glob("Default/Local Storage/leveldb/*.log")
    ):
        assert time.monotonic() < deadline
        page.wait_for_timeout(100)


def kill_browser(profile: Path) -> None:
    """Kills the processes of the browser that uses this folder."""
    processes = [process for process in psutil.Process().children(recursive=True) if has_profile(process, profile)]
    assert processes
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # some end because others do
            process.kill()
    psutil.wait_procs(processes, 30)


def has_profile(process: psutil.Process, profile: Path) -> bool:
    try:
        return f"--user-data-dir={profile}" in process.cmdline()
    except psutil.NoSuchProcess:  # other browsers end processes at any time
        return False


def test_same_file_resumes_after_a_crash_of_the_browser(browser: Browser, site: Site, tmp_path: Path) -> None:
    video, profile = make_video(tmp_path), tmp_path / "profile"
    page = open_profile(browser, site, profile)
    page.goto("/")
    create_account(page)
    PausedSlices(page, 2 * MIB)
    choose_paths(page, video)
    expect_sent(page, video.name, 32)
    wait_for_record_on_disk(page, profile)
    kill_browser(profile)
    page = open_profile(browser, site, profile)
    page.goto("/")
    # The browser may have written its cookies to the disk as well.
    expect(page.locator("#email:visible, #workspace:visible")).to_have_count(1)
    if page.locator("#email").is_visible():
        fill_credentials(page)
    expect(page.get_by_text("Not uploaded completely: holiday.mp4.")).to_be_visible()
    choose_paths(page, video)
    expect_accepted(page, video.name)
    assert site.received.by_method["PATCH"] == 16 * MIB
    page.context.close()


def test_same_file_with_another_specification_is_another_upload(page: Page, site: Site, tmp_path: Path) -> None:
    video = make_video(tmp_path)
    paused = PausedSlices(page, 2 * MIB)
    choose_paths(page, video)
    expect_sent(page, video.name, 32)
    page.reload()
    paused.drop()
    page.get_by_label("Frames", exact=True).select_option("keyframes")
    choose_paths(page, video)
    expect_accepted(page, video.name)
    assert site.received.by_method["PATCH"] == int(5.25 * MIB) + 16 * MIB
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as answer:
        page.get_by_role("button", name="Discard what was uploaded").click()
    assert answer.value.status == 204
    assert count_upload_records(page) == 0


def test_repeatedly_broken_connection_repeats_only_the_current_slice(page: Page, site: Site, tmp_path: Path) -> None:
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
    record_texts(page, "#uploads")
    choose_paths(page, video)
    expect_recorded(page, "The connection was lost. The upload goes on by itself.")
    expect_accepted(page, video.name)
    assert slices[:6] == [0, MIB // 4, MIB // 4, MIB // 2, MIB // 2, MIB // 2]
    assert site.received.by_method["PATCH"] == 16 * MIB


def test_lost_answer_repeats_no_byte(page: Page, site: Site, tmp_path: Path) -> None:
    video = make_video(tmp_path, size=2 * MIB)
    lost: list[int] = []

    def lose_answer(route: Route) -> None:
        if route.request.method == "PATCH" and len(lost) < 2:
            lost.append(route.fetch().status)
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route(UPLOADS, lose_answer)
    choose_paths(page, video)
    expect_accepted(page, video.name)
    assert lost == [204, 204]
    assert site.received.by_method["PATCH"] == 2 * MIB


def test_two_pages_that_send_the_same_file_create_one_video(page: Page, site: Site, tmp_path: Path) -> None:
    video = make_video(tmp_path)
    paused = PausedSlices(page, 2 * MIB)
    choose_paths(page, video)
    expect_sent(page, video.name, 32)
    other = page.context.new_page()
    other.goto("/")
    choose_paths(other, video)
    expect_accepted(other, video.name)
    paused.release()  # this slice conflicts with the slices of the other page
    page.bring_to_front()
    expect_accepted(page, video.name)
    assert len(page.request.get("/v1/videos").json()["items"]) == 1


def test_404_of_a_proxy_during_a_start_of_the_service_ends_no_upload(page: Page, site: Site, tmp_path: Path) -> None:
    video = make_video(tmp_path)
    answered_methods: list[str] = []

    def start_slowly(route: Route) -> None:
        if len(answered_methods) < 2 and (route.request.method == "HEAD" or offset_of(route.request) > 2 * MIB):
            answered_methods.append(route.request.method)
            route.fulfill(status=404, body="Path '/v1/uploads' not found.")
        else:
            route.continue_()

    page.route(UPLOADS, start_slowly)
    choose_paths(page, video)
    expect_accepted(page, video.name)
    assert answered_methods == ["PATCH", "HEAD"]
    assert site.received.by_method["PATCH"] == 16 * MIB


def test_expired_upload_starts_again(page: Page, site: Site, tmp_path: Path) -> None:
    video = make_video(tmp_path)
    paused = PausedSlices(page, 2 * MIB)
    choose_paths(page, video)
    expect_sent(page, video.name, 32)
    site.run(execute(site, "UPDATE uploads SET expires_at = clock_timestamp()"))
    paused.reset_connections()
    expect_accepted(page, video.name)
    assert site.received.by_method["PATCH"] == int(5.25 * MIB) + 16 * MIB


def test_upload_continues_after_its_session_ended_and_the_user_logged_in_again(
    page: Page, site: Site, tmp_path: Path
) -> None:
    video = make_video(tmp_path)
    paused = PausedSlices(page, 2 * MIB)
    choose_paths(page, video)
    expect_sent(page, video.name, 32)
    page.context.clear_cookies()
    paused.reset_connections()
    dialog = page.get_by_role("dialog", name="Your session has ended")
    expect(dialog).to_contain_text(f"Enter the password of {EMAIL} to go on. Your uploads wait")
    page.keyboard.press("Escape")
    dialog.get_by_label("Password").fill("wrong horse")
    dialog.get_by_role("button", name="Go on").click()
    expect(dialog).to_contain_text("This is not the password of the account.")
    dialog.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect_accepted(page, video.name)
    assert site.received.by_method["PATCH"] == 16 * MIB


@pytest.mark.parametrize("site", [{"limits": make_limits(rate=RateLimit(burst=1, refill_seconds=2.0))}], indirect=True)
def test_upload_is_repeated_only_after_the_time_of_retry_after(page: Page, site: Site) -> None:
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer) if answer.request.method == "POST" else None)
    record_texts(page, "#uploads")
    choose_files(page, *[(f"{n}.mp4", MP4 + bytes([n])) for n in range(3)])
    expect_recorded(page, "Too many requests. The upload goes on by itself.")
    expect(page.locator("#videos tr")).to_have_count(3)
    expect(page.locator("#uploads tr")).to_have_count(0)
    # Three requests are sent at once. The two that are refused are repeated only after the time in Retry-After.
    refusals = [(n, answer) for n, answer in enumerate(answers) if answer.status == 429]
    assert len(refusals) >= 2
    for n, refusal in refusals:
        repeated = next(answer for answer in answers[n + 1 :] if upload_of(answer) == upload_of(refusal))
        seconds = int(refusal.headers["retry-after"])
        assert sent_at_ms(repeated) - sent_at_ms(refusal) >= 1000 * seconds > 0
    assert len(answers) <= 8


def upload_of(answer: Response) -> str:
    """What the requests that create one upload have in common."""
    return answer.request.headers["idempotency-key"]


def sent_at_ms(answer: Response) -> float:
    """When its request was sent, by the browser's clock."""
    return answer.request.timing["startTime"]


def test_pauses_grow_and_slices_shrink_with_failures(page: Page) -> None:
    delays, slices, metadata = page.evaluate(
        """async () => {
            const uploads = await import("/static/uploads/resumable_upload.js");
            const { nextSliceBytes, retryDelayMs, uploadMetadata } = uploads;
            const delays = [1, 2, 3, 9, 99].map(n => [retryDelayMs(n, 0, 0), retryDelayMs(n, 0, 1)]);
            const withRetryAfter = [retryDelayMs(1, 60, 0), retryDelayMs(9, 1, 1)];
            const slices = [[8, true], [8, false], [2, true], [0.25, false]].map(
                ([mib, hasArrived]) => nextSliceBytes(mib * 2 ** 20, hasArrived, 8 * 2 ** 20) / 2 ** 20);
            const metadata = uploadMetadata({ filename: "Ana’s 🎬.mp4", spec: "{}" });
            return [[...delays, withRetryAfter], slices, metadata];
        }"""
    )
    backoff = [[500, 1000], [1000, 2000], [2000, 4000], [15_000, 30_000], [15_000, 30_000]]
    assert delays == [*backoff, [60_000, 30_000]]
    assert slices == [8, 2, 8, 0.25]
    decoded = {key: base64.b64decode(text).decode() for key, text in (pair.split(" ") for pair in metadata.split(","))}
    assert decoded == {"filename": "Ana’s 🎬.mp4", "spec": "{}"}


def test_uploads_of_another_account_are_not_shown(page: Page, tmp_path: Path) -> None:
    video = make_video(tmp_path)
    paused = PausedSlices(page, 2 * MIB)
    choose_paths(page, video)
    expect_sent(page, video.name, 32)
    page.get_by_role("button", name="Log out").click()
    page.locator("#choose-register").click()
    paused.drop()
    fill_credentials(page, "eva@example.org")
    expect(page.get_by_text("Nothing here yet.")).to_be_visible()
    expect(page.get_by_text("Not uploaded completely")).to_be_hidden()
    page.get_by_role("button", name="Log out").click()
    fill_credentials(page)
    expect(page.get_by_text("Not uploaded completely: holiday.mp4.")).to_be_visible()
