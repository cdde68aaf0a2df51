"""`fotograma ops status`: queue, workers, nodes, storage, ledger, outbox and versions at a moment."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from cluster.cli.ops.pause import pauses_document
from cluster.cli.ops.scale import limits_text
from cluster.cli.ops.service_options import DEFAULT_DATA_DIR, DataDirOption, service_of, show
from cluster.cli.shared_options import Json, example

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.operations.ray_nodes import RayNode
    from cluster.operations.service_status import ServiceStatus
    from db.queue.queue_status import SeenWorker

commands = typer.Typer()

WIDTH = 11
MAX_LISTED = 20
"""Workers and nodes that are listed one by one; the JSON has all."""


@commands.command(epilog=example("fotograma ops status --json"))
def status(data_dir: DataDirOption = DEFAULT_DATA_DIR, as_json: Json = False) -> None:
    """Show queue, workers, nodes, storage, ledger, outbox, versions, and what is paused."""
    import asyncio  # noqa: PLC0415

    from cluster.operations.service_status import read_status  # noqa: PLC0415

    found = asyncio.run(read_status(service_of(data_dir)))
    show(status_document(found), list(status_lines(found)), as_json=as_json)


def worker_state(worker: SeenWorker) -> str:
    return "lost" if worker.is_lost else "running" if worker.tasks else "idle"


def status_document(found: ServiceStatus) -> dict[str, Any]:
    """The status as JSON values."""
    queue = found.queue
    return {
        "paused": pauses_document(found.pauses),
        "queue": {
            "ready": queue.ready,
            "delayed": queue.delayed,
            "throttled": queue.throttled,
            "running": queue.running,
            "lost": queue.lost,
            "given_up": queue.given_up_count,
            "oldest_seconds": queue.oldest_seconds,
            "kinds": [asdict(kind) for kind in found.kinds],
        },
        "workers": [
            {
                "name": worker.name,
                "state": worker_state(worker),
                "kind": worker.kind,
                "gpu": worker.gpu,
                "tasks": [str(task.task_id) for task in worker.tasks],
            }
            for worker in found.workers
        ],
        "limits": {
            kind: {"min": limits.min_workers, "max": limits.max_workers} for kind, limits in found.limits.items()
        },
        "nodes": None if found.nodes is None else [asdict(node) for node in found.nodes],
        "storage": asdict(found.stored) | {"free": found.free_bytes},
        "ledger": None if found.last_audit is None else asdict(found.last_audit),
        "outbox": asdict(found.outbox),
        "versions": {**found.versions, "database_schema": found.schema, "postgres": found.postgres},
    }


def status_lines(found: ServiceStatus) -> Iterator[str]:
    """The status as lines: a subject, then its figures."""
    for activity in found.pauses.activities:
        since = found.pauses.since(activity)
        yield f"PAUSED     {activity} since {since:%Y-%m-%d %H:%M} UTC. Go on: fotograma ops resume {activity}"
    queue = found.queue
    oldest = "" if queue.oldest_seconds is None else f"; the oldest waits {duration(queue.oldest_seconds)}"
    yield _line(
        "queue",
        f"{queue.ready} ready ({queue.delayed} delayed), {queue.throttled} throttled, {queue.running} running, "
        f"{queue.lost} lost{oldest}",
    )
    for kind in found.kinds:
        waits = "" if kind.oldest_seconds is None else f", oldest {duration(kind.oldest_seconds)}"
        yield _line("", f"{kind.kind}: {kind.ready} ready, {kind.throttled} throttled, {kind.running} running{waits}")
    if queue.given_up_count:
        yield _line("", f"{queue.given_up_count} given up in the last 7 days: fotograma ops requeue --all-failed")
    yield from _worker_lines(found)
    yield from _node_lines(found)
    yield from _storage_lines(found)
    versions = {**found.versions, "PostgreSQL": found.postgres}
    yield _line("versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version))
    if found.schema != found.versions["schema"]:
        yield _line("", f"the database has the schema {found.schema}, this program needs {found.versions['schema']}")


def _worker_lines(found: ServiceStatus) -> Iterator[str]:
    states = [worker_state(worker) for worker in found.workers]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("running", "idle", "lost"))
    yield _line("workers", f"{len(states)}: {counts}")
    for kind, limits in found.limits.items():
        if text := limits_text(limits):
            yield _line("", f"ordered for {kind}: {text}")
    for worker, state in list(zip(found.workers, states, strict=True))[:MAX_LISTED]:
        yield _line("", f"{worker.name}  {state}" + (f"  {worker.gpu}" if worker.gpu else ""))


def _node_lines(found: ServiceStatus) -> Iterator[str]:
    if found.nodes is None:
        yield _line("nodes", f"unknown: {found.nodes_error}")
        return
    yield _line("nodes", str(len(found.nodes)))
    for node in found.nodes[:MAX_LISTED]:
        yield _line("", node_line(node))


def node_line(node: RayNode) -> str:
    """A node in one line: the id that `drain` takes, and what it offers."""
    offers = ", ".join(f"{amount:g} {name}" for name, amount in sorted(node.resources.items()) if "memory" not in name)
    return f"{node.id[:12]}  {node.address}  {node.state}{'  head' if node.is_head else ''}  {offers}"


def _storage_lines(found: ServiceStatus) -> Iterator[str]:
    free = "" if found.free_bytes is None else f"; {size(found.free_bytes)} free"
    stored = found.stored
    yield _line(
        "storage",
        f"{size(stored.originals)} of originals, {size(stored.results)} of results, "
        f"{size(stored.uploads)} of open uploads{free}",
    )
    audit = found.last_audit
    if audit is None:
        yield _line("ledger", "not audited yet")
    else:
        yield _line(
            "ledger",
            f"{audit.accepted} accepted, {audit.difference_count} differences, "
            f"audited {audit.audited_at:%Y-%m-%d %H:%M:%S} UTC",
        )
    outbox = found.outbox
    late = f", the first is due for {duration(outbox.late_seconds)}" if outbox.late_seconds else ""
    yield _line("outbox", f"{outbox.pending} pending{late}")


def duration(seconds: float) -> str:
    """Such as `42 s`, `12 min` or `3.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(count: int) -> str:
    """Such as `512 B` or `1.5 GiB`."""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"


def _line(subject: str, text: str) -> str:
    return f"{subject:<{WIDTH}}{text}"
