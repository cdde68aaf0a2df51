"""`fotograma ops scale`: how many workers autoscaling may ask for, until it is reset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli.ops.service_options import DEFAULT_DATA_DIR, DataDirOption, run_on_database, show
from cluster.cli.shared_options import Json, example
from db.values.worker_kind import WorkerKind

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from db.operator_controls import WorkerLimits

commands = typer.Typer()

MAX_WORKERS = 10_000
NOT_READ = "No autoscaling asks for these limits at present: the number of workers is fixed, or the pool does not run."


@commands.command(epilog=example("fotograma ops scale cpu --min 2 --max 40"))
def scale(
    kind: Annotated[WorkerKind, typer.Argument(metavar="[KIND]", help="Kind of the workers.")] = WorkerKind.CPU,
    *,
    min_workers: Annotated[
        int | None,
        typer.Option("--min", min=0, max=MAX_WORKERS, metavar="N", help="Workers that there are at least."),
    ] = None,
    max_workers: Annotated[
        int | None, typer.Option("--max", min=0, max=MAX_WORKERS, metavar="N", help="Workers that there are at most.")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Let the limits of the deployment hold again.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Set limits for autoscaling, in place of those of the deployment. Without an option: show them."""
    from db import operator_controls  # noqa: PLC0415
    from db.operator_controls import WorkerLimits  # noqa: PLC0415

    if reset and (min_workers is not None or max_workers is not None):
        raise typer.BadParameter("--reset goes without --min and --max.")
    wanted = WorkerLimits(min_workers, max_workers)

    async def change(database: AsyncEngine) -> tuple[WorkerLimits, bool]:
        if reset:
            await operator_controls.reset_limits(database, kind)
        elif wanted != WorkerLimits():
            await operator_controls.set_limits(database, kind, wanted)
        orders = await operator_controls.scaling_orders(database, kind)
        return orders.limits, await operator_controls.is_scaled(database, kind)

    try:
        limits, is_read = run_on_database(data_dir, change)
    except ValueError as error:
        raise typer.BadParameter(f"{error}. `fotograma ops scale` shows both.") from error
    line = f"Workers of the kind {kind}: {limits_text(limits) or 'the limits of the deployment hold'}."
    document = {"kind": kind.value, "min": limits.min_workers, "max": limits.max_workers, "is_read": is_read}
    show(document, [line] if is_read else [line, NOT_READ], as_json=as_json)


def limits_text(limits: WorkerLimits) -> str:
    """The limits in words; empty when none is ordered."""
    words = [("at least", limits.min_workers), ("at most", limits.max_workers)]
    return ", ".join(f"{word} {workers}" for word, workers in words if workers is not None)
