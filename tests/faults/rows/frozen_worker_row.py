"""The row in which a worker is frozen at the moment of its publication, and woken when another one has published.

A lock of the test's own stops the publication inside the database; then the worker is stopped and its connections are
ended, so that nobody can tell it what became of its write: woken, it has to repeat it.
"""

from __future__ import annotations

import json
import os
import signal
import time
from asyncio import to_thread
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from db.object_store.object_keys import result_prefix
from tests.faults.audit import audit
from tests.faults.injection.submission_load import BUSY, EVERY_FRAME, Clip, Sent, senders
from tests.faults.injection.whole_service import WAIT_SECONDS, System, until
from tests.faults.row_outcome import Outcome

TRIES = 10
"""Videos that may be published before the lock is there."""
LOOK_SECONDS = 0.005
HOLD = """
    SELECT tasks.id, tasks.attempt, tasks.leased_by FROM tasks JOIN extractions ON extractions.id = tasks.extraction_id
    WHERE extractions.id = %s AND tasks.state = 'leased' AND extractions.frames_total IS NOT NULL FOR UPDATE OF tasks
"""
ENDED = "SELECT count(*) FROM extractions WHERE id = %s AND finished_at IS NOT NULL"
PUBLISHED = "SELECT data->>'attempt' FROM events WHERE extraction_id = %s AND kind = 'published'"
BY_A_WORKER = "application_name = 'fotograma worker' AND wait_event_type = 'Lock'"
# These words stand in the publishing statement alone.
PUBLISHING = f"SELECT count(*) FROM pg_stat_activity WHERE {BY_A_WORKER} AND query LIKE '%%kind <> ''segment''%%'"
CUT_OFF = f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {BY_A_WORKER}"


@dataclass(frozen=True, slots=True)
class Late:
    """The attempt that will be late. pid: of its worker."""

    extraction_id: UUID
    task_id: UUID
    attempt: int
    pid: int


async def frozen_worker(system: System, full: bool) -> Outcome:
    """SIGSTOP to a worker while its publication waits in the database; SIGCONT when another one has published."""
    count = 8 if full else 1
    clip = Clip(system.folder, BUSY)
    sent: list[Sent] = []
    seconds: list[float] = []
    await to_thread(system.wait_until_complete)
    async with senders(system, 1, EVERY_FRAME) as (sender,):
        while len(seconds) < count:
            assert len(sent) < count + TRIES, "each was published before it could be stopped"
            sent.append(one := clip.copy())
            await sender.send(one)
            frozen = await to_thread(_freeze_and_wake, system, UUID(one.answers[0][1]))
            seconds += [] if frozen is None else [frozen]
    return await audit(
        system,
        sent,
        name="Worker frozen",
        how=f"SIGSTOP at its publication until another one has published, then SIGCONT; {count} ×",
        note=f"Frozen for {max(seconds):.0f} s at most; each woken worker published again, was refused and cleaned up.",
    )


def _freeze_and_wake(system: System, extraction_id: UUID) -> float | None:
    """Seconds that it was frozen; None when it published before it could be stopped."""
    with psycopg.connect(system.postgres.url()) as holder:
        late = _hold(holder, system, extraction_id)
        if late is None:
            return None
        until(lambda: system.fetch_count(PUBLISHING) == 1, what="the publication")
        with _frozen(late.pid):
            began = time.monotonic()
            system.fetch_rows(CUT_OFF)
            holder.rollback()
            until(lambda: bool(system.fetch_rows(PUBLISHED, extraction_id)), what="another worker's result")
            assert _stored(system, late), "the late attempt had stored nothing yet"
            # Nobody publishes while this is held, so that the next one who tries is seen: the woken worker.
            holder.execute("LOCK TABLE tasks IN EXCLUSIVE MODE")
            frozen_seconds = time.monotonic() - began
        until(lambda: system.fetch_count(PUBLISHING) == 1, what="the late publication")
    until(lambda: _lost(late), what="the end of the late attempt")
    _check_refused(system, late)
    return frozen_seconds


def _hold(holder: psycopg.Connection[Any], system: System, extraction_id: UUID) -> Late | None:
    """Waits until a worker has planned the task, and locks the task."""
    deadline = time.monotonic() + WAIT_SECONDS
    while (found := holder.execute(HOLD, [extraction_id]).fetchone()) is None:
        holder.rollback()
        if system.fetch_count(ENDED, extraction_id):
            return None
        assert time.monotonic() < deadline, "nobody planned it"
        time.sleep(LOOK_SECONDS)
    task_id, attempt, name = found
    (pid,) = [
        pid for pid in system.service.replica_pids("pool") if any(event.get("worker") == name for event in _log(pid))
    ]
    return Late(extraction_id, task_id, attempt, pid)


@contextmanager
def _frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _check_refused(system: System, late: Late) -> None:
    assert not _stored(system, late), "the late attempt's objects were left"
    assert late.pid in system.service.replica_pids("pool"), "the frozen worker was not woken but replaced"
    ((attempt,),) = system.fetch_rows(PUBLISHED, late.extraction_id)
    assert int(attempt) > late.attempt, "the late result was taken"


def _stored(system: System, late: Late) -> list[Path]:
    """Objects of the late attempt."""
    prefix = result_prefix(late.extraction_id, late.task_id, late.attempt)
    return list((system.service.data_dir / "objects" / prefix).glob("*"))


def _lost(late: Late) -> bool:
    """Whether the worker has said that this attempt of it was lost."""
    mine = {"event": "task.lost", "task_id": str(late.task_id), "attempt": late.attempt}
    return any(mine.items() <= event.items() for event in _log(late.pid))


def _log(pid: int) -> list[dict[str, Any]]:
    """What a process has logged on its standard output."""
    lines = Path(f"/proc/{pid}/fd/1").read_text(errors="replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]
