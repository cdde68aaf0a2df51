"""The page's forms of an account: errors stand beside their fields, and the focus goes where a reader expects it."""

from __future__ import annotations

import re
import zipfile
from uuid import UUID

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from db.notification import outbox, webhook_deliveries
from serve_app.security.rate_limit import RateLimit, RateLimiter
from tests.support.clients.api_client import MP4, PASSWORD
from tests.support.clients.page_in_browser import (
    EMAIL,
    Site,
    choose_files,
    file_row,
    fill_credentials,
    needs_chromium,
    open_visitor_page,
)
from tests.support.state.notification_setup import accept_and_fail

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


class TestSettings:
    """The page of an account's settings."""

    def test_profile_is_kept_and_the_page_takes_the_language_of_the_account(self, page: Page) -> None:
        page.get_by_role("link", name="Settings").click()
        expect(page.get_by_role("heading", level=1, name="Settings")).to_be_focused()
        assert page.title() == "Settings · Fotograma"
        page.get_by_label("Name", exact=True).fill("Ana Prado")
        page.get_by_label("Only when a video has failed").check()
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status").filter(has_text="Saved.")).to_be_visible()
        page.get_by_label("Language").select_option("pt-BR")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("heading", level=1, name="Configurações")).to_be_visible()
        expect(page.get_by_label("Nome", exact=True)).to_have_value("Ana Prado")
        expect(page.get_by_label("Só quando um vídeo falhar")).to_be_checked()
        account = page.request.get("/v1/me").json()
        assert (account["name"], account["notify"], account["locale"]) == ("Ana Prado", "failures", "pt-BR")
        page.go_back()
        expect(page.get_by_role("heading", level=1, name="Seus vídeos")).to_be_visible()

    def test_use_is_shown_beside_the_quotas(self, page: Page) -> None:
        choose_files(page, ("one.mp4", MP4))
        expect(page.locator("#videos tr")).to_have_count(1)
        page.get_by_role("link", name="Settings").click()
        expect(page.locator("#usage")).to_contain_text(re.compile(r"Videos1Storage10 KiB, no limit"))

    def test_password_is_changed_only_with_the_current_one(self, page: Page) -> None:
        page.get_by_role("link", name="Settings").click()
        form = page.get_by_role("form", name="Password")
        form.get_by_label("Current password").fill("wrong horse")
        form.get_by_label("New password").fill("short")
        page.keyboard.press("Enter")
        expect(form.locator("#password-new-error")).to_have_text("At least 8 characters; there are 5 so far.")
        form.get_by_label("New password").fill("another horse")
        page.keyboard.press("Enter")
        expect(form.locator("#password-current-error")).to_have_text("This is not the password of the account.")
        expect(form.get_by_label("Current password")).to_be_focused()
        form.get_by_label("Current password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(form.get_by_role("status")).to_contain_text("The password is changed")
        page.get_by_role("button", name="Log out").click()
        fill_credentials(page, password="another horse")
        expect(page.get_by_role("heading", level=1, name="Settings")).to_be_visible()

    def test_webhook_is_added_its_delivery_sent_again_and_it_is_deleted(self, page: Page, site: Site) -> None:
        page.get_by_role("link", name="Settings").click()
        page.get_by_label("Address").fill("example.org")
        page.get_by_role("button", name="Add webhook").click()
        expect(page.locator("#webhook-url-error")).to_contain_text("begins with https://")
        expect(page.get_by_label("Address")).to_have_value("example.org")
        page.get_by_label("Address").fill("http://127.0.0.1/hook")
        page.get_by_role("button", name="Add webhook").click()
        expect(page.locator("#webhook-url-error")).to_contain_text("can't call this address")
        page.get_by_label("Address").fill("https://example.org/hook")
        page.get_by_role("button", name="Add webhook").click()
        expect(page.locator("#webhook-secret")).to_contain_text("whsec_")
        expect(page.get_by_label("Address")).to_have_value("")
        site.run(give_up_a_delivery(site, UUID(page.request.get("/v1/me").json()["id"])))
        page.get_by_role("button", name="Deliveries to https://example.org/hook").click()
        delivery = page.locator(".deliveries li")
        expect(delivery).to_contain_text("Given up")
        expect(delivery).to_contain_text("Answer 503 after 12 ms")
        delivery.get_by_role("button", name="Send again").click()
        expect(delivery).to_contain_text("Waiting")
        expect(delivery.get_by_role("button", name="Send again")).to_be_focused()
        page.get_by_role("button", name="Delete https://example.org/hook").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.get_by_text("There is no webhook yet.")).to_be_visible()
        expect(page.get_by_role("heading", name="Webhooks")).to_be_focused()

    def test_api_key_is_shown_once_works_and_is_deleted(self, page: Page, site: Site) -> None:
        page.get_by_role("link", name="Settings").click()
        form = page.get_by_role("form", name="Create key")
        form.get_by_role("button", name="Create key").click()
        expect(page.locator("#api-key-name-error")).to_have_text("Enter what the key is for.")
        expect(form.get_by_label("Name of the key")).to_be_focused()
        form.get_by_label("Name of the key").fill("a notebook")
        page.keyboard.press("Enter")
        expect(page.locator("#api-key-secret")).to_contain_text("Copy it: it is not shown again.")
        expect(page.locator("#api-key-secret-value")).to_have_text(re.compile("^fg_"))
        secret = page.locator("#api-key-secret-value").text_content()
        keys = page.locator("#api-keys li")
        expect(keys).to_contain_text("never used")
        headers = {"Authorization": f"Bearer {secret}"}
        assert httpx.get(f"{site.address}/v1/me", headers=headers).json()["email"] == EMAIL
        page.reload()
        expect(keys).to_contain_text("last used")
        expect(page.locator("#api-key-secret")).to_be_hidden()
        page.get_by_role("button", name="Delete the key a notebook").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.get_by_text("There is no API key yet.")).to_be_visible()
        expect(page.get_by_role("heading", name="API keys")).to_be_focused()
        assert httpx.get(f"{site.address}/v1/me", headers=headers).status_code == 401

    def test_data_can_be_downloaded_and_the_account_deleted(self, page: Page) -> None:
        page.get_by_role("link", name="Settings").click()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download all").click()
        assert zipfile.is_zipfile(download.value.path())
        form = page.get_by_role("form", name="Delete account")
        for password in ("wrong horse", PASSWORD):
            form.get_by_label("Your password").fill(password)
            page.keyboard.press("Enter")
            page.get_by_role("dialog").get_by_role("button", name="Delete everything").click()
            if password != PASSWORD:
                expect(page.locator("#deletion-password-error")).to_contain_text("This is not the password")
        expect(page.get_by_text("Your account and all that belonged to it are deleted.")).to_be_visible()
        expect(page.locator("#email")).to_be_focused()
        fill_credentials(page)
        expect(page.get_by_role("alert")).to_contain_text("The e-mail or the password is wrong.")

    def test_visitor_gets_the_form_also_when_the_session_ends_before_the_answer_to_the_deletion(
        self, page: Page
    ) -> None:
        def answer_late(route: Route) -> None:
            if route.request.method != "DELETE":
                return route.continue_()
            answer = route.fetch()
            page.locator("#session-ended").wait_for()
            return route.fulfill(response=answer)

        page.route("**/v1/me", answer_late)
        page.get_by_role("link", name="Settings").click()
        page.get_by_role("form", name="Delete account").get_by_label("Your password").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_role("dialog").get_by_role("button", name="Delete everything").click()
        expect(page.get_by_text("Your account and all that belonged to it are deleted.")).to_be_visible()
        expect(page.locator("#session-ended")).to_be_hidden()
        expect(page.locator("#email")).to_be_focused()

    def test_what_was_typed_stays_when_the_session_ends(self, page: Page) -> None:
        page.get_by_role("link", name="Settings").click()
        page.get_by_label("Name", exact=True).fill("Ana Prado")
        # All of the view's own requests are answered, so that none of them fails.
        for text in ("There is no API key yet.", "There is no webhook yet."):
            expect(page.get_by_text(text)).to_be_visible()
        page.context.clear_cookies()
        # The page asks for its videos now and then: the dialog may be there already, and a pointer does not reach the
        # button.
        page.locator("#settings").get_by_role("button", name="Save").dispatch_event("click")
        dialog = page.get_by_role("dialog", name="Your session has ended")
        dialog.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        expect(page.get_by_label("Name", exact=True)).to_have_value("Ana Prado")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status").filter(has_text="Saved.")).to_be_visible()

    def test_ended_session_can_be_left_for_another_account(self, page: Page) -> None:
        page.context.clear_cookies()
        # The page reads its list once more when the stream of events is open: the dialog may be there already, and a
        # pointer does not reach the link.
        page.locator("#open-settings").dispatch_event("click")
        dialog = page.get_by_role("dialog", name="Your session has ended")
        dialog.get_by_role("button", name="Use another account").click()
        expect(dialog).to_be_hidden()
        expect(page.get_by_role("heading", name="Your videos", level=1)).to_be_hidden()
        fill_credentials(page)
        expect(page.locator("#account-email")).to_have_text(EMAIL)
        expect(dialog).to_be_hidden()


async def give_up_a_delivery(site: Site, user_id: UUID) -> None:
    """An extraction of this account, whose webhook answered 503 until the service gave up."""
    await accept_and_fail(site.deps.database, user_id)
    (channel,) = await outbox.due_channels(site.deps.database, without=["email"], limit=9)
    (notification,) = await outbox.take(site.deps.database, channel)
    error = "The receiver answered 503."
    await webhook_deliveries.record(site.deps.database, notification.id, status=503, error=error, milliseconds=12)
    await outbox.give_up(site.deps.database, notification, error)
