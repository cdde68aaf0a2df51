"""The page's language: the browser's before the log-in, the account's after it."""

from __future__ import annotations

from playwright.sync_api import Browser, Page, expect

from tests.support.clients.api_client import MP4, PASSWORD
from tests.support.clients.page_in_browser import (
    EMAIL,
    Site,
    choose_files,
    file_row,
    needs_chromium,
    open_visitor_page,
)

pytestmark = needs_chromium


def test_visitor_with_a_portuguese_browser_has_page_account_and_errors_in_portuguese(
    browser: Browser, site: Site
) -> None:
    with open_visitor_page(browser, site.address, locale="pt-PT") as page:
        expect(page.locator("html")).to_have_attribute("lang", "pt-BR")
        expect(page.get_by_text("Crie a primeira")).to_be_visible()
        login = page.locator("#credentials")
        login.get_by_label("E-mail").fill(EMAIL)
        login.get_by_label("Senha").fill("curta")
        login.get_by_role("button", name="Criar conta").last.click()
        expect(login.get_by_text("Pelo menos 8 caracteres; por enquanto são 5.")).to_be_visible()
        login.get_by_label("Senha").fill(PASSWORD)
        login.get_by_role("button", name="Criar conta").last.click()
        expect(page.get_by_role("heading", name="Seus vídeos")).to_be_visible()
        assert page.request.get("/v1/me").json()["locale"] == "pt-BR"
        choose_files(page, ("notas.mp4", b"some text"), ("praia.mp4", MP4[:5000]))
        expect(file_row(page, "notas.mp4")).to_contain_text("O arquivo não é um vídeo de um contêiner conhecido.")
        expect(file_row(page, "praia.mp4")).to_contain_text("Número 1 da fila")
        expect(file_row(page, "praia.mp4")).to_contain_text("4,9 KiB")
        site.fail("no_video_stream", "The file has only sound.")
        expect(file_row(page, "praia.mp4")).to_contain_text("O arquivo não tem fluxo de vídeo.")
        expect(file_row(page, "praia.mp4")).to_contain_text("Envie um arquivo com imagens")


def test_language_of_the_account_comes_before_that_of_the_browser(page: Page) -> None:
    changed = page.request.patch("/v1/me", data={"locale": "pt-BR"}, headers={"X-Fotograma-Page": "1"})
    assert changed.ok
    page.reload()
    expect(page.get_by_role("heading", name="Seus vídeos")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "pt-BR")
    page.get_by_role("button", name="Sair").click()
    expect(page.locator("#credentials").get_by_label("Senha")).to_be_visible()
    page.reload()
    expect(page.locator("#credentials").get_by_label("Password")).to_be_visible()
