"""A large video is dropped on the page of the running service. The page is reloaded once during the upload.

The video has 64 MiB; with FOTOGRAMA_SUITE=full it has 3 GB.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.support.clients.page_in_browser import file_row, needs_chromium, open_page, send_chosen_files
from tests.support.servers.running_service import Service
from tests.support.videos.clips import ClipByName
from tests.support.videos.padded_clip import padded_copy
from tests.support.videos.result_archives import numbers_in, read_archive

FULL = os.environ.get("FOTOGRAMA_SUITE") == "full"
VIDEO_BYTES = 3_000_000_000 if FULL else 64 << 20
HALF_SENT, RESUMED = re.compile("[3-9][0-9]%"), re.compile("Goes on at [3-9][0-9]%")
TIMEOUT_MS = 1_800_000 if FULL else 120_000

pytestmark = needs_chromium


def drop(page: Page, video: Path) -> None:
    """Drops a file from the disk on the page."""
    expect(page.locator("#workspace")).to_be_visible()
    page.evaluate(
        """() => {
            const input = Object.assign(document.createElement("input"), { type: "file", id: "dragged", hidden: true });
            document.body.append(input);
        }"""
    )
    page.locator("#dragged").set_input_files(video)
    page.locator("#dragged").evaluate(
        """input => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(input.files[0]);
            const options = { dataTransfer, bubbles: true, cancelable: true };
            for (const type of ["dragenter", "dragover", "drop"]) {
                document.querySelector("#drop").dispatchEvent(new DragEvent(type, options));
            }
            input.remove();
        }"""
    )
    send_chosen_files(page)


def test_large_video_gives_its_frames_after_a_reload_during_the_upload(
    browser: Browser, service: Service, clips: ClipByName, tmp_path: Path
) -> None:
    clip, truth = clips("h264")
    video = padded_copy(clip, tmp_path / "concert.mp4", VIDEO_BYTES)
    with open_page(browser, service.url) as page:
        # The test neither delays nor listens to requests: Playwright would keep all their bodies in memory.
        network = page.context.new_cdp_session(page)
        slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": VIDEO_BYTES // 16}
        network.send("Network.enable")
        network.send("Network.emulateNetworkConditions", slow)
        page.get_by_label("Frames", exact=True).select_option("all")
        drop(page, video)
        bar = file_row(page, video.name).get_by_role("progressbar")
        expect(bar).to_have_attribute("aria-valuetext", HALF_SENT, timeout=TIMEOUT_MS)
        page.reload()
        expect(page.get_by_text("Not uploaded completely: concert.mp4.")).to_be_visible()
        drop(page, video)
        expect(file_row(page, video.name)).to_contain_text(RESUMED)
        network.send("Network.emulateNetworkConditions", slow | {"uploadThroughput": -1})
        expect(file_row(page, video.name)).to_contain_text("Done", timeout=TIMEOUT_MS)
        with page.expect_download() as download:
            file_row(page, video.name).get_by_role("link", name="Download").click()
        archive = tmp_path / "concert.zip"
        download.value.save_as(archive)
    assert numbers_in(read_archive(archive)[1]) == truth.numbers
