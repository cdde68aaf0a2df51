"""The commands that log in and out."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from cluster.cli.option_types import example

commands = typer.Typer()


@commands.command(epilog=example("fotograma login --register --email ana@example.com"))
def login(
    url: Annotated[
        str | None, typer.Option(envvar="FOTOGRAMA_URL", help="Address of the service.", show_default=False)
    ] = None,
    email: Annotated[str | None, typer.Option(help="E-mail of the account.", show_default=False)] = None,
    register: Annotated[bool, typer.Option("--register", help="Create the account first.")] = False,
) -> None:
    """Log in to a service. The password is asked for, or taken from FOTOGRAMA_PASSWORD."""
    from cluster.client.credentials.credentials_file import credentials_file  # noqa: PLC0415
    from cluster.client.credentials.server_choice import choose_server  # noqa: PLC0415
    from cluster.client.sync_client import Client  # noqa: PLC0415

    file = credentials_file(os.environ)
    address = choose_server(url, None, {}, file.current_url).url
    account_email = email or typer.prompt("E-mail", err=True)
    password = os.environ.get("FOTOGRAMA_PASSWORD") or typer.prompt(
        "Password", hide_input=True, confirmation_prompt=register, err=True
    )
    with Client(address) as client:
        if register:
            client.register(account_email, password)
        tokens = client.login(account_email, password)
    with file.locked():
        file.write_tokens(address, tokens, account_email)
    typer.echo(f"Logged in at {address} as {account_email}.")


@commands.command(epilog=example("fotograma logout"))
def logout() -> None:
    """End the session and delete its tokens."""
    from cluster.cli.stored_credentials import server_credentials  # noqa: PLC0415
    from cluster.client.sync_client import Client  # noqa: PLC0415

    server = server_credentials(os.environ)
    with Client(server.url, store=server.store) as client:
        client.logout()
    typer.echo(f"Logged out at {server.url}.")
