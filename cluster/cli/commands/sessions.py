"""The commands that log in and out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli.shared_options import Json, Timeout, example

if TYPE_CHECKING:
    from cluster.client.account_types import Account

commands = typer.Typer()


@commands.command(epilog=example("fotograma login --register --email ana@example.com"))
def login(
    url: Annotated[
        str | None, typer.Option(envvar="FOTOGRAMA_URL", help="Address of the service.", show_default=False)
    ] = None,
    email: Annotated[str | None, typer.Option(help="E-mail of the account.", show_default=False)] = None,
    register: Annotated[bool, typer.Option("--register", help="Create the account first.")] = False,
    timeout: Timeout = None,
) -> None:
    """Log in to a service. The password is asked for, or taken from FOTOGRAMA_PASSWORD."""
    from cluster.cli.service_client import open_client_at  # noqa: PLC0415
    from cluster.client.credentials.credentials_file import credentials_file  # noqa: PLC0415
    from cluster.client.credentials.server_choice import choose_server  # noqa: PLC0415

    file = credentials_file(os.environ)
    address = choose_server(url, None, {}, file.current_url).url
    account_email = email or typer.prompt("E-mail", err=True)
    password = os.environ.get("FOTOGRAMA_PASSWORD") or typer.prompt(
        "Password", hide_input=True, confirmation_prompt=register, err=True
    )
    with open_client_at(address, timeout) as client:
        if register:
            client.register(account_email, password, locale=account_language(os.environ))
        tokens = client.login(account_email, password)
    with file.locked():
        file.write_tokens(address, tokens, account_email)
    typer.echo(f"Logged in at {address} as {account_email}.")


def account_language(environment: Mapping[str, str]) -> str | None:
    """The language of a new account's page and mails, after the terminal's; None for that of the service."""
    names = (environment.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return "pt-BR" if next(filter(None, names), "").startswith("pt") else None


@commands.command(epilog=example("fotograma logout"))
def logout(timeout: Timeout = None) -> None:
    """End the session and delete its tokens."""
    from cluster.cli.server_url import server_url  # noqa: PLC0415
    from cluster.cli.service_client import open_client  # noqa: PLC0415

    url = server_url(os.environ)
    with open_client(timeout) as client:
        client.logout()
    typer.echo(f"Logged out at {url}.")


@commands.command(epilog=example("fotograma whoami"))
def whoami(timeout: Timeout = None, as_json: Json = False) -> None:
    """Show the account that you are logged in with, and the service."""
    from dataclasses import asdict  # noqa: PLC0415

    from cluster.cli.output.terminal_output import json_text  # noqa: PLC0415
    from cluster.cli.server_url import server_url  # noqa: PLC0415
    from cluster.cli.service_client import open_client  # noqa: PLC0415

    url = server_url(os.environ)
    with open_client(timeout) as client:
        account = client.me()
    if as_json:
        typer.echo(json_text({"url": url, **asdict(account)}))
    else:
        for line in account_lines(account, url):
            typer.echo(line)


def account_lines(account: Account, url: str) -> list[str]:
    """Returns the account as text, with what it has of what it may have."""
    name = f" ({account.name})" if account.name else ""
    lines = [f"{account.email}{name}, {account.role}, at {url}"]
    if account.quotas is not None and account.use is not None:
        use, most = account.use, account.quotas
        lines.append(f"{use.videos} videos; {use.waiting}{_of(most.waiting)} extractions wait or run")
        stored = None if most.stored_bytes is None else f"{most.stored_bytes / 1e9:.1f}"
        lines.append(f"{use.stored_bytes / 1e9:.1f}{_of(stored)} GB stored")
        lines.append(f"{use.minutes_per_day:.0f}{_of(most.minutes_per_day)} minutes of video in 24 hours")
    return lines


def _of(most: object) -> str:
    return "" if most is None else f" of {most}"
