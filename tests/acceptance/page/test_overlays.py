"""What lies over the page in a real browser: menu, dialogs and messages are open to everyone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from playwright.sync_api import Locator, Page, expect

from tests.support.clients.accessibility import CONTRAST, DESKTOP, PHONE, find_violations, find_violations_in_looks
from tests.support.clients.api_client import MP4
from tests.support.clients.page_in_browser import EMAIL, Site, add_files, choose_files, file_row, needs_chromium
from tests.support.state import database_rows

pytestmark = needs_chromium


def open_account_menu(page: Page) -> Locator:
    page.locator("#account-menu").click()
    return page.locator("#account:popover-open")


def open_session_dialog(page: Page) -> Locator:
    expect(file_row(page, "first.mp4")).to_be_visible()
    page.context.clear_cookies()
    # The dialog may be there already, and then a pointer does not reach what is behind it.
    page.locator("[data-status=failed]").dispatch_event("click")
    page.get_by_role("button", name="Go on").click()
    return page.locator("#session-password-error:visible")


def open_confirmation(page: Page) -> Locator:
    file_row(page, "first.mp4").get_by_role("button", name="Delete").click()
    return page.locator("#confirm[open]")


def open_problem(page: Page) -> Locator:
    page.route("**/v1/extractions/*/cancel", lambda route: route.abort(), times=1)
    file_row(page, "first.mp4").get_by_role("button", name="Cancel").click()
    return page.locator("#problem:visible")


def open_summary(page: Page) -> Locator:
    page.get_by_role("checkbox", name="Select first.mp4").check()
    page.locator("#selected-cancel").click()
    return page.locator("#batch:visible")


def open_chosen_files(page: Page) -> Locator:
    add_files(page, ("other.mp4", MP4))
    return page.locator("#chosen:visible")


def open_name_of_a_choice(page: Page) -> Locator:
    page.locator("summary").filter(has_text="What to extract").click()
    page.get_by_role("button", name="Save…").click()
    page.get_by_role("button", name="Save", exact=True).click()
    return page.get_by_text("Enter a name.")


def open_quotas(page: Page) -> Locator:
    page.get_by_role("button", name=f"Quotas of {EMAIL}").click()
    return page.locator("#quotas-dialog[open]")


OVERLAYS: Mapping[str, Callable[[Page], Locator]] = {
    "confirmation": open_confirmation,
    "problem": open_problem,
    "summary": open_summary,
    "chosen files": open_chosen_files,
    "name of a choice": open_name_of_a_choice,
    "quotas": open_quotas,
    "session": open_session_dialog,
}


def test_menu_dialogs_and_messages_keep_nobody_out(page: Page, site: Site) -> None:
    choose_files(page, ("first.mp4", MP4))
    expect(file_row(page, "first.mp4")).to_contain_text("Number 1 in line")
    site.run(database_rows.execute(site.deps.database, "UPDATE users SET role = 'admin'"))
    violations = []
    for name, open_overlay in OVERLAYS.items():
        page.set_viewport_size(DESKTOP)
        page.goto("/?view=admin" if name == "quotas" else "/")
        expect(open_overlay(page)).to_be_visible()
        violations += [f"{name}, {violation}" for violation in find_violations_in_looks(page)]
    assert not violations, "\n".join(violations)


def test_opened_menu_of_a_phone_keeps_nobody_out(page: Page) -> None:
    page.set_viewport_size(PHONE)
    expect(open_account_menu(page)).to_be_visible()
    assert find_violations(page) == []
    page.emulate_media(color_scheme="dark")
    assert find_violations(page, CONTRAST) == []
