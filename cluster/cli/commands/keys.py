"""The commands for API keys: `fotograma keys …`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli.shared_options import Json, Timeout, Yes, example

if TYPE_CHECKING:
    from cluster.client.account_types import ApiKey

keys = typer.Typer(
    help="Manage API keys: scripts use them in place of a log-in.",
    epilog=example('fotograma keys create "nightly job"'),
    no_args_is_help=True,
)
TITLES = ("ID", "NAME", "CREATED", "LAST USED")


@keys.command("list", epilog=example("fotograma keys list"))
def list_(timeout: Timeout = None, as_json: Json = False) -> None:
    """Show your API keys, newest first, without their secrets."""
    from cluster.cli.output.terminal_output import json_text  # noqa: PLC0415
    from cluster.cli.service_client import open_client  # noqa: PLC0415

    with open_client(timeout) as client:
        found = client.api_keys()
    if as_json:
        typer.echo(json_text({"items": [_document(key) for key in found]}))
    elif sys.stdout.isatty():
        for line in table_lines(found, datetime.now(UTC)):
            typer.echo(line)
    else:
        for key in found:
            typer.echo(key_line(key))


@keys.command(epilog=example('fotograma keys create "nightly job"'))
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.", show_default=False)],
    timeout: Timeout = None,
    as_json: Json = False,
) -> None:
    """Make an API key, and print its secret, which is shown only this once. Set FOTOGRAMA_API_KEY to it."""
    from cluster.cli.output.terminal_output import json_text, printable  # noqa: PLC0415
    from cluster.cli.service_client import open_client  # noqa: PLC0415

    with open_client(timeout) as client:
        key = client.add_api_key(name)
    if as_json:
        typer.echo(json_text(_document(key) | {"secret": key.secret}))
        return
    typer.echo(f"The key {printable(key.name)} has the secret below. It can't be shown again.", err=True)
    # Alone on standard output, for KEY=$(fotograma keys create …).
    typer.echo(key.secret)


@keys.command(epilog=example('fotograma keys revoke "nightly job" --yes'))
def revoke(
    key: Annotated[
        str,
        typer.Argument(metavar="KEY", help="Id of a key, its beginning or end, or the name.", show_default=False),
    ],
    yes: Yes = False,
    timeout: Timeout = None,
) -> None:
    """Delete an API key. What uses it is refused from then on."""
    from cluster.cli.commands.each_item import confirm  # noqa: PLC0415
    from cluster.cli.output.terminal_output import printable  # noqa: PLC0415
    from cluster.cli.service_client import open_client  # noqa: PLC0415

    with open_client(timeout) as client:
        found = find_key(client.api_keys(), key)
    if not yes:
        confirm("Revoke", [found.name])
    with open_client(timeout) as client:
        client.delete_api_key(found)
    typer.echo(f"{printable(found.name)}: revoked")


def find_key(known: Sequence[ApiKey], text: str) -> ApiKey:
    """Returns the key with this id or name, or with an id that begins or ends so. Raises UnknownId, AmbiguousId."""
    from cluster.cli.stored_items import AmbiguousId, UnknownId, matches_id  # noqa: PLC0415

    found = [key for key in known if text in {key.id, key.name}] or [key for key in known if matches_id(key.id, text)]
    if not found:
        raise UnknownId(f"You have no key {text}. They are in: fotograma keys list")
    if len(found) > 1:
        names = ", ".join(f"{key.id} ({key.name})" for key in found[:3])
        raise AmbiguousId(f"{len(found)} keys are meant by {text}: {names}. Give more of the id.")
    return found[0]


def key_line(key: ApiKey) -> str:
    """Returns one key as a tab-separated line, for programs."""
    from cluster.cli.output.terminal_output import printable  # noqa: PLC0415

    times = (key.created_at, key.last_used_at)
    shown = ["" if at is None else at.astimezone().isoformat(" ", "seconds") for at in times]
    return "\t".join([key.id, printable(key.name), *shown])


def table_lines(found: Sequence[ApiKey], now: datetime) -> list[str]:
    """Returns the keys as a table with its head, for people."""
    from cluster.cli.output.terminal_output import printable  # noqa: PLC0415
    from cluster.cli.stored_items import short_ids  # noqa: PLC0415
    from cluster.cli.video_table import when_text  # noqa: PLC0415

    rows = [TITLES]
    for short, key in zip(short_ids([key.id for key in found]), found, strict=True):
        used = "never" if key.last_used_at is None else when_text(key.last_used_at, now)
        rows.append((short, printable(key.name), when_text(key.created_at, now), used))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _document(key: ApiKey) -> dict[str, object]:
    """Without the secret."""
    return {"id": key.id, "name": key.name, "created_at": key.created_at, "last_used_at": key.last_used_at}
