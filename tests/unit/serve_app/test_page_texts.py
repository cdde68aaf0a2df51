"""The page's texts: complete in each language, used, and nowhere else than in the catalogues."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import actors
from db.values.error_catalogue import CATALOGUE
from db.values.warning_texts import WARNING_TEXTS
from serve_app.web_ui import page
from serve_app.web_ui.texts import LANGUAGES, Message, choose_language, supported_language, texts_in

WEB_UI = Path(page.__file__).parent
MODULES = sorted((WEB_UI / "static").rglob("*.js"))
TEMPLATES = sorted((WEB_UI / "templates").glob("*.html"))
STYLE = "\n".join(sheet.read_text() for sheet in sorted((WEB_UI / "static").rglob("*.css")))

PLURALS = {"en": {"one", "other"}, "pt-BR": {"one", "other"}}
"""The plural categories that a language needs. For pt-BR there is also `many`, of millions, which reads as `other`."""
KEYS, FORMATS = {"Home", "End", "Page", "Enter", "Escape"}, {"JPEG", "PNG", "WebP"}
NOT_TEXTS = KEYS | FORMATS | {"Files", "Fotograma", "Location", "SHA-256"}
"""Words in capitals that are names: of a browser's events and keys, of a protocol, of a product, of a format."""

PLACEHOLDER = re.compile(r"\{(\w+)\}")
KEY_USE = re.compile(r"""\bt\(\s*("[^"]*"|[^,)]*)""")
TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<regex>(?<=[(,=:]\s)/(?![/*])(?:\\.|[^/\n])+/|(?<=[(,])/(?![/*])(?:\\.|[^/\n])+/)"""
    r"""|(?P<text>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)""",
    re.DOTALL,
)


def variants(message: Message) -> list[str]:
    return [message] if isinstance(message, str) else list(message.values())


def used_keys(source: str) -> list[str]:
    """The first arguments of all calls of `t`, as they stand in the source."""
    without_comments = TOKEN.sub(lambda found: "" if found["comment"] else found[0], source)
    return [argument.strip('"') for argument in KEY_USE.findall(without_comments.replace("export function t(", ""))]


def texts_in_module(source: str) -> list[str]:
    """The string literals that people would read: sentences, and words that begin with a capital letter."""
    literals = [found["text"][1:-1] for found in TOKEN.finditer(source) if found["text"]]
    return [literal for literal in literals if is_text(literal)]


def is_text(literal: str) -> bool:
    words = re.sub(r"\$\{[^}]*\}", " ", literal)
    if words.strip() in NOT_TEXTS or re.search(r"[#\[\]=;/]|:\S|^[.]", words):
        return False
    if re.search(r"(^|\s)[A-Z][a-z]+(?![-\w])", words):
        return True
    spoken = re.findall(r"(?<![\w.-])[a-z]{2,}(?![\w-])", words)
    return len(spoken) > 1 and not all(f".{word}" in STYLE for word in spoken)


class VisibleTexts(HTMLParser):
    """Collects what people read or hear of a template, without the expressions of Jinja."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self._add(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"aria-label", "aria-description", "aria-valuetext", "placeholder", "title", "alt"}:
                self._add(value or "")

    def _add(self, text: str) -> None:
        words = text.strip()
        if words not in NOT_TEXTS and re.search(r"[A-Za-z]{3}", words):
            self.found.append(words)


def test_catalogues_have_the_same_keys_placeholders_and_plurals() -> None:
    first, *others = (texts_in(language).messages for language in LANGUAGES)
    for other in others:
        assert list(other) == list(first)
    for language in LANGUAGES:
        for key, message in texts_in(language).messages.items():
            expected = {name for text in variants(first[key]) for name in PLACEHOLDER.findall(text)}
            assert {name for text in variants(message) for name in PLACEHOLDER.findall(text)} == expected, (
                language,
                key,
            )
            assert isinstance(message, str) or set(message) == PLURALS[language], (language, key)
            assert all(text.strip() for text in variants(message)), (language, key)


def test_every_key_is_used_and_every_used_key_exists() -> None:
    used = {key for module in MODULES for key in used_keys(module.read_text())}
    for template in TEMPLATES:
        used |= set(re.findall(r't\("([^"]+)"', template.read_text()))
    assert used == set(texts_in("en").messages)


def test_every_warning_of_a_result_has_a_text() -> None:
    sources = Path(actors.__file__).parent.rglob("*.py")
    codes = {code for source in sources for code in re.findall(r'ResultWarning\("(\w+)"', source.read_text())}
    assert set(WARNING_TEXTS) == codes


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_no_text_stands_in_a_module(module: Path) -> None:
    assert texts_in_module(module.read_text()) == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_no_text_stands_in_a_template(template: Path) -> None:
    visible = VisibleTexts()
    visible.feed(re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", template.read_text()))
    assert visible.found == []


def test_no_text_stands_in_the_style_sheet() -> None:
    assert [text for text in re.findall(r'content:[^;"]*"([^"]*)"', STYLE) if re.search("[A-Za-z]", text)] == []


def test_texts_outside_of_the_catalogues_are_found() -> None:
    source = """
        // Not this: "Some words of a comment".
        button.textContent = "Cancel"; node.append(`Delete ${name}`); say("nothing here yet");
        other("button secondary", "Name: {x}");
    """
    assert texts_in_module(source) == ["Cancel", "Delete ${name}", "nothing here yet", "Name: {x}"]


def test_catalogue_for_the_browser_has_the_texts_of_all_errors_in_its_language() -> None:
    module = texts_in("pt-BR").module.decode()
    assert all(f'"{code}":' in module for code in CATALOGUE)
    assert CATALOGUE["no_video_stream"].pt.remedy in module
    assert texts_in("pt-BR").file_name != texts_in("en").file_name


@pytest.mark.parametrize(
    ("preferred", "accept_language", "language"),
    [
        ("", "", "en"),
        ("", "pt-BR,pt;q=0.9,en;q=0.8", "pt-BR"),
        ("", "pt-PT", "pt-BR"),
        ("", "de, fr;q=0.5", "en"),
        ("", "de, pt;q=0.3, en;q=0.2", "pt-BR"),
        ("", "en;q=0.4, pt;q=0.5", "pt-BR"),
        ("", "pt;q=0, en;q=0.1", "en"),
        ("", "pt;q=many, *, ;;,=", "en"),
        ("en", "pt-BR", "en"),
        ("pt-BR", "en", "pt-BR"),
        ("de", "pt", "pt-BR"),
    ],
)
def test_language_is_the_accounts_or_what_the_browser_likes_best(
    preferred: str, accept_language: str, language: str
) -> None:
    assert choose_language(preferred, accept_language) == language


def test_locales_of_one_language_have_its_texts() -> None:
    assert [supported_language(locale) for locale in ("PT", "pt-PT", "en-GB", "ptx", "")] == [
        "pt-BR",
        "pt-BR",
        "en",
        None,
        None,
    ]
