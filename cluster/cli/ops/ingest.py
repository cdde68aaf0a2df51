"""The command `fotograma ops ingest`: inside the cluster it submits the objects, from outside it starts a Ray Job."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.cli.output.exit_codes import CommandExitCode
from cluster.cli.shared_options import example
from cluster.cli.spec_options import SpecOptions, with_spec_options

if TYPE_CHECKING:
    from cluster.submit.prefix_ingest import IngestSummary, ObjectOutcome
    from cluster.submit.ray_job_submission import IngestJob

commands = typer.Typer()

PROGRESS_SECONDS = 10.0
MAX_CONCURRENCY = 48
"""An API replica reads 64 uploads at a time by default, and keeps some places for other accounts."""
EXIT_CODES = """

\b
Exit codes:
  0    every object is a video of the account
  2    the command line is wrong
  3    some objects were refused, as the same command again would
  65   no object was taken: all were refused
  69   the cluster can't be reached
  75   the service did not take some objects; the same command again does the rest"""


@commands.command(
    epilog=example("fotograma ops ingest s3://footage/2026 --account ana@example.com --every 5s") + EXIT_CODES
)
@with_spec_options
def ingest(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL", help="s3://, gs:// or az:// with a prefix, or a file:// folder.", show_default=False
        ),
    ],
    *,
    account: Annotated[
        str, typer.Option(metavar="EMAIL", help="Account that owns the videos; it must exist.", show_default=False)
    ],
    options: SpecOptions,
    include: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Only these objects, such as '*.mp4'; repeatable.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=MAX_CONCURRENCY, metavar="N", help="Objects that are copied at a time.")
    ] = 16,
    ray_address: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Dashboard of the Ray cluster: run there, as a Ray Job.", show_default=False),
    ] = None,
    wait: Annotated[bool, typer.Option(help="With --ray-address: show the job's output until it ends.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each object.")] = False,
) -> None:
    """Submit all objects below a prefix, each once. What was submitted before is left as it is.

    Runs in the Ray cluster of the service. From outside, give --ray-address. Which frames: as for `extract`; a preset
    is one of this machine (`fotograma presets save --local`).
    """
    import asyncio  # noqa: PLC0415

    from cluster.cli.spec_resolution import text_of_options  # noqa: PLC0415
    from cluster.submit.ray_job_submission import IngestJob  # noqa: PLC0415

    job = IngestJob(url, account, text_of_options(options, local=True), include or (), concurrency, as_json)
    if ray_address is None:
        raise typer.Exit(asyncio.run(_ingest(job)))
    raise typer.Exit(_run_on_cluster(job, ray_address, wait=wait))


def exit_code(summary: IngestSummary) -> CommandExitCode | None:
    """None: every object is a video."""
    from cluster.submit.prefix_ingest import OutcomeKind  # noqa: PLC0415

    refused, failed = summary.counts[OutcomeKind.REFUSED], summary.counts[OutcomeKind.FAILED]
    if failed or (summary.listing_failure is not None and summary.listing_failure.fault == "service"):
        return CommandExitCode.TRY_AGAIN
    if summary.listing_failure is not None:
        return CommandExitCode.REFUSED
    if refused:
        return CommandExitCode.REFUSED if refused == summary.objects else CommandExitCode.PARTIAL
    return None


def summary_document(summary: IngestSummary) -> dict[str, Any]:
    """objects = accepted + reused + refused + failed."""
    from cluster.submit.prefix_ingest import OutcomeKind  # noqa: PLC0415

    code, failure = exit_code(summary), summary.listing_failure
    return {
        "objects": summary.objects,
        **{kind.value: summary.counts[kind] for kind in OutcomeKind},
        "listing_error": None if failure is None else _error(failure.code, failure.detail, failure.remedy),
        "exit_code": 0 if code is None else code.value,
    }


def summary_line(summary: IngestSummary) -> str:
    """The same as a sentence."""
    from cluster.submit.prefix_ingest import OutcomeKind  # noqa: PLC0415

    counts = ", ".join(f"{summary.counts[kind]} {kind.value}" for kind in OutcomeKind)
    return f"{summary.objects} {'object' if summary.objects == 1 else 'objects'}: {counts}"


def outcome_document(outcome: ObjectOutcome) -> dict[str, Any]:
    video, failure = outcome.video, outcome.failure
    return {
        "url": outcome.url,
        "outcome": outcome.kind.value,
        "video_id": None if video is None else video.id,
        "extraction_id": None if video is None else video.extraction.id,
        "error": None if failure is None else _error(failure.code, failure.detail, failure.remedy),
    }


def _error(code: str, detail: str, remedy: str) -> Mapping[str, str]:
    return {"code": code, "detail": detail, "remedy": remedy}


async def _ingest(job: IngestJob) -> int:
    """Submits the objects and prints what becomes of them. Returns the exit code."""
    from cluster.submit.prefix_ingest import PATIENT, ingest_prefix  # noqa: PLC0415
    from cluster.submit.service_handle import ServiceHandle  # noqa: PLC0415

    service = ServiceHandle.connect(job.account, PATIENT)
    await service.check(job.spec)
    report = _Report(as_json=job.as_json)
    summary = await ingest_prefix(
        service,
        job.url,
        job.spec,
        patterns=job.patterns,
        concurrency=job.concurrency,
        on_outcome=report.add,
    )
    report.end(summary)
    return exit_code(summary) or 0


class _Report:
    """Prints refused and failed objects at once, and the counts from time to time; as JSON, every object."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json, self._printed_at = as_json, time.monotonic()

    def add(self, outcome: ObjectOutcome, summary: IngestSummary) -> None:
        from cluster.cli.output.terminal_output import printable  # noqa: PLC0415

        if self._as_json:
            _print_json(outcome_document(outcome))
        elif outcome.failure is not None:
            failure = outcome.failure
            typer.echo(printable(f"{outcome.url}: {outcome.kind.value}: {failure.detail} ({failure.code})"))
        if not self._as_json and time.monotonic() - self._printed_at >= PROGRESS_SECONDS:
            self._printed_at = time.monotonic()
            typer.echo(f"So far {summary_line(summary)}")

    def end(self, summary: IngestSummary) -> None:
        if self._as_json:
            _print_json(summary_document(summary))
            return
        if summary.listing_failure is not None:
            failure = summary.listing_failure
            typer.echo(f"The list of objects is not whole: {failure.detail} ({failure.code})\n  {failure.remedy}")
        typer.echo(summary_line(summary))


def _print_json(document: Mapping[str, Any]) -> None:
    import json  # noqa: PLC0415

    typer.echo(json.dumps(document))


def _run_on_cluster(job: IngestJob, address: str, *, wait: bool) -> int:
    """Submits the Ray Job. Returns its exit code; 0 when it is not waited for."""
    import asyncio  # noqa: PLC0415

    from cluster.submit.ray_job_submission import JobServer  # noqa: PLC0415

    server = JobServer(address)
    job_id = server.submit(job)
    typer.echo(f"Ray job {job_id}", err=True)
    if not wait:
        return 0

    async def show_output() -> None:
        async for text in server.output(job_id):
            sys.stdout.write(text)
            sys.stdout.flush()

    asyncio.run(show_output())
    return server.exit_code(job_id)
