"""The ledger: compares every acceptance, id by id, with its extraction or its tombstone.

`acceptances` is append-only and has no foreign key, so it can differ from the other tables: the comparison finds an
acceptance that has neither an extraction nor a tombstone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

MAX_DIFFERENCES = 100
"""How many ids are listed for each account; `difference_count` counts all."""
STATEMENT_SECONDS = 600
STATES = ("succeeded", "failed", "cancelled", "queued", "running", "deleted")


@dataclass(frozen=True, slots=True)
class Difference:
    """One extraction whose records disagree. why: a stable word, one of REASONS."""

    extraction_id: UUID
    why: str


@dataclass(frozen=True, slots=True)
class Balance:
    """What was accepted, and what became of it. differences: at most MAX_DIFFERENCES for each account."""

    accepted: int
    succeeded: int
    failed: int
    cancelled: int
    queued: int
    running: int
    deleted: int
    difference_count: int
    differences: tuple[Difference, ...]

    @property
    def balanced(self) -> bool:
        """Whether every acceptance has its extraction or tombstone, and every extraction its acceptance."""
        return self.difference_count == 0 and self.accepted == sum(getattr(self, state) for state in STATES)


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """The balance of one account. email: None when the account was deleted."""

    user_id: UUID
    email: str | None
    balance: Balance


@dataclass(frozen=True, slots=True)
class Ledger:
    total: Balance
    accounts: tuple[AccountBalance, ...]


@dataclass(frozen=True, slots=True)
class LastAudit:
    """What the last recorded comparison found."""

    audited_at: datetime
    accepted: int
    difference_count: int


# In the order in which they are tested: an id is listed with its first reason.
_REASONS = {
    "lost": "accepted AND NOT is_there AND NOT is_deleted",
    "never_accepted": "NOT accepted",
    "deleted_and_there": "is_there AND is_deleted",
    "ended_twice": "ends > 1",
    "live_task_after_end": "ended AND live_tasks > 0",
    "no_live_task": "is_there AND NOT ended AND live_tasks = 0",
    "no_result": "status = 'succeeded' AND (result_key IS NULL OR result_bytes IS NULL OR result_frames IS NULL)",
    "no_end_noted": "ended AND ends = 0",
}
REASONS = tuple(_REASONS)
_REASON = " ".join(f"WHEN {condition} THEN '{reason}'" for reason, condition in _REASONS.items())
_STATE_COUNTS = ", ".join(
    f"count(*) FILTER (WHERE is_there AND NOT is_deleted AND status = '{state}') AS {state}"
    for state in STATES
    if state != "deleted"
)

# One statement sees one snapshot, so concurrent work makes no difference.
COMPARE = text(f"""
    WITH live AS (
        SELECT extraction_id, count(*) AS live_tasks FROM tasks
        WHERE state NOT IN ('done', 'failed', 'cancelled') GROUP BY extraction_id
    ), ends AS (
        SELECT extraction_id, count(*) AS ends FROM events
        WHERE kind IN ('published', 'reused', 'failed', 'cancelled') GROUP BY extraction_id
    ), entries AS (
        SELECT coalesce(acceptances.extraction_id, extractions.id, tombstones.extraction_id) AS id,
            coalesce(acceptances.user_id, extractions.user_id, tombstones.user_id) AS user_id,
            acceptances.extraction_id IS NOT NULL AS accepted,
            extractions.id IS NOT NULL AS is_there,
            tombstones.extraction_id IS NOT NULL AS is_deleted,
            extractions.status, extractions.result_key, extractions.result_bytes, extractions.result_frames,
            coalesce(extractions.status IN ('succeeded', 'failed', 'cancelled'), false) AS ended,
            coalesce(live.live_tasks, 0) AS live_tasks, coalesce(ends.ends, 0) AS ends
        FROM acceptances
        FULL JOIN extractions ON extractions.id = acceptances.extraction_id
        FULL JOIN tombstones
            ON tombstones.extraction_id = coalesce(acceptances.extraction_id, extractions.id)
        LEFT JOIN live ON live.extraction_id = extractions.id
        LEFT JOIN ends ON ends.extraction_id = extractions.id
    ), classified AS (
        SELECT *, CASE {_REASON} END AS why FROM entries
    ), sums AS (
        SELECT user_id, count(*) FILTER (WHERE accepted) AS accepted, {_STATE_COUNTS},
            count(*) FILTER (WHERE is_deleted) AS deleted, count(why) AS difference_count,
            (array_agg(id ORDER BY id) FILTER (WHERE why IS NOT NULL))[1:{MAX_DIFFERENCES}] AS ids,
            (array_agg(why ORDER BY id) FILTER (WHERE why IS NOT NULL))[1:{MAX_DIFFERENCES}] AS reasons
        FROM classified GROUP BY user_id
    )
    SELECT sums.*, users.email FROM sums LEFT JOIN users ON users.id = sums.user_id
    ORDER BY difference_count DESC, accepted DESC, sums.user_id
""")


RECORD = text("""
    INSERT INTO last_audit (accepted, difference_count) VALUES (:accepted, :difference_count)
    ON CONFLICT (id) DO UPDATE SET audited_at = clock_timestamp(), accepted = excluded.accepted,
        difference_count = excluded.difference_count
""")
LAST = text("SELECT audited_at, accepted, difference_count FROM last_audit")


async def record(database: AsyncEngine, balance: Balance) -> None:
    """Records the outcome of a comparison as the last one."""
    values = {"accepted": balance.accepted, "difference_count": balance.difference_count}
    async with database.begin() as connection:
        await connection.execute(RECORD, values)


async def last_audit(database: AsyncEngine) -> LastAudit | None:
    """Returns what the last recorded comparison found; None when there was none."""
    async with database.connect() as connection:
        row = (await connection.execute(LAST)).first()
    return None if row is None else LastAudit(row.audited_at, row.accepted, row.difference_count)


async def compare(database: AsyncEngine) -> Ledger:
    """Compares all acceptances, extractions and tombstones in one snapshot."""
    async with database.begin() as connection:
        # Millions of rows take longer than any other statement is allowed, and are hashed in memory.
        await connection.execute(text(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'"))
        await connection.execute(text("SET LOCAL work_mem = '64MB'"))
        rows = (await connection.execute(COMPARE)).all()
    accounts = tuple(AccountBalance(row.user_id, row.email, _balance(row)) for row in rows)
    return Ledger(total([account.balance for account in accounts]), accounts)


def total(balances: Sequence[Balance]) -> Balance:
    """The sum of several accounts' balances."""
    counts = {
        name: sum(getattr(balance, name) for balance in balances) for name in ("accepted", *STATES, "difference_count")
    }
    differences = tuple(difference for balance in balances for difference in balance.differences)
    return Balance(**counts, differences=differences[:MAX_DIFFERENCES])


def _balance(row: Row[Any]) -> Balance:
    counts = {name: int(getattr(row, name)) for name in ("accepted", *STATES, "difference_count")}
    pairs = zip(row.ids or (), row.reasons or (), strict=True)
    return Balance(**counts, differences=tuple(Difference(extraction_id, why) for extraction_id, why in pairs))
