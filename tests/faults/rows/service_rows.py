"""Rows on the whole service: peaks, killed processes, redeployments; and the list of all rows on it."""

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

from tests.faults.audit import audit, charged_retries
from tests.faults.injection.submission_load import BUSY, TINY, Clip, Sender, Submission, continuous_load, open_senders
from tests.faults.injection.whole_service import System, SystemRow, kill, wait_until, with_own_system
from tests.faults.row_outcome import Outcome, Row
from tests.faults.rows import server_rows
from tests.faults.rows.frozen_worker_row import frozen_worker

SEED = 2026
VICTIMS = ("worker", "child", "api", "maintenance")
APPLICATIONS = ("api", "pool", "maintenance")
RAY_STOP_SECONDS = 120.0
RAY_START_SECONDS = 240.0
READY_AGAIN = "Ready again"
REDEPLOY_SECONDS = 180.0


async def crowd(system: System, full: bool) -> Outcome:
    """Many clients submit at once, each video with a key; every second video is sent twice at the same time."""
    count, clients = (2_000, 50) if full else (100, 10)
    clip = Clip(system.folder, TINY)
    sent = [clip.new_submission() for _ in range(count)]
    async with open_senders(system, clients, {}, accounts=min(clients, 10)) as group:
        submissions = iter(enumerate(sent))
        await asyncio.gather(*(_send_all(sender, submissions) for sender in group))
    how = f"{count:,} submissions from {clients} clients at once, half of them sent twice"
    return await audit(system, sent, name="Peak", how=how)


async def random_kills(system: System, full: bool) -> Outcome:
    """SIGKILL to a worker, a decoding child, an API replica or maintenance, in turn, under load."""
    count = 200 if full else 8
    rng = random.Random(SEED)
    fault_ends: list[float] = []
    killed = dict.fromkeys(VICTIMS, 0)
    async with continuous_load(system, Clip(system.folder, BUSY)) as sent:
        for number in range(count):
            victim = VICTIMS[number % len(VICTIMS)]
            await asyncio.to_thread(_kill_one, system, victim, rng)
            killed[victim] += 1
            fault_ends.append(time.time())
            await asyncio.sleep(rng.uniform(0.1, 1.0))
    how = ", ".join(f"{victim} {times} ×" for victim, times in killed.items()) + ": SIGKILL at random, under load"
    return await audit(system, sent, name="Processes killed", how=how, faults=fault_ends)


async def gcs_killed(system: System, full: bool) -> Outcome:
    """SIGKILL to Ray's GCS alone, under load: `fotograma up` starts it again, and every other process continues."""
    times = 10 if full else 1
    service, fault_ends = system.service, []
    await asyncio.to_thread(system.wait_for_all_replicas)
    async with continuous_load(system, Clip(system.folder, BUSY)) as sent:
        before = {name: set(service.replica_pids(name)) for name in APPLICATIONS}
        for _ in range(times):
            await asyncio.to_thread(_kill_gcs, system)
            fault_ends.append(time.time())
            await asyncio.sleep(3)
        after = {name: set(service.replica_pids(name)) for name in APPLICATIONS}
        assert after == before, "a process did not outlive the GCS"
        # Only a GCS that knows the cluster can replace a worker.
        await asyncio.to_thread(_replace_worker, system)
    how = f"SIGKILL to gcs_server alone, {times} ×, under load; its state is in RocksDB"
    note = "Every replica kept its process; afterwards a killed worker was replaced."
    return await audit(system, sent, name="GCS killed", how=how, faults=fault_ends, note=note)


async def head_killed(system: System, full: bool) -> Outcome:
    """SIGKILL to Ray's raylet, or to all processes, under load."""
    victims = ("raylet", "everything", "raylet") if full else ("raylet",)
    fault_ends = []
    async with continuous_load(system, Clip(system.folder, BUSY)) as sent:
        for victim in victims:
            await asyncio.to_thread(_end_head, system, victim)
            fault_ends.append(time.time())
            await asyncio.to_thread(_wait_for_head, system, victim)
            await asyncio.sleep(3)
    note = "Of a raylet's death `fotograma up` starts Ray anew by itself; the time is that of a whole start."
    how = f"SIGKILL under load: {', '.join(victims)}"
    return await audit(system, sent, name="Head killed", how=how, faults=fault_ends, note=note)


async def rolling_redeploy(system: System, full: bool) -> Outcome:
    """All three applications are deployed again, under load."""
    times = 3 if full else 1
    fault_ends = []
    async with continuous_load(system, Clip(system.folder, BUSY)) as sent:
        for _ in range(times):
            before = {name: set(system.service.replica_pids(name)) for name in APPLICATIONS}
            await asyncio.to_thread(_redeploy, system)
            fault_ends.append(time.time())
            for name, pids in before.items():
                await asyncio.to_thread(_wait_for_other_replicas, system, name, pids)
    how = f"API, pool and maintenance deployed anew {times} ×, under load"
    outcome = await audit(system, sent, name="Rolling redeploy", how=how, faults=fault_ends, note="No attempt burnt.")
    assert not (retries := charged_retries(system, sent)), f"a redeployment was counted against tasks: {retries}"
    return outcome


async def _send_all(sender: Sender, submissions: Iterator[tuple[int, Submission]]) -> None:
    """Sends the next of the submissions that all clients share; every second one is sent twice at once."""
    for place, submission in submissions:
        await asyncio.gather(*(sender.send(submission) for _ in range(1 + place % 2)))


def _kill_one(system: System, victim: str, rng: random.Random) -> None:
    deadline = time.monotonic() + RAY_STOP_SECONDS
    while True:
        pids = _processes(system, victim)
        if pids and kill(rng.choice(pids)):
            return
        assert time.monotonic() < deadline, f"there is no {victim} to kill"
        time.sleep(0.1)


def _processes(system: System, victim: str) -> list[int]:
    service = system.service
    if victim == "child":
        return _children(system)
    return service.replica_pids({"worker": "pool"}.get(victim, victim))


def _children(system: System) -> list[int]:
    """The children that decode; none when a task has crashed twice.

    A third crash counts against the file, and the extraction fails by design.
    """
    with suppress(psycopg.OperationalError, psutil.NoSuchProcess):
        if system.fetch_count("SELECT coalesce(max(crashes), 0) FROM tasks WHERE state IN ('ready', 'leased')") < 2:
            children = [system.service.decoding_child(worker) for worker in system.service.replica_pids("pool")]
            return [child for child in children if child is not None]
    return []


def _kill_gcs(system: System) -> None:
    """Kills Ray's GCS; returns when another one runs."""
    (gcs,) = system.service.pids_named("gcs_server")
    kill(gcs)
    wait_until(lambda: bool(set(system.service.pids_named("gcs_server")) - {gcs}), what="another GCS")


def _replace_worker(system: System) -> None:
    before = system.service.replica_pids("pool")
    kill(before[0])
    wait_until(lambda: bool(set(system.service.replica_pids("pool")) - set(before)), what="another worker")


def _end_head(system: System, victim: str) -> None:
    if victim == "everything":
        system.service.kill_everything()
    else:
        system.service.send_signal(victim, signal.SIGKILL)


def _wait_for_head(system: System, victim: str) -> None:
    """Waits until all is ready. `fotograma up` starts Ray itself; the test starts it when it was killed, too."""
    if victim == "everything":
        system.service.start()
    else:
        system.service.wait_for(READY_AGAIN, RAY_START_SECONDS)


def _redeploy(system: System) -> None:
    command = [sys.executable, "-m", "tests.faults.injection.rolling_redeploy", system.gcs_address(), *APPLICATIONS]
    completed = subprocess.run(
        command,
        check=False,
        env=system.deploying_environment(),
        capture_output=True,
        text=True,
        timeout=REDEPLOY_SECONDS,
    )
    assert completed.returncode == 0, completed.stderr[-2000:]


def _wait_for_other_replicas(system: System, name: str, before: set[int]) -> None:
    """Waits until the former replicas of an application have ended: Serve does not wait for their processes."""
    wait_until(lambda: not before & set(system.service.replica_pids(name)), what=f"the replacement of {name}")


SYSTEM_ROWS: tuple[SystemRow, ...] = (
    crowd,
    random_kills,
    frozen_worker,
    gcs_killed,
    head_killed,
    rolling_redeploy,
    *server_rows.SYSTEM_ROWS,
)
ROWS: tuple[Row, ...] = tuple(with_own_system(row) for row in SYSTEM_ROWS)
