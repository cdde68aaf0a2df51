"""Log keys, event names and metric names are those of ARCHITECTURE.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("db", "actors", "serve_app", "cluster")
LEVELS = {"debug", "info", "warning", "error", "critical", "exception", "log"}


def strings_of(table_head: str) -> set[str]:
    """The words in code style in the first column of a table of ARCHITECTURE.md."""
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = page.partition(f"| {table_head} |")[2].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    return {word for cell in cells for word in re.findall(r"`([a-z_]+)`", cell)}


def calls() -> Iterator[tuple[Path, ast.Call]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield path.relative_to(ROOT), node


def events() -> Iterator[tuple[Path, ast.Call]]:
    """The calls that log a structured event."""
    for path, call in calls():
        names = {keyword.arg for keyword in call.keywords}
        if isinstance(call.func, ast.Attribute) and call.func.attr in LEVELS and "event_name" in names:
            yield path, call


def test_log_keys_are_those_of_the_table() -> None:
    allowed = strings_of("key") | {"event_name"}
    used = {keyword.arg: path for path, call in events() for keyword in call.keywords if keyword.arg is not None}
    assert len(used) > 10
    assert {key: path for key, path in used.items() if key not in allowed} == {}


def test_event_names_are_a_noun_and_a_word_of_the_table() -> None:
    allowed = strings_of("what becomes of it")
    values = [
        (path, keyword.value.value)
        for path, call in events()
        for keyword in call.keywords
        if keyword.arg == "event_name" and isinstance(keyword.value, ast.Constant)
    ]
    assert len(values) > 20
    for path, name in values:
        noun, _, word = str(name).partition(".")
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", noun), (path, name)
        assert word in allowed, (path, name)


def test_metric_names_follow_the_rules_of_prometheus() -> None:
    kinds = {"Counter", "Gauge", "Histogram"}
    found = [
        (kind, str(call.args[0].value))
        for _, call in calls()
        if (kind := ast.unparse(call.func).rpartition(".")[2]) in kinds
        and call.args
        and isinstance(call.args[0], ast.Constant)
    ]
    assert found
    for kind, name in found:
        assert re.fullmatch(r"fotograma(_[a-z]+)+", name), name
        assert kind == "Counter" or not name.endswith("_total"), name
