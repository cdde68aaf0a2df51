"""`fotograma ops pause` and `resume`: what the service begins anew. What runs goes on, and results can be fetched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli.ops.service_options import DEFAULT_DATA_DIR, DataDirOption, run_on_database, show
from cluster.cli.shared_options import Json, example
from db.values.lifecycle import PausableActivity

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from db.operator_controls import Pauses

commands = typer.Typer()

ActivityArgument = Annotated[
    PausableActivity,
    typer.Argument(
        metavar="ACTIVITY",
        help="accepting: new uploads and extractions. claiming: the start of tasks by workers.",
        show_default=False,
    ),
]
EFFECTS = {
    PausableActivity.ACCEPTING: "New uploads and extractions are answered with 503 and Retry-After.",
    PausableActivity.CLAIMING: "Workers finish what they have, and start nothing new.",
}


@commands.command(epilog=example("fotograma ops pause accepting"))
def pause(activity: ActivityArgument, data_dir: DataDirOption = DEFAULT_DATA_DIR, as_json: Json = False) -> None:
    """Pause accepting or claiming until it is resumed, over restarts too. Downloads and the page go on."""
    _set_paused(activity, data_dir, is_paused=True, as_json=as_json)


@commands.command(epilog=example("fotograma ops resume accepting"))
def resume(activity: ActivityArgument, data_dir: DataDirOption = DEFAULT_DATA_DIR, as_json: Json = False) -> None:
    """Resume accepting or claiming after a pause."""
    _set_paused(activity, data_dir, is_paused=False, as_json=as_json)


def pauses_document(pauses: Pauses) -> dict[str, object]:
    """Since when each activity is paused; null while it is not."""
    return {"accepting": pauses.accepting_paused_at, "claiming": pauses.claiming_paused_at}


def _set_paused(activity: PausableActivity, data_dir: Path, *, is_paused: bool, as_json: bool) -> None:
    from db import operator_controls  # noqa: PLC0415

    async def change(database: AsyncEngine) -> Pauses:
        return await operator_controls.set_paused(database, activity, is_paused=is_paused)

    pauses = run_on_database(data_dir, change)
    name = activity.value.capitalize()
    line = f"{name} is paused. {EFFECTS[activity]}" if is_paused else f"{name} goes on."
    show({"paused": pauses_document(pauses)}, [line], as_json=as_json)
