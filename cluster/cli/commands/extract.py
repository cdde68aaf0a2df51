"""The command `fotograma extract`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from cluster.cli.output.exit_codes import CommandExitCode
from cluster.cli.shared_options import (
    Folder,
    Json,
    Local,
    NoClobber,
    Prefix,
    Timeout,
    Unpack,
    batch_example,
    unpacking,
)
from cluster.cli.spec_options import SpecOptions, with_spec_options

commands = typer.Typer()
STDIN = Path("-")


@commands.command(epilog=batch_example("fotograma extract clips/*.mp4 --every 5s --format png -o frames"))
@with_spec_options
def extract(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILES",
            help="Videos, folders of videos, or quoted patterns; - for a video on standard input.",
            show_default=False,
        ),
    ],
    *,
    options: SpecOptions,
    folder: Folder = Path("frames"),
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Also take videos in subfolders.")] = False,
    stdin_name: Annotated[
        str, typer.Option(metavar="NAME", help="File name of the video on standard input.")
    ] = "stdin.mp4",
    unpack: Unpack = False,
    prefix: Prefix = False,
    no_clobber: NoClobber = False,
    timeout: Timeout = None,
    as_json: Json = False,
    local: Local = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the files and the expected results.")] = False,
) -> None:
    """Extract frames of videos into DIR/<file stem>.zip. Skips what an earlier run has finished.

    Which frames: --fps, --every, --count, --at, --threshold or --mode; or --preset or --spec.
    """
    from cluster.cli.batch.batch_options import BatchOptions  # noqa: PLC0415
    from cluster.cli.batch.input_files import file_of_stdin  # noqa: PLC0415
    from cluster.cli.spec_resolution import text_of_options  # noqa: PLC0415

    spec_text = text_of_options(options, local=local, timeout=timeout)
    images = unpacking(unpack=unpack, prefix=prefix)
    shown_names = {}
    with ExitStack() as temporary:
        if STDIN in files:
            streamed = temporary.enter_context(file_of_stdin(stdin_name))
            shown_names[streamed] = stdin_name
            files = [streamed if file == STDIN else file for file in dict.fromkeys(files)]
        found, is_complete = _input_files(files, recursive=recursive)
        batch_options = BatchOptions(
            folder, images, no_clobber=no_clobber, timeout=timeout, as_json=as_json, shown_names=shown_names
        )
        if dry_run:
            from cluster.cli.batch.dry_run import show_dry_run  # noqa: PLC0415
            from cluster.cli.batch.run_batch import batch_items  # noqa: PLC0415

            show_dry_run(batch_items(found, batch_options), spec_text, local=local, as_json=as_json)
        elif local:
            from cluster.cli.batch.run_local import run_local  # noqa: PLC0415

            run_local(found, spec_text, batch_options)
        else:
            from cluster.cli.batch.run_batch import batch_items, run_on_server  # noqa: PLC0415

            run_on_server(batch_items(found, batch_options), spec_text, batch_options)
    if not is_complete:
        raise typer.Exit(CommandExitCode.PARTIAL)


def _input_files(arguments: Sequence[Path], *, recursive: bool) -> tuple[list[Path], bool]:
    """Returns the files, and whether all folders could be read. Says which could not."""
    from cluster.cli.batch.input_files import input_files  # noqa: PLC0415
    from cluster.cli.output.terminal_output import printable  # noqa: PLC0415

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
