"""`fotograma ops requeue`: failed extractions are tried again, after an outage or a mended defect."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from cluster.cli.ops.service_options import DEFAULT_DATA_DIR, DataDirOption, extraction_id, run_on_database, show
from cluster.cli.ops.time_option import HELP, parse_time
from cluster.cli.output.exit_codes import CommandExitCode
from cluster.cli.shared_options import Json, example

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from db.acceptance.requeue import EndedExtraction

commands = typer.Typer()

EXIT_CODES = """

\b
Exit codes:
  0   all are queued anew, or none had failed
  2   the command line is wrong
  3   some are queued anew, the others were refused
  65  none was queued anew
  69  the database can't be reached"""


@dataclass(frozen=True, slots=True)
class Requeued:
    """new_id: of the new extraction; None for a refused one, and for a dry run. refusal: why it was refused."""

    extraction_id: UUID
    email: str | None
    code: str | None
    new_id: UUID | None = None
    refusal: str | None = None


def _code(text: str) -> str:
    from db.values.error_catalogue import CATALOGUE  # noqa: PLC0415

    if text not in CATALOGUE:
        raise typer.BadParameter(f"{text!r} is no error code; docs/reference/errors.md has them.")
    return text


@commands.command(epilog=example("fotograma ops requeue --all-failed --since 24h --code service_failed") + EXIT_CODES)
def requeue(
    extractions: Annotated[
        list[UUID] | None,
        typer.Argument(
            parser=extraction_id, metavar="EXTRACTION", help="Ids of failed extractions.", show_default=False
        ),
    ] = None,
    *,
    all_failed: Annotated[
        bool, typer.Option("--all-failed", help="All that have failed and were not retried.")
    ] = False,
    since: Annotated[
        datetime, typer.Option(parser=parse_time, metavar="TIME", help=f"With --all-failed: failed since. {HELP}")
    ] = "7d",  # type: ignore[assignment]  # the parser takes the default as well
    code: Annotated[
        list[str] | None,
        typer.Option(parser=_code, metavar="CODE", help="With --all-failed: only with this error; repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be queued anew.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Queue failed extractions anew, past all quotas: each becomes a new one, and the failed one keeps its history."""
    if bool(extractions) == all_failed:
        raise typer.BadParameter("Give ids of extractions, or --all-failed.")

    async def work(database: AsyncEngine) -> list[Requeued]:
        from db.acceptance.requeue import find, find_failed  # noqa: PLC0415

        found = await find_failed(database, since, code) if all_failed else await find(database, extractions or ())
        missing = set(extractions or ()) - {ended.id for ended in found}
        unknown = [Requeued(each, None, None, refusal="there is no such extraction") for each in sorted(missing)]
        return unknown + [await _requeue(database, ended, dry_run=dry_run) for ended in found]

    done = run_on_database(data_dir, work)
    show({"items": [_document(each) for each in done]}, _lines(done, dry_run=dry_run), as_json=as_json)
    refused = sum(each.refusal is not None for each in done)
    if refused:
        raise typer.Exit(CommandExitCode.REFUSED if refused == len(done) else CommandExitCode.PARTIAL)


async def _requeue(database: AsyncEngine, ended: EndedExtraction, *, dry_run: bool) -> Requeued:
    from db.acceptance.requeue import requeue as requeue_one  # noqa: PLC0415
    from db.values.error_catalogue import CatalogueError  # noqa: PLC0415

    if ended.refusal is not None or dry_run:
        return Requeued(ended.id, ended.email, ended.code, refusal=ended.refusal)
    try:
        return Requeued(ended.id, ended.email, ended.code, await requeue_one(database, ended.id))
    except CatalogueError as error:
        return Requeued(ended.id, ended.email, ended.code, refusal=error.detail.rstrip("."))


def _document(each: Requeued) -> dict[str, Any]:
    return {
        "extraction_id": str(each.extraction_id),
        "email": each.email,
        "code": each.code,
        "new_extraction_id": None if each.new_id is None else str(each.new_id),
        "refusal": each.refusal,
    }


def _lines(done: list[Requeued], *, dry_run: bool) -> list[str]:
    if not done:
        return ["Nothing has failed."]
    lines = [f"{each.extraction_id}  {each.code or ''}  {each.email or ''}  {_outcome(each)}" for each in done]
    queued = sum(each.refusal is None for each in done)
    verb = "would be queued anew" if dry_run else "queued anew"
    return [*lines, f"{queued} {verb}, {len(done) - queued} refused."]


def _outcome(each: Requeued) -> str:
    if each.refusal is not None:
        return f"refused: {each.refusal}"
    return "would be queued" if each.new_id is None else f"-> {each.new_id}"
