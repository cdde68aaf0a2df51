"""The page of error codes is generated from the catalogue."""

from __future__ import annotations

from db.values.error_catalogue import CATALOGUE
from docsite.errors_page import table


def test_every_code_has_one_row_of_five_cells() -> None:
    rows = [line.strip("|").split("|") for line in table().splitlines()]
    assert [row[0].strip(" `") for row in rows[2:]] == list(CATALOGUE)
    assert {len(row) for row in rows} == {5}


def test_every_code_has_an_http_status_or_belongs_to_an_extraction() -> None:
    assert "| `storage_full` | 507 | service |" in table()
    assert "| `encrypted` | of an extraction | file |" in table()
