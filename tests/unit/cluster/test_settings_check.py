"""Settings are checked from the environment alone: unknown names, bad values, missing and contradicting ones."""

from __future__ import annotations

import pickle

import pytest

from cluster.checks.database_check import version_findings
from cluster.checks.finding import Finding, Level
from cluster.checks.redis_check import stream_findings
from cluster.checks.settings_check import settings_findings
from cluster.checks.start_check import StartRefused, usable_settings

GOOD = {
    "FOTOGRAMA_DATABASE_URL": "postgresql://db/fotograma",
    "FOTOGRAMA_OBJECTS_URL": "file:///objects",
    "FOTOGRAMA_SECRET_KEY": "s" * 32,
}


def found(**changes: str) -> list[Finding]:
    return settings_findings(GOOD | {f"FOTOGRAMA_{name}": value for name, value in changes.items()})[1]


def test_usable_settings_are_one_good_finding() -> None:
    (finding,) = found(WORKERS="3")
    assert finding.level is Level.OK
    assert usable_settings(GOOD).workers == 2


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("WORKER", "Did you mean FOTOGRAMA_WORKERS?"),
        ("SEGMENTS_SECONDS", "Did you mean FOTOGRAMA_SEGMENT_SECONDS?"),
        ("QQQQQQ", "Remove it; docs/reference/settings.md has all."),
    ],
)
def test_unknown_name_is_a_warning_with_the_nearest_setting(name: str, remedy: str) -> None:
    (finding,) = found(**{name: "1"})
    assert (finding.level, finding.where, finding.remedy) == (Level.WARN, f"FOTOGRAMA_{name}", remedy)


def test_names_of_the_command_line_are_no_mistakes() -> None:
    assert [finding.level for finding in found(URL="http://here", API_KEY="fg_x")] == [Level.OK]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("WORKERS", "0", "greater than or equal to 1"),
        ("WORKERS", "many", "valid integer"),
        ("WEBHOOK_REACH", "everywhere", "'public', 'loopback' or 'private'"),
        ("SECRET_KEY", "short", "fewer than 32 characters"),
        ("HEARTBEAT_SECONDS", "40", "more than half of FOTOGRAMA_LEASE_SECONDS"),
    ],
)
def test_bad_value_fails_with_its_variable_and_what_it_should_be(name: str, value: str, words: str) -> None:
    (finding,) = found(**{name: value})
    assert (finding.level, finding.where) == (Level.FAIL, f"FOTOGRAMA_{name}")
    assert words in finding.text
    assert finding.remedy
    assert value not in finding.text or name != "SECRET_KEY"


def test_start_names_every_missing_secret_and_setting_in_one_error() -> None:
    with pytest.raises(StartRefused) as refused:
        usable_settings({"FOTOGRAMA_OBJECTS_URL": "file:///objects"})
    lines = str(refused.value).splitlines()
    assert [line.split()[0] for line in lines] == ["FOTOGRAMA_DATABASE_URL", "FOTOGRAMA_SECRET_KEY"]
    assert all("is not set, and the service can't run without it." in line for line in lines)
    copied = pickle.loads(pickle.dumps(refused.value))
    assert (str(copied), copied.findings) == (str(refused.value), refused.value.findings)


def test_page_without_tls_on_another_machine_is_a_warning() -> None:
    assert [finding.level for finding in found(PUBLIC_URL="http://frames.example.org")] == [Level.WARN]
    assert [finding.level for finding in found(PUBLIC_URL="https://frames.example.org")] == [Level.OK]


def test_old_postgres_is_refused() -> None:
    (finding,) = version_findings(130_012, "13.12")
    assert (finding.level, finding.is_lasting) == (Level.FAIL, True)
    assert "PostgreSQL 13.12 is too old. Use PostgreSQL 14 or later." in finding.sentence
    assert version_findings(180_004, "18.4") == []


@pytest.mark.parametrize(
    ("info", "saves", "words"),
    [
        ({"maxmemory_policy": "volatile-lru", "aof_enabled": 1}, False, []),
        ({"maxmemory_policy": "noeviction", "aof_enabled": 0}, True, []),
        ({"maxmemory_policy": "noeviction", "aof_enabled": 0}, None, []),
        ({"maxmemory_policy": "allkeys-lru", "aof_enabled": 1}, True, ["may evict the stream"]),
        ({"maxmemory_policy": "volatile-lru", "aof_enabled": 0}, False, ["keeps nothing on its disk"]),
    ],
)
def test_redis_that_may_lose_the_stream_of_events_is_a_warning(
    info: dict[str, object], saves: bool | None, words: list[str]
) -> None:
    findings = stream_findings(info, saves)
    assert [finding.level for finding in findings] == [Level.WARN] * len(words)
    assert all(word in finding.text for word, finding in zip(words, findings, strict=True))
