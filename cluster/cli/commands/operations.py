"""The operators' commands: `fotograma ledger` and `timeline` over the API, and `fotograma ops …` on the servers.

`ops` needs the database itself: no admin exists who could make the first one, and the API may be away. It uses
FOTOGRAMA_DATABASE_URL, or else the database of the `fotograma up` that runs on the data directory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli.ops import (
    backup_and_restore,
    doctor,
    drain,
    ingest,
    logs,
    pause,
    replay_events,
    requeue,
    scale,
    status,
    users,
)
from cluster.cli.shared_options import Json, Timeout, example

if TYPE_CHECKING:
    from cluster.client.account_types import Ledger
    from cluster.client.api_types import TimelineEvent

commands = typer.Typer()
ops = typer.Typer(
    help="Commands for the operator of a service. They go to its servers or its Ray cluster.",
    epilog=example("fotograma ops status"),
    no_args_is_help=True,
)
for module in (status, logs, pause, requeue, scale, backup_and_restore, doctor, drain, replay_events):
    ops.add_typer(module.commands)
ops.add_typer(users.commands, name="users")
ops.add_typer(ingest.commands)


@commands.command(epilog=example("fotograma ledger --check"))
def ledger(
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 on any difference, and list the ids.")] = False,
    timeout: Timeout = None,
    as_json: Json = False,
) -> None:
    """Compare every accepted extraction with its outcome. For admins."""
    from dataclasses import asdict  # noqa: PLC0415

    from cluster.cli.output.terminal_output import json_text  # noqa: PLC0415
    from cluster.cli.service_client import open_client  # noqa: PLC0415

    with open_client(timeout) as client:
        result = client.ledger()
    typer.echo(json_text(asdict(result)) if as_json else "\n".join(ledger_lines(result)))
    if check and not result.balanced:
        if not as_json:
            for line in difference_lines(result):
                typer.echo(line, err=True)
        raise typer.Exit(1)


@commands.command(epilog=example("fotograma timeline 1d8e4a10"))
def timeline(
    extraction_id: Annotated[
        str, typer.Argument(metavar="ID", help="Id of an extraction, or of a video for its newest.", show_default=False)
    ],
    timeout: Timeout = None,
    as_json: Json = False,
) -> None:
    """Show what happened to an extraction."""
    from dataclasses import asdict  # noqa: PLC0415

    from cluster.cli.output.terminal_output import json_text  # noqa: PLC0415
    from cluster.cli.service_client import open_client  # noqa: PLC0415
    from cluster.cli.stored_items import find_items  # noqa: PLC0415

    with open_client(timeout) as client:
        (item,) = find_items(client, [extraction_id])
        events = list(client.timeline(item.extraction))
    if as_json:
        typer.echo(json_text({"items": [asdict(event) for event in events]}))
    else:
        for event in events:
            typer.echo(event_line(event))


def ledger_lines(result: Ledger) -> list[str]:
    """Returns the ledger as text: one figure in each line."""
    names = ("accepted", "succeeded", "failed", "cancelled", "queued", "running", "deleted")
    lines = [f"{name:<11}{getattr(result, name):>10}" for name in names]
    end = "Balanced." if result.balanced else f"Not balanced: {result.difference_count} extractions differ."
    return [*lines, end]


def difference_lines(result: Ledger) -> list[str]:
    """Returns one line for each difference with its reason, and how many more there are."""
    lists = [(result.differences, result.reasons)]
    lists += [(account.get("differences", ()), account.get("reasons", {})) for account in result.users]
    reason_of = {extraction_id: reasons.get(extraction_id, "") for ids, reasons in lists for extraction_id in ids}
    lines = [f"{extraction_id}  {reason}".rstrip() for extraction_id, reason in reason_of.items()]
    more = result.difference_count - len(reason_of)
    return [*lines, f"and {more} more"] if more > 0 else lines


def event_line(event: TimelineEvent) -> str:
    """Returns one event as text: time, kind and facts."""
    numbers = {"attempt": event.attempt, "segment": event.segment, "segments": event.segments}
    facts = [f"{name} {value}" for name, value in numbers.items() if value is not None]
    facts += [fact for fact in (event.channel, event.blame, event.code, event.detail) if fact is not None]
    return f"{event.at:%Y-%m-%d %H:%M:%S}  {event.kind:<12} {', '.join(facts)}".rstrip()
