"""The command `fotograma up`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.cli.option_types import example

commands = typer.Typer()


@commands.command(epilog=example("fotograma up --port 8080 --home ~/videos"))
def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the API and the page.")] = 8000,
    data_dir: Annotated[Path, typer.Option("--home", metavar="DIR", help="Folder of all data.")] = Path("~/.fotograma"),
    demo: Annotated[bool, typer.Option("--demo", help="Also extract a sample clip.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, envvar="FOTOGRAMA_WORKERS", help="Videos processed at once.", show_default="the cores"),
    ] = None,
) -> None:
    """Run the whole service on this machine until Ctrl-C."""
    from cluster.local.startup_error import ExitCode  # noqa: PLC0415

    try:
        from cluster.local.up import up as run  # noqa: PLC0415

        code = run(port=port, data_dir=data_dir, demo=demo, workers=workers)
    except ModuleNotFoundError as error:
        typer.echo(f'The service is not installed ({error.name}). Run: pip install "fotograma[local]"', err=True)
        raise typer.Exit(ExitCode.NOT_INSTALLED) from error
    raise typer.Exit(code)
