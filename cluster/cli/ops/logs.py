"""`fotograma ops logs`: the log of one extraction: its events in the database, and the lines on this machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from cluster.cli.ops.service_options import DEFAULT_DATA_DIR, DataDirOption, extraction_id, service_of
from cluster.cli.output.exit_codes import CommandExitCode
from cluster.cli.output.log_lines import json_line, log_line
from cluster.cli.shared_options import example

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from cluster.operations.log_files import LogFiles, LogRecord, Subject
    from db.extraction_trail import TrailEvent

commands = typer.Typer()

POLL_SECONDS = 0.5
TIMELINE = "timeline"
SHOWN_FIELDS = ("timestamp", "event", "message", "level", "extraction_id", "request_id", "trace_id", "video_id")
"""Fields of a line that stand in its words, or are the same in all lines."""


@commands.command(epilog=example("fotograma ops logs 0199a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b --follow"))
def logs(
    extraction: Annotated[
        UUID, typer.Argument(parser=extraction_id, metavar="EXTRACTION", help="Id of an extraction.")
    ],
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the extraction has ended.")] = False,
    lines: Annotated[
        int, typer.Option(min=1, max=100_000, metavar="N", help="The newest lines; older are left out.")
    ] = 1000,
    log_dir: Annotated[
        Path | None,
        typer.Option("--logs", metavar="DIR", help="Folder with the logs of Ray's workers.", show_default=False),
    ] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Show the log of an extraction: its events with their workers, and the lines of the replicas on this machine."""
    from cluster.operations.database_access import on_database  # noqa: PLC0415
    from cluster.operations.log_files import LogFiles, find_log_folder  # noqa: PLC0415

    service = service_of(data_dir)
    folder = log_dir or find_log_folder(service, os.environ)
    if folder is None:
        typer.echo("No log of a Ray worker is on this machine: these are the events alone. Try --logs DIR.", err=True)
    view = _View(extraction, lines, as_json, None if folder is None else LogFiles(folder))
    asyncio.run(on_database(service.database_url, lambda database: view.show(database, follow=follow)))


class _View:
    """What is printed of one extraction. files: None without log files."""

    def __init__(self, extraction: UUID, limit: int, as_json: bool, files: LogFiles | None) -> None:
        self._extraction, self._limit, self._as_json, self._files = extraction, limit, as_json, files
        self._last_event = 0

    async def show(self, database: AsyncEngine, *, follow: bool) -> None:
        from cluster.operations.log_files import Subject  # noqa: PLC0415
        from db.extraction_trail import read_trail  # noqa: PLC0415

        is_first, had_ended = True, False
        while True:
            trail = await read_trail(database, self._extraction, limit=self._limit, after=self._last_event)
            if trail is None:
                typer.echo(f"There is no extraction {self._extraction}.", err=True)
                raise typer.Exit(CommandExitCode.REFUSED)
            if is_first and trail.request_id is not None:
                typer.echo(f"Request {trail.request_id}, trace {trail.trace_id}.", err=True)
            records = self._records(Subject(str(self._extraction), trail.request_id), is_first=is_first)
            self._print(trail.events, records)
            # The last lines are written after the end in the database.
            if not follow or had_ended:
                return
            is_first, had_ended = False, trail.has_ended
            await asyncio.sleep(POLL_SECONDS)

    def _records(self, subject: Subject, *, is_first: bool) -> list[LogRecord]:
        if self._files is None:
            return []
        if not is_first:
            return self._files.more(subject)
        found = self._files.newest(subject, self._limit)
        if self._files.is_cut:
            typer.echo("The logs are large: their older part was not read.", err=True)
        return found

    def _print(self, events: Iterable[TrailEvent], records: Iterable[LogRecord]) -> None:
        from cluster.cli.output.terminal_output import printable  # noqa: PLC0415

        entries = [(event.at, self._event_line(event)) for event in events]
        entries += [(record.at, self._record_line(record)) for record in records]
        for _, line in sorted(entries, key=lambda entry: entry[0])[-self._limit :]:
            typer.echo(line if self._as_json else printable(line))

    def _event_line(self, event: TrailEvent) -> str:
        self._last_event = max(self._last_event, event.id)
        if self._as_json:
            return json_line({"at": event.at, "source": TIMELINE, "kind": event.kind, **event.data})
        return log_line(event.at, TIMELINE, event.kind, facts=event.data)

    def _record_line(self, record: LogRecord) -> str:
        if self._as_json:
            return json_line({"at": record.at, "source": record.file, **record.fields})
        fields: dict[str, Any] = dict(record.fields)
        facts = {name: value for name, value in fields.items() if name not in SHOWN_FIELDS}
        words = (str(fields.get("level", "")), str(fields.get("event", "")), str(fields.get("message", "")))
        return log_line(record.at, *words, facts=facts)
