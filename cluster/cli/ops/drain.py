"""`fotograma ops drain`: empties a node before it is taken away."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli.ops.service_options import DEFAULT_DATA_DIR, DataDirOption, service_of, show
from cluster.cli.output.exit_codes import CommandExitCode
from cluster.cli.shared_options import Json, example

if TYPE_CHECKING:
    from cluster.operations.node_drain import DrainOutcome

commands = typer.Typer()

DEADLINE_SECONDS = 600.0
EXIT_CODES = """

\b
Exit codes:
  0   no replica is left on the node
  1   it was refused
  2   the command line is wrong
  69  Ray can't be reached
  75  replicas were left at the deadline"""


@commands.command(epilog=example("fotograma ops drain 10.0.3.17 --deadline 900") + EXIT_CODES)
def drain(
    node: Annotated[
        str,
        typer.Argument(
            metavar="NODE", help="Id of the node, its beginning, its address or host name.", show_default=False
        ),
    ],
    *,
    deadline: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="When the node ends: tasks are released shortly before.")
    ] = DEADLINE_SECONDS,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Drain a node of the cluster, and wait until its workers are done or the deadline passes.

    Others take the place of its workers; no task is lost. A drained node takes nothing new. End it then.
    """
    from cluster.operations.node_drain import drain_node  # noqa: PLC0415
    from cluster.operations.operation_errors import MissingSetting  # noqa: PLC0415
    from cluster.operations.ray_nodes import RayCluster  # noqa: PLC0415

    service = service_of(data_dir)
    if service.ray_address is None:
        raise MissingSetting("RAY_ADDRESS", "it says where the Ray cluster is")
    cluster = RayCluster(service.ray_address, service.ray_token)
    outcome = drain_node(cluster, node, deadline_seconds=deadline, tell=lambda line: typer.echo(line, err=True))
    show(asdict(outcome), [_line(outcome)], as_json=as_json)
    if outcome.left:
        raise typer.Exit(CommandExitCode.TRY_AGAIN)


def _line(outcome: DrainOutcome) -> str:
    name = f"{outcome.node.id[:12]} ({outcome.node.address})"
    if outcome.left:
        return f"{outcome.left} replicas were left on {name} at the deadline. Tasks that they still hold are rescued."
    end = "and the node has ended" if outcome.is_gone else "and nothing new comes to it: it can be ended"
    return f"{name} is empty after {outcome.seconds:.0f} s, {end}."
