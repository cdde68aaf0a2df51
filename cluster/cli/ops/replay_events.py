"""`fotograma ops replay-events`: what other services read from the Redis Stream, once more."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli.ops.service_options import DEFAULT_DATA_DIR, DataDirOption, service_of, show
from cluster.cli.ops.time_option import HELP, parse_time
from cluster.cli.shared_options import Json, example

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from db.notification.event_log import Replay

commands = typer.Typer()


@commands.command("replay-events", epilog=example("fotograma ops replay-events --since 2026-01-31T10:00"))
def replay_events(
    since: Annotated[
        datetime, typer.Option(parser=parse_time, metavar="TIME", help=f"From when on. {HELP}", show_default=False)
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the events.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Send the events since a time to the Redis Stream again, in their order. They have the ids that they had.

    Some from shortly before come too. Consumers drop the ids that they know: docs/events.md.
    """
    import asyncio  # noqa: PLC0415

    from cluster.operations.database_access import on_database  # noqa: PLC0415
    from cluster.operations.located_service import settings_of  # noqa: PLC0415
    from cluster.operations.redis_stream_replay import replay_events as replay_all  # noqa: PLC0415
    from db.notification import event_log  # noqa: PLC0415

    service = service_of(data_dir)
    settings = settings_of(service)
    if not dry_run:
        service.required_redis_url()

    async def work(database: AsyncEngine) -> Replay | None:
        if dry_run:
            return await event_log.find_replay(database, since)
        return await replay_all(database, settings, since, lambda line: typer.echo(line, err=True))

    replay = asyncio.run(on_database(service.database_url, work))
    count = 0 if replay is None else replay.count
    lines = [f"{count} events would be sent again." if dry_run else f"{count} events were sent again."]
    if count > settings.events_stream_length:
        lines.append(f"The stream keeps about {settings.events_stream_length}: the first ones are gone from it.")
    show({"events": count, "stream_length": settings.events_stream_length}, lines, as_json=as_json)
