"""The name of a preset: one segment of a path, which people read. Pure."""

from __future__ import annotations

import unicodedata

from db.values.error_catalogue import CatalogueError

MAX_NAME_CHARACTERS = 60
RULE = "It begins with a letter or a digit, has no slash and no control character, and does not end with a space."


def check_preset_name(name: str) -> str:
    """Returns the name in Unicode's normal form C, so that equal names are equal texts.

    Raises CatalogueError `invalid_field`.
    """
    normal = unicodedata.normalize("NFC", name)
    if not 1 <= len(normal) <= MAX_NAME_CHARACTERS:
        raise _invalid(f"Must have 1 to {MAX_NAME_CHARACTERS} characters.")
    # A name of dots alone would be another path.
    if not normal[0].isalnum():
        raise _invalid("Must begin with a letter or a digit.")
    if "/" in normal or not normal.isprintable() or normal.endswith(" "):
        raise _invalid("Must have no slash and no control character, and must not end with a space.")
    return normal


def _invalid(detail: str) -> CatalogueError:
    return CatalogueError("invalid_field", f"name: {detail}")
