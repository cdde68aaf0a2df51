"""Decisions of `fotograma up` from the responses of /readyz."""

from __future__ import annotations

import json

import pytest

from cluster.local.supervision.readiness_probe import (
    UNANSWERED_PROBES,
    Finding,
    ReadinessWatch,
    parts_of,
    unready_parts,
)

ALL_OK = {"database": "ok", "migrations": "ok", "objects": "ok", "storage": "ok", "cache": "ok"}


@pytest.mark.parametrize(
    ("changed", "blocking"),
    [
        ({}, set()),
        ({"storage": "full"}, set()),
        ({"storage": "full", "cache": "away"}, set()),
        ({"storage": "full", "database": "away"}, {"database"}),
        ({"objects": "away", "storage": "away"}, {"objects", "storage"}),
        ({"database": "restarting"}, {"database"}),
    ],
)
def test_service_is_ready_with_a_full_disk_and_without_the_cache(changed: dict[str, str], blocking: set[str]) -> None:
    assert set(unready_parts(ALL_OK | changed)) == blocking


@pytest.mark.parametrize("body", [b"starting", b"[]", b'{"parts": null}', b'{"detail": "Not found."}', b"\xff", b"7"])
def test_answer_of_another_program_has_no_parts(body: bytes) -> None:
    assert parts_of(body) is None


def test_parts_are_read_from_the_answer_of_a_ready_and_an_unready_service() -> None:
    assert parts_of(json.dumps({"status": "ready", "parts": ALL_OK}).encode()) == ALL_OK
    assert parts_of(json.dumps({"status": 503, "code": "unavailable", "parts": ALL_OK}).encode()) == ALL_OK


def test_each_change_is_printed_once() -> None:
    watch = ReadinessWatch()
    away = ALL_OK | {"database": "away"}
    lines = [
        watch.observe(parts).line for parts in (ALL_OK, away, None, away, ALL_OK | {"objects": "away"}, ALL_OK, ALL_OK)
    ]
    assert lines == [
        None,
        "Not ready: database (away).",
        None,
        None,
        "Not ready: objects (away).",
        "All parts are ready again.",
        None,
    ]


def test_probe_reports_an_old_schema() -> None:
    assert ReadinessWatch().observe(ALL_OK | {"migrations": "behind"}).schema_is_old
    assert not ReadinessWatch().observe(ALL_OK | {"migrations": "away"}).schema_is_old


def test_api_is_dead_after_failed_probes_in_a_row() -> None:
    watch = ReadinessWatch()
    findings = [watch.observe(None) for _ in range(UNANSWERED_PROBES - 1)]
    assert findings == [Finding(None, is_ready=False)] * (UNANSWERED_PROBES - 1)
    assert watch.observe(ALL_OK).is_ready
    again = [watch.observe(None).is_dead for _ in range(2 * UNANSWERED_PROBES)]
    assert again == ([False] * (UNANSWERED_PROBES - 1) + [True]) * 2
