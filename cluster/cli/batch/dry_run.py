"""`fotograma extract --dry-run`: shows which files would be sent, and the expected results. Sends no file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from importlib.util import find_spec
from typing import Any, TypeVar

import typer

from actors.sandbox.fork_server import ChildStartError, ForkServer
from cluster.cli.batch.batch_types import BatchItem
from cluster.cli.failures import failure_of
from cluster.cli.output.terminal_output import console, json_text, print_line
from cluster.cli.server_url import NotLoggedIn, server_url
from cluster.client.api_types import Estimate, Failure, Media
from cluster.client.async_client import AsyncClient
from cluster.client.errors import ApiError, ConnectionFailed, FotogramaError, UnsendableFile
from cluster.client.extraction_spec import is_same_spec
from cluster.client.local_files.local_file import has_content, sha256_of, stat_file
from cluster.client.retry_policy import RetryPolicy
from db.values.error_catalogue import CatalogueError
from db.values.frame_spec import canonical, parse
from db.values.media_info import public_media

MAX_FILES = 4
T = TypeVar("T")


class Reuse(StrEnum):
    """What of a file is there already, so that it is not sent."""

    ARCHIVE = "archive"
    EXTRACTION = "extraction"
    VIDEO = "video"


_REUSE_TEXTS = {
    Reuse.ARCHIVE: "nothing to do, the archive is there",
    Reuse.EXTRACTION: "not sent, the service has its extraction",
    Reuse.VIDEO: "not sent, the service has its video",
}


@dataclass(frozen=True, slots=True)
class Forecast:
    """The expected result of one file. size: in bytes. frames: exact number of images; None when it is unknown.

    media: None without the engine. estimate: None without a service that estimates. reused: None when the file is going
    to be sent. video_id: of the same content, on the service.
    """

    item: BatchItem
    size: int | None = None
    media: Media | None = None
    frames: int | None = None
    estimate: Estimate | None = None
    failure: Failure | None = None
    reused: Reuse | None = None
    video_id: str | None = None


def show_dry_run(items: Sequence[BatchItem], spec: str | None, *, local: bool, as_json: bool) -> None:
    """Prints the expected results. Exits with 1 when a file can't be extracted. local: without asking the service."""
    try:
        canonical_spec = canonical(parse(spec or "{}"))
    except CatalogueError as error:
        raise typer.BadParameter(error.detail, param_hint="--spec") from error
    forecasts = asyncio.run(_forecasts(items, canonical_spec, local=local))
    if as_json:
        typer.echo(
            json_text({"items": [json_object(forecast) for forecast in forecasts], "summary": totals(forecasts)})
        )
    else:
        for forecast in forecasts:
            print_line(console(), line_of(forecast))
        print_line(console(), summary_line(totals(forecasts)))
    if any(forecast.failure for forecast in forecasts):
        raise typer.Exit(1)


async def _forecasts(items: Sequence[BatchItem], spec: str, *, local: bool) -> list[Forecast]:
    async with ForkServer() as children:
        inspected = await _each(lambda item: _inspect(children, item, spec), items)
    return inspected if local else await _with_service(inspected, spec)


async def _each(work: Callable[[T], Awaitable[Forecast]], values: Iterable[T]) -> list[Forecast]:
    slots = asyncio.Semaphore(MAX_FILES)

    async def one(value: T) -> Forecast:
        async with slots:
            return await work(value)

    return list(await asyncio.gather(*map(one, values)))


async def _inspect(children: ForkServer, item: BatchItem, spec: str) -> Forecast:
    assert item.source is not None
    try:
        size = (await asyncio.to_thread(stat_file, item.source)).size
        # Without the engine, only the size is known.
        return await _with_plan(children, Forecast(item, size), spec) if find_spec("av") else Forecast(item, size)
    except (FotogramaError, OSError) as error:
        return Forecast(item, failure=failure_of(error))


async def _with_plan(children: ForkServer, forecast: Forecast, spec: str) -> Forecast:
    from actors.extraction_types import Planned  # noqa: PLC0415
    from cluster.cli.batch.local_batch import VideoRefused, probe_and_plan  # noqa: PLC0415

    assert forecast.item.source is not None
    try:
        work = await probe_and_plan(children, forecast.item.source, forecast.size or 0, spec)
    except VideoRefused as refused:
        return replace(forecast, failure=refused.failure)
    except ChildStartError:
        # The same as without the engine.
        return forecast
    frames = work.frames_total if isinstance(work, Planned) else None
    return replace(forecast, media=Media(**public_media(work.media.document())), frames=frames)


async def _with_service(forecasts: list[Forecast], spec: str) -> list[Forecast]:
    """Adds what the service has already, and its estimates, if it can be reached."""
    try:
        url = server_url(os.environ)
        async with AsyncClient(url, retry=RetryPolicy(attempts=2)) as client:
            compared = await _each(lambda forecast: _with_reuse(client, forecast, spec), forecasts)
            return [replace(forecast, estimate=await _estimate(client, forecast.media, spec)) for forecast in compared]
    except (NotLoggedIn, ConnectionFailed, ApiError) as error:
        typer.echo(f"What the service has, and its estimates, are not known: {error}", err=True)
        return forecasts


async def _with_reuse(client: AsyncClient, forecast: Forecast, spec: str) -> Forecast:
    """Adds which earlier upload and result of the same content are going to be used."""
    source, archive = forecast.item.source, forecast.item.target.archive
    if forecast.failure is not None or source is None:
        return forecast
    try:
        sha256 = await asyncio.to_thread(lambda: sha256_of(stat_file(source)))
        videos = (await client.video_page(sha256=sha256, limit=1)).items
        if not videos:
            return forecast
        extraction = videos[0].extraction
        reused = Reuse.EXTRACTION if is_same_spec(spec, extraction.spec) else Reuse.VIDEO
        result = extraction.result if reused is Reuse.EXTRACTION else None
        if result is not None and await asyncio.to_thread(has_content, archive, result.bytes, result.sha256):
            reused = Reuse.ARCHIVE
    except (UnsendableFile, OSError) as error:
        return replace(forecast, failure=failure_of(error))
    return replace(forecast, reused=reused, video_id=videos[0].id)


async def _estimate(client: AsyncClient, media: Media | None, spec: str) -> Estimate | None:
    try:
        return None if media is None else await client.estimate(media, spec)
    except ApiError as error:
        if error.status not in {404, 422}:
            raise
        # The service gives no estimates, or none for media like these.
        return None


def _known_frames(forecast: Forecast) -> int | None:
    if forecast.frames is not None:
        return forecast.frames
    return None if forecast.estimate is None else forecast.estimate.frames


def totals(forecasts: Sequence[Forecast]) -> dict[str, Any]:
    """Returns the sums over the files that can be extracted. A sum is None when it is unknown for one of them."""
    extractable = [forecast for forecast in forecasts if forecast.failure is None]
    estimates = [forecast.estimate for forecast in extractable if forecast.estimate is not None]
    counts = [_known_frames(forecast) for forecast in extractable]
    known_counts = [count for count in counts if count is not None]
    return {
        "videos": len(extractable),
        "failed": len(forecasts) - len(extractable),
        "size": sum(forecast.size or 0 for forecast in extractable),
        "reused": sum(forecast.reused is not None for forecast in extractable),
        "send_bytes": sum(forecast.size or 0 for forecast in extractable if forecast.reused is None),
        "frames": sum(known_counts) if len(known_counts) == len(extractable) else None,
        "bytes": sum(estimate.bytes for estimate in estimates) if len(estimates) == len(extractable) else None,
        "seconds": sum(estimate.seconds for estimate in estimates) if len(estimates) == len(extractable) else None,
    }


def line_of(forecast: Forecast) -> str:
    if forecast.failure is not None:
        return f"{forecast.item.name}: would fail: {forecast.failure.detail} ({forecast.failure.code})"
    result = _result_text(asdict(forecast.estimate) if forecast.estimate else {}, forecast.frames)
    reused = f"; {_REUSE_TEXTS[forecast.reused]}" if forecast.reused else ""
    return f"{forecast.item.name}: {(forecast.size or 0) / 1e6:.1f} MB → {forecast.item.target.archive}{result}{reused}"


def summary_line(counts: Mapping[str, Any]) -> str:
    failed = f", {counts['failed']} would fail" if counts["failed"] else ""
    videos = f"{counts['videos']} {'video' if counts['videos'] == 1 else 'videos'}"
    sent = f" ({counts['send_bytes'] / 1e6:.1f} MB to send)" if counts["reused"] else ""
    return f"{videos}, {counts['size'] / 1e6:.1f} MB{sent}{failed}{_result_text(counts, counts['frames'])}"


def _result_text(estimate: Mapping[str, Any], frames: int | None) -> str:
    parts = [] if frames is None else [f"{frames} {'frame' if frames == 1 else 'frames'}"]
    if frames is None and estimate.get("frames") is not None:
        parts.append(f"about {estimate['frames']} frames")
    if estimate.get("bytes") is not None:
        parts.append(f"about {estimate['bytes'] / 1e6:.1f} MB, {estimate['seconds']:.0f} s of one worker")
    return f": {', '.join(parts)}" if parts else ""


def json_object(forecast: Forecast) -> dict[str, Any]:
    return {
        "file": forecast.item.name,
        "size": forecast.size,
        "archive": str(forecast.item.target.archive),
        "frames": forecast.frames,
        "estimate": asdict(forecast.estimate) if forecast.estimate else None,
        "reused": forecast.reused,
        "video_id": forecast.video_id,
        "error": asdict(forecast.failure) if forecast.failure else None,
    }
