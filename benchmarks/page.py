"""The page in headless Chromium on `fotograma up`: `python -m benchmarks.page [--rounds N] [--json FILE]`.

It gives the time to the first contentful paint of a browser that has nothing stored, the frames that the browser paints
in a second while the gallery of 10,000 frames scrolls, and the time from the request that cancels an extraction to the
row that shows it; the commit is in between. Chromium renders without a graphics processor. All figures are medians.
Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmarks.process_measurement import Row, machine_description, write_rows
from tests.support.clients.page_in_browser import (
    ARGUMENTS,
    CHROMIUM,
    MAX_PAINT_MILLISECONDS,
    create_account,
    file_row,
    first_paint_milliseconds,
    open_visitor_page,
    send_chosen_files,
)
from tests.support.servers.running_service import Service
from tests.support.videos.clips import ClipSpec, make_clip

FRAMES = 10_000
SCROLLED_FRAMES = 300
EXTRACT_MS = 600_000
MIN_FRAMES_PER_SECOND, MAX_EVENT_MILLISECONDS = 50.0, 500.0

SCROLL = """async frames => {
    const start = performance.now();
    for (let n = 0; n < frames; n += 1) {
        scrollBy(0, 400);
        await new Promise(requestAnimationFrame);
    }
    return frames / ((performance.now() - start) / 1000);
}"""
CANCEL = """async extractionId => {
    const badge = document.querySelector("#videos tr .badge");
    const isShown = new Promise(resolve => {
        const observer = new MutationObserver(() => {
            if (badge.classList.contains("cancelled")) resolve(performance.now());
        });
        observer.observe(badge, { attributes: true, childList: true });
    });
    const start = performance.now();
    await fetch(`/v1/extractions/${extractionId}/cancel`, { method: "POST", headers: { "X-Fotograma-Page": "1" } });
    return (await isShown) - start;
}"""


def paint_milliseconds(browser: Browser, address: str) -> float:
    with open_visitor_page(browser, address) as page:
        return first_paint_milliseconds(page)


def upload(page: Page, clip: Path) -> None:
    page.get_by_label("Frames", exact=True).select_option("all")
    page.locator("#files").set_input_files(clip)
    send_chosen_files(page)


def frames_per_second(page: Page) -> float:
    """Of the view of the first video of the list, whose frames were extracted."""
    (video, *_) = page.request.get("/v1/videos").json()["items"]
    page.goto(f"/?video={video['id']}")
    expect(page.locator(".frame-cell img.loaded").first).to_be_visible()
    return float(page.evaluate(SCROLL, SCROLLED_FRAMES))


def event_milliseconds(page: Page) -> float:
    """Extracts the first video of the list again, and cancels that by a request that the page's code does not see."""
    page.goto("/")
    (video, *_) = page.request.get("/v1/videos").json()["items"]
    spec = {
        "sample": {"mode": "all"},
        "image": {"quality": 1 + int(video["extraction"]["spec"]["image"]["quality"]) % 100},
    }
    again = page.request.post(
        f"/v1/videos/{video['id']}/extractions", data={"spec": spec}, headers={"X-Fotograma-Page": "1"}
    )
    expect(page.locator("#videos tr .badge").first).to_have_class("badge running")
    return float(page.evaluate(CANCEL, again.json()["id"]))


def measure(browser: Browser, folder: Path, rounds: int) -> Iterator[Row]:
    service, clip = Service(folder / "data"), folder / "long.mp4"
    make_clip(clip, ClipSpec(width=320, height=180, frames=FRAMES, fps=Fraction(25)))
    with service.running():
        yield row("first contentful paint", "ms", [paint_milliseconds(browser, service.url) for _ in range(rounds)])
        with open_visitor_page(browser, service.url) as page:
            create_account(page)
            upload(page, clip)
            expect(file_row(page, clip.name)).to_contain_text("Done", timeout=EXTRACT_MS)
            rates = [frames_per_second(page) for _ in range(rounds)]
            yield row("gallery of 10,000 frames, scrolled", "frames/s", rates)
            yield row("from a cancellation to its row", "ms", [event_milliseconds(page) for _ in range(rounds)])


def row(name: str, unit: str, values: Sequence[float]) -> Row:
    rounded = tuple(round(value, 1) for value in values)
    return Row(name, unit, median(rounded), rounded)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(machine_description())
    with tempfile.TemporaryDirectory(prefix="fotograma-benchmark-") as name, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        rows = list(measure(browser, Path(name), options.rounds))
        browser.close()
    for each in rows:
        print(f"{each.name:36} {each.value:7.1f} {each.unit}  {each.rounds}")
    if options.json:
        write_rows(options.json, rows)
    paint, rate, event = (each.value or 0.0 for each in rows)
    is_met = paint < MAX_PAINT_MILLISECONDS and rate >= MIN_FRAMES_PER_SECOND and event <= MAX_EVENT_MILLISECONDS
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
