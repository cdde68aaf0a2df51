"""Rows on the whole service: peaks, deaths of processes, redeployments; and all rows on it together."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil
import psycopg

from tests.faults.audit import audit, burnt
from tests.faults.injection.submission_load import BUSY, TINY, Clip, Sender, Sent, load, senders
from tests.faults.injection.whole_service import Act, System, kill, on_a_system, until
from tests.faults.row_outcome import Outcome, Row
from tests.faults.rows import server_rows
from tests.faults.rows.frozen_worker_row import frozen_worker

SEED = 2026
PARTS = ("worker", "child", "api", "maintenance")
APPLICATIONS = ("api", "pool", "maintenance")
RAY_STOP_SECONDS = 120.0
RAY_START_SECONDS = 240.0
READY_AGAIN = "Ready again"
REDEPLOY_SECONDS = 180.0


async def crowd(system: System, full: bool) -> Outcome:
    """Many clients at once, each submission with a key, every second one sent twice at the same time."""
    count, clients = (2_000, 50) if full else (100, 10)
    clip = Clip(system.folder, TINY)
    sent = [clip.copy() for _ in range(count)]
    async with senders(system, clients, {}, accounts=min(clients, 10)) as group:
        work = iter(enumerate(sent))
        await asyncio.gather(*(_send_all(sender, work) for sender in group))
    how = f"{count:,} submissions from {clients} clients at once, half of them sent twice"
    return await audit(system, sent, name="Peak", how=how)


async def random_kills(system: System, full: bool) -> Outcome:
    """SIGKILL to a worker, a decoding child, an API replica or maintenance, again and again, under load."""
    count = 200 if full else 8
    chance = random.Random(SEED)
    moments: list[float] = []
    killed = dict.fromkeys(PARTS, 0)
    async with load(system, Clip(system.folder, BUSY)) as sent:
        for number in range(count):
            part = PARTS[number % len(PARTS)]
            await asyncio.to_thread(_kill_one, system, part, chance)
            killed[part] += 1
            moments.append(time.time())
            await asyncio.sleep(chance.uniform(0.1, 1.0))
    how = ", ".join(f"{part} {times} ×" for part, times in killed.items()) + ": SIGKILL at random, under load"
    return await audit(system, sent, name="Processes killed", how=how, faults=moments)


async def gcs_killed(system: System, full: bool) -> Outcome:
    """SIGKILL to Ray's GCS alone, under load: `fotograma up` starts it again, and everybody else goes on."""
    times = 10 if full else 1
    service, moments = system.service, []
    await asyncio.to_thread(system.wait_until_complete)
    async with load(system, Clip(system.folder, BUSY)) as sent:
        before = {name: set(service.replica_pids(name)) for name in APPLICATIONS}
        for _ in range(times):
            await asyncio.to_thread(_kill_gcs, system)
            moments.append(time.time())
            await asyncio.sleep(3)
        after = {name: set(service.replica_pids(name)) for name in APPLICATIONS}
        assert after == before, "a process did not outlive the GCS"
        # What only a GCS that knows the cluster can do.
        await asyncio.to_thread(_replace_worker, system)
    how = f"SIGKILL to gcs_server alone, {times} ×, under load; its state is in RocksDB"
    note = "Every replica kept its process; afterwards a killed worker was replaced."
    return await audit(system, sent, name="GCS killed", how=how, faults=moments, note=note)


async def head_killed(system: System, full: bool) -> Outcome:
    """SIGKILL to Ray's raylet, and to everything, under load."""
    victims = ("raylet", "everything", "raylet") if full else ("raylet",)
    moments = []
    async with load(system, Clip(system.folder, BUSY)) as sent:
        for victim in victims:
            await asyncio.to_thread(_end_head, system, victim)
            moments.append(time.time())
            await asyncio.to_thread(_await_head, system, victim)
            await asyncio.sleep(3)
    note = "Of a raylet's death `fotograma up` starts Ray anew by itself; the time is that of a whole start."
    how = f"SIGKILL under load: {', '.join(victims)}"
    return await audit(system, sent, name="Head killed", how=how, faults=moments, note=note)


async def rolling_redeploy(system: System, full: bool) -> Outcome:
    """All three applications deployed anew under load."""
    times = 3 if full else 1
    moments = []
    async with load(system, Clip(system.folder, BUSY)) as sent:
        for _ in range(times):
            before = {name: set(system.service.replica_pids(name)) for name in APPLICATIONS}
            await asyncio.to_thread(_redeploy, system)
            moments.append(time.time())
            for name, pids in before.items():
                assert not pids & set(system.service.replica_pids(name)), f"{name} was not replaced"
    how = f"API, pool and maintenance deployed anew {times} ×, under load"
    outcome = await audit(system, sent, name="Rolling redeploy", how=how, faults=moments, note="No attempt burnt.")
    assert not (told := burnt(system, sent)), f"attempts were burnt: {told}"
    return outcome


async def _send_all(sender: Sender, work: Iterator[tuple[int, Sent]]) -> None:
    """Takes its next one from the work that all clients share; every second one it sends twice at once."""
    for place, one in work:
        await asyncio.gather(*(sender.send(one) for _ in range(1 + place % 2)))


def _kill_one(system: System, part: str, chance: random.Random) -> None:
    deadline = time.monotonic() + RAY_STOP_SECONDS
    while True:
        found = _processes(system, part)
        if found and kill(chance.choice(found)):
            return
        assert time.monotonic() < deadline, f"there is no {part} to kill"
        time.sleep(0.1)


def _processes(system: System, part: str) -> list[int]:
    service = system.service
    if part == "child":
        return _children(system)
    return service.replica_pids({"worker": "pool"}.get(part, part))


def _children(system: System) -> list[int]:
    """Children that decode, as far as their deaths don't add up to what a file is given up for: three crashes of one
    task are its file's fault, by design."""
    with suppress(psycopg.OperationalError, psutil.NoSuchProcess):
        if system.fetch_count("SELECT coalesce(max(crashes), 0) FROM tasks WHERE state IN ('ready', 'leased')") < 2:
            found = [system.service.decoding_child(worker) for worker in system.service.replica_pids("pool")]
            return [child for child in found if child is not None]
    return []


def _kill_gcs(system: System) -> None:
    """Gives back when another one runs."""
    (gcs,) = system.service.pids_named("gcs_server")
    kill(gcs)
    until(lambda: bool(set(system.service.pids_named("gcs_server")) - {gcs}), what="another GCS")


def _replace_worker(system: System) -> None:
    before = system.service.replica_pids("pool")
    kill(before[0])
    until(lambda: bool(set(system.service.replica_pids("pool")) - set(before)), what="another worker")


def _end_head(system: System, victim: str) -> None:
    if victim == "everything":
        system.service.kill_everything()
    else:
        system.service.send_signal(victim, signal.SIGKILL)


def _await_head(system: System, victim: str) -> None:
    """Gives back when all is ready again: by itself, as long as `fotograma up` lives."""
    if victim == "everything":
        system.service.start()
    else:
        system.service.wait_for(READY_AGAIN, RAY_START_SECONDS)


def _redeploy(system: System) -> None:
    command = [sys.executable, "-m", "tests.faults.injection.rolling_redeploy", system.gcs_address(), *APPLICATIONS]
    done = subprocess.run(
        command,
        check=False,
        env=system.head_environment(),
        capture_output=True,
        text=True,
        timeout=REDEPLOY_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-2000:]


ACTS: tuple[Act, ...] = (
    crowd,
    random_kills,
    frozen_worker,
    gcs_killed,
    head_killed,
    rolling_redeploy,
    *server_rows.ACTS,
)
ROWS: tuple[Row, ...] = tuple(on_a_system(act) for act in ACTS)
