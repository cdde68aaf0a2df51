"""`fotograma ops users`: the accounts, their roles and their shares of the workers."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.cli.ops.service_options import DEFAULT_DATA_DIR, DataDirOption, run_on_database, service_of, show
from cluster.cli.ops.status import size as size_text
from cluster.cli.shared_options import Json, example
from cluster.operations.operation_errors import NoAccount

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from db.acceptance.quotas import AccountLimits
    from db.accounts.accounts import Account

commands = typer.Typer(
    help="List the accounts; change the role of an account, or its share of the workers.",
    epilog=example("fotograma ops users share ana@example.com --weight 2"),
    no_args_is_help=True,
)
Email = Annotated[str, typer.Argument(metavar="EMAIL", help="E-mail of the account.", show_default=False)]
MAX_RUNNING = 2**31 - 1
PAGE_ACCOUNTS = 200


@commands.command("list", epilog=example("fotograma ops users list --search example.com"))
def list_users(
    search: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only accounts whose e-mail or name contains it.")
    ] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """List the accounts, newest first, with what they have, their quotas, and whether they are disabled."""
    from cluster.operations.located_service import settings_of  # noqa: PLC0415
    from db.acceptance import quotas  # noqa: PLC0415
    from db.acceptance.quotas import Quotas  # noqa: PLC0415
    from db.accounts import accounts  # noqa: PLC0415

    settings = settings_of(service_of(data_dir))
    common = Quotas(settings.user_waiting_max, settings.user_stored_bytes_max, settings.user_minutes_per_day)

    async def read(database: AsyncEngine) -> list[tuple[Account, AccountLimits]]:
        found: list[tuple[Account, AccountLimits]] = []
        page: list[Account] = []
        while not found or len(page) == PAGE_ACCOUNTS:
            before = page[-1].id if page else None
            page = await accounts.list_accounts(database, limit=PAGE_ACCOUNTS, before=before, words=search)
            if not page:
                break
            limits = await quotas.account_limits(database, [account.id for account in page], common)
            found += [(account, limits[account.id]) for account in page]
        return found

    found = run_on_database(data_dir, read)
    lines = [account_line(account, limits) for account, limits in found] or ["There are no such accounts."]
    show({"items": [account_document(account, limits) for account, limits in found]}, lines, as_json=as_json)


def account_document(account: Account, limits: AccountLimits) -> dict[str, Any]:
    return {
        "id": str(account.id),
        "email": account.email,
        "name": account.name,
        "role": account.role,
        "created_at": account.created_at,
        "disabled_at": account.disabled_at,
        "use": asdict(limits.usage),
        "quotas": asdict(limits.quotas),
        "has_own_quotas": limits.is_own,
    }


def account_line(account: Account, limits: AccountLimits) -> str:
    """An account in a line: what it has of what it may have."""
    use, quota = limits.usage, limits.quotas
    facts = [
        f"{use.videos} videos",
        f"{use.waiting}{_of(quota.waiting)} waiting",
        f"{size_text(use.stored_bytes)}{'' if quota.stored_bytes is None else ' of ' + size_text(quota.stored_bytes)}",
        f"{use.minutes_per_day:g}{_of(quota.minutes_per_day)} minutes in a day",
    ]
    marks = [account.role] if account.role != "user" else []
    if account.disabled_at is not None:
        marks.append(f"disabled since {account.disabled_at:%Y-%m-%d}")
    return f"{account.email}  {', '.join(facts)}{''.join(f', {mark}' for mark in marks)}"


def _of(quota: int | None) -> str:
    return "" if quota is None else f" of {quota}"


@commands.command(epilog=example("fotograma ops users promote ana@example.com"))
def promote(email: Email, data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Make an account an admin."""
    _set_role(email, "admin", data_dir)


@commands.command(epilog=example("fotograma ops users demote ana@example.com"))
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


@commands.command(epilog=example("fotograma ops users share ana@example.com --weight 2 --running-limit 64"))
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
    from db.accounts import accounts  # noqa: PLC0415
    from db.queue import fair_queueing  # noqa: PLC0415
    from db.values.email_address import normal_email  # noqa: PLC0415

    if weight is None and running_limit is None:
        raise typer.BadParameter("Give --weight, --running-limit or both.")

    async def change(database: AsyncEngine) -> bool:
        account = await accounts.credentials(database, normal_email(email) or "")
        return account is not None and await fair_queueing.set_share(
            database, account.user_id, weight=weight, running_limit=running_limit
        )

    if not run_on_database(data_dir, change):
        raise NoAccount(email)
    changes = [] if weight is None else [f"the weight {weight:g}"]
    if running_limit is not None:
        changes.append(f"the running limit {running_limit}" if running_limit else "no running limit of its own")
    typer.echo(f"{email} has {' and '.join(changes)} now.")


def _set_role(email: str, role: str, data_dir: Path) -> None:
    from db.accounts import accounts  # noqa: PLC0415
    from db.values.email_address import normal_email  # noqa: PLC0415

    async def change(database: AsyncEngine) -> bool:
        return await accounts.set_role(database, normal_email(email) or "", role) is not None

    if not run_on_database(data_dir, change):
        raise NoAccount(email)
    typer.echo(f"{email} has the role {role} now.")
