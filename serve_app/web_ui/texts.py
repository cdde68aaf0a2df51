"""The page's texts, one JSON catalogue for each language, and the choice of a visitor's language.

The page's modules get a catalogue as an ES module whose address has the digest of its content, so browsers keep it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from db.values.error_catalogue import CATALOGUE
from db.values.warning_texts import WARNING_TEXTS

LANGUAGES = ("en", "pt-BR")
"""The first one is for visitors of all other languages."""
_FOLDER = Path(__file__).parent / "texts"

Message = str | dict[str, str]
"""A text with placeholders such as {name}, or one such text for each plural category of Intl.PluralRules."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts in one language. module: an ES module that exports them, with those of the error catalogue.

    compressed: the module, by gzip.
    """

    language: str
    messages: Mapping[str, Message]
    module: bytes
    compressed: bytes
    file_name: str

    def text(self, key: str, **values: object) -> str:
        """The text of a key that has no plural. Raises KeyError."""
        message = self.messages[key]
        if not isinstance(message, str):
            raise KeyError(key)
        return message.format(**values)


@cache
def texts_in(language: str) -> Texts:
    """language: one of LANGUAGES."""
    messages: dict[str, Message] = json.loads((_FOLDER / f"{language}.json").read_bytes())
    entries = {code: entry.text(language) for code, entry in CATALOGUE.items()}
    errors = {code: [text.title, text.remedy] for code, text in entries.items()}
    warnings = {code: entry.text(language) for code, entry in WARNING_TEXTS.items()}
    module = _export("messages", messages) + _export("errors", errors) + _export("warnings", warnings)
    file_name = f"{language}.{hashlib.sha256(module).hexdigest()[:16]}.js"
    return Texts(language, messages, module, gzip.compress(module, mtime=0), file_name)


def supported_language(locale: str) -> str | None:
    """The language of a locale such as pt, pt-PT or en-US; None when the page does not have it."""
    wanted = locale.strip().lower().partition("-")[0]
    return next((language for language in LANGUAGES if language.partition("-")[0] == wanted), None)


def choose_language(preferred: str, accept_language: str) -> str:
    """The language of an account, or else the one that the browser likes best (RFC 9110, 12.5.4).

    preferred: a locale, or "" when it is unknown.
    """
    weighted = [_parse_range(part) for part in accept_language.split(",")]
    accepted = [locale for weight, locale in sorted(weighted, key=lambda one: -one[0]) if weight > 0]
    found = (supported_language(locale) for locale in (preferred, *accepted))
    return next((language for language in found if language), LANGUAGES[0])


def _parse_range(part: str) -> tuple[float, str]:
    """The weight and the locale of one language range. What can't be read has no weight."""
    locale, _, parameter = part.partition(";")
    name, _, value = parameter.partition("=")
    if not parameter:
        return 1.0, locale
    try:
        return (float(value) if name.strip().lower() == "q" else 0.0), locale
    except ValueError:
        return 0.0, locale


def _export(name: str, value: object) -> bytes:
    return f"export const {name} = {json.dumps(value, ensure_ascii=False, separators=(',', ':'))};\n".encode()
