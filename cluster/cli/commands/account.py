"""The commands for the account: `fotograma account …`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cluster.cli.shared_options import Timeout, Yes, example

account = typer.Typer(
    help="Take all data of your account with you, or erase the account.",
    epilog=example("fotograma account export my-data.zip"),
    no_args_is_help=True,
)


@account.command(epilog=example("fotograma account export my-data.zip"))
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="New zip file to write.", show_default=False)],
    timeout: Timeout = None,
) -> None:
    """Write all that the service stores about you into a zip file, with your videos and results."""
    from rich.progress import DownloadColumn, Progress, TimeElapsedColumn, TransferSpeedColumn  # noqa: PLC0415

    from cluster.cli.output.terminal_output import console, printable  # noqa: PLC0415
    from cluster.cli.service_client import open_client  # noqa: PLC0415

    if os.path.lexists(file):
        raise typer.BadParameter(f"{printable(str(file))} is there already.", param_hint="FILE")
    screen = console()
    bar = Progress(
        DownloadColumn(), TransferSpeedColumn(), TimeElapsedColumn(), console=screen, disable=not screen.is_terminal
    )
    with open_client(timeout) as client, bar:
        task = bar.add_task("", total=None)
        client.export_account(file, on_received=lambda received, _: bar.update(task, completed=received))
    typer.echo(f"{printable(str(file))}: {file.stat().st_size / 1e6:.1f} MB")


@account.command(epilog=example("fotograma account delete"))
def delete(
    yes: Yes = False,
    timeout: Timeout = None,
) -> None:
    """Erase your account with all videos and results. The password is asked for, or taken from FOTOGRAMA_PASSWORD."""
    from cluster.cli.service_client import open_client  # noqa: PLC0415

    with open_client(timeout) as client:
        email = client.me().email
    if not yes:
        question = f"Erase the account {email} with all its videos and results? This can't be undone."
        typer.confirm(question, abort=True, err=True)
    password = os.environ.get("FOTOGRAMA_PASSWORD") or typer.prompt("Password", hide_input=True, err=True)
    with open_client(timeout) as client:
        client.delete_account(password)
    typer.echo(f"The account {email} is erased.")
