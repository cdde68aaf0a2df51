"""The pages that are made of the code are current, and leave nothing out."""

from __future__ import annotations

import re

import pytest

import fotograma
from docsite.generate import COMMAND, FOLDER, PAGES
from serve_app.openapi.openapi_document import openapi_document
from tests.support.clients.cli_command_tree import ROOT_COMMAND, command_contexts


def headings(page: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", (FOLDER / page).read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", PAGES)
def test_page_is_what_the_code_gives(name: str) -> None:
    assert (FOLDER / name).read_text() == PAGES[name](), COMMAND


def test_every_document_of_the_folder_is_generated() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_every_heading_has_an_anchor_of_its_own(name: str) -> None:
    anchors = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings(name)]
    assert len(set(anchors)) == len(anchors)


def test_every_command_with_every_option_is_described() -> None:
    text = (FOLDER / "cli.md").read_text()
    sections = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", text, re.MULTILINE))
    commands = [each for each in command_contexts(ROOT_COMMAND, "fotograma") if not hasattr(each.command, "commands")]
    assert len(commands) > 20
    for context in commands:
        section = sections[context.command_path.removeprefix("fotograma ")]
        for parameter in context.command.params:
            name = parameter.get_help_record(context)[0].replace("|", "\\|")
            assert f"| `{name}` |" in section, (context.command_path, name)


def test_every_public_name_is_described() -> None:
    names = {name for name in fotograma.__all__ if name != "__version__"}
    assert names <= set(headings("python.md"))


def test_every_operation_and_schema_is_described() -> None:
    document = openapi_document()
    found = set(headings("http.md"))
    operations = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    assert operations <= found
    assert {name for name, schema in document["components"]["schemas"].items() if "enum" not in schema} <= found
