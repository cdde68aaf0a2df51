"""The metrics of the ledger tell what is in the database."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from actors.maintenance.acceptance_auditor import ledger_figures
from db.acceptance import acceptance_audit
from tests.support.state import database_rows
from tests.support.state.queue_steps import claim_one, publish_result


async def test_ledger_is_told_as_it_is(database: AsyncEngine) -> None:
    await database_rows.accept_video(database)
    await publish_result(database, (await claim_one(database)).lease)
    balance = (await acceptance_audit.compare(database)).total
    values = {(figure.name, figure.state): figure.value for figure in ledger_figures(balance)}
    assert values["fotograma_ledger_accepted", None] == values["fotograma_ledger_extractions", "succeeded"] == 1
    assert values["fotograma_ledger_differences", None] == 0
