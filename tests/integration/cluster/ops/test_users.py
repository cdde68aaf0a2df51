"""`fotograma ops users list`: every account with what it has, its quotas, and whether it is disabled."""

from __future__ import annotations

import json

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from db.acceptance import quotas
from db.acceptance.quotas import Quotas
from db.accounts import accounts
from tests.integration.cluster.ops.conftest import RunOps
from tests.support.clients.api_client import MP4, upload_video
from tests.support.state import database_rows


async def test_accounts_are_listed_with_use_quotas_and_state(
    ops: RunOps, settings: pytest.MonkeyPatch, ana: httpx.AsyncClient, database: AsyncEngine
) -> None:
    settings.setenv("FOTOGRAMA_USER_WAITING_MAX", "7")
    await upload_video(ana)
    bob = await database_rows.create_user(database, "bob@example.net")
    await accounts.set_role(database, "bob@example.net", accounts.ADMIN)
    async with database.begin() as connection:
        await quotas.set_own(connection, bob, Quotas(1, 1 << 30, None))
        await accounts.set_disabled(connection, bob, disabled=True)
    listed = json.loads((await ops("users", "list", "--json")).out)["items"]
    assert [item["email"] for item in listed] == ["bob@example.net", "ana@example.org"]
    assert listed[1]["use"] == {"videos": 1, "waiting": 1, "stored_bytes": len(MP4), "minutes_per_day": 0.0}
    assert (listed[1]["quotas"]["waiting"], listed[1]["has_own_quotas"], listed[1]["disabled_at"]) == (7, False, None)
    lines = (await ops("users", "list")).out.splitlines()
    assert lines[1] == "ana@example.org  1 videos, 1 of 7 waiting, 10.0 KiB, 0 minutes in a day"
    assert lines[0].startswith(
        "bob@example.net  0 videos, 0 of 1 waiting, 0 B of 1.0 GiB, 0 minutes in a day, admin, disabled"
    )
    assert (await ops("users", "list", "--search", "ANA@")).out.splitlines() == [lines[1]]
    assert (await ops("users", "list", "--search", "nobody")).out == "There are no such accounts.\n"


async def test_accounts_of_all_pages_are_listed(
    ops: RunOps, database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.cli.ops.users.PAGE_ACCOUNTS", 2)
    for n in range(5):
        await database_rows.create_user(database, f"{n}@example.com")
    items = json.loads((await ops("users", "list", "--json")).out)["items"]
    assert [item["email"][0] for item in items] == ["4", "3", "2", "1", "0"]
