"""Every public name has a docstring, and the examples of docstrings, README and docs do what they say."""

from __future__ import annotations

import asyncio
import doctest
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import fotograma
from fotograma import Client
from tests.support.clients.documented_service import DocumentedService
from tests.support.clients.fake_service_clients import FakeClock, client_opener
from tests.unit.test_docs import ROOT, blocks

WITHOUT_EXAMPLE = {"AsyncClient", "EngineError", "extract", "extract_many"}
"""`AsyncClient` has the members of `Client`. The engine is called by tests/contract/test_fotograma_extract.py."""
PUBLIC = [name for name in fotograma.__all__ if name != "__version__"]
METHODS = sorted(name for name, _ in inspect.getmembers_static(Client) if not name.startswith("_"))


@dataclass(frozen=True)
class Example:
    name: str
    test: doctest.DocTest


def examples_of(name: str, documented: Any) -> list[Example]:
    text = inspect.getdoc(documented) or ""
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    return [Example(name, test)] if test.examples else []


def members(kind: type) -> Iterator[tuple[str, Any]]:
    for name, value in inspect.getmembers_static(kind):
        if not name.startswith("_") and (callable(value) or isinstance(value, property)):
            yield name, value


def all_examples() -> Iterator[Example]:
    for name in PUBLIC:
        value = getattr(fotograma, name)
        yield from examples_of(name, value)
        if inspect.isclass(value) and name != "AsyncClient":
            for member, documented in members(value):
                yield from examples_of(f"{name}.{member}", documented)


EXAMPLES = {example.name: example for example in all_examples()}


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the examples use: a client of an account with one video that is extracted."""
    monkeypatch.chdir(tmp_path)
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"video")
    service = DocumentedService()
    with asyncio.Runner() as runner:
        client = client_opener("blocking", service, FakeClock(), runner)(token="access-0", refresh_token="refresh-0")
        video = client.upload(clip)
        extraction = client.wait(video.extraction)
        public = {name: getattr(fotograma, name) for name in fotograma.__all__}
        yield {**public, "client": client, "clip": clip, "folder": tmp_path, "video": video, "extraction": extraction}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_of_a_docstring_does_what_it_says(name: str, names: dict[str, Any]) -> None:
    test = EXAMPLES[name].test
    test.globs.update(names)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    failed = runner.run(test, out=report.append).failed
    assert not failed, "".join(report)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_a_docstring(name: str) -> None:
    value = getattr(fotograma, name)
    text = inspect.getdoc(value) or ""
    # A dataclass without a docstring gets its signature.
    assert text
    assert not text.startswith(f"{name}(")


def is_error(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, fotograma.FotogramaError)


def test_every_public_name_and_method_of_the_client_has_an_example() -> None:
    errors = {name for name in PUBLIC if is_error(getattr(fotograma, name))} - {"FotogramaError"}
    assert {name for name in PUBLIC if name not in EXAMPLES} - WITHOUT_EXAMPLE - errors == set()
    assert [name for name in METHODS if f"Client.{name}" not in EXAMPLES] == []


class ClientForDocuments:
    """In place of `fotograma.Client` for blocks that open one: it gives the client of the fixture."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __call__(self, *arguments: Any, **options: Any) -> Client:
        assert inspect.signature(Client).bind(*arguments, **options)
        return self._client


def run_block(block: str, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("clips/clock.mp4", "clips/phone.mp4"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b"video " + name.encode())
    monkeypatch.setattr(fotograma, "Client", ClientForDocuments(names["client"]))
    exec(block, {**names, "print": lambda *_: None})


CLIENT_BLOCKS = [
    (path.name, block)
    for path in (ROOT / "README.md", ROOT / "docs" / "clients.md")
    for block in blocks(path, "python")
    if "Client(" in block
]


@pytest.mark.parametrize("document", ["README.md", "clients.md"])
def test_python_blocks_of_the_documents_run(
    document: str, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [block for name, block in CLIENT_BLOCKS if name == document]
    assert found
    for block in found:
        run_block(block.replace("correct horse", "right password"), names, monkeypatch)
