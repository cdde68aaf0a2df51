"""`fotograma ops doctor`: what is wrong with a service, where it is set, and what to do."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from cluster.cli.ops.service_options import DEFAULT_DATA_DIR, DataDirOption, service_of, show
from cluster.cli.output.exit_codes import CommandExitCode
from cluster.cli.shared_options import Json, example

if TYPE_CHECKING:
    from cluster.checks.finding import Finding

commands = typer.Typer()

EXIT_CODES = """

\b
Exit codes:
  0  nothing fails; there may be warnings
  1  something fails"""


@commands.command(epilog=example("fotograma ops doctor") + EXIT_CODES)
def doctor(data_dir: DataDirOption = DEFAULT_DATA_DIR, as_json: Json = False) -> None:
    """Check settings, servers, rights, clocks, versions and this machine, and say what to do.

    Run it where the service runs, such as in one of its pods. It writes one probe object, and removes it.
    """
    from cluster.checks.finding import Level  # noqa: PLC0415
    from cluster.operations.doctor import examine, worst  # noqa: PLC0415
    from cluster.operations.operation_errors import NoService  # noqa: PLC0415

    try:
        service = service_of(data_dir)
    except NoService:
        service = None
    findings = examine(service, os.environ)
    document = {"level": worst(findings), "findings": [asdict(finding) for finding in findings]}
    show(document, [line for finding in findings for line in finding_lines(finding)], as_json=as_json)
    if worst(findings) is Level.FAIL:
        raise typer.Exit(CommandExitCode.FAILED)


def finding_lines(finding: Finding) -> list[str]:
    """The finding in a line, and below it what to do and where it is set."""
    lines = [f"{finding.level:<5} {finding.subject:<9} {finding.text}"]
    if finding.remedy:
        where = f" ({finding.where})" if finding.where else ""
        lines.append(f"{'':<16}{finding.remedy}{where}")
    return lines
