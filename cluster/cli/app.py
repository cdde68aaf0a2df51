"""The command line `fotograma`. A command imports what it needs when it runs, so that `--help` is fast."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli.lazy_command_group import LazyCommandGroup
from cluster.cli.shared_options import example

if TYPE_CHECKING:
    from cluster.client.errors import FotogramaError

app = typer.Typer(
    cls=LazyCommandGroup,
    help="Exact, timestamped frames out of videos: by a service, or on this machine.",
    epilog=example("fotograma extract talk.mov --fps 1 --local"),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command. An error becomes a message on standard error and an exit code (`CommandExitCode`)."""
    from cluster.client.errors import FotogramaError  # noqa: PLC0415

    # The command line of httpx, with rich, pygments and click, takes as long to import as httpx.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    if "_FOTOGRAMA_COMPLETE" in os.environ:
        from cluster.cli.commands.completion import register_shells  # noqa: PLC0415

        register_shells()
    try:
        app(arguments, prog_name="fotograma")
    except (FotogramaError, OSError) as error:
        return _report_error(error)
    return 0


def _show_version(is_set: bool) -> None:
    if is_set:
        from importlib.metadata import version  # noqa: PLC0415

        typer.echo(f"fotograma {version('fotograma')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of all commands."""


def _report_error(error: FotogramaError | OSError) -> int:
    """Prints an error with its remedy. Returns the exit code."""
    from cluster.cli.failures import failure_of  # noqa: PLC0415
    from cluster.cli.output.exit_codes import exit_code_of  # noqa: PLC0415
    from cluster.cli.output.terminal_output import printable  # noqa: PLC0415
    from cluster.client.errors import ApiError, ConnectionFailed  # noqa: PLC0415

    failure = failure_of(error)
    typer.echo(printable(f"Error: {error}"), err=True)
    # The messages of the other errors have their remedies in them.
    if failure.remedy and isinstance(error, ApiError | ConnectionFailed | OSError):
        typer.echo(f"  {failure.remedy}", err=True)
    if isinstance(error, ApiError) and error.fault == "service" and error.request_id:
        typer.echo(f"  request_id: {error.request_id}", err=True)
    return exit_code_of(failure)


if __name__ == "__main__":
    sys.exit(main())
