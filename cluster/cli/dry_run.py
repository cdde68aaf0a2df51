"""`fotograma extract --dry-run`: which files would be sent, and what would come of them. Nothing is sent."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import Any

import typer

from cluster.cli.batch_results import json_text, say
from cluster.cli.run_batch import console
from cluster.cli.server_batch import BatchItem, failure_of
from cluster.cli.stored_credentials import NotLoggedIn, identity
from cluster.client.api_types import Estimate, Failure, Media
from cluster.client.async_client import AsyncClient
from cluster.client.errors import ApiError, ConnectionFailed, FotogramaError
from cluster.client.local_files.local_file import stat_file
from cluster.client.retry_policy import RetryPolicy
from db.values.error_catalogue import CatalogueError
from db.values.frame_spec import canonical, parse

FILES_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would become of one file. size: in bytes. frames: images, exact; None when that is not known.

    media: None without the engine. estimate: None without a service that estimates.
    """

    item: BatchItem
    size: int | None = None
    media: Media | None = None
    frames: int | None = None
    estimate: Estimate | None = None
    failure: Failure | None = None


def show_dry_run(items: Sequence[BatchItem], spec: str | None, *, local: bool, as_json: bool) -> None:
    """Prints what would be done. Exits with 1 when a file can't be extracted. local: asks no service."""
    try:
        chosen = canonical(parse(spec or "{}"))
    except CatalogueError as error:
        raise typer.BadParameter(error.detail, param_hint="--spec") from error
    forecasts = asyncio.run(_forecasts(items, chosen, local=local))
    if as_json:
        typer.echo(json_text({"items": [document(one) for one in forecasts], "summary": totals(forecasts)}))
    else:
        for one in forecasts:
            say(console(), line_of(one))
        say(console(), summary_line(totals(forecasts)))
    if any(one.failure for one in forecasts):
        raise typer.Exit(1)


async def _forecasts(items: Sequence[BatchItem], spec: str, *, local: bool) -> list[Forecast]:
    turns = asyncio.Semaphore(FILES_AT_ONCE)

    async def inspect(item: BatchItem) -> Forecast:
        async with turns:
            return await _inspect(item, spec)

    inspected = list(await asyncio.gather(*map(inspect, items)))
    return inspected if local else await _estimated(inspected, spec)


async def _inspect(item: BatchItem, spec: str) -> Forecast:
    assert item.source is not None
    try:
        size = (await asyncio.to_thread(stat_file, item.source)).size
        # Without the engine nothing but the size is known.
        return await _planned(Forecast(item, size), spec) if find_spec("av") else Forecast(item, size)
    except (FotogramaError, OSError) as error:
        return Forecast(item, failure=failure_of(error))


async def _planned(forecast: Forecast, spec: str) -> Forecast:
    from actors.extraction_types import Planned  # noqa: PLC0415
    from actors.sandbox.child_process import ChildStartError  # noqa: PLC0415
    from cluster.cli.local_batch import VideoRefused, planned_work  # noqa: PLC0415

    assert forecast.item.source is not None
    try:
        work = await planned_work(forecast.item.source, forecast.size or 0, spec)
    except VideoRefused as refused:
        return replace(forecast, failure=refused.failure)
    except ChildStartError:
        # As without the engine.
        return forecast
    frames = work.frames_total if isinstance(work, Planned) else None
    return replace(forecast, media=Media(**work.media.document()), frames=frames)


async def _estimated(forecasts: list[Forecast], spec: str) -> list[Forecast]:
    """Adds the estimates of the service, if it is there and gives any."""
    try:
        who = identity(os.environ)
        async with AsyncClient(who.url, store=who.store, retry=RetryPolicy(attempts=2)) as client:
            return [replace(one, estimate=await _estimate(client, one.media, spec)) for one in forecasts]
    except (NotLoggedIn, ConnectionFailed, ApiError) as error:
        if not (isinstance(error, ApiError) and error.status == 404):
            typer.echo(f"There is no estimate: {error}", err=True)
        return forecasts


async def _estimate(client: AsyncClient, media: Media | None, spec: str) -> Estimate | None:
    try:
        return None if media is None else await client.estimate(media, spec)
    except ApiError as error:
        if error.status != 422:
            raise
        # The service estimates nothing of media such as these.
        return None


def totals(forecasts: Sequence[Forecast]) -> dict[str, Any]:
    """The sums of what is known; None when that is not known of every file that can be extracted."""
    good = [one for one in forecasts if one.failure is None]
    estimates = [one.estimate for one in good if one.estimate is not None]
    counts = [one.frames if one.frames is not None else one.estimate and one.estimate.frames for one in good]
    known = [count for count in counts if count is not None]
    return {
        "videos": len(good),
        "failed": len(forecasts) - len(good),
        "size": sum(one.size or 0 for one in good),
        "frames": sum(known) if len(known) == len(good) else None,
        "bytes": sum(one.bytes for one in estimates) if len(estimates) == len(good) else None,
        "seconds": sum(one.seconds for one in estimates) if len(estimates) == len(good) else None,
    }


def line_of(forecast: Forecast) -> str:
    if forecast.failure is not None:
        return f"{forecast.item.name}: would fail: {forecast.failure.detail} ({forecast.failure.code})"
    result = _result_text(asdict(forecast.estimate) if forecast.estimate else {}, forecast.frames)
    return f"{forecast.item.name}: {(forecast.size or 0) / 1e6:.1f} MB → {forecast.item.target.archive}{result}"


def summary_line(counts: Mapping[str, Any]) -> str:
    failed = f", {counts['failed']} would fail" if counts["failed"] else ""
    videos = f"{counts['videos']} {'video' if counts['videos'] == 1 else 'videos'}"
    return f"{videos}, {counts['size'] / 1e6:.1f} MB{failed}{_result_text(counts, counts['frames'])}"


def _result_text(estimate: Mapping[str, Any], frames: int | None) -> str:
    parts = [] if frames is None else [f"{frames} {'frame' if frames == 1 else 'frames'}"]
    if frames is None and estimate.get("frames") is not None:
        parts.append(f"about {estimate['frames']} frames")
    if estimate.get("bytes") is not None:
        parts.append(f"about {estimate['bytes'] / 1e6:.1f} MB, {estimate['seconds']:.0f} s of one worker")
    return f": {', '.join(parts)}" if parts else ""


def document(forecast: Forecast) -> dict[str, Any]:
    return {
        "file": forecast.item.name,
        "size": forecast.size,
        "archive": str(forecast.item.target.archive),
        "frames": forecast.frames,
        "estimate": asdict(forecast.estimate) if forecast.estimate else None,
        "error": asdict(forecast.failure) if forecast.failure else None,
    }
