"""The commands for saved specifications: `fotograma presets …`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from cluster.cli.option_types import Json, example
from cluster.cli.spec_options import SpecOptions, with_spec_options

presets = typer.Typer(
    help="Save specifications under names, for `--preset NAME`.",
    epilog=example("fotograma presets save slides --mode scenes --format png"),
    no_args_is_help=True,
)

PresetName = Annotated[str, typer.Argument(metavar="NAME", help="Name of a preset.", show_default=False)]


@presets.command(epilog=example("fotograma presets save slides --mode scenes --format png"))
@with_spec_options
def save(name: PresetName, options: SpecOptions) -> None:
    """Save a specification, or replace the one of this name."""
    from cluster.cli.presets import PresetsFile  # noqa: PLC0415
    from cluster.cli.spec_text import text_of_options  # noqa: PLC0415

    text = text_of_options(options)
    if text is None:
        raise typer.BadParameter("say which frames, such as --every 5s --format png, or --spec JSON.")
    PresetsFile(os.environ).save(name, text)
    typer.echo(f"Saved. Use it with: fotograma extract FILES --preset {name}")


@presets.command("list", epilog=example("fotograma presets list"))
def list_(as_json: Json = False) -> None:
    """Show the saved specifications."""
    import json  # noqa: PLC0415

    from cluster.cli.presets import PresetsFile  # noqa: PLC0415

    saved = PresetsFile(os.environ).read()
    if as_json:
        typer.echo(json.dumps({"items": [{"name": name, "spec": json.loads(text)} for name, text in saved.items()]}))
    else:
        for name, text in saved.items():
            typer.echo(f"{name}\t{text}")


@presets.command(epilog=example("fotograma presets delete slides"))
def delete(name: PresetName) -> None:
    """Forget a saved specification."""
    from cluster.cli.presets import PresetsFile  # noqa: PLC0415

    PresetsFile(os.environ).delete(name)
