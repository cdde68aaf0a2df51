"""The page's forms of an account: errors stand beside their fields, and the focus goes where a reader expects it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from serve_app.security.rate_limit import RateLimit, RateLimiter
from tests.support.clients.api_client import MP4
from tests.support.clients.page_in_browser import (
    EMAIL,
    Site,
    browser,
    choose_files,
    file_row,
    fill_credentials,
    needs_chromium,
    open_visitor_page,
    page,
    site,
)

__all__ = ["browser", "page", "site"]

pytestmark = needs_chromium


def test_first_visitor_of_a_fresh_server_is_led_to_create_its_first_account(browser: Browser, site: Site) -> None:
    with open_visitor_page(browser, site.address) as page:
        expect(page.get_by_text("There is no account on this server yet. Create the first one.")).to_be_visible()
        expect(page.locator("#credentials-submit")).to_have_text("Create account")
        expect(page.locator("#email")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#email-error")).to_have_text("Enter your e-mail address.")
        page.locator("#email").fill("ana@")
        expect(page.locator("#email-error")).to_be_hidden()
        page.locator("#password").fill("short")
        page.keyboard.press("Enter")
        expect(page.locator("#email-error")).to_contain_text("Enter a whole e-mail address")
        expect(page.locator("#password-error")).to_have_text("At least 8 characters; there are 5 so far.")
        expect(page.locator("#email")).to_be_focused()
        expect(page.locator("#email")).to_have_value("ana@")
        expect(page.locator("#password")).to_have_value("short")
        fill_credentials(page)
        expect(page.get_by_role("heading", level=1, name="Your videos")).to_be_focused()
    with open_visitor_page(browser, site.address) as page:
        expect(page.locator("#credentials-submit")).to_have_text("Log in")
        expect(page.get_by_text("There is no account")).to_have_count(0)
        page.locator("#choose-register").click()
        fill_credentials(page)
        expect(page.locator("#email-error")).to_contain_text("An account with this e-mail exists.")
        expect(page.locator("#email")).to_have_value(EMAIL)


@pytest.mark.parametrize("site", [{"registration_open": False}], indirect=True)
def test_visitor_of_a_fresh_server_with_closed_registration_is_told_whom_to_ask(browser: Browser, site: Site) -> None:
    with open_visitor_page(browser, site.address) as page:
        expect(page.get_by_text("registration is closed. Ask the operator for one.")).to_be_visible()
        expect(page.locator("#choose-register")).to_be_hidden()


@pytest.mark.parametrize("site", [{"address_rate_limiter": RateLimiter(RateLimit(1, 30.0))}], indirect=True)
def test_visitor_who_tries_too_often_is_told_when_to_try_again(browser: Browser, site: Site) -> None:
    with open_visitor_page(browser, site.address) as page:
        page.locator("#choose-login").click()
        fill_credentials(page)
        expect(page.get_by_role("alert")).to_contain_text("The e-mail or the password is wrong.")
        expect(page.locator("#password")).to_be_focused()
        fill_credentials(page)
        expect(page.get_by_role("alert")).to_contain_text("Too many requests. Try again in 30 seconds.")


def test_focus_goes_to_the_next_video_after_a_deletion_and_back_after_a_refused_one(page: Page) -> None:
    choose_files(page, ("first.mp4", MP4), ("second.mp4", MP4 + b"2"))
    expect(page.locator("#uploads tr")).to_have_count(0)
    expect(page.locator("#videos tr")).to_have_count(2)
    for name in ("first.mp4", "second.mp4"):
        file_row(page, name).get_by_role("button", name="Cancel").click()
        expect(file_row(page, name)).to_contain_text("Cancelled")
    names = page.locator("#videos .name").all_text_contents()
    delete = page.get_by_role("button", name=f"Delete {names[0]}")
    delete.click()
    page.keyboard.press("Escape")
    expect(delete).to_be_focused()
    delete.click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#videos tr")).to_have_count(1)
    assert page.evaluate("document.activeElement.closest('#videos tr') !== null")
