"""The commands for the videos on a service."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli.option_types import Folder, Json, Prefix, Unpack, batch_example, example, unpacking

if TYPE_CHECKING:
    from cluster.client.api_types import Extraction, Video

commands = typer.Typer()


@commands.command(epilog=batch_example("fotograma download 01890c5e-7b1a-7c3e-9f00-2b6c1d8e4a10 -o frames"))
def download(
    ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="Ids of videos or extractions.", show_default=False)
    ],
    folder: Folder = Path("frames"),
    unpack: Unpack = False,
    prefix: Prefix = False,
    as_json: Json = False,
) -> None:
    """Fetch results into DIR. Waits for those that are not finished."""
    import asyncio  # noqa: PLC0415

    from cluster.cli.batch.output_paths import output_paths  # noqa: PLC0415
    from cluster.cli.batch.run_batch import run_on_server  # noqa: PLC0415
    from cluster.cli.batch.server_batch import BatchItem  # noqa: PLC0415

    images = unpacking(unpack=unpack, prefix=prefix)
    found = asyncio.run(_find_items(ids))
    targets = output_paths(folder, [video.filename for video, _ in found])
    items = [
        BatchItem(video.filename, target, video=video, extraction=extraction)
        for (video, extraction), target in zip(found, targets, strict=True)
    ]
    run_on_server(items, None, folder, unpack=images, as_json=as_json)


@commands.command(name="list", epilog=example("fotograma list --status failed"))
def list_(
    status: Annotated[
        str | None, typer.Option(help="queued, running, succeeded, failed or cancelled.", show_default=False)
    ] = None,
    q: Annotated[str | None, typer.Option("--name", help="A part of the file name.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, help="Videos at most.")] = 50,
    as_json: Json = False,
) -> None:
    """Show your videos, newest first."""
    from dataclasses import asdict  # noqa: PLC0415
    from itertools import islice  # noqa: PLC0415

    from cluster.cli.stored_credentials import logged_in_client  # noqa: PLC0415
    from cluster.cli.terminal_output import console, json_text  # noqa: PLC0415
    from cluster.cli.video_table import show_videos  # noqa: PLC0415

    with logged_in_client(os.environ) as client:
        videos = list(islice(client.videos(status=status, q=q), limit))
    if as_json:
        typer.echo(json_text({"items": [asdict(video) for video in videos]}))
    else:
        show_videos(console(), videos)


async def _find_items(ids: Sequence[str]) -> list[tuple[Video, Extraction]]:
    from cluster.cli.stored_credentials import server_credentials  # noqa: PLC0415
    from cluster.cli.stored_items import find_items  # noqa: PLC0415
    from cluster.client.async_client import AsyncClient  # noqa: PLC0415

    server = server_credentials(os.environ)
    async with AsyncClient(server.url, store=server.store) as client:
        return await find_items(client, ids)
