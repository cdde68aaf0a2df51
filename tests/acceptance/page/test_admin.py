"""The administrator's view: figures, quotas, disabling; nobody else gets it."""

from __future__ import annotations

import httpx
from playwright.sync_api import Page, expect

from db.accounts import accounts
from db.queue import task_queue
from tests.support.clients.api_client import MP4, PASSWORD, log_in
from tests.support.clients.page_in_browser import EMAIL, Site, choose_files, needs_chromium

pytestmark = needs_chromium


async def add_account(address: str, email: str) -> None:
    async with httpx.AsyncClient(base_url=address) as client:
        await log_in(client, email)


def test_admin_sees_the_service_gives_quotas_and_disables_an_account(page: Page, site: Site) -> None:
    expect(page.get_by_role("link", name="Administration")).to_be_hidden()
    page.goto("/?view=admin")
    expect(page.get_by_role("heading", level=1, name="Your videos")).to_be_visible()
    site.run(accounts.set_role(site.deps.database, EMAIL, accounts.ADMIN))
    site.run(add_account(site.address, "bob@example.org"))
    page.reload()
    expect(page.get_by_role("heading", level=1, name="Administration")).to_be_focused()
    expect(page.get_by_text("No worker holds a task or asked for one in the last minute.")).to_be_visible()
    expect(page.locator("#admin-balance")).to_have_text("Balanced")

    page.get_by_role("link", name="Back to your videos").click()
    choose_files(page, ("one.mp4", MP4), ("two.mp4", MP4))
    expect(page.locator("#videos tr")).to_have_count(2)
    site.run(task_queue.claim(site.deps.database, worker="host-1:a"))
    page.get_by_role("link", name="Administration").click()
    expect(page.locator("#admin-queue")).to_contain_text("Waiting tasks1")
    expect(page.locator("#admin-queue")).to_contain_text("Running1")
    expect(page.locator("#admin-workers li")).to_contain_text("host-1:a")
    expect(page.locator("#admin-workers li")).to_contain_text("A whole video, attempt 1, 0 frames done")
    page.get_by_role("button", name="Compare again").click()
    expect(page.locator("#admin-ledger")).to_contain_text("Accepted2")

    page.get_by_label("Search e-mail or name").fill("BOB")
    expect(page.locator("#admin-accounts li")).to_have_count(1)
    row = page.locator("#admin-accounts li").filter(has_text="bob@example.org")
    row.get_by_role("button", name="Quotas of bob@example.org").click()
    dialog = page.get_by_role("dialog", name="Quotas")
    expect(dialog.get_by_label("Storage in GiB")).to_be_disabled()
    dialog.get_by_label("Own quotas").check()
    dialog.get_by_label("Waiting or running").fill("1.5")
    dialog.get_by_label("Storage in GiB").fill("2.5")
    page.keyboard.press("Enter")
    expect(page.locator("#quotas-waiting-error")).to_contain_text("Enter a whole number from 1 to 1,000,000,000")
    expect(dialog.get_by_label("Waiting or running")).to_be_focused()
    dialog.get_by_label("Waiting or running").fill("3")
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("status").filter(has_text="The quotas are saved.")).to_be_visible()
    expect(row).to_contain_text("Storage: 0 bytes of 2.5 GiB")
    expect(row).to_contain_text("Waiting or running: 0 of 3")
    expect(row.get_by_role("button", name="Quotas of bob@example.org")).to_be_focused()
    row.get_by_role("button", name="Quotas of bob@example.org").click()
    dialog.get_by_label("The quotas of the service").check()
    dialog.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("Storage: 0 bytes, no limit")

    row.get_by_role("button", name="Disable bob@example.org").click()
    page.get_by_role("dialog").get_by_role("button", name="Disable").click()
    expect(row).to_contain_text("Disabled")
    expect(row.get_by_role("button", name="Enable bob@example.org")).to_be_focused()
    login = {"email": "bob@example.org", "password": PASSWORD}
    assert httpx.post(f"{site.address}/session", json=login).json()["code"] == "account_disabled"
    row.get_by_role("button", name="Enable bob@example.org").click()
    expect(page.get_by_text("bob@example.org is enabled.")).to_be_visible()
    assert httpx.post(f"{site.address}/session", json=login).status_code == 204

    page.set_viewport_size({"width": 320, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for control in page.locator(
        ".admin button:visible, .admin input:visible, .bar a:visible, .bar button:visible"
    ).all():
        box = control.bounding_box()
        assert box is not None
        assert box["height"] >= 44, control.evaluate("e => e.outerHTML")
    site.run(accounts.set_role(site.deps.database, EMAIL, "user"))
    expect(page.get_by_role("heading", level=1, name="Your videos")).to_be_visible()
