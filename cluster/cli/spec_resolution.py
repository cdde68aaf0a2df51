"""The text of the specification that the options of a command mean."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from cluster.cli.presets import open_presets, preset_document
from cluster.cli.spec_options import OPTION_OF_FIELD, SpecOptions, spec_document
from cluster.client.extraction_spec import spec_text
from db.values.error_catalogue import CatalogueError
from db.values.frame_spec import parse


def text_of_options(options: SpecOptions, *, local: bool = False, timeout: float | None = None) -> str | None:
    """Returns JSON text; None when no option was given. local: a preset is one of this machine, not of the account.

    timeout: seconds for asking the server for a preset. Raises typer.BadParameter, OSError, FotogramaError.
    """
    given = options.given()
    if not given:
        return None
    if options.spec is not None:
        others = [option for option in given if option != "--spec"]
        if others:
            raise typer.BadParameter(f"--spec is a whole specification. Leave out {', '.join(others)}, or --spec.")
        text = _text_of_spec(options.spec)
    else:
        presets = open_presets(local=local, timeout=timeout)
        saved = None if options.preset is None else preset_document(presets, options.preset)
        text = spec_text(spec_document(options, saved=saved))
    _check(text, "--spec" if options.spec is not None else "--preset")
    return text


def _text_of_spec(spec: str) -> str:
    try:
        text = Path(spec[1:]).read_text("utf-8") if spec.startswith("@") else spec
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{spec[1:]} can't be read: {error}.", param_hint="--spec") from error
    try:
        json.loads(text)
    except ValueError as error:
        example = """such as '{"sample": {"mode": "keyframes"}}'"""
        raise typer.BadParameter(f"not JSON: {error}. Give an object, {example}.", param_hint="--spec") from error
    return text


def _check(text: str, whole: str) -> None:
    """Names the option whose value is out of bounds. whole: the option that set all that no other one did."""
    try:
        parse(text)
    except CatalogueError as error:
        field, _, what = error.detail.partition(" ")
        option = None if whole == "--spec" else OPTION_OF_FIELD.get(field.partition("[")[0])
        detail = error.detail if option is None else f"It {what}"
        raise typer.BadParameter(detail, param_hint=option or whole) from error
