"""Rows in which the servers around the service fail: PostgreSQL, Valkey, SMTP."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace

import psycopg

from tests.faults.audit import audit, charged_retries, count_notifications
from tests.faults.injection.failing_receiver import Receiver
from tests.faults.injection.submission_load import BUSY, TINY, Clip, Submission, continuous_load, open_senders
from tests.faults.injection.whole_service import LEASE_SECONDS, System, SystemRow, wait_until
from tests.faults.row_outcome import Outcome

SEED = 2026
AWAY_SECONDS = 3 * LEASE_SECONDS


async def postgres_away(system: System, full: bool) -> Outcome:
    """PostgreSQL killed and away for three lease times, under load."""
    times = 3 if full else 1

    def stop_and_start() -> None:
        system.kill_postgres()
        time.sleep(AWAY_SECONDS)
        system.postgres.start()

    sent, fault_ends = await _under_load(system, [stop_and_start] * times)
    how = f"SIGKILL, away for {AWAY_SECONDS:.0f} s (three leases), {times} ×, under load"
    outcome = await audit(
        system, sent, name="PostgreSQL away", how=how, faults=fault_ends, note="The outage cost no attempt."
    )
    assert not (retries := charged_retries(system, sent)), f"an outage was counted against tasks: {retries}"
    return outcome


async def postgres_killed(system: System, full: bool) -> Outcome:
    """PostgreSQL killed and started again at once, under load."""
    times = 20 if full else 2

    def kill_and_start() -> None:
        system.kill_postgres()
        system.postgres.start()

    sent, fault_ends = await _under_load(system, [kill_and_start] * times)
    how = f"SIGKILL to all its processes and a start at once, {times} ×, under load"
    return await audit(system, sent, name="PostgreSQL killed", how=how, faults=fault_ends)


async def connections_ended(system: System, full: bool) -> Outcome:
    """Connections of the service terminated at random, under load."""
    times = 200 if full else 10
    rng = random.Random(SEED)

    def end_one() -> None:
        wait_until(lambda: _end_connection(system, rng), what="a connection")

    sent, fault_ends = await _under_load(system, [end_one] * times, pause_seconds=0.2)
    how = f"pg_terminate_backend of a random connection, {times} ×, under load"
    return await audit(system, sent, name="Connections ended", how=how, faults=fault_ends)


async def redis_stopped(system: System, full: bool) -> Outcome:
    """Valkey killed and away, then hung."""
    seconds, times = (20.0, 2) if full else (4.0, 1)

    def stop_and_start() -> None:
        system.kill_valkey()
        time.sleep(seconds)
        system.valkey.start()

    def hang() -> None:
        assert system.valkey.pid is not None
        os.kill(system.valkey.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(system.valkey.pid, signal.SIGCONT)

    sent, fault_ends = await _under_load(system, [stop_and_start, hang] * times)
    how = f"SIGKILL and away for {seconds:.0f} s, then SIGSTOP for {seconds:.0f} s, {times} ×, under load"
    return await audit(system, sent, name="Redis stopped and hung", how=how, faults=fault_ends)


async def mail_failing(system: System, full: bool) -> Outcome:
    """The mail server refuses, is slow, or closes the connection after it has received a message."""
    return await _failing(system, full, system.inbox, "Mail server failing", healthy=system.hook, other="webhook")


async def webhook_failing(system: System, full: bool) -> Outcome:
    """The webhook receiver refuses, is slow, or closes the connection after it has received a message."""
    return await _failing(system, full, system.hook, "Webhook receiver failing", healthy=system.inbox, other="mail")


async def _failing(
    system: System, full: bool, failing: Receiver, name: str, *, healthy: Receiver, other: str
) -> Outcome:
    """failing, healthy: the two channels of every account. other: what the healthy channel receives."""
    count = 60 if full else 8
    clip = Clip(system.folder, TINY)
    sent = [clip.new_submission() for _ in range(count)]
    before, failing.failures.failing_tries = failing.failures.failed_tries, (2 if full else 1)
    try:
        async with open_senders(system, 4, {}) as group:
            await asyncio.gather(*(group[number % 4].send(submission) for number, submission in enumerate(sent)))
        how = f"{count} notifications; of each the first tries are refused, slow, or taken without an answer"
        outcome = await audit(system, sent, name=name, how=how)
    finally:
        failing.failures.failing_tries = 0
    failed = failing.failures.failed_tries - before
    assert failed == count * (2 if full else 1), f"{failed} tries failed"
    assert count_notifications(failing, sent).repeated > 0, "no message was repeated"
    assert count_notifications(healthy, sent).repeated == 0, f"a {other} was repeated because of another channel"
    return replace(outcome, note=f"{failed} tries failed; no {other} about the same was repeated.")


async def _under_load(
    system: System, faults: list[Callable[[], None]], *, pause_seconds: float = 2.0
) -> tuple[list[Submission], list[float]]:
    """Causes one fault after the other while clients submit. Returns what they sent, and when each fault ended."""
    fault_ends = []
    async with continuous_load(system, Clip(system.folder, BUSY)) as sent:
        for fault in faults:
            await asyncio.to_thread(fault)
            fault_ends.append(time.time())
            await asyncio.sleep(pause_seconds)
    return sent, fault_ends


def _end_connection(system: System, rng: random.Random) -> bool:
    try:
        rows = system.fetch_rows("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'fotograma %%'")
        if not rows:
            return False
        (pid,) = rng.choice(rows)
        return bool(system.fetch_rows("SELECT pg_terminate_backend(%s)", pid)[0][0])
    except psycopg.OperationalError:
        return False


SYSTEM_ROWS: tuple[SystemRow, ...] = (
    postgres_away,
    postgres_killed,
    connections_ended,
    redis_stopped,
    mail_failing,
    webhook_failing,
)
