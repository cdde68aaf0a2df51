"""The commands for operators, each in its own process: the first admin, the ledger, a time line."""

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

from cluster.local import process_record, secret_files
from cluster.local.data_dir import DataDir
from cluster.local.servers.embedded_postgres import url_of
from cluster.operations.located_service import locate_service
from db.acceptance import acceptance_audit
from db.accounts import accounts
from db.queue import task_queue
from serve_app.app import create_app
from serve_app.deps import Deps
from tests.support.clients.api_client import listen, log_in, upload_video
from tests.support.state import database_rows

EMAIL = "ana@example.org"


@dataclass
class OperatorShell:
    """Runs commands as an operator does: against a service, logged in to an account."""

    url: str
    token: str
    http: httpx.AsyncClient
    folder: Path

    async def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("FOTOGRAMA_")}
        environ |= {"FOTOGRAMA_URL": self.url, "FOTOGRAMA_API_KEY": self.token, "PYTHONPATH": os.getcwd()}
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "cluster.cli.app", *arguments],
            check=False,
            env=environ | {"XDG_CONFIG_HOME": str(self.folder / "config")} | environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
async def shell(deps: Deps, tmp_path: Path) -> AsyncIterator[OperatorShell]:
    async with listen(create_app(deps)) as port:
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, verify=False) as client:
            tokens = await log_in(client, EMAIL)
            yield OperatorShell(url, tokens["access_token"], client, tmp_path)


async def test_first_admin_is_promoted_on_the_database_and_may_read_the_ledger(
    shell: OperatorShell, database_url: str
) -> None:
    refused = await shell.run("ledger", "--check")
    assert (refused.returncode, refused.stdout) == (65, "")
    promoted = await shell.run("ops", "users", "promote", " Ana@Example.org", FOTOGRAMA_DATABASE_URL=database_url)
    assert promoted.returncode == 0, promoted.stderr
    await upload_video(shell.http)
    completed = await shell.run("ledger", "--check")
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.splitlines()[0].split() == ["accepted", "1"]
    assert completed.stdout.splitlines()[-1] == "Balanced."
    demoted = await shell.run("ops", "users", "demote", EMAIL, FOTOGRAMA_DATABASE_URL=database_url)
    assert demoted.returncode == 0, demoted.stderr
    assert (await shell.run("ledger")).returncode == 65


async def test_ledger_check_exits_with_1_and_lists_the_ids_of_differences(shell: OperatorShell, deps: Deps) -> None:
    await accounts.set_role(deps.database, EMAIL, "admin")
    lost = (await upload_video(shell.http))["extraction"]["id"]
    await database_rows.execute(deps.database, "DELETE FROM extractions")
    completed = await shell.run("ledger", "--check")
    assert (completed.returncode, completed.stderr.split()) == (1, [lost, "lost"])
    completed = await shell.run("ledger", "--check", "--json")
    assert completed.returncode == 1
    assert json.loads(completed.stdout)["differences"] == [lost]
    assert (await shell.run("ledger")).returncode == 0


async def test_ledger_check_lists_ids_of_every_account_and_counts_the_rest(
    shell: OperatorShell, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with httpx.AsyncClient(base_url=shell.url, verify=False) as other:
        await log_in(other, "bob@example.org")
        lost = [(await upload_video(client))["extraction"]["id"] for client in (shell.http, other, other, other)]
    await accounts.set_role(deps.database, EMAIL, "admin")
    await database_rows.execute(deps.database, "DELETE FROM extractions")
    ledger = await acceptance_audit.compare(deps.database)
    # Simulates a service that lists at most two differences of each account, and two in all.
    short_ledger = replace(
        ledger,
        total=replace(ledger.total, differences=ledger.total.differences[:2]),
        accounts=tuple(
            replace(account, balance=replace(account.balance, differences=account.balance.differences[:2]))
            for account in ledger.accounts
        ),
    )
    monkeypatch.setattr(acceptance_audit, "compare", AsyncMock(return_value=short_ledger))
    completed = await shell.run("ledger", "--check")
    assert completed.returncode == 1
    assert completed.stderr.splitlines() == [*(f"{lost[n]}  lost" for n in (1, 2, 0)), "and 1 more"]


async def test_promotion_without_an_account_or_a_database_is_refused(shell: OperatorShell, database_url: str) -> None:
    nobody = await shell.run("ops", "users", "promote", "nobody@example.org", FOTOGRAMA_DATABASE_URL=database_url)
    assert nobody.returncode == 1
    assert "There is no account nobody@example.org" in nobody.stderr
    nowhere = await shell.run("ops", "users", "promote", EMAIL, "--home", str(shell.folder))
    assert nowhere.returncode == 1
    assert "No service runs on" in nowhere.stderr


async def test_account_share_is_set_and_omitted_options_keep_their_value(
    shell: OperatorShell, deps: Deps, database_url: str
) -> None:
    async def set_share(*options: str) -> subprocess.CompletedProcess[str]:
        return await shell.run("ops", "users", "share", *options, FOTOGRAMA_DATABASE_URL=database_url)

    async def stored_share() -> tuple[float, int | None]:
        row = await database_rows.fetch_one(deps.database, "SELECT weight, running_limit FROM shares")
        return row.weight, row.running_limit

    for options, printed, expected in (
        (["--weight", "2.5"], "the weight 2.5", (2.5, None)),
        (["--running-limit", "7"], "the running limit 7", (2.5, 7)),
        (["--weight", "1"], "the weight 1", (1.0, 7)),
        (["--running-limit", "none", "--weight", "3"], "the weight 3 and no running limit of its own", (3.0, None)),
    ):
        completed = await set_share(" Ana@Example.org", *options)
        assert (completed.returncode, printed in completed.stdout) == (0, True), completed.stderr
        assert await stored_share() == expected
    for wrong in ("--weight=0", "--weight=-1", "--weight=nan", "--running-limit=0", "--running-limit=many"):
        refused = await set_share(EMAIL, wrong)
        assert (refused.returncode, refused.stdout) == (2, ""), wrong
        assert wrong.partition("=")[0] in refused.stderr
    assert (await set_share(EMAIL)).returncode == 2
    nobody = await set_share("nobody@example.org", "--weight", "2")
    assert nobody.returncode == 1
    assert "There is no account nobody@example.org" in nobody.stderr
    assert await stored_share() == (3.0, None)


def test_ops_finds_the_database_of_a_running_data_directory(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    secrets = secret_files.open_secrets(data_dir.secrets, data_dir.ray_token)
    process_record.write_record(data_dir.record, process_record.RecordedRun(tmp_path))
    service = locate_service(tmp_path, {})
    assert service.database_url == url_of(tmp_path / "postgres", secrets.postgres_password)
    assert service.objects_url == (tmp_path / "objects").as_uri()


async def test_time_line_is_printed_to_its_end(shell: OperatorShell, deps: Deps) -> None:
    extraction_id = (await upload_video(shell.http))["extraction"]["id"]
    for _ in range(120):
        (claim,) = await task_queue.claim(deps.database, worker="w")
        await task_queue.release(deps.database, claim.lease)
    completed = await shell.run("timeline", extraction_id)
    assert completed.returncode == 0, completed.stderr
    lines = completed.stdout.splitlines()
    assert len(lines) == 241
    assert lines[0].split()[2:] == ["accepted"]
    assert lines[-1].split()[2:] == ["released", "attempt", "120"]
