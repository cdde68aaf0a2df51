"""Does the same to several videos or extractions. What fails for one stops no other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import typer

from cluster.cli.failures import failure_of
from cluster.cli.output.exit_codes import CommandExitCode, exit_code_of
from cluster.cli.output.terminal_output import json_text, printable
from cluster.cli.stored_items import StoredItem
from cluster.client.api_types import Failure
from cluster.client.errors import ApiError
from cluster.client.sync_client import Client

Act = Callable[[Client, StoredItem], tuple[str, object]]
"""Returns what was done, as text and as an object for `--json`."""


def act_on_each(client: Client, items: Sequence[StoredItem], act: Act, *, as_json: bool) -> None:
    """Prints what was done to each item, once. Exits with a `CommandExitCode` when it failed for one."""
    results: list[object] = []
    failures: list[Failure] = []
    for item in {item.extraction.id: item for item in items}.values():
        try:
            text, result = act(client, item)
        except ApiError as error:
            failure = failure_of(error)
            failures.append(failure)
            typer.echo(printable(f"{item.video.filename}: {failure.detail} ({failure.code})"), err=True)
            if failure.remedy:
                typer.echo(f"  {failure.remedy}", err=True)
        else:
            results.append(result)
            if not as_json:
                typer.echo(printable(f"{item.video.filename}: {text}"))
    if as_json:
        typer.echo(json_text({"items": results}))
    if failures:
        raise typer.Exit(CommandExitCode.PARTIAL if results else exit_code_of(failures[0]))


def confirm(verb: str, names_of_items: Sequence[str]) -> None:
    """Asks whether to go on. Raises typer.Abort, and typer.BadParameter when nobody can be asked."""
    names = ", ".join(map(printable, names_of_items[:5]))
    more = f" and {len(names_of_items) - 5} more" if len(names_of_items) > 5 else ""
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"nobody can be asked. To {verb.lower()} {names}{more}, add it.", param_hint="--yes")
    typer.confirm(f"{verb} {names}{more}?", abort=True, err=True)
