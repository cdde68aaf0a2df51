"""The site of the documentation, built by zensical in an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from docsite.build import broken_links, missing_in_index, navigation

ROOT = Path(__file__).parents[2]


def build_site(root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Runs the documented command in a repository."""
    command = [os.environ.get("UV", "uv"), "run", "--quiet", "--locked", "--isolated", "--only-group", "docs"]
    command += ["--project", str(ROOT), "python", "-m", "docsite.build", "--out", str(out)]
    return subprocess.run(command, cwd=root, check=False, capture_output=True, text=True, timeout=600)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small repository with the program that builds the site."""
    root = tmp_path / "repository"
    for name in (
        "docsite/build.py",
        "docsite/__init__.py",
        "docsite/site.css",
        "zensical.toml",
        "serve_app/web_ui/static/icon.svg",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    (root / "docs").mkdir()
    (root / "README.md").write_text("# Product\n\n[all](docs/README.md)\n")
    (root / "docs" / "README.md").write_text("# Documents\n\n## How to\n\n- [Begin](begin.md): first steps\n")
    (root / "docs" / "begin.md").write_text("# Begin\n")
    return root


def test_site_of_this_repository_has_every_document_and_asks_no_other_server(tmp_path: Path) -> None:
    done = build_site(ROOT, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    site = tmp_path / "out" / "site"
    for document in (ROOT / "docs").rglob("*.md"):
        name = document.relative_to(ROOT)
        assert (site / (name.parent if name.stem == "README" else name.with_suffix("")) / "index.html").is_file()
    home = (site / "index.html").read_text()
    assert "Fotograma" in home
    assert "fonts.googleapis.com" not in home


def test_broken_link_fails_the_build(repository: Path, tmp_path: Path) -> None:
    (repository / "docs" / "begin.md").write_text("# Begin\n\n[gone](gone.md) and [gone](README.md#gone)\n")
    done = build_site(repository, tmp_path / "out")
    assert done.returncode == 1
    assert "page does not exist" in done.stderr
    assert "anchor does not exist" in done.stderr


def test_document_that_no_index_names_is_found(repository: Path) -> None:
    (repository / "docs" / "forgotten.md").write_text("# Forgotten\n")
    found = [Path("README.md"), Path("docs/README.md"), Path("docs/begin.md"), Path("docs/forgotten.md")]
    assert list(missing_in_index(repository, found)) == ["docs/forgotten.md"]


def test_navigation_has_the_sections_of_the_index(repository: Path) -> None:
    assert navigation(repository).splitlines() == [
        "nav = [",
        '  { "Fotograma" = "README.md" },',
        '  { "How to" = [{ "Begin" = "docs/begin.md" }] },',
        "]",
    ]


def test_folder_without_a_page_and_missing_picture_are_broken_links(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "index.html").write_text('<a href="empty">a</a> <a href="https://example.org/">b</a> <img src="c.png">')
    assert list(broken_links(tmp_path)) == ["index.html: empty", "index.html: c.png"]
