"""The commands that run a service on this machine, and try it out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.cli.output.exit_codes import CommandExitCode
from cluster.cli.shared_options import example

SamplesFolder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder of the clips; made if missing.", show_default=False)
]

commands = typer.Typer()


@commands.command(epilog=example("fotograma up --port 8080 --home ~/videos"))
def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the API and the page.")] = 8000,
    data_dir: Annotated[Path, typer.Option("--home", metavar="DIR", help="Folder of all data.")] = Path("~/.fotograma"),
    demo: Annotated[bool, typer.Option("--demo", help="Also write sample clips, and extract one.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, envvar="FOTOGRAMA_WORKERS", help="Videos processed at once.", show_default="the cores"),
    ] = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard/--no-dashboard", help="Also start Ray's dashboard. It takes 350 MB of memory.")
    ] = True,
) -> None:
    """Run the whole service on this machine until Ctrl-C."""
    from cluster.local.startup_error import ExitCode  # noqa: PLC0415

    try:
        from cluster.local.up import up as run  # noqa: PLC0415

        code = run(port=port, data_dir=data_dir, demo=demo, workers=workers, dashboard=dashboard)
    except ModuleNotFoundError as error:
        typer.echo(f'The service is not installed ({error.name}). Run: pip install "fotograma[local]"', err=True)
        raise typer.Exit(ExitCode.NOT_INSTALLED) from error
    raise typer.Exit(code)


@commands.command(epilog=example("fotograma samples clips"))
def samples(folder: SamplesFolder) -> None:
    """Write three sample clips of a clock. One has a constant frame rate, one is like a phone's, one is damaged."""
    if folder.exists() and not folder.is_dir():
        raise typer.BadParameter(f"{folder} is a file. Give a folder.", param_hint="DIR")
    try:
        from cluster.local.sample_clips import SAMPLES, write_samples  # noqa: PLC0415
    except ModuleNotFoundError as error:
        typer.echo(f'The engine is not installed ({error.name}). Run: pip install "fotograma[engine]"', err=True)
        raise typer.Exit(CommandExitCode.FAILED) from error
    for clip in write_samples(folder):
        typer.echo(f"{clip}: {SAMPLES[clip.name]}, {clip.stat().st_size / 1e6:.1f} MB")
