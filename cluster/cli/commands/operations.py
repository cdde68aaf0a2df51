"""The operators' commands: `fotograma ledger` and `timeline` over the API, and `fotograma ops …` on the database.

`ops` needs the database itself, because no admin exists who could make the first one. It uses
FOTOGRAMA_DATABASE_URL, or else the database of the `fotograma up` that runs on the data directory.
"""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli.option_types import Json, example
from cluster.client.errors import FotogramaError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from cluster.client.account_types import Ledger
    from cluster.client.api_types import TimelineEvent

commands = typer.Typer()
ops = typer.Typer(
    help="Commands for the operator of a service. They go to its database.",
    epilog=example("fotograma ops users promote ana@example.com"),
    no_args_is_help=True,
)
users = typer.Typer(
    help="Change the role of an account, or its share of the workers.",
    epilog=example("fotograma ops users share ana@example.com --weight 2"),
    no_args_is_help=True,
)
ops.add_typer(users, name="users")

DataDirOption = Annotated[Path, typer.Option("--home", metavar="DIR", help="Data folder of `fotograma up`.")]
Email = Annotated[str, typer.Argument(metavar="EMAIL", help="E-mail of the account.", show_default=False)]
DEFAULT_DATA_DIR = Path("~/.fotograma")
MAX_RUNNING = 2**31 - 1


class NoDatabase(FotogramaError):
    """Neither the environment nor a running service names a database."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(f"No service runs on {data_dir}. Start it with `fotograma up`, or set FOTOGRAMA_DATABASE_URL.")


class NoAccount(FotogramaError):
    """No account has this e-mail address."""

    def __init__(self, email: str) -> None:
        super().__init__(f"There is no account {email}. Create it first: fotograma login --register")


@users.command(epilog=example("fotograma ops users promote ana@example.com"))
def promote(email: Email, data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Make an account an admin."""
    _set_role(email, "admin", data_dir)


@users.command(epilog=example("fotograma ops users demote ana@example.com"))
def demote(email: Email, data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Take an admin's rights away."""
    _set_role(email, "user", data_dir)


def _running_limit(text: str) -> int:
    """Parses a limit; `none` means COMMON_LIMIT. Raises typer.BadParameter."""
    from db.queue.fair_queueing import COMMON_LIMIT  # noqa: PLC0415

    if text == "none":
        return COMMON_LIMIT
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MAX_RUNNING):
        raise typer.BadParameter("It must be a whole number above 0, or none.")
    return int(text)


def _weight(weight: float | None) -> float | None:
    """Raises typer.BadParameter."""
    if weight is not None and not 0 < weight < math.inf:
        raise typer.BadParameter("It must be a number above 0.")
    return weight


@users.command(epilog=example("fotograma ops users share ana@example.com --weight 2 --running-limit 64"))
def share(
    email: Email,
    weight: Annotated[
        float | None, typer.Option(callback=_weight, help="Weight of the account in the queue; the default is 1.")
    ] = None,
    running_limit: Annotated[
        int | None,
        typer.Option(
            parser=_running_limit,
            metavar="N|none",
            help="The most open tasks; none: the limit of all accounts.",
        ),
    ] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Set an account's share of the workers. An option that is not given changes nothing."""
    from db import accounts  # noqa: PLC0415
    from db.queue import fair_queueing  # noqa: PLC0415
    from db.values.email_address import normal_email  # noqa: PLC0415

    if weight is None and running_limit is None:
        raise typer.BadParameter("Give --weight, --running-limit or both.")

    async def change(database: AsyncEngine) -> bool:
        account = await accounts.credentials(database, normal_email(email) or "")
        return account is not None and await fair_queueing.set_share(
            database, account[0], weight=weight, running_limit=running_limit
        )

    if not _run_on_database(data_dir, change):
        raise NoAccount(email)
    changes = [] if weight is None else [f"the weight {weight:g}"]
    if running_limit is not None:
        changes.append(f"the running limit {running_limit}" if running_limit else "no running limit of its own")
    typer.echo(f"{email} has {' and '.join(changes)} now.")


@commands.command(epilog=example("fotograma ledger --check"))
def ledger(
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 on any difference, and list the ids.")] = False,
    as_json: Json = False,
) -> None:
    """Compare every accepted extraction with its outcome. For admins."""
    from dataclasses import asdict  # noqa: PLC0415

    from cluster.cli.service_client import open_client  # noqa: PLC0415
    from cluster.cli.terminal_output import json_text  # noqa: PLC0415

    with open_client() as client:
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
    as_json: Json = False,
) -> None:
    """Show what happened to an extraction."""
    from dataclasses import asdict  # noqa: PLC0415

    from cluster.cli.service_client import open_client  # noqa: PLC0415
    from cluster.cli.stored_items import find_items  # noqa: PLC0415
    from cluster.cli.terminal_output import json_text  # noqa: PLC0415

    with open_client() as client:
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


def _set_role(email: str, role: str, data_dir: Path) -> None:
    from db import accounts  # noqa: PLC0415
    from db.values.email_address import normal_email  # noqa: PLC0415

    async def change(database: AsyncEngine) -> bool:
        return await accounts.set_role(database, normal_email(email) or "", role) is not None

    if not _run_on_database(data_dir, change):
        raise NoAccount(email)
    typer.echo(f"{email} has the role {role} now.")


def _run_on_database(data_dir: Path, work: Callable[[AsyncEngine], Awaitable[bool]]) -> bool:
    """Runs `work` on the database and returns its result. Raises NoDatabase."""
    import asyncio  # noqa: PLC0415

    from db.connection import open_database  # noqa: PLC0415

    url = database_url(data_dir)

    async def run() -> bool:
        database = open_database(url, name="ops", connections=1)
        try:
            return await work(database)
        finally:
            await database.dispose()

    return asyncio.run(run())


def database_url(data_dir: Path) -> str:
    """Returns the URL from the environment, or that of the running `fotograma up`. Raises NoDatabase."""
    if url := os.environ.get("FOTOGRAMA_DATABASE_URL"):
        return url
    from cluster.local import process_record  # noqa: PLC0415
    from cluster.local.data_dir import data_dir_at  # noqa: PLC0415
    from cluster.local.secret_files import open_secrets  # noqa: PLC0415
    from cluster.local.servers.embedded_postgres import url_of  # noqa: PLC0415
    from cluster.local.startup_error import StartupError  # noqa: PLC0415

    try:
        opened = data_dir_at(data_dir)
    except StartupError as error:
        raise NoDatabase(data_dir) from error
    folder = process_record.read_record(opened.record).folder
    if folder is None or not folder.is_dir():
        raise NoDatabase(data_dir)
    return url_of(folder / "postgres", open_secrets(opened.secrets, opened.ray_token).postgres_password)
