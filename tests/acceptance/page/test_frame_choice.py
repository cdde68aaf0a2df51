"""The page in a real browser: the choice of frames, its estimate before a file is sent, and the saved choices."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from db.values import frame_spec
from db.values.error_catalogue import CatalogueError
from db.values.exact_json import encode
from tests.support.clients.accessibility import DESKTOP
from tests.support.clients.api_client import MP4
from tests.support.clients.page_in_browser import (
    Site,
    add_files,
    choose_files,
    file_row,
    fill_credentials,
    needs_chromium,
    open_visitor_page,
    send_chosen_files,
)
from tests.support.videos.clips import ClipByName

pytestmark = needs_chromium

SAMPLES: list[dict[str, Any]] = [
    {"mode": "fps", "fps": 29.97},
    {"mode": "interval", "seconds": 0.001},
    {"mode": "uniform", "count": 1000000000},
    {"mode": "timestamps", "at": [12.5, 3, 65.2, 3, -1]},
    {"mode": "every_nth", "n": 7},
    {"mode": "keyframes"},
    {"mode": "scenes", "threshold": 0},
    {"mode": "all"},
]
GOOD_SPECS: list[Any] = [
    *({"sample": sample} for sample in SAMPLES),
    {},
    {"sample": {}},
    {"sample": {"mode": "scenes"}, "range": {"start": 0.1, "end": 0.10000001}, "max_frames": 1},
    {"image": {"format": "webp", "quality": 1, "max_side": 16, "names": "index"}, "snap": "keyframe"},
    {"image": {"format": "png", "max_side": 65535, "names": "number"}, "max_frames": None},
]
BAD_SPECS: list[Any] = [
    [],
    {"sampel": {}},
    {"sample": "all"},
    {"sample": {"mode": "some"}},
    {"sample": {"mode": ["fps"]}},
    {"sample": {"mode": "fps", "fps": 0}},
    {"sample": {"mode": "fps", "fps": "1"}},
    {"sample": {"mode": "fps", "fps": True}},
    {"sample": {"mode": "fps", "fps": 1e10}},
    {"sample": {"mode": "interval"}},
    {"sample": {"mode": "uniform", "count": 1.5}},
    {"sample": {"mode": "timestamps", "at": []}},
    {"sample": {"mode": "timestamps", "at": 3}},
    {"sample": {"mode": "all", "n": 1}},
    {"sample": {"mode": "scenes", "threshold": 101}},
    {"range": {"start": -1}},
    {"range": {"start": 5, "end": 5}},
    {"range": None},
    {"image": {"format": "gif"}},
    {"image": {"quality": 0}},
    {"image": {"quality": None}},
    {"image": {"max_side": 15}},
    {"image": {"width": 100}},
    {"snap": None},
    {"max_frames": 0},
]


def error_path(spec: Any) -> str:
    """The field that the service names for a wrong specification."""
    with pytest.raises(CatalogueError) as caught:
        frame_spec.parse(json.dumps(spec))
    return str(caught.value.detail).split()[0].rstrip(".")


def json_of_form(page: Page) -> Any:
    return json.loads(page.locator("#choice-json").input_value())


def frames(page: Page, mode: str) -> None:
    page.get_by_label("Frames", exact=True).select_option(mode)


def test_page_and_service_agree_on_right_and_wrong_specifications(browser: Browser, site: Site) -> None:
    script = """async specs => {
        const { readSpec } = await import("/static/frame_spec/spec_validation.js");
        const { readTexts, textsOf } = await import("/static/frame_spec/spec_field_values.js");
        const rest = { fps: "", seconds: "", count: "", at: "", n: "", threshold: "" };
        return specs.map(value => {
            const { spec, errors } = readSpec(value);
            const form = spec && readTexts({ ...rest, ...textsOf(spec) }).spec;
            return { spec, form, paths: errors.map(one => one.path) };
        });
    }"""
    with open_visitor_page(browser, site.address) as page:
        good, bad = page.evaluate(script, GOOD_SPECS), page.evaluate(script, BAD_SPECS)
    for spec, read in zip(GOOD_SPECS, good, strict=True):
        expected = json.loads(encode(frame_spec.document(frame_spec.parse(json.dumps(spec)))))
        assert (read["spec"], read["form"], read["paths"]) == (expected, expected, [])
    for spec, read in zip(BAD_SPECS, bad, strict=True):
        assert read["spec"] is None
        named = error_path(spec).removeprefix("spec.").replace("spec", "")
        assert read["paths"] == [named], spec


def test_numbers_and_times_are_read_as_people_of_each_language_write_them(browser: Browser, site: Site) -> None:
    script = """async () => {
        const { parseNumber, parseTime, splitTimes } = await import("/static/frame_spec/spec_field_values.js");
        const orNull = value => Number.isNaN(value) ? null : value;
        const all = (read, mark, texts) => texts.map(text => orNull(read(text, mark)));
        return {
            english: all(parseNumber, ".", [" 0.5", ".5", "1e-3", "0,5", "1.2.3", "0x10", "", "1234567890.123456"]),
            portuguese: all(parseNumber, ",", ["0,5", "0.5", "1,2,3"]),
            times: all(parseTime, ".", ["65.2", "1:05.2", "1:01:05.040", "0:60", "1:60:00", "1:2:3:4", "a"]),
            english_list: splitTimes("1.5, 3,\\n1:05;7", "."),
            portuguese_list: splitTimes("1,5, 3,\\n1:05,2;7", ","),
        };
    }"""
    with open_visitor_page(browser, site.address) as page:
        read = page.evaluate(script)
    assert read == {
        "english": [0.5, 0.5, 0.001, None, None, None, None, None],
        "portuguese": [0.5, 0.5, None],
        "times": [65.2, 65.2, 3665.04, None, None, None, None],
        "english_list": ["1.5", "3", "1:05", "7"],
        "portuguese_list": ["1,5", "3", "1:05,2", "7"],
    }


def test_every_mode_with_range_format_and_names_reaches_the_service(page: Page) -> None:
    fields: dict[str, tuple[str, str, dict[str, Any]]] = {
        "interval": ("Seconds between frames", "2.5", {"seconds": 2.5}),
        "uniform": ("How many frames", "12", {"count": 12}),
        "every_nth": ("Take one frame of every", "3", {"n": 3}),
        "scenes": ("Change that begins a scene", "40", {"threshold": 40}),
        "timestamps": ("Times", "1:05.2 3", {"at": [3, 65.2]}),
    }
    for mode, (label, text, sample) in fields.items():
        frames(page, mode)
        page.get_by_label(label, exact=label == "Times").fill(text)
        assert json_of_form(page)["sample"] == {"mode": mode} | sample
    for mode in ("keyframes", "all"):
        frames(page, mode)
        assert json_of_form(page)["sample"] == {"mode": mode}
    frames(page, "fps")
    page.get_by_label("Per second", exact=True).fill("0.5")
    page.get_by_label("Longest side").select_option("other")
    page.get_by_label("Pixels", exact=True).fill("500")
    page.get_by_text("Range, format and names").click()
    page.get_by_label("From", exact=True).fill("0:10")
    page.get_by_label("To", exact=True).fill("20.25")
    page.get_by_label("Image format").select_option("webp")
    page.get_by_label("Quality").fill("75")
    page.get_by_label("Names of the images").select_option("number")
    page.get_by_label("Which frame").select_option("keyframe")
    page.get_by_label("At most so many frames").fill("9")
    choose_files(page, ("all-fields.mp4", MP4))
    expect(file_row(page, "all-fields.mp4")).to_contain_text("Number 1 in line")
    assert page.request.get("/v1/videos").json()["items"][0]["extraction"]["spec"] == {
        "sample": {"mode": "fps", "fps": 0.5},
        "range": {"start": 10, "end": 20.25},
        "image": {"format": "webp", "quality": 75, "max_side": 500, "names": "number"},
        "snap": "keyframe",
        "max_frames": 9,
    }
    page.reload()
    # The account's last choice.
    expect(page.get_by_label("Longest side")).to_have_value("other")
    assert json_of_form(page)["range"] == {"start": 10, "end": 20.25}


def test_wrong_field_is_told_beside_it_and_nothing_that_was_typed_is_lost(page: Page) -> None:
    add_files(page, ("kept.mp4", MP4))
    page.get_by_text("Range, format and names").click()
    page.get_by_label("From", exact=True).fill("20")
    page.get_by_label("To", exact=True).fill("10")
    page.get_by_text("Range, format and names").click()
    expect(page.locator("#chosen")).to_contain_text("An estimate comes when the choice of frames is right.")
    send_chosen_files(page)
    end = page.get_by_label("To", exact=True)
    expect(end).to_be_focused()
    expect(end).to_have_attribute("aria-invalid", "true")
    expect(end).to_have_accessible_description("Empty: the end. The end must come after the start.")
    end.fill("1:00")
    expect(page.get_by_text("The end must come after the start.")).to_be_hidden()
    frames(page, "timestamps")
    page.get_by_label("Times", exact=True).fill("3 4 soon")
    send_chosen_files(page)
    expect(page.get_by_text("“soon” is no time.")).to_be_visible()
    frames(page, "uniform")
    page.get_by_label("How many frames").fill("1.5")
    send_chosen_files(page)
    expect(page.get_by_text("It must be a whole number.")).to_be_visible()
    frames(page, "timestamps")
    expect(page.get_by_label("Times", exact=True)).to_have_value("3 4 soon")
    page.get_by_label("Times", exact=True).fill("3 4")
    send_chosen_files(page)
    expect(file_row(page, "kept.mp4")).to_contain_text("Number 1 in line")


def test_json_follows_the_fields_and_the_fields_follow_the_json(page: Page) -> None:
    page.get_by_text("As JSON", exact=True).click()
    text = page.get_by_label("Specification", exact=True)
    text.fill('{"sample": {"mode": "uniform", "count": 4}, "image": {"max_side": 640}}')
    expect(page.get_by_label("Frames", exact=True)).to_have_value("uniform")
    expect(page.get_by_label("How many frames")).to_have_value("4")
    expect(page.get_by_label("Longest side")).to_have_value("640")
    page.get_by_label("How many frames").fill("5")
    assert json_of_form(page)["sample"] == {"mode": "uniform", "count": 5}
    text.fill('{"sample": {"mode": "uniform", "count": 0}, "snapp": 1}')
    expect(text).to_have_accessible_description(
        re.compile(r"snapp: There is no such field\. sample\.count: It must be from 1 to 1,000,000,000\.")
    )
    expect(page.get_by_label("How many frames")).to_be_disabled()
    text.fill('{"sample":\n  {"mode" "all"}}')
    expect(page.get_by_text("look at line 2, column 11")).to_be_visible()
    add_files(page, ("json.mp4", MP4))
    send_chosen_files(page)
    expect(text).to_be_focused()
    expect(text).to_have_value('{"sample":\n  {"mode" "all"}}')
    page.get_by_role("button", name="Back to the choice in the fields").click()
    assert json_of_form(page)["sample"] == {"mode": "uniform", "count": 5}
    expect(page.get_by_label("How many frames")).to_be_enabled()


def test_estimate_is_shown_before_anything_is_sent(page: Page, site: Site, clips: ClipByName) -> None:
    path, _ = clips("vp8_webm")
    page.locator("#files").set_input_files(path)
    expect(page.locator("#send-files")).to_be_focused()
    estimate = page.locator("#chosen-estimate")
    expect(estimate).to_contain_text(re.compile(r"About \d+ frames?, .* for one worker\."))
    expect(page.locator("#chosen-list")).to_contain_text(path.name)
    frames(page, "uniform")
    page.get_by_label("How many frames").fill("3")
    expect(estimate).to_contain_text("About 3 frames")
    frames(page, "all")
    expect(estimate).to_contain_text("This is rough: the browser doesn't tell the frame rate")
    add_files(page, ("odd.mp4", MP4[:5000]))
    expect(estimate).to_contain_text("1 file is not in this estimate")
    page.get_by_role("button", name="Don't upload odd.mp4").click()
    expect(estimate).not_to_contain_text("not in this estimate")
    assert page.request.get("/v1/videos").json()["items"] == []
    page.get_by_role("button", name="Don't upload", exact=True).click()
    expect(page.locator("#chosen")).to_be_hidden()


def test_estimate_of_an_mp4_has_the_frame_rate_of_its_index(page: Page, clips: ClipByName) -> None:
    path, _ = clips("h264_ntsc")
    frames(page, "all")
    page.locator("#files").set_input_files(path)
    estimate = page.locator("#chosen-estimate")
    expect(estimate).to_contain_text("About 90 frames")
    expect(estimate).not_to_contain_text("rough")


def test_frame_rate_is_read_of_any_mp4_and_of_nothing_else(browser: Browser, site: Site, clips: ClipByName) -> None:
    script = """async files => {
        const { readMp4FrameRate } = await import("/static/frame_spec/mp4_frame_rate.js");
        const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
        return Promise.all(files.map(text => readMp4FrameRate(new File([bytes(text)], "a.mp4"))));
    }"""
    rates = {"h264_ntsc": 30000 / 1001, "h264_slow": 0.5, "h264_b_frames": 30, "h264_rotated_270": 30}
    contents = [clips(name)[0].read_bytes() for name in rates]
    ntsc = contents[0]
    # In a box with a size of 64 bits, after others.
    long_box = (1).to_bytes(4, "big") + b"free" + (24).to_bytes(8, "big") + bytes(8)
    at_timescale = ntsc.index(b"mdhd") + 16
    damaged = [
        *(ntsc[: len(ntsc) - cut] for cut in (1, 100, len(ntsc) // 2)),
        ntsc.replace(b"stts", b"sttx"),
        ntsc[:at_timescale] + bytes(4) + ntsc[at_timescale + 4 :],
        *(clips(name)[0].read_bytes() for name in ("h264_fragmented", "vp8_webm")),
        MP4,
        b"",
    ]
    files = [base64.b64encode(content).decode() for content in (*contents, long_box + ntsc, *damaged)]
    with open_visitor_page(browser, site.address) as page:
        read = page.evaluate(script, files)
    assert read == [*(pytest.approx(rate) for rate in (*rates.values(), rates["h264_ntsc"])), *(None for _ in damaged)]


def test_files_are_sent_at_once_when_the_user_wants_it(page: Page) -> None:
    page.get_by_label("Upload files at once").check()
    page.reload()
    expect(page.locator("#workspace")).to_be_visible()
    add_files(page, ("now.mp4", MP4))
    expect(file_row(page, "now.mp4")).to_contain_text("Number 1 in line")


def test_saved_choices_belong_to_the_account_and_outlive_a_reload(page: Page) -> None:
    frames(page, "keyframes")
    page.get_by_role("button", name="Save…").click()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Enter a name.")).to_be_visible()
    page.get_by_label("Name of this choice").fill("Only <b>keys</b>")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Begin with a letter or a digit, and leave out slashes.")).to_be_visible()
    page.get_by_label("Name of this choice").fill("Only <b>keys")
    page.keyboard.press("Enter")
    saved = page.get_by_label("Saved choices")
    expect(saved).to_have_value("Only <b>keys")
    (preset,) = page.request.get("/v1/presets").json()["items"]
    assert (preset["name"], preset["spec"]["sample"]) == ("Only <b>keys", {"mode": "keyframes"})
    frames(page, "all")
    expect(saved).to_have_value("")
    page.reload()
    expect(page.get_by_label("Frames", exact=True)).to_have_value("all")
    saved.select_option("Only <b>keys")
    expect(page.get_by_label("Frames", exact=True)).to_have_value("keyframes")
    page.get_by_role("button", name="Log out").click()
    page.locator("#choose-register").click()
    fill_credentials(page, "eva@example.org")
    expect(page.get_by_text("eva@example.org")).to_be_visible()
    expect(saved).to_have_text("None yet")
    page.get_by_role("button", name="Log out").click()
    page.locator("#choose-login").click()
    fill_credentials(page)
    expect(saved).to_contain_text("Only <b>keys")
    saved.select_option("Only <b>keys")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(saved).to_have_text("None yet")
    assert page.request.get("/v1/presets").json()["items"] == []


def test_choice_saved_elsewhere_is_offered_and_a_problem_is_told_beside_the_name(page: Page) -> None:
    # A form that is out of sight does not ask again.
    expect(page.get_by_label("Saved choices")).to_be_visible()
    headers = {"X-Fotograma-Page": "1"}
    saved_elsewhere = page.request.put(
        "/v1/presets/slides", data={"spec": {"sample": {"mode": "all"}}}, headers=headers
    )
    assert saved_elsewhere.status == 201
    # As a browser tells a tab that people come back to.
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.get_by_label("Saved choices").select_option("slides")
    expect(page.get_by_label("Frames", exact=True)).to_have_value("all")
    page.route("**/v1/presets/*", lambda route: route.abort())
    page.get_by_role("button", name="Save…").click()
    page.get_by_label("Name of this choice").fill("kept")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_label("Name of this choice")).to_be_focused()
    expect(page.get_by_label("Name of this choice")).to_have_accessible_description(re.compile("can't be reached"))
    page.unroute("**/v1/presets/*")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_label("Saved choices")).to_have_value("kept")


def test_three_videos_are_in_sight_and_the_choice_opens_by_the_keyboard(page: Page) -> None:
    page.set_viewport_size(DESKTOP)
    mode = page.get_by_label("Frames", exact=True)
    expect(mode).to_be_visible()
    choose_files(page, *((f"{name}.mp4", MP4 + name.encode()) for name in ("one", "two", "three")))
    expect(page.locator("#videos tr")).to_have_count(3)
    expect(mode).to_be_hidden()
    expect(page.locator("#files")).to_be_focused()
    third = page.locator("#videos tr").nth(2).bounding_box()
    assert third is not None
    assert third["y"] + third["height"] <= DESKTOP["height"]
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(mode).to_be_visible()
    page.keyboard.press("Enter")
    expect(mode).to_be_hidden()
    add_files(page, ("four.mp4", MP4))
    expect(mode).to_be_visible()
    page.get_by_role("button", name="Don't upload", exact=True).click()
    expect(mode).to_be_hidden()


def test_choice_stays_open_while_somebody_types_in_it(page: Page) -> None:
    page.set_viewport_size(DESKTOP)
    rate = page.get_by_label("Per second", exact=True)
    rate.fill("0.")
    files: dict[str, Any] = {"file": FilePayload(name="elsewhere.mp4", mimeType="video/mp4", buffer=MP4)}
    assert page.request.post("/v1/videos", multipart=files, headers={"X-Fotograma-Page": "1"}).ok
    expect(file_row(page, "elsewhere.mp4")).to_be_visible()
    expect(rate).to_be_focused()
    page.keyboard.type("5")
    expect(rate).to_have_value("0.5")


def test_whole_form_fits_a_phone_of_320_pixels(page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    page.reload()
    page.locator("summary").filter(has_text="What to extract").click()
    page.get_by_text("Range, format and names").click()
    page.get_by_text("As JSON", exact=True).click()
    page.get_by_role("button", name="Save…").click()
    add_files(page, ("long-name-" * 20 + ".mp4", MP4))
    for mode in ("timestamps", "scenes"):
        frames(page, mode)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for control in page.locator("button:visible, input:visible, select:visible, textarea:visible").all():
        assert control.evaluate("e => e.textContent.trim() || e.ariaLabel || e.labels?.[0]?.textContent.trim()")
