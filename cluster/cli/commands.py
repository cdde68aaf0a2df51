"""The command line `fotograma`. A command imports what it needs when it runs, so that `--help` is fast."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli import account_commands, operator_commands, webhook_commands
from cluster.cli.option_types import Json, batch_example, example

if TYPE_CHECKING:
    from cluster.client.api_types import Extraction, Video

app = typer.Typer(
    help="Exact, timestamped frames out of videos: by a service, or on this machine.",
    epilog=example("fotograma extract talk.mov --fps 1 --local"),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folder = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the results; created if missing.")
]
Unpack = Annotated[bool, typer.Option("--unpack", help="Also write the images to DIR/<file stem>/.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command. An error becomes a message on standard error and the exit code 1."""
    from cluster.client.errors import FotogramaError  # noqa: PLC0415

    try:
        app(arguments)
    except (FotogramaError, OSError) as error:
        _print_error(error)
        return 1
    return 0


def _show_version(is_set: bool) -> None:
    if is_set:
        from importlib.metadata import version  # noqa: PLC0415

        typer.echo(f"fotograma {version('fotograma')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of all commands."""


@app.command(epilog=example("fotograma login --register --email ana@example.com"))
def login(
    url: Annotated[
        str | None, typer.Option(envvar="FOTOGRAMA_URL", help="Address of the service.", show_default=False)
    ] = None,
    email: Annotated[str | None, typer.Option(help="E-mail of the account.", show_default=False)] = None,
    register: Annotated[bool, typer.Option("--register", help="Create the account first.")] = False,
) -> None:
    """Log in to a service. The password is asked for, or taken from FOTOGRAMA_PASSWORD."""
    from cluster.cli.stored_credentials import DEFAULT_URL, canonical_url, credentials_file  # noqa: PLC0415
    from cluster.client.sync_client import Client  # noqa: PLC0415

    file = credentials_file(os.environ)
    address = canonical_url(url or file.current_url() or DEFAULT_URL)
    account_email = email or typer.prompt("E-mail", err=True)
    password = os.environ.get("FOTOGRAMA_PASSWORD") or typer.prompt(
        "Password", hide_input=True, confirmation_prompt=register, err=True
    )
    with Client(address) as client:
        if register:
            client.register(account_email, password)
        tokens = client.login(account_email, password)
    with file.locked():
        file.write_tokens(address, tokens, account_email)
    typer.echo(f"Logged in at {address} as {account_email}.")


@app.command(epilog=example("fotograma logout"))
def logout() -> None:
    """End the session and delete its tokens."""
    from cluster.cli.stored_credentials import server_credentials  # noqa: PLC0415
    from cluster.client.sync_client import Client  # noqa: PLC0415

    server = server_credentials(os.environ)
    with Client(server.url, store=server.store) as client:
        client.logout()
    typer.echo(f"Logged out at {server.url}.")


@app.command(epilog=batch_example("fotograma extract clips/*.mp4 --fps 1 -o frames"))
def extract(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILES...", help="Videos, folders of videos, or quoted patterns.", show_default=False),
    ],
    *,
    folder: Folder = Path("frames"),
    fps: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="Frames a second; 1 by default.", show_default=False)
    ] = None,
    spec: Annotated[
        str | None, typer.Option(metavar="JSON", help="A frame specification, or @FILE to read it from.")
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Also take videos in subfolders.")] = False,
    unpack: Unpack = False,
    as_json: Json = False,
    local: Annotated[bool, typer.Option("--local", help="Extract on this machine; no server is needed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the files and the expected results.")] = False,
) -> None:
    """Extract frames of videos into DIR/<file stem>.zip. Skips what an earlier run has finished."""
    spec_text = _spec_text(fps, spec)
    found, is_complete = _input_files(files, recursive=recursive)
    if dry_run:
        from cluster.cli.dry_run import show_dry_run  # noqa: PLC0415
        from cluster.cli.run_batch import batch_items  # noqa: PLC0415

        show_dry_run(batch_items(found, folder), spec_text, local=local, as_json=as_json)
    elif local:
        from cluster.cli.extract_local_command import run_local  # noqa: PLC0415

        run_local(found, spec_text, folder, unpack=unpack, as_json=as_json)
    else:
        from cluster.cli.run_batch import batch_items, run_on_server  # noqa: PLC0415

        run_on_server(batch_items(found, folder), spec_text, folder, unpack=unpack, as_json=as_json)
    if not is_complete:
        raise typer.Exit(1)


@app.command(epilog=batch_example("fotograma download 01890c5e-7b1a-7c3e-9f00-2b6c1d8e4a10 -o frames"))
def download(
    ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="Ids of videos or extractions.", show_default=False)
    ],
    folder: Folder = Path("frames"),
    unpack: Unpack = False,
    as_json: Json = False,
) -> None:
    """Fetch results into DIR. Waits for those that are not finished."""
    import asyncio  # noqa: PLC0415

    from cluster.cli.output_paths import output_paths  # noqa: PLC0415
    from cluster.cli.run_batch import run_on_server  # noqa: PLC0415
    from cluster.cli.server_batch import BatchItem  # noqa: PLC0415

    found = asyncio.run(_find_items(ids))
    targets = output_paths(folder, [video.filename for video, _ in found])
    items = [
        BatchItem(video.filename, target, video=video, extraction=extraction)
        for (video, extraction), target in zip(found, targets, strict=True)
    ]
    run_on_server(items, None, folder, unpack=unpack, as_json=as_json)


@app.command(name="list", epilog=example("fotograma list --status failed"))
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

    from cluster.cli.batch_results import json_text, show_videos  # noqa: PLC0415
    from cluster.cli.run_batch import console  # noqa: PLC0415
    from cluster.cli.stored_credentials import logged_in_client  # noqa: PLC0415

    with logged_in_client(os.environ) as client:
        videos = list(islice(client.videos(status=status, q=q), limit))
    if as_json:
        typer.echo(json_text({"items": [asdict(video) for video in videos]}))
    else:
        show_videos(console(), videos)


app.command(epilog=example("fotograma ledger --check"))(operator_commands.ledger)
app.command(epilog=example("fotograma timeline 01890c5e-7b1a-7c3e-9f00-2b6c1d8e4a10"))(operator_commands.timeline)
app.add_typer(operator_commands.ops, name="ops")
app.add_typer(webhook_commands.webhooks, name="webhooks")
app.add_typer(account_commands.account, name="account")


@app.command(epilog=example("fotograma up --port 8080 --home ~/videos"))
def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the API and the page.")] = 8000,
    data_dir: Annotated[Path, typer.Option("--home", metavar="DIR", help="Folder of all data.")] = Path("~/.fotograma"),
    demo: Annotated[bool, typer.Option("--demo", help="Also extract a sample clip.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, envvar="FOTOGRAMA_WORKERS", help="Videos processed at once.", show_default="the cores"),
    ] = None,
) -> None:
    """Run the whole service on this machine until Ctrl-C."""
    from cluster.local.startup_error import ExitCode  # noqa: PLC0415

    try:
        from cluster.local.up import up as run  # noqa: PLC0415

        code = run(port=port, data_dir=data_dir, demo=demo, workers=workers)
    except ModuleNotFoundError as error:
        typer.echo(f'The service is not installed ({error.name}). Run: pip install "fotograma[local]"', err=True)
        raise typer.Exit(ExitCode.NOT_INSTALLED) from error
    raise typer.Exit(code)


async def _find_items(ids: Sequence[str]) -> list[tuple[Video, Extraction]]:
    from cluster.cli.server_batch import find_items  # noqa: PLC0415
    from cluster.cli.stored_credentials import server_credentials  # noqa: PLC0415
    from cluster.client.async_client import AsyncClient  # noqa: PLC0415

    server = server_credentials(os.environ)
    async with AsyncClient(server.url, store=server.store) as client:
        return await find_items(client, ids)


def _input_files(arguments: Sequence[Path], *, recursive: bool) -> tuple[list[Path], bool]:
    """Returns the files, and whether all folders could be read. Says which could not."""
    from cluster.cli.batch_results import printable  # noqa: PLC0415
    from cluster.cli.input_files import input_files  # noqa: PLC0415

    unreadable: list[OSError] = []
    found = input_files(arguments, recursive=recursive, on_unreadable=unreadable.append)
    for error in unreadable:
        typer.echo(printable(f"Skipped: {error}"), err=True)
    if not found and unreadable:
        raise typer.Exit(1)
    if not found:
        hint = "" if recursive else " --recursive also looks below it."
        raise typer.BadParameter(f"there is no video in the folder.{hint}", param_hint="FILES")
    return found, not unreadable


def _spec_text(fps: str | None, spec: str | None) -> str | None:
    """Returns the specification as JSON text with exact decimals."""
    import json  # noqa: PLC0415
    from decimal import Decimal, InvalidOperation  # noqa: PLC0415

    if fps is not None and spec is not None:
        raise typer.BadParameter("give --fps or --spec, not both.")
    if fps is not None:
        try:
            rate = Decimal(fps)
        except InvalidOperation:
            rate = Decimal(0)
        if not (rate.is_finite() and rate > 0 and abs(rate.adjusted()) < 20):
            raise typer.BadParameter(f"{fps!r} is not a number of frames above 0.", param_hint="--fps")
        return f'{{"sample":{{"mode":"fps","fps":{rate:f}}}}}'
    if spec is None:
        return None
    text = Path(spec[1:]).read_text("utf-8") if spec.startswith("@") else spec
    try:
        json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}.", param_hint="--spec") from error
    return text


def _print_error(error: Exception) -> None:
    from cluster.cli.batch_results import printable  # noqa: PLC0415
    from cluster.cli.server_batch import failure_of  # noqa: PLC0415
    from cluster.client.errors import ApiError  # noqa: PLC0415

    typer.echo(printable(f"Error: {error}"), err=True)
    if isinstance(error, ApiError):
        if remedy := failure_of(error).remedy:
            typer.echo(f"  {remedy}", err=True)
        if error.fault == "service" and error.request_id:
            typer.echo(f"  request_id: {error.request_id}", err=True)


if __name__ == "__main__":
    sys.exit(main())
