"""Types of options that several commands share, and the example at the end of a help text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Folder = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the results; created if missing.")
]
Unpack = Annotated[bool, typer.Option("--unpack", help="Also write the images to DIR/<file stem>/.")]
NoClobber = Annotated[bool, typer.Option("--no-clobber", help="Leave archives that are there, whatever is in them.")]
Local = Annotated[bool, typer.Option("--local", help="Extract on this machine; no server is needed.")]
Timeout = Annotated[
    float | None,
    typer.Option(
        min=0.1,
        metavar="SECONDS",
        help="Wait no longer than this; what the service has begun goes on.",
        show_default=False,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether you are sure.")]
Ids = Annotated[
    list[str],
    typer.Argument(
        metavar="ID", help="Ids of videos or extractions, or the ends that `list` shows.", show_default=False
    ),
]
Prefix = Annotated[bool, typer.Option("--prefix", help="With --unpack: name the images <file stem>_frame_….")]


@dataclass(frozen=True, slots=True)
class Unpacking:
    """How images are written to folders. prefix: whether the video's name comes before those of its images."""

    prefix: bool


def unpacking(*, unpack: bool, prefix: bool) -> Unpacking | None:
    """None when images are not unpacked."""
    if prefix and not unpack:
        raise typer.BadParameter("is for unpacked images: give --unpack too.", param_hint="--prefix")
    return Unpacking(prefix) if unpack else None


_BATCH_EXIT_CODES = """

\b
Exit codes:
  0    every video is done, with or without warnings
  1    the videos failed; the same command again changes nothing
  2    the command line is wrong
  3    some videos are done, the others failed or were refused
  65   no video was taken: all were refused
  69   the service can't be reached
  75   the service failed, or the time was over; the same command again does the rest
  77   not logged in, or not allowed
  130  stopped by Ctrl-C"""


def example(command: str) -> str:
    """Returns the end of a command's help text. The command stays on one line, whatever the width of the terminal."""
    return f"\b\nExample:\n  {command}"


def batch_example(command: str) -> str:
    """Returns the end of the help text of a command for several videos."""
    return example(command) + _BATCH_EXIT_CODES
