"""The page of settings is generated from the settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cluster.settings import Settings
from docsite.settings_page import SECTIONS, settings_page

ROOT = Path(__file__).parents[3]
CLIENT_VARIABLES = {"FOTOGRAMA_URL", "FOTOGRAMA_API_KEY", "FOTOGRAMA_PASSWORD"}
BUILD_ARGUMENTS = {
    name
    for file in (ROOT / "docker").glob("Dockerfile*")
    for name in re.findall(r"^ARG (FOTOGRAMA_\w+)", file.read_text(), re.MULTILINE)
}
DOCUMENTS = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]


def test_every_setting_has_a_sentence_and_a_row() -> None:
    assert [name for name, field in Settings.model_fields.items() if not (field.description or "").endswith(".")] == []
    rows = re.findall(r"^\| `FOTOGRAMA_(\w+)` \| [^|]+ \| [^|]+ \|$", settings_page(), re.MULTILINE)
    assert rows == [name.upper() for name in Settings.model_fields]


def test_every_section_begins_with_a_setting() -> None:
    assert next(iter(SECTIONS)) == next(iter(Settings.model_fields))
    assert set(SECTIONS) <= set(Settings.model_fields)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_variable_that_a_document_names_exists(document: Path) -> None:
    variables = set(re.findall(r"FOTOGRAMA_[A-Z_]+", document.read_text()))
    settings = {f"FOTOGRAMA_{name.upper()}" for name in Settings.model_fields}
    assert variables <= settings | CLIENT_VARIABLES | BUILD_ARGUMENTS
