"""Log keys, event names and metric names are those of ARCHITECTURE.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from actors.worker.task_runner import TaskOutcome

ROOT = Path(__file__).parents[2]
PACKAGES = ("db", "actors", "serve_app", "cluster")


def first_column(table_head: str) -> list[str]:
    """The cells of the first column of a table of ARCHITECTURE.md."""
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = page.partition(f"| {table_head} |")[2].partition("\n\n")[0]
    return [line.split("|")[1].strip() for line in table.splitlines()[2:]]


def words_of(table_head: str) -> set[str]:
    """The words in code style in the first column of a table."""
    return {word for cell in first_column(table_head) for word in re.findall(r"`([a-z_]+)`", cell)}


def nouns() -> set[str]:
    """The terms of the glossary, and the nouns of the table beside it."""
    return {term.lower().replace(" ", "_") for term in first_column("term")} | words_of("noun of an event")


@cache
def calls() -> list[tuple[Path, ast.Call]]:
    return [
        (path.relative_to(ROOT), node)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]


def events() -> Iterator[tuple[Path, ast.Call]]:
    """The calls that log a structured event."""
    for path, call in calls():
        if any(keyword.arg == "event_name" for keyword in call.keywords):
            yield path, call


def names_of(value: ast.expr) -> Iterator[tuple[str, str]]:
    """The event names that an expression can have: noun and verb. The verb of an f-string is a TaskOutcome."""
    match value:
        case ast.Constant(str(name)):
            noun, _, verb = name.partition(".")
            yield noun, verb
        case ast.IfExp(body=body, orelse=orelse):
            yield from names_of(body)
            yield from names_of(orelse)
        case ast.JoinedStr([ast.Constant(str(start)), ast.FormattedValue()]) if start.endswith("."):
            yield from ((start.removesuffix("."), outcome.value) for outcome in TaskOutcome)
        case _:
            raise AssertionError(f"an event name that can't be read: {ast.unparse(value)}")


def event_names() -> list[tuple[Path, str, str]]:
    """File, noun and verb."""
    return [
        (path, noun, verb)
        for path, call in events()
        for keyword in call.keywords
        if keyword.arg == "event_name"
        for noun, verb in names_of(keyword.value)
    ]


def test_log_keys_are_those_of_the_table() -> None:
    allowed = words_of("key") | {"event_name"}
    used = {keyword.arg: path for path, call in events() for keyword in call.keywords if keyword.arg is not None}
    assert len(used) > 10
    assert {key: path for key, path in used.items() if key not in allowed} == {}


def test_nouns_of_event_names_are_terms_of_the_glossary() -> None:
    allowed, used = nouns(), event_names()
    assert len(used) > 20
    assert [(path, noun) for path, noun, _ in used if noun not in allowed] == []
    assert words_of("noun of an event") <= {noun for _, noun, _ in used}


def test_verbs_of_event_names_are_those_of_the_table() -> None:
    used = {verb: path for path, _, verb in event_names()}
    assert used.keys() == words_of("verb of an event")


def metrics() -> list[tuple[str, str]]:
    """Kind and name of every metric that the code makes."""
    kinds = {"Counter", "Gauge", "Histogram", "Figure"}
    return [
        (kind, str(call.args[0].value))
        for _, call in calls()
        if (kind := ast.unparse(call.func).rpartition(".")[2]) in kinds
        and call.args
        and isinstance(call.args[0], ast.Constant)
    ]


def test_metric_names_follow_the_rules_of_prometheus() -> None:
    assert len(metrics()) > 30
    for kind, name in metrics():
        assert re.fullmatch(r"fotograma(_[a-z]+)+", name), name
        # Ray adds it.
        assert not name.endswith("_total"), (kind, name)


def test_every_metric_is_documented_with_its_kind() -> None:
    rows = re.findall(
        r"^\| (`fotograma_.+?) \| (\w+) \|", (ROOT / "docs/monitoring.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    documented = {(name, kind) for names, kind in rows for name in re.findall(r"`(\w+)`", names)}
    made = {(name, "gauge" if kind == "Figure" else kind.lower()) for kind, name in metrics()}
    assert documented == made
