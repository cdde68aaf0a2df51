"""The service needs the rights of `db.service_rights`: no statement needs another, and none of them is unused."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import TextClause, text
from sqlalchemy.dialects.postgresql import asyncpg

import db
from db import account_erasure
from db.connection import open_database
from db.service_rights import FUNCTIONS, TABLE_RIGHTS
from db.values.lifecycle import Blame
from tests.support.state import database_rows
from tests.support.state.database_roles import ROLE, DatabaseRole, database_role, grant_service_rights
from tests.support.state.queue_steps import claim_one, fail_task, publish_result

WITHOUT_PLAN = re.compile(r"\s*(SET LOCAL|SHOW|ANALYZE)\b")


@pytest.fixture
def role(database_url: str) -> Iterator[DatabaseRole]:
    with database_role(database_url) as role:
        grant_service_rights(role)
        yield role


def statements() -> list[str]:
    """All statements of the service, with $1 for their parameters. Those of a restore are the owner's."""
    found: set[str] = set()
    for module in pkgutil.walk_packages(db.__path__, "db."):
        if not module.name.startswith(("db.migrations", "db.tables", "db.restored_database")):
            found.update(statements_in(list(vars(importlib.import_module(module.name)).values())))
    return [str(text(each).compile(dialect=asyncpg.dialect())) for each in sorted(found)]  # type: ignore[no-untyped-call]


def statements_in(value: object) -> Iterator[str]:
    if isinstance(value, TextClause):
        if not WITHOUT_PLAN.match(value.text):
            yield value.text
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from statements_in(each)
    elif isinstance(value, dict):
        yield from statements_in(list(value.values()))


def is_refused(role: DatabaseRole, statement: str) -> bool:
    """Whether the user lacks a right that the statement needs. Runs nothing."""
    try:
        role.run(f"EXPLAIN (GENERIC_PLAN) {statement}")
    except psycopg.errors.InsufficientPrivilege:
        return True
    return False


def test_no_statement_needs_another_right(role: DatabaseRole) -> None:
    role.run(f"SET ROLE {ROLE}")
    try:
        found = statements()
        assert len(found) > 150
        assert [statement for statement in found if is_refused(role, statement)] == []
    finally:
        role.run("RESET ROLE")


def test_each_right_is_needed_by_a_statement_or_a_trigger(role: DatabaseRole) -> None:
    triggers = " ".join(
        row[0] for row in role.owner.execute("SELECT prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
    )
    tables = {name: rights for name, rights in TABLE_RIGHTS.items() if name != "alembic_version"}
    wanted = [(right, name, name) for name, rights in tables.items() for right in rights]
    wanted += [("EXECUTE", f"FUNCTION {function}", function.partition("(")[0]) for function in FUNCTIONS]
    found, unused = statements(), []
    for right, on, name in wanted:
        # Those with the likely words first.
        likely = re.compile(rf"{right}( INTO| FROM)? {name}\b")
        candidates = sorted((each for each in found if name in each), key=lambda each: not likely.search(each))
        role.run(f"REVOKE {right} ON {on} FROM {ROLE}")
        role.run(f"SET ROLE {ROLE}")
        if not any(is_refused(role, each) for each in candidates) and not likely.search(triggers):
            unused.append(f"{right} on {on}")
        role.run("RESET ROLE")
        role.run(f"GRANT {right} ON {on} TO {ROLE}")
    assert unused == []


async def test_triggers_and_cascades_work_with_these_rights(role: DatabaseRole) -> None:
    database = open_database(role.url, name="test", connections=2)
    try:
        accepted = await database_rows.accept_video(database)
        await publish_result(database, (await claim_one(database)).lease)
        await database_rows.accept_video(database, accepted.user_id)
        await fail_task(database, (await claim_one(database)).lease, Blame.FILE, "undecodable")
        await database_rows.accept_video(database, accepted.user_id)
        await account_erasure.mark(database, accepted.user_id)
        assert await account_erasure.erase(database, accepted.user_id, max_videos=10)
        left = await database_rows.fetch_one(database, "SELECT count(*) AS total FROM extractions")
        assert left.total == 0
    finally:
        await database.dispose()
