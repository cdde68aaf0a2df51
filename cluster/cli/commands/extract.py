"""The command `fotograma extract`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cluster.cli.exit_codes import CommandExitCode
from cluster.cli.option_types import Folder, Json, Prefix, Unpack, batch_example, unpacking

commands = typer.Typer()


@commands.command(epilog=batch_example("fotograma extract clips/*.mp4 --fps 1 -o frames"))
def extract(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILES...", help="Videos, folders of videos, or quoted patterns.", show_default=False),
    ],
    *,
    folder: Folder = Path("frames"),
    fps: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="Frames a second; 1 by default.", show_default=False)
    ] = None,
    spec: Annotated[
        str | None, typer.Option(metavar="JSON", help="A frame specification, or @FILE to read it from.")
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Also take videos in subfolders.")] = False,
    unpack: Unpack = False,
    prefix: Prefix = False,
    as_json: Json = False,
    local: Annotated[bool, typer.Option("--local", help="Extract on this machine; no server is needed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the files and the expected results.")] = False,
) -> None:
    """Extract frames of videos into DIR/<file stem>.zip. Skips what an earlier run has finished."""
    spec_text, images = _spec_text(fps, spec), unpacking(unpack=unpack, prefix=prefix)
    found, is_complete = _input_files(files, recursive=recursive)
    if dry_run:
        from cluster.cli.batch.dry_run import show_dry_run  # noqa: PLC0415
        from cluster.cli.batch.run_batch import batch_items  # noqa: PLC0415

        show_dry_run(batch_items(found, folder), spec_text, local=local, as_json=as_json)
    elif local:
        from cluster.cli.batch.run_local import run_local  # noqa: PLC0415

        run_local(found, spec_text, folder, unpack=images, as_json=as_json)
    else:
        from cluster.cli.batch.run_batch import batch_items, run_on_server  # noqa: PLC0415

        run_on_server(batch_items(found, folder), spec_text, folder, unpack=images, as_json=as_json)
    if not is_complete:
        raise typer.Exit(CommandExitCode.PARTIAL)


def _input_files(arguments: Sequence[Path], *, recursive: bool) -> tuple[list[Path], bool]:
    """Returns the files, and whether all folders could be read. Says which could not."""
    from cluster.cli.batch.input_files import input_files  # noqa: PLC0415
    from cluster.cli.terminal_output import printable  # noqa: PLC0415

    unreadable: list[OSError] = []
    found = input_files(arguments, recursive=recursive, on_unreadable=unreadable.append)
    for error in unreadable:
        typer.echo(printable(f"Skipped: {error}"), err=True)
    if not found and unreadable:
        raise typer.Exit(CommandExitCode.FAILED)
    if not found:
        hint = "" if recursive else " --recursive also looks below it."
        raise typer.BadParameter(f"there is no video in the folder.{hint}", param_hint="FILES")
    return found, not unreadable


def _spec_text(fps: str | None, spec: str | None) -> str | None:
    """Returns the specification as JSON text with exact decimals."""
    import json  # noqa: PLC0415
    from decimal import Decimal, InvalidOperation  # noqa: PLC0415

    if fps is not None and spec is not None:
        raise typer.BadParameter("give --fps or --spec, not both.")
    if fps is not None:
        try:
            rate = Decimal(fps)
        except InvalidOperation:
            rate = Decimal(0)
        if not (rate.is_finite() and rate > 0 and abs(rate.adjusted()) < 20):
            raise typer.BadParameter(f"{fps!r} is not a number of frames above 0.", param_hint="--fps")
        return f'{{"sample":{{"mode":"fps","fps":{rate:f}}}}}'
    if spec is None:
        return None
    text = Path(spec[1:]).read_text("utf-8") if spec.startswith("@") else spec
    try:
        json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}.", param_hint="--spec") from error
    return text
