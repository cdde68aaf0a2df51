"""What `fotograma up` decides from the answers of /readyz."""

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

FINE = {"database": "ok", "migrations": "ok", "objects": "ok", "storage": "ok", "cache": "ok"}


@pytest.mark.parametrize(
    ("changed", "keep_it_away"),
    [
        ({}, set()),
        ({"storage": "full"}, set()),
        ({"storage": "full", "cache": "away"}, set()),
        ({"storage": "full", "database": "away"}, {"database"}),
        ({"objects": "away", "storage": "away"}, {"objects", "storage"}),
        ({"database": "restarting"}, {"database"}),
    ],
)
def test_service_is_ready_with_a_full_disk_and_without_the_cache(
    changed: dict[str, str], keep_it_away: set[str]
) -> None:
    assert set(unready_parts(FINE | changed)) == keep_it_away


@pytest.mark.parametrize("body", [b"starting", b"[]", b'{"parts": null}', b'{"detail": "Not found."}', b"\xff", b"7"])
def test_answer_of_another_program_has_no_parts(body: bytes) -> None:
    assert parts_of(body) is None


def test_the_parts_are_read_from_an_answer_of_either_kind() -> None:
    assert parts_of(json.dumps({"status": "ready", "parts": FINE}).encode()) == FINE
    assert parts_of(json.dumps({"status": 503, "code": "unavailable", "parts": FINE}).encode()) == FINE


def test_each_change_is_printed_once() -> None:
    watch = ReadinessWatch()
    away = FINE | {"database": "away"}
    lines = [watch.observe(parts).line for parts in (FINE, away, None, away, FINE | {"objects": "away"}, FINE, FINE)]
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
    assert ReadinessWatch().observe(FINE | {"migrations": "behind"}).schema_is_old
    assert not ReadinessWatch().observe(FINE | {"migrations": "away"}).schema_is_old


def test_api_is_dead_after_failed_probes_in_a_row() -> None:
    watch = ReadinessWatch()
    looks = [watch.observe(None) for _ in range(UNANSWERED_PROBES - 1)]
    assert looks == [Finding(None, is_ready=False)] * (UNANSWERED_PROBES - 1)
    assert watch.observe(FINE).is_ready
    again = [watch.observe(None).is_dead for _ in range(2 * UNANSWERED_PROBES)]
    assert again == ([False] * (UNANSWERED_PROBES - 1) + [True]) * 2
