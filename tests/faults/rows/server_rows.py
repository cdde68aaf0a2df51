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

from tests.faults.audit import audit, burnt, tellings
from tests.faults.injection.failing_receiver import Receiving
from tests.faults.injection.submission_load import BUSY, TINY, Clip, Sent, load, senders
from tests.faults.injection.whole_service import LEASE_SECONDS, Act, System, until
from tests.faults.row_outcome import Outcome

SEED = 2026
AWAY_SECONDS = 3 * LEASE_SECONDS


async def postgres_away(system: System, full: bool) -> Outcome:
    """PostgreSQL killed and away for three lease times, under load."""
    times = 3 if full else 1

    def be_away() -> None:
        system.kill_postgres()
        time.sleep(AWAY_SECONDS)
        system.postgres.start()

    sent, moments = await _under_load(system, [be_away] * times)
    how = f"SIGKILL, away for {AWAY_SECONDS:.0f} s (three leases), {times} ×, under load"
    outcome = await audit(
        system, sent, name="PostgreSQL away", how=how, faults=moments, note="The outage cost no attempt."
    )
    assert not (told := burnt(system, sent)), f"an outage cost attempts: {told}"
    return outcome


async def postgres_killed(system: System, full: bool) -> Outcome:
    """PostgreSQL killed and started again at once, under load."""
    times = 20 if full else 2

    def die() -> None:
        system.kill_postgres()
        system.postgres.start()

    sent, moments = await _under_load(system, [die] * times)
    how = f"SIGKILL to all its processes and a start at once, {times} ×, under load"
    return await audit(system, sent, name="PostgreSQL killed", how=how, faults=moments)


async def connections_ended(system: System, full: bool) -> Outcome:
    """Connections of the service terminated at random, under load."""
    times = 200 if full else 10
    chance = random.Random(SEED)

    def end_one() -> None:
        until(lambda: _end_connection(system, chance), what="a connection")

    sent, moments = await _under_load(system, [end_one] * times, pause_seconds=0.2)
    how = f"pg_terminate_backend of a random connection, {times} ×, under load"
    return await audit(system, sent, name="Connections ended", how=how, faults=moments)


async def redis_stopped(system: System, full: bool) -> Outcome:
    """Valkey killed and away, then hung."""
    seconds, times = (20.0, 2) if full else (4.0, 1)

    def be_away() -> None:
        system.kill_valkey()
        time.sleep(seconds)
        system.valkey.start()

    def hang() -> None:
        assert system.valkey.pid is not None
        os.kill(system.valkey.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(system.valkey.pid, signal.SIGCONT)

    sent, moments = await _under_load(system, [be_away, hang] * times)
    how = f"SIGKILL and away for {seconds:.0f} s, then SIGSTOP for {seconds:.0f} s, {times} ×, under load"
    return await audit(system, sent, name="Redis stopped and hung", how=how, faults=moments)


async def mail_failing(system: System, full: bool) -> Outcome:
    """The mail server refuses, is slow, or hangs up after it has taken a message."""
    return await _failing(system, full, system.inbox, "Mail server failing", well=system.hook, other="webhook")


async def webhook_failing(system: System, full: bool) -> Outcome:
    """The same of a webhook receiver."""
    return await _failing(system, full, system.hook, "Webhook receiver failing", well=system.inbox, other="mail")


async def _failing(system: System, full: bool, ill: Receiving, name: str, *, well: Receiving, other: str) -> Outcome:
    """ill, well: two channels on which every end is told. other: what the well one gets."""
    count = 60 if full else 8
    clip = Clip(system.folder, TINY)
    sent = [clip.copy() for _ in range(count)]
    before, ill.fails.first = ill.fails.made, (2 if full else 1)
    try:
        async with senders(system, 4, {}) as group:
            await asyncio.gather(*(group[number % 4].send(one) for number, one in enumerate(sent)))
        how = f"{count} notifications; of each the first tries are refused, slow, or taken without an answer"
        outcome = await audit(system, sent, name=name, how=how)
    finally:
        ill.fails.first = 0
    failed = ill.fails.made - before
    assert failed == count * (2 if full else 1), f"{failed} tries failed"
    assert tellings(ill, sent).repeated > 0, "no message was repeated"
    assert tellings(well, sent).repeated == 0, f"a {other} was repeated because of another channel"
    return replace(outcome, note=f"{failed} tries failed; no {other} about the same was repeated.")


async def _under_load(
    system: System, faults: list[Callable[[], None]], *, pause_seconds: float = 2.0
) -> tuple[list[Sent], list[float]]:
    """Each fault in turn while clients submit. Gives what they sent, and when each fault had ended."""
    moments = []
    async with load(system, Clip(system.folder, BUSY)) as sent:
        for fault in faults:
            await asyncio.to_thread(fault)
            moments.append(time.time())
            await asyncio.sleep(pause_seconds)
    return sent, moments


def _end_connection(system: System, chance: random.Random) -> bool:
    try:
        found = system.fetch_rows("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'fotograma %%'")
        if not found:
            return False
        (pid,) = chance.choice(found)
        return bool(system.fetch_rows("SELECT pg_terminate_backend(%s)", pid)[0][0])
    except psycopg.OperationalError:
        return False


ACTS: tuple[Act, ...] = (
    postgres_away,
    postgres_killed,
    connections_ended,
    redis_stopped,
    mail_failing,
    webhook_failing,
)
