"""The commands for the videos on a service."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from cluster.cli.shared_options import (
    Folder,
    Ids,
    Json,
    NoClobber,
    Prefix,
    Timeout,
    Unpack,
    Yes,
    batch_example,
    example,
    unpacking,
)

commands = typer.Typer()


@commands.command(epilog=batch_example("fotograma download 1d8e4a10 -o frames"))
def download(
    ids: Ids,
    *,
    folder: Folder = Path("frames"),
    unpack: Unpack = False,
    prefix: Prefix = False,
    no_clobber: NoClobber = False,
    timeout: Timeout = None,
    as_json: Json = False,
) -> None:
    """Fetch results into DIR. Waits for those that are not finished."""
    from cluster.cli.batch.batch_options import BatchOptions  # noqa: PLC0415
    from cluster.cli.batch.batch_types import BatchItem  # noqa: PLC0415
    from cluster.cli.batch.output_paths import output_paths  # noqa: PLC0415
    from cluster.cli.batch.run_batch import run_on_server  # noqa: PLC0415
    from cluster.cli.service_client import open_client  # noqa: PLC0415
    from cluster.cli.stored_items import find_items  # noqa: PLC0415

    images = unpacking(unpack=unpack, prefix=prefix)
    with open_client(timeout) as client:
        found = find_items(client, ids)
    targets = output_paths(folder, [video.filename for video, _ in found])
    items = [
        BatchItem(video.filename, target, video=video, extraction=extraction)
        for (video, extraction), target in zip(found, targets, strict=True)
    ]
    options = BatchOptions(folder, images, no_clobber=no_clobber, timeout=timeout, as_json=as_json)
    run_on_server(items, None, options)


@commands.command(name="list", epilog=example("fotograma list --status failed"))
def list_(
    status: Annotated[
        Literal["queued", "running", "succeeded", "warned", "failed", "cancelled"] | None,
        typer.Option(help="Only these; warned: done with warnings.", show_default=False),
    ] = None,
    q: Annotated[str | None, typer.Option("--name", help="A part of the file name.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, help="Videos at most.")] = 50,
    timeout: Timeout = None,
    as_json: Json = False,
) -> None:
    """Show your videos, newest first. Every command takes the ids in the first column."""
    from dataclasses import asdict  # noqa: PLC0415
    from itertools import islice  # noqa: PLC0415

    from cluster.cli.output.terminal_output import json_text  # noqa: PLC0415
    from cluster.cli.output.video_lines import video_line  # noqa: PLC0415
    from cluster.cli.service_client import open_client  # noqa: PLC0415

    with open_client(timeout) as client:
        matching = client.videos(status="succeeded" if status == "warned" else status, q=q)
        if status == "warned":
            matching = (video for video in matching if video.extraction.result and video.extraction.result.warnings)
        videos = list(islice(matching, limit))
    if as_json:
        typer.echo(json_text({"items": [asdict(video) for video in videos]}))
    elif sys.stdout.isatty():
        # Only the table needs rich, which takes long to import.
        from cluster.cli.video_table import show_table  # noqa: PLC0415

        show_table(videos)
    else:
        for video in videos:
            typer.echo(video_line(video))


@commands.command("open", epilog=example("fotograma open 1d8e4a10"))
def open_(
    id_: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Id of a video or an extraction.", show_default=False)
    ] = None,
    timeout: Timeout = None,
) -> None:
    """Open the page of the service, or of a video, in the browser. Prints its address."""
    import webbrowser  # noqa: PLC0415

    from cluster.cli.server_url import server_url  # noqa: PLC0415
    from cluster.cli.service_client import open_client  # noqa: PLC0415
    from cluster.cli.stored_items import find_items  # noqa: PLC0415

    address = f"{server_url(os.environ)}/"
    if id_ is not None:
        with open_client(timeout) as client:
            (item,) = find_items(client, [id_])
        address = f"{address}?video={item.video.id}"
    typer.echo(address)
    webbrowser.open(address)


@commands.command(epilog=example("fotograma delete 1d8e4a10 --yes"))
def delete(
    ids: Ids,
    yes: Yes = False,
    timeout: Timeout = None,
    as_json: Json = False,
) -> None:
    """Delete videos with all their extractions and results. Running ones are cancelled first."""
    from cluster.cli.commands.each_item import act_on_each, confirm  # noqa: PLC0415
    from cluster.cli.service_client import open_client  # noqa: PLC0415
    from cluster.cli.stored_items import StoredItem, find_items  # noqa: PLC0415
    from cluster.client.sync_client import Client  # noqa: PLC0415

    def delete_video(client: Client, item: StoredItem) -> tuple[str, object]:
        client.delete(item.video)
        return "deleted", {"video_id": item.video.id, "filename": item.video.filename, "deleted": True}

    with open_client(timeout) as client:
        items = list({item.video.id: item for item in find_items(client, ids)}.values())
    if not yes:
        confirm("Delete", [item.video.filename for item in items])
    with open_client(timeout) as client:
        act_on_each(client, items, delete_video, as_json=as_json)
