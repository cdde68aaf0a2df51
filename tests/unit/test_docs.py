"""The documents: length, links, commands, and tables that repeat facts from elsewhere."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from tests.support.clients.cli_command_tree import called_command

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
MAX_WORDS = 900
every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives the headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def table(document: Path, first_cell: str) -> dict[str, dict[str, str]]:
    """The rows of the table whose head begins with `first_cell`, by their first cell; each by the cells of the head."""
    lines = document.read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {first_cell} |"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    head = rows[0]
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows[2:]}


def test_the_readme_is_read_in_five_minutes() -> None:
    words = len(README.read_text().split())
    assert words <= MAX_WORDS, f"{words} words"


def test_the_readme_shows_the_page_and_the_two_commands_before_all_others() -> None:
    text = README.read_text()
    commands = re.findall(r"^(?: {4})?((?:pip|uv|curl|docker|fotograma) [^#\n]+?) *(?:#.*)?$", text, re.MULTILINE)
    assert commands[:2] == ["pip install uv && uv run fotograma up --demo", "pip install uv && uv run pytest"]
    assert text.index("(docs/img/desktop/frames.webp)") < text.index(commands[0])


@every_document
def test_every_link_has_a_target(document: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", document.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        linked_file = (document.parent / target).resolve() if target else document
        assert linked_file.is_relative_to(ROOT)
        assert linked_file.exists(), target
        assert not anchor or anchor in anchors(linked_file), f"{target}#{anchor}"


@every_document
def test_no_text_is_taken_for_an_html_element(document: Path) -> None:
    text = re.sub(r"^```.*?^```|^ {4}.*?$|`[^`]*`|<!--.*?-->", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"<(?!https?://)/?[a-z][^>]*>", text) == []


@every_document
def test_every_fotograma_command_is_valid(document: Path) -> None:
    for block in blocks(document, "sh"):
        for line in re.findall(r"^(?:uv run )?(fotograma .+)$", block, re.MULTILINE):
            called_command(line)


@every_document
def test_every_module_of_a_command_exists(document: Path) -> None:
    for name in re.findall(r"python -m ([a-z_]+(?:\.[a-z_]+)+)", document.read_text()):
        assert importlib.util.find_spec(name), name


@every_document
def test_every_python_block_parses(document: Path) -> None:
    for block in blocks(document, "python"):
        ast.parse(block)


def test_the_index_names_every_document() -> None:
    docs = ROOT / "docs"
    index = (docs / "README.md").read_text()
    # These folders have indexes of their own.
    pages = {
        str(path.relative_to(docs))
        for path in docs.rglob("*.md")
        if path.parent.name not in {"decisions", "runbooks"} or path.stem == "README"
    }
    assert {page for page in pages - {"README.md"} if f"]({page})" not in index} == set()


def test_the_index_of_decisions_names_every_decision() -> None:
    decisions = ROOT / "docs" / "decisions"
    index = (decisions / "README.md").read_text()
    titles = {path.name: path.read_text().partition("\n")[0].lstrip("# ") for path in decisions.glob("0*.md")}
    assert {name for name, title in titles.items() if f"- [{title}]({name})" not in index} == set()


def test_the_speeds_of_the_readme_are_those_of_the_benchmarks() -> None:
    shown = table(README, "times as fast as ffmpeg + zip")
    measured = table(ROOT / "docs" / "benchmarks.md", "times as fast as ffmpeg + zip")
    assert shown
    for job, row in shown.items():
        for column, cell in row.items():
            assert measured[job][column].split(" ≥ ")[0].split(" < ")[0] == cell, (job, column)


def test_readme_has_a_row_for_every_sample_mode() -> None:
    pages = (README, ROOT / "docs" / "reference" / "specification.md")
    in_readme, specified = ({name.split()[0] for name in table(page, "`sample.mode`")} for page in pages)
    assert in_readme == specified


def test_every_warning_of_a_result_is_explained() -> None:
    codes = {
        code
        for path in (ROOT / "actors").rglob("*.py")
        for code in re.findall(r'ResultWarning\(\s*"(\w+)"', path.read_text())
    }
    assert len(codes) > 5
    assert {name.strip("`") for name in table(ROOT / "docs" / "frames.md", "code")} == codes
