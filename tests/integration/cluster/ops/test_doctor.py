"""`fotograma ops doctor` on real servers, and the start that refuses what could never run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from cluster.checks.database_check import database_findings
from cluster.checks.finding import Finding, Level
from cluster.checks.start_check import StartRefused, checked_settings
from cluster.local.servers.embedded_postgres import Postgres
from cluster.settings import Settings
from db.service_rights import TABLE_RIGHTS
from tests.integration.cluster.ops.conftest import RunOps
from tests.support.servers.real_servers import fresh_database
from tests.support.state import database_rows
from tests.support.state.database_roles import DatabaseRole, database_role, grant_service_rights


async def examine(ops: RunOps) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Returns the exit code, and the findings by their subjects."""
    done = await ops("doctor", "--json")
    by_subject: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(done.out)["findings"]:
        by_subject.setdefault(finding["subject"], []).append(finding)
    return done.code, by_subject


@pytest.fixture(autouse=True)
def only_these_settings(settings: pytest.MonkeyPatch) -> None:
    known = {"DATABASE_URL", "REDIS_URL", "OBJECTS_URL", "SECRET_KEY"}
    for name in [name for name in os.environ if name.startswith("FOTOGRAMA_")]:
        if name.removeprefix("FOTOGRAMA_") not in known:
            settings.delenv(name)


async def test_service_that_is_well_has_no_failure_and_the_probe_is_gone(ops: RunOps, tmp_path: Path) -> None:
    code, found = await examine(ops)
    assert code == 0
    assert found["database"][0]["level"] == "ok"
    assert "PostgreSQL 18" in found["database"][0]["text"]
    assert found["objects"][0]["level"] == "ok"
    assert [finding["level"] for finding in found["redis"]] == ["warn"]  # the tests' server writes no disk
    assert not list((tmp_path / "objects").rglob("*probe*/*"))
    lines = (await ops("doctor")).out.splitlines()
    assert lines[0].split()[:2] == ["ok", "settings"]


async def test_each_fault_says_what_to_do_and_where_it_is_set(
    ops: RunOps, settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    settings.setenv("FOTOGRAMA_DATABASE_URL", "postgresql://ana:geheim@127.0.0.1:1/none")
    settings.setenv("FOTOGRAMA_REDIS_URL", "redis://127.0.0.1:1")
    settings.setenv("FOTOGRAMA_OBJECTS_URL", (tmp_path / "file" / "objects").as_uri())
    settings.setenv("FOTOGRAMA_SMTP_URL", "smtp://127.0.0.1:1")
    settings.setenv("FOTOGRAMA_WORKRES", "3")
    settings.setenv("RAY_ADDRESS", "127.0.0.1:1")
    code, found = await examine(ops)
    assert code == 1
    for subject, where in (
        ("database", "FOTOGRAMA_DATABASE_URL"),
        ("redis", "FOTOGRAMA_REDIS_URL"),
        ("objects", "FOTOGRAMA_OBJECTS_URL"),
        ("mail", "FOTOGRAMA_SMTP_URL"),
        ("ray", "RAY_ADDRESS"),
    ):
        (finding,) = found[subject]
        assert (finding["level"], finding["where"]) == ("fail", where), finding
        assert finding["remedy"]
    assert found["settings"][0]["remedy"] == "Did you mean FOTOGRAMA_WORKERS?"
    assert "geheim" not in (await ops("doctor")).out


async def test_missing_setting_is_said_before_anything_is_asked(ops: RunOps, settings: pytest.MonkeyPatch) -> None:
    settings.delenv("FOTOGRAMA_SECRET_KEY")
    code, found = await examine(ops)
    assert (code, list(found)) == (1, ["settings"])
    assert found["settings"][0]["where"] == "FOTOGRAMA_SECRET_KEY"


async def test_database_of_another_schema_fails(
    ops: RunOps, settings: pytest.MonkeyPatch, database: AsyncEngine, postgres: Postgres
) -> None:
    with fresh_database(postgres) as empty:
        settings.setenv("FOTOGRAMA_DATABASE_URL", empty)
        assert "has no schema" in (await examine(ops))[1]["database"][0]["text"]
    url = database.url.render_as_string(hide_password=False).replace("+psycopg", "")
    settings.setenv("FOTOGRAMA_DATABASE_URL", url)
    await database_rows.execute(database, "UPDATE alembic_version SET version_num = '9999'")
    assert "has the schema 9999" in (await examine(ops))[1]["database"][0]["text"]


@pytest.fixture
def guest(database_url: str, settings: pytest.MonkeyPatch) -> Iterator[DatabaseRole]:
    with database_role(database_url) as role:
        settings.setenv("FOTOGRAMA_DATABASE_URL", role.url)
        yield role


def database_finding() -> Finding:
    (finding,) = database_findings(Settings())
    return finding


def grants_of(finding: Finding) -> list[str]:
    return re.findall(r"GRANT .*?;", finding.remedy)


def test_database_without_rights_is_well_after_the_grants_that_are_named(guest: DatabaseRole) -> None:
    guest.run("REVOKE CONNECT ON DATABASE " + guest.owner.info.dbname + " FROM guest")
    steps = list[str]()
    while (finding := database_finding()).level is Level.FAIL:
        assert finding.is_lasting
        grants = grants_of(finding)
        assert grants, finding
        steps.append(grants[0].partition(" ON ")[0])
        for grant in grants:
            guest.run(grant)
    assert steps == ["GRANT CONNECT", "GRANT USAGE", "GRANT SELECT", "GRANT SELECT, INSERT"]
    assert finding.level is Level.OK
    for table, rights in TABLE_RIGHTS.items():
        given = guest.owner.execute(
            "SELECT array_agg(privilege_type::text) FROM information_schema.role_table_grants"
            " WHERE grantee = 'guest' AND table_name = %s",
            [table],
        ).fetchone()
        assert given is not None
        assert sorted(given[0]) == sorted(rights), table


@pytest.mark.parametrize(
    ("right", "on", "missing"),
    [
        ("SELECT", "results", "SELECT on results"),
        ("INSERT", "tombstones", "INSERT on tombstones"),
        ("UPDATE", "queue_state", "UPDATE on queue_state"),
        ("DELETE", "garbage", "DELETE on garbage"),
        ("EXECUTE", "FUNCTION uuid_v7()", "EXECUTE on uuid_v7()"),
    ],
)
def test_single_missing_right_is_told_apart(guest: DatabaseRole, right: str, on: str, missing: str) -> None:
    grant_service_rights(guest)
    assert database_finding().level is Level.OK
    guest.run(f"REVOKE {right} ON {on} FROM guest")
    finding = database_finding()
    assert finding.text == f"The user guest does not have all rights that the service needs. Missing: {missing}."
    assert grants_of(finding) == [f"GRANT {right} ON {on} TO guest;"]
    assert finding.where == "FOTOGRAMA_DATABASE_URL"


def test_start_refuses_a_database_without_a_right(guest: DatabaseRole, settings: pytest.MonkeyPatch) -> None:
    settings.setenv("RAY_AUTH_MODE", "token")
    grant_service_rights(guest)
    guest.run("REVOKE UPDATE ON tasks FROM guest")
    with pytest.raises(StartRefused, match=r"Missing: UPDATE on tasks\. .*: GRANT UPDATE ON tasks TO guest;"):
        checked_settings()


def test_start_refuses_what_could_never_run_and_waits_for_what_is_away(
    settings: pytest.MonkeyPatch, postgres: Postgres
) -> None:
    settings.setenv("RAY_AUTH_MODE", "token")
    assert checked_settings().workers == 2
    with fresh_database(postgres) as empty:
        settings.setenv("FOTOGRAMA_DATABASE_URL", empty)
        with pytest.raises(StartRefused, match=r"FOTOGRAMA_DATABASE_URL: The database has no schema\. Migrate it"):
            checked_settings()
    settings.setenv("FOTOGRAMA_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert checked_settings().database_url.endswith("/none")
    settings.delenv("RAY_AUTH_MODE")
    with pytest.raises(StartRefused, match="RAY_AUTH_MODE: Ray takes commands without a token"):
        checked_settings()
