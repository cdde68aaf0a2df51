"""The commands that run a service on this machine, and try it out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cluster.cli.exit_codes import CommandExitCode
from cluster.cli.option_types import example

SampleFile = Annotated[Path, typer.Argument(metavar="FILE", help="New file, such as clip.mp4.", show_default=False)]

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


@commands.command(epilog=example("fotograma sample clip.mp4"))
def sample(file: SampleFile) -> None:
    """Write a sample clip of 8 seconds: a clock that shows its own time in each frame."""
    if file.suffix != ".mp4" or not file.parent.is_dir():
        detail = f"{file} must end with .mp4, and be in a folder that is there."
        raise typer.BadParameter(detail, param_hint="FILE")
    if os.path.lexists(file):
        raise typer.BadParameter(f"{file} is there already. Choose another name.", param_hint="FILE")
    try:
        from cluster.local.demo import make_clip  # noqa: PLC0415
    except ModuleNotFoundError as error:
        typer.echo(f'The engine is not installed ({error.name}). Run: pip install "fotograma[local]"', err=True)
        raise typer.Exit(CommandExitCode.FAILED) from error
    make_clip(file)
    typer.echo(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
