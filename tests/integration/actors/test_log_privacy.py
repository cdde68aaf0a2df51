"""Logs of failures name the cause and contain no secret."""

import io
import json
from collections.abc import Awaitable

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from cluster.wiring.json_log import JSON_LINES
from db.connection import check, open_database
from tests.support.servers.reserved_ports import reserved_port

PASSWORD = "TopSecretPassword"


async def log_of_failure(failing_call: Awaitable[object], expected: type[Exception]) -> str:
    """Logs the exception that the call raises; returns the log line."""
    lines = io.StringIO()
    log = structlog.wrap_logger(structlog.PrintLogger(lines), processors=JSON_LINES)
    with pytest.raises(expected) as raised:
        await failing_call
    try:
        raise raised.value
    except expected:
        log.exception("It failed.", event_name="test.failed")
    return lines.getvalue()


async def test_database_outage_is_logged_without_the_password() -> None:
    database = open_database(f"postgresql://somebody:{PASSWORD}@127.0.0.1:{reserved_port()}/fotograma", name="test")
    line = await log_of_failure(check(database), OperationalError)
    await database.dispose()
    assert PASSWORD not in line
    entry = json.loads(line)
    assert entry["event"] == "test.failed"
    frames = [frame["name"] for stack in entry["exception"] for frame in stack["frames"]]
    assert "check" in frames


async def test_failed_statement_is_logged_without_its_values(database: AsyncEngine) -> None:
    async def fail() -> None:
        async with database.connect() as connection:
            await connection.execute(text("SELECT no_such_function(:secret)"), {"secret": PASSWORD})

    line = await log_of_failure(fail(), DBAPIError)
    assert "no_such_function" in line
    assert PASSWORD not in line
