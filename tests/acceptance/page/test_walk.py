"""Each view of the page, on the running service: it opens, and nothing of it keeps people out.

FOTOGRAMA_SCREENSHOTS=docs/img saves pictures of the views: on a desktop, on a phone, in the dark, and in Portuguese.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from cluster.local.sample_clips import SAMPLES
from tests.support.clients.accessibility import DESKTOP, PHONE, find_violations, find_violations_in_looks
from tests.support.clients.api_client import MP4
from tests.support.clients.page_in_browser import (
    file_row,
    fill_credentials,
    needs_chromium,
    open_visitor_page,
    send_chosen_files,
)
from tests.support.servers.running_service import Service

pytestmark = needs_chromium

SCREENSHOTS = os.environ.get("FOTOGRAMA_SCREENSHOTS")
DECODE_MS = 120_000
EMAIL = "nina@example.org"


@dataclass(frozen=True)
class View:
    """path: its address, with the ids of a video and of a failed one. complete: what is seen when it is complete.

    button: opens it at this address; "" for none.
    """

    path: str
    complete: str
    button: str = ""
    is_public: bool = False


@dataclass(frozen=True)
class Look:
    """context: the options of the browser's context. views: those of which there are pictures."""

    context: dict[str, Any]
    views: Collection[str]
    locale: str = "en"


VIEWS = {
    "log-in": View("/", "#email", is_public=True),
    "videos": View("/", "#videos tr img:visible"),
    "frames": View("/?video={video}", ".frame-cell img.loaded:visible"),
    "frame": View("/?video={video}&frame=3", "dialog[open] img:visible"),
    "table": View("/?video={video}&part=table", "#frame-rows > *:visible"),
    "report": View("/?video={video}&part=report", "#report-stages > *"),
    "timeline": View("/?video={video}&part=timeline", "#timeline-events > *"),
    "again": View("/?video={video}", "#again-estimate:text-matches('[0-9]')", button="#video-again"),
    "failed": View("/?video={failed}", "#timeline-events > *"),
    "settings": View("/?view=settings", "#usage > *"),
    "admin": View("/?view=admin", "#admin-accounts > *"),
}
# A browser does not load the images that are out of sight.
WAIT_FOR_IMAGES_IN_SIGHT = """() => {
    const isInSight = image => image.checkVisibility() && image.getBoundingClientRect().top < innerHeight;
    const images = [...document.images].filter(image => image.src && isInSight(image));
    return Promise.allSettled(images.map(image => image.decode()));
}"""
LOOKS = {
    "desktop": Look({"viewport": DESKTOP}, VIEWS),
    "phone": Look({"viewport": PHONE, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}, VIEWS),
    "dark": Look(
        {"viewport": DESKTOP, "color_scheme": "dark"},
        ["log-in", "videos", "frames", "again", "report", "failed", "settings"],
    ),
    "pt-BR": Look(
        {"viewport": DESKTOP, "locale": "pt-BR"},
        ["log-in", "videos", "frames", "again", "report", "timeline", "settings"],
        locale="pt-BR",
    ),
}


@pytest.fixture
def videos(service: Service, tmp_path: Path) -> list[Path]:
    """The sample clips, of which one is damaged, and a file that can't be decoded.

    The demonstration of the service has written the clips; to encode them again takes long.
    """
    service.wait_for("To try ", 60, times=len(SAMPLES) - 1)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(MP4 * 400)
    return [*(service.data_dir / "demo" / name for name in SAMPLES), broken]


def test_each_view_of_the_page_is_walked_through_and_open_to_everyone(
    browser: Browser, service: Service, videos: list[Path], tmp_path: Path
) -> None:
    with open_visitor_page(browser, service.url) as page:
        page.locator("#choose-register").click()
        fill_credentials(page, EMAIL)
        expect(page.get_by_role("heading", level=1, name="Your videos")).to_be_visible()
        with psycopg.connect(service.database_url()) as connection:
            connection.execute("UPDATE users SET role = 'admin' WHERE email = %s", [EMAIL])
        page.locator("#files").set_input_files(videos)
        send_chosen_files(page)
        expect(file_row(page, "clock.mp4")).to_contain_text("Done", timeout=DECODE_MS)
        with page.expect_download() as download:
            file_row(page, "clock.mp4").get_by_role("link", name="Download").click()
        download.value.save_as(tmp_path / "clock.zip")
        expect(file_row(page, "damaged.mp4")).to_contain_text("missing", timeout=DECODE_MS)
        expect(file_row(page, "broken.mp4")).to_contain_text("Failed", timeout=DECODE_MS)
        found = {video["filename"]: video["id"] for video in page.request.get("/v1/videos").json()["items"]}
        ids = {"video": found["clock.mp4"], "failed": found["broken.mp4"]}
        check_views(browser, page, ids)
        if SCREENSHOTS:
            save_pictures(browser, page, ids, Path(SCREENSHOTS))
    with zipfile.ZipFile(tmp_path / "clock.zip") as archive:
        assert archive.testzip() is None
        assert sum(name.endswith(".jpg") for name in archive.namelist()) > 0


def test_missing_names_and_faint_texts_are_found(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content('<html lang="en"><title>t</title><button></button><p style="color: #bbb">Faint</p></html>')
    found = find_violations(page)
    page.close()
    assert [violation.split(":")[0] for violation in found] == ["button-name", "color-contrast"]


def open_view(page: Page, view: View, ids: Mapping[str, str]) -> None:
    page.goto(view.path.format(**ids))
    if view.button:
        page.locator(view.button).click()
    expect(page.locator(view.complete).first).to_be_visible()


def check_views(browser: Browser, page: Page, ids: Mapping[str, str]) -> None:
    """Opens each of VIEWS, as the account of `page`, and looks for violations of WCAG."""
    violations = []
    with open_visitor_page(browser, page.evaluate("location.origin")) as visitor:
        for name, view in VIEWS.items():
            viewer = visitor if view.is_public else page
            open_view(viewer, view, ids)
            violations += [f"{name}, {violation}" for violation in find_violations_in_looks(viewer)]
    assert not violations, "\n".join(violations)


def save_pictures(browser: Browser, page: Page, ids: Mapping[str, str], folder: Path) -> None:
    """Saves a picture of the views of each of LOOKS, in a folder of the look's name."""
    address, session = page.evaluate("location.origin"), page.context.storage_state()
    for look_name, look in LOOKS.items():
        headers = {"X-Fotograma-Page": "1"}
        assert page.request.patch("/v1/me", data={"locale": look.locale, "name": "Nina"}, headers=headers).ok
        for name in look.views:
            options = {"base_url": address, "locale": "en-US", "reduced_motion": "reduce"} | look.context
            context = browser.new_context(**options, storage_state=None if VIEWS[name].is_public else session)
            opened = context.new_page()
            open_view(opened, VIEWS[name], ids)
            opened.evaluate(WAIT_FOR_IMAGES_IN_SIGHT)
            picture = Image.open(io.BytesIO(opened.screenshot()))
            target = folder / look_name / f"{name}.webp"
            target.parent.mkdir(parents=True, exist_ok=True)
            picture.save(target, quality=85, method=6)
            context.close()
