"""The operators' commands in a process of their own: the first admin, the ledger, a time line."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import AsyncMock

import httpx
import pytest

from cluster.cli import operator_commands
from cluster.local import process_record, secret_files
from cluster.local.data_dir import DataDir
from cluster.local.servers.embedded_postgres import url_of
from db import accounts
from db.acceptance import acceptance_audit
from db.queue import task_queue
from serve_app.app import create_app
from serve_app.deps import Deps
from tests.support.clients.api_client import listen, log_in, upload_video
from tests.support.state import database_rows

EMAIL = "ana@example.org"


@dataclass
class Desk:
    """Where an operator sits: a service, and the account that is logged in."""

    url: str
    token: str
    http: httpx.AsyncClient
    folder: Path

    async def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FOTOGRAMA_")}
        kept |= {"FOTOGRAMA_URL": self.url, "FOTOGRAMA_TOKEN": self.token, "PYTHONPATH": os.getcwd()}
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "cluster.cli.commands", *arguments],
            check=False,
            env=kept | {"XDG_CONFIG_HOME": str(self.folder / "config")} | environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
async def desk(deps: Deps, tmp_path: Path) -> AsyncIterator[Desk]:
    async with listen(create_app(deps)) as port:
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url) as client:
            tokens = await log_in(client, EMAIL)
            yield Desk(url, tokens["access_token"], client, tmp_path)


async def test_first_admin_is_promoted_on_the_database_and_may_read_the_ledger(desk: Desk, database_url: str) -> None:
    refused = await desk.run("ledger", "--check")
    assert (refused.returncode, refused.stdout) == (1, "")
    made = await desk.run("ops", "users", "promote", " Ana@Example.org", FOTOGRAMA_DATABASE_URL=database_url)
    assert made.returncode == 0, made.stderr
    await upload_video(desk.http)
    done = await desk.run("ledger", "--check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == ["accepted", "1"]
    assert done.stdout.splitlines()[-1] == "Balanced."
    taken = await desk.run("ops", "users", "demote", EMAIL, FOTOGRAMA_DATABASE_URL=database_url)
    assert taken.returncode == 0, taken.stderr
    assert (await desk.run("ledger")).returncode == 1


async def test_ledger_check_exits_with_1_and_lists_the_ids_of_differences(desk: Desk, deps: Deps) -> None:
    await accounts.set_role(deps.database, EMAIL, "admin")
    lost = (await upload_video(desk.http))["extraction"]["id"]
    await database_rows.execute(deps.database, "DELETE FROM extractions")
    done = await desk.run("ledger", "--check")
    assert (done.returncode, done.stderr.split()) == (1, [lost, "lost"])
    done = await desk.run("ledger", "--check", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["differences"] == [lost]
    assert (await desk.run("ledger")).returncode == 0


async def test_ledger_check_lists_ids_of_every_account_and_counts_the_rest(
    desk: Desk, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with httpx.AsyncClient(base_url=desk.url) as other:
        await log_in(other, "bob@example.org")
        lost = [(await upload_video(client))["extraction"]["id"] for client in (desk.http, other, other, other)]
    await accounts.set_role(deps.database, EMAIL, "admin")
    await database_rows.execute(deps.database, "DELETE FROM extractions")
    whole = await acceptance_audit.compare(deps.database)
    # As if the most that the service tells were two of each account, and two in all.
    short = replace(
        whole,
        total=replace(whole.total, differences=whole.total.differences[:2]),
        accounts=tuple(
            replace(one, balance=replace(one.balance, differences=one.balance.differences[:2]))
            for one in whole.accounts
        ),
    )
    monkeypatch.setattr(acceptance_audit, "compare", AsyncMock(return_value=short))
    done = await desk.run("ledger", "--check")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [*(f"{lost[n]}  lost" for n in (1, 2, 0)), "and 1 more"]


async def test_without_an_account_or_a_database_nobody_is_promoted(desk: Desk, database_url: str) -> None:
    nobody = await desk.run("ops", "users", "promote", "nobody@example.org", FOTOGRAMA_DATABASE_URL=database_url)
    assert nobody.returncode == 1
    assert "There is no account nobody@example.org" in nobody.stderr
    nowhere = await desk.run("ops", "users", "promote", EMAIL, "--home", str(desk.folder))
    assert nowhere.returncode == 1
    assert "No service runs on" in nowhere.stderr


async def test_account_share_is_set_and_omitted_options_keep_their_value(
    desk: Desk, deps: Deps, database_url: str
) -> None:
    async def share(*options: str) -> subprocess.CompletedProcess[str]:
        return await desk.run("ops", "users", "share", *options, FOTOGRAMA_DATABASE_URL=database_url)

    async def stored() -> tuple[float, int | None]:
        row = await database_rows.fetch_one(deps.database, "SELECT weight, running_limit FROM shares")
        return row.weight, row.running_limit

    for options, told, expected in (
        (["--weight", "2.5"], "the weight 2.5", (2.5, None)),
        (["--running-limit", "7"], "the running limit 7", (2.5, 7)),
        (["--weight", "1"], "the weight 1", (1.0, 7)),
        (["--running-limit", "none", "--weight", "3"], "the weight 3 and no running limit of its own", (3.0, None)),
    ):
        done = await share(" Ana@Example.org", *options)
        assert (done.returncode, told in done.stdout) == (0, True), done.stderr
        assert await stored() == expected
    for wrong in ("--weight=0", "--weight=-1", "--weight=nan", "--running-limit=0", "--running-limit=many"):
        refused = await share(EMAIL, wrong)
        assert (refused.returncode, refused.stdout) == (2, ""), wrong
        assert wrong.partition("=")[0] in refused.stderr
    assert (await share(EMAIL)).returncode == 2
    nobody = await share("nobody@example.org", "--weight", "2")
    assert nobody.returncode == 1
    assert "There is no account nobody@example.org" in nobody.stderr
    assert await stored() == (3.0, None)


def test_ops_finds_the_database_of_a_running_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_dir = DataDir(tmp_path)
    secrets = secret_files.open_secrets(data_dir.secrets, data_dir.ray_token)
    process_record.write_record(data_dir.record, process_record.RecordedRun(tmp_path))
    monkeypatch.delenv("FOTOGRAMA_DATABASE_URL", raising=False)
    assert operator_commands.database_url(tmp_path) == url_of(tmp_path / "postgres", secrets.postgres_password)


async def test_a_time_line_is_read_to_its_end(desk: Desk, deps: Deps) -> None:
    extraction_id = (await upload_video(desk.http))["extraction"]["id"]
    for _ in range(120):
        (claim,) = await task_queue.claim(deps.database, worker="w")
        await task_queue.release(deps.database, claim.lease)
    done = await desk.run("timeline", extraction_id)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 241
    assert lines[0].split()[2:] == ["accepted"]
    assert lines[-1].split()[2:] == ["released", "attempt", "120"]
