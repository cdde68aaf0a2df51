"""The row in which a worker is frozen while it publishes, and woken when another worker has published.

The test locks the task, so that the publication waits inside the database. Then it stops the worker and ends the
worker's connections. So the woken worker can't learn what became of its write, and has to repeat it.
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
from tests.faults.injection.submission_load import BUSY, EVERY_FRAME, Clip, Submission, open_senders
from tests.faults.injection.whole_service import WAIT_SECONDS, System, wait_until
from tests.faults.row_outcome import Outcome

EXTRA_VIDEOS = 10
"""How many videos may be published before the test can lock their task."""
POLL_SECONDS = 0.005
LOCK_PLANNED_TASK = """
    SELECT tasks.id, tasks.attempt, tasks.leased_by FROM tasks JOIN extractions ON extractions.id = tasks.extraction_id
    WHERE extractions.id = %s AND tasks.state = 'leased' AND extractions.frames_total IS NOT NULL FOR UPDATE OF tasks
"""
ENDED = "SELECT count(*) FROM extractions WHERE id = %s AND finished_at IS NOT NULL"
PUBLISHED = "SELECT data->>'attempt' FROM events WHERE extraction_id = %s AND kind = 'published'"
BY_A_WORKER = "starts_with(application_name, 'fotograma worker ') AND wait_event_type = 'Lock'"
# Only the publishing statement contains these words.
PUBLISHING = f"SELECT count(*) FROM pg_stat_activity WHERE {BY_A_WORKER} AND query LIKE '%%kind <> ''segment''%%'"
END_CONNECTIONS = f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {BY_A_WORKER}"


@dataclass(frozen=True, slots=True)
class FrozenAttempt:
    """The attempt whose worker is frozen. pid: its worker's process."""

    extraction_id: UUID
    task_id: UUID
    attempt: int
    pid: int


async def frozen_worker(system: System, full: bool) -> Outcome:
    """SIGSTOP to a worker while its publication waits in the database; SIGCONT when another one has published."""
    count = 8 if full else 1
    clip = Clip(system.folder, BUSY)
    sent: list[Submission] = []
    seconds: list[float] = []
    await to_thread(system.wait_for_all_replicas)
    async with open_senders(system, 1, EVERY_FRAME) as (sender,):
        while len(seconds) < count:
            assert len(sent) < count + EXTRA_VIDEOS, "too many videos were published before the worker could be stopped"
            sent.append(submission := clip.new_submission())
            await sender.send(submission)
            frozen_seconds = await to_thread(_freeze_and_wake, system, UUID(submission.answers[0][1]))
            seconds += [] if frozen_seconds is None else [frozen_seconds]
    return await audit(
        system,
        sent,
        name="Worker frozen",
        how=f"SIGSTOP at its publication until another one has published, then SIGCONT; {count} ×",
        note=f"Frozen for {max(seconds):.0f} s at most; each woken worker published again, was refused and cleaned up.",
    )


def _freeze_and_wake(system: System, extraction_id: UUID) -> float | None:
    """Returns how many seconds the worker was frozen; None when it published before it could be stopped."""
    with psycopg.connect(system.postgres.url()) as holder:
        frozen = _lock_planned_task(holder, system, extraction_id)
        if frozen is None:
            return None
        wait_until(lambda: system.fetch_count(PUBLISHING) == 1, what="the publication")
        with _stopped_process(frozen.pid):
            stopped_at = time.monotonic()
            system.fetch_rows(END_CONNECTIONS)
            holder.rollback()
            wait_until(lambda: bool(system.fetch_rows(PUBLISHED, extraction_id)), what="another worker's result")
            assert _stored_objects(system, frozen), "the frozen attempt had stored nothing"
            # No worker can publish under this lock. The next one that tries is the woken worker, and waits.
            holder.execute("LOCK TABLE tasks IN EXCLUSIVE MODE")
            frozen_seconds = time.monotonic() - stopped_at
        wait_until(lambda: system.fetch_count(PUBLISHING) == 1, what="the woken worker's publication")
    wait_until(lambda: _has_lost_lease(system, frozen), what="the end of the frozen attempt")
    _check_refused(system, frozen)
    return frozen_seconds


def _lock_planned_task(holder: psycopg.Connection[Any], system: System, extraction_id: UUID) -> FrozenAttempt | None:
    """Waits until a worker has planned the task, then locks the task; None when the extraction ended before."""
    deadline = time.monotonic() + WAIT_SECONDS
    while (row := holder.execute(LOCK_PLANNED_TASK, [extraction_id]).fetchone()) is None:
        holder.rollback()
        if system.fetch_count(ENDED, extraction_id):
            return None
        assert time.monotonic() < deadline, "no worker planned the task"
        time.sleep(POLL_SECONDS)
    task_id, attempt, name = row
    (pid,) = [
        pid
        for pid in system.service.replica_pids("pool")
        if any(event.get("worker") == name for event in _log_events(system, pid))
    ]
    return FrozenAttempt(extraction_id, task_id, attempt, pid)


@contextmanager
def _stopped_process(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _check_refused(system: System, frozen: FrozenAttempt) -> None:
    assert not _stored_objects(system, frozen), "objects of the frozen attempt were not deleted"
    assert frozen.pid in system.service.replica_pids("pool"), "the frozen worker was not woken but replaced"
    ((attempt,),) = system.fetch_rows(PUBLISHED, frozen.extraction_id)
    assert int(attempt) > frozen.attempt, "the frozen attempt's result was published"


def _stored_objects(system: System, frozen: FrozenAttempt) -> list[Path]:
    """The objects of the frozen attempt."""
    prefix = result_prefix(frozen.extraction_id, frozen.task_id, frozen.attempt)
    return list((system.service.data_dir / "objects" / prefix).glob("*"))


def _has_lost_lease(system: System, frozen: FrozenAttempt) -> bool:
    """Whether the worker has logged that this attempt lost its lease."""
    lost_event = {"event": "task.lost", "task_id": str(frozen.task_id), "attempt": frozen.attempt}
    return any(lost_event.items() <= event.items() for event in _log_events(system, frozen.pid))


def _log_events(system: System, pid: int) -> list[dict[str, Any]]:
    """The JSON log lines that a process has written to its standard output. The last one may not be complete yet."""
    lines = system.worker_log(pid).rpartition("\n")[0].splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]
