"""The commands for the extractions on a service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from cluster.cli.shared_options import Ids, Json, Timeout, example
from cluster.cli.spec_options import SpecOptions, with_spec_options

if TYPE_CHECKING:
    from cluster.cli.stored_items import StoredItem
    from cluster.client.api_types import Extraction
    from cluster.client.sync_client import Client

commands = typer.Typer()


@commands.command(epilog=example("fotograma cancel 1d8e4a10"))
def cancel(ids: Ids, timeout: Timeout = None, as_json: Json = False) -> None:
    """Cancel extractions that wait or run. For a video, its newest one."""
    from dataclasses import asdict  # noqa: PLC0415

    from cluster.cli.commands.each_item import act_on_each  # noqa: PLC0415
    from cluster.cli.service_client import open_client  # noqa: PLC0415
    from cluster.cli.stored_items import find_items  # noqa: PLC0415

    def cancel_one(client: Client, item: StoredItem) -> tuple[str, object]:
        return "cancelled", asdict(client.cancel(item.extraction))

    with open_client(timeout) as client:
        act_on_each(client, find_items(client, ids), cancel_one, as_json=as_json)


@commands.command(epilog=example("fotograma retry 1d8e4a10"))
def retry(ids: Ids, timeout: Timeout = None, as_json: Json = False) -> None:
    """Try failed or cancelled extractions again, with the same specification."""
    from dataclasses import asdict  # noqa: PLC0415

    from cluster.cli.commands.each_item import act_on_each  # noqa: PLC0415
    from cluster.cli.service_client import open_client  # noqa: PLC0415
    from cluster.cli.stored_items import find_items  # noqa: PLC0415

    def retry_one(client: Client, item: StoredItem) -> tuple[str, object]:
        extraction = client.retry(item.extraction)
        return started_text(extraction), asdict(extraction)

    with open_client(timeout) as client:
        act_on_each(client, find_items(client, ids), retry_one, as_json=as_json)


@commands.command(epilog=example("fotograma again 1d8e4a10 --mode keyframes --format png"))
@with_spec_options
def again(ids: Ids, *, options: SpecOptions, timeout: Timeout = None, as_json: Json = False) -> None:
    """Extract from stored videos again, without an upload. Without options: with the specification of ID."""
    from dataclasses import asdict  # noqa: PLC0415

    from cluster.cli.commands.each_item import act_on_each  # noqa: PLC0415
    from cluster.cli.service_client import open_client  # noqa: PLC0415
    from cluster.cli.spec_resolution import text_of_options  # noqa: PLC0415
    from cluster.cli.stored_items import find_items  # noqa: PLC0415

    spec = text_of_options(options, timeout=timeout)

    def extract_again(client: Client, item: StoredItem) -> tuple[str, object]:
        extraction = client.extract_again(item.video, spec or item.extraction.spec)
        return started_text(extraction), asdict(extraction)

    with open_client(timeout) as client:
        act_on_each(client, find_items(client, ids), extract_again, as_json=as_json)


def started_text(extraction: Extraction) -> str:
    """Returns what became of a new extraction, and the command that fetches its result."""
    state = "the same result is there already" if extraction.reused else str(extraction.status.value)
    return f"{state}. Fetch it with: fotograma download {extraction.id}"
