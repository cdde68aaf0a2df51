"""The command `fotograma completion`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from cluster.cli.shared_options import example

commands = typer.Typer()
COMPLETE_VARIABLE = "_FOTOGRAMA_COMPLETE"
"""The script calls `fotograma` with this variable to ask for completions."""


@commands.command(epilog=example("fotograma completion bash"))
def completion(
    context: typer.Context,
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Your shell.", show_default=False)],
) -> None:
    """Print a script that completes commands and options in a shell.

    For bash and zsh, put eval "$(fotograma completion bash)" into ~/.bashrc or ~/.zshrc, with the name of your shell.
    For fish, write the script to ~/.config/fish/completions/fotograma.fish.
    """
    from typer.completion import shell_complete  # noqa: PLC0415

    register_shells()
    shell_complete(context.find_root().command, {}, "fotograma", COMPLETE_VARIABLE, f"source_{shell}")


def register_shells() -> None:
    """Makes the shells known that can be completed. Typer does so only for its own options for completion."""
    from typer.completion import get_completion_inspect_parameters  # noqa: PLC0415

    get_completion_inspect_parameters()
