"""The commands for saved specifications: `fotograma presets …`."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from cluster.cli.shared_options import Json, Timeout, example
from cluster.cli.spec_options import SpecOptions, with_spec_options

presets = typer.Typer(
    help="Save specifications under names, for `--preset NAME`. They belong to your account, where the page shows them "
    "too. With --local they belong to this machine: no server is asked, and `--local` commands find them.",
    epilog=example("fotograma presets save slides --mode scenes --format png"),
    no_args_is_help=True,
)

PresetName = Annotated[str, typer.Argument(metavar="NAME", help="Name of a preset.", show_default=False)]
OnThisMachine = Annotated[
    bool, typer.Option("--local", help="Presets of this machine, for commands with --local; no server is needed.")
]


@presets.command(epilog=example("fotograma presets save slides --mode scenes --format png"))
@with_spec_options
def save(name: PresetName, *, options: SpecOptions, local: OnThisMachine = False, timeout: Timeout = None) -> None:
    """Save a specification in your account, or replace the one of this name."""
    from cluster.cli.presets import open_presets  # noqa: PLC0415
    from cluster.cli.spec_resolution import text_of_options  # noqa: PLC0415

    text = text_of_options(options, local=local, timeout=timeout)
    if text is None:
        raise typer.BadParameter("say which frames, such as --every 5s --format png, or --spec JSON.")
    open_presets(local=local, timeout=timeout).save(name, text)
    used_with = f"fotograma extract FILES {'--local ' if local else ''}--preset {shlex.quote(name)}"
    typer.echo(f"Saved. Use it with: {used_with}")


@presets.command("list", epilog=example("fotograma presets list"))
def list_(local: OnThisMachine = False, timeout: Timeout = None, as_json: Json = False) -> None:
    """Show the saved specifications of your account."""
    import json  # noqa: PLC0415

    from cluster.cli.output.terminal_output import json_text, printable  # noqa: PLC0415
    from cluster.cli.presets import open_presets  # noqa: PLC0415

    saved = open_presets(local=local, timeout=timeout).read()
    if as_json:
        typer.echo(json_text({"items": [{"name": name, "spec": json.loads(text)} for name, text in saved.items()]}))
    else:
        for name, text in saved.items():
            typer.echo(f"{printable(name)}\t{text}")


@presets.command(epilog=example("fotograma presets delete slides"))
def delete(name: PresetName, local: OnThisMachine = False, timeout: Timeout = None) -> None:
    """Delete a saved specification of your account."""
    from cluster.cli.presets import open_presets  # noqa: PLC0415

    open_presets(local=local, timeout=timeout).delete(name)
