"""Builds the site of the documentation: `uv run --isolated --only-group docs python -m docsite.build`.

The pages are the Markdown files of the repository, in the same folders, so that their links work on the site and in the
repository. The order is that of docs/README.md. A broken link or a page that docs/README.md leaves out is an error.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]
INDEX = Path("docs", "README.md")
LOGO = Path("serve_app", "web_ui", "static", "icon.svg")
STYLE = Path("docsite", "site.css")
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
_NAV_LINE = re.compile(r"^(?:## (?P<section>.+)|- \[(?P<title>.+?)\]\((?P<target>[^)]+)\).*)$", re.MULTILINE)


class SiteError(Exception):
    """The site can't be built. The message names each page and what is wrong with it."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "docs", help="folder of the site")
    try:
        site = build(ROOT, parser.parse_args(arguments).out)
    except SiteError as error:
        print(error, file=sys.stderr)
        return 1
    print(site / "index.html")
    return 0


def build(root: Path, out: Path) -> Path:
    """Builds the site of a repository. Returns its folder. Raises SiteError."""
    shutil.rmtree(out, ignore_errors=True)
    pages = out / "pages"
    found = documents(root)
    _raise_if_any(missing_in_index(root, found), "docs/README.md does not name")
    for file in {*found, *linked_files(root, found), LOGO, STYLE}:
        (pages / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / file, pages / file)
    config = (root / "zensical.toml").read_text(encoding="utf-8")
    (out / "zensical.toml").write_text(config.replace("[project]\n", f"[project]\n{navigation(root)}", 1), "utf-8")
    _run_zensical(out)
    site = out / "site"
    _name_language(site)
    _raise_if_any(broken_links(site), "Broken links of the site")
    return site


def documents(root: Path) -> list[Path]:
    """The Markdown files of the site, relative to the repository."""
    files = [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
    return sorted(file.relative_to(root) for file in files)


def linked_files(root: Path, found: Sequence[Path]) -> Iterator[Path]:
    """The other files that documents link to: pictures, manifests, examples."""
    for document in found:
        for target in _LINK.findall((root / document).read_text(encoding="utf-8")):
            file = (root / document.parent / target).resolve()
            if not urlsplit(target).scheme and file.is_file():
                yield file.relative_to(root.resolve())


def missing_in_index(root: Path, found: Sequence[Path]) -> Iterator[str]:
    """The documents that no line of docs/README.md, or of an index that it names, leads to."""
    named = {Path("README.md"), INDEX}
    for index in (INDEX, *(file for file in found if file.name == "README.md")):
        targets = _LINK.findall((root / index).read_text(encoding="utf-8"))
        named |= {
            (root / index.parent / target).resolve().relative_to(root.resolve())
            for target in targets
            if "://" not in target
        }
    yield from (str(file) for file in found if file not in named)


def navigation(root: Path) -> str:
    """The `nav` of the site, from the headings and lines of docs/README.md."""
    sections: list[tuple[str, list[str]]] = []
    for line in _NAV_LINE.finditer((root / INDEX).read_text(encoding="utf-8")):
        if line["section"]:
            sections.append((line["section"], []))
        else:
            page = (root / INDEX.parent / line["target"]).resolve().relative_to(root.resolve())
            sections[-1][1].append(f"{{ {json.dumps(line['title'])} = {json.dumps(str(page))} }}")
    groups = "".join(f"  {{ {json.dumps(name)} = [{', '.join(pages)}] }},\n" for name, pages in sections)
    return f'nav = [\n  {{ "Fotograma" = "README.md" }},\n{groups}]\n'


def _run_zensical(folder: Path) -> None:
    program = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(program, cwd=folder, check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise SiteError(f"{done.stdout}{done.stderr}")


def _name_language(site: Path) -> None:
    """zensical has one language for all pages: names that of a translation's folder in its pages."""
    for page in (site / "docs" / "pt-BR").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        page.write_text(text.replace('<html lang="en"', '<html lang="pt-BR"', 1), encoding="utf-8")


def broken_links(site: Path) -> Iterator[str]:
    """Links of the site to files that are not there. zensical itself checks only those from document to document."""
    for page in site.rglob("*.html"):
        if page.name == "404.html":
            continue
        collector = _Links()
        collector.feed(page.read_text(encoding="utf-8"))
        for link in collector.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or not parts.path:
                continue
            target = page.parent / unquote(parts.path)
            if not (target / "index.html" if target.is_dir() else target).is_file():
                yield f"{page.relative_to(site)}: {link}"


@dataclass
class _Links(HTMLParser):
    """Collects the addresses of links, pictures, scripts and styles."""

    links: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if name in {"href", "src"} and value and tag != "base"]


def _raise_if_any(found: Iterator[str], title: str) -> None:
    lines = sorted(set(found))
    if lines:
        raise SiteError("\n  ".join([f"{title}:", *lines]))


if __name__ == "__main__":
    sys.exit(main())
