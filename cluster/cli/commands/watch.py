"""The command `fotograma watch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.cli.shared_options import Folder, Json, Local, NoClobber, Prefix, Unpack, batch_example, unpacking
from cluster.cli.spec_options import SpecOptions, with_spec_options

commands = typer.Typer()


@commands.command(epilog=batch_example("fotograma watch ~/incoming --every 5s -o frames"))
@with_spec_options
def watch(
    watched: Annotated[Path, typer.Argument(metavar="DIR", help="Folder into which videos come.", show_default=False)],
    *,
    options: SpecOptions,
    folder: Folder = Path("frames"),
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Also watch subfolders.")] = False,
    unpack: Unpack = False,
    prefix: Prefix = False,
    no_clobber: NoClobber = False,
    idle: Annotated[
        float | None,
        typer.Option(min=1.0, metavar="SECONDS", help="End when nothing has come for so long.", show_default=False),
    ] = None,
    as_json: Json = False,
    local: Local = False,
) -> None:
    """Extract each video that comes into a folder, as soon as it is complete. Runs until Ctrl-C.

    With --json: one object a line for each video.
    """
    from cluster.cli.batch.batch_options import BatchOptions  # noqa: PLC0415
    from cluster.cli.batch.run_watch import run_watch  # noqa: PLC0415
    from cluster.cli.spec_resolution import text_of_options  # noqa: PLC0415

    spec_text, images = text_of_options(options, local=local), unpacking(unpack=unpack, prefix=prefix)
    if local:
        from cluster.installed_engine import check_engine  # noqa: PLC0415
        from db.values.frame_spec import canonical, parse  # noqa: PLC0415

        check_engine()
        spec_text = canonical(parse(spec_text or "{}"))
    batch_options = BatchOptions(folder, images, no_clobber=no_clobber, as_json=as_json)
    run_watch(watched, spec_text, batch_options, recursive=recursive, local=local, idle_seconds=idle)
