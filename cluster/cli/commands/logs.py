"""`fotograma logs`: what happened to an extraction, as its owner may see it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli.shared_options import Timeout, example

if TYPE_CHECKING:
    from cluster.client.api_types import Extraction, TimelineEvent
    from cluster.client.sync_client import Client

commands = typer.Typer()

POLL_SECONDS = 1.0

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on until the extraction has ended.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]


@commands.command(epilog=example("fotograma logs 1d8e4a10 --follow"))
def logs(
    extraction_id: Annotated[
        str, typer.Argument(metavar="ID", help="Id of an extraction, or of a video for its newest.", show_default=False)
    ],
    follow: Follow = False,
    timeout: Timeout = None,
    as_json: JsonLines = False,
) -> None:
    """Show the log of an extraction: each event with its time, attempt and reason."""
    from cluster.cli.output.log_lines import json_line, log_line  # noqa: PLC0415
    from cluster.cli.output.terminal_output import printable  # noqa: PLC0415
    from cluster.cli.service_client import open_client  # noqa: PLC0415
    from cluster.cli.stored_items import find_items  # noqa: PLC0415

    with open_client(timeout) as client:
        (item,) = find_items(client, [extraction_id])
        for event in _events(client, item.extraction, follow=follow):
            facts = asdict(event)
            if as_json:
                typer.echo(json_line(facts))
            else:
                at, kind = facts.pop("at"), facts.pop("kind")
                typer.echo(printable(log_line(at, f"{kind:<12}", facts=facts)))


def _events(client: Client, extraction: Extraction, *, follow: bool) -> Iterator[TimelineEvent]:
    seen = 0
    while True:
        # Before the events: then none that led to the end is missing.
        has_ended = not follow or client.extraction(extraction.id).status.ended
        events = client.timeline(extraction)
        yield from events[seen:]
        seen = len(events)
        if has_ended:
            return
        time.sleep(POLL_SECONDS)
