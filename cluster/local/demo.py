"""The demonstration of `fotograma up --demo`: makes clips and an account, and extracts frames over the public API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cluster.client.api_types import Status, Video
from cluster.client.errors import ApiError, FotogramaError
from cluster.client.sync_client import Client
from cluster.local.sample_clips import SAMPLES, write_samples
from cluster.unpack_archive import unpack

EMAIL = "demo@example.org"
SPEC = {"sample": {"mode": "fps", "fps": 1}}


def run_demo(folder: Path, url: str, password: str, print_line: Callable[[str], None]) -> None:
    """Extracts the sample clip and prints where the frames are. Prints its errors; the service continues."""
    try:
        print_line("\nDemonstration:")
        clip, *others = write_samples(folder)
        print_line(f"  Clip       {clip} ({SAMPLES[clip.name]})")
        for other in others:
            print_line(f"  To try     {other} ({SAMPLES[other.name]})")
        with Client(url) as client:
            _log_in(client, password)
            print_line(f"  Account    {EMAIL}, password {password}")
            video = _find_earlier(client, clip.name) or client.upload(clip, SPEC)
            extraction = client.wait(video.extraction)
            archive = client.download(extraction, folder / "clock.zip")
        unpack(archive, folder / "frames")
        count = 0 if extraction.result is None else extraction.result.frames
        print_line(f"  Archive    {archive}\n  Frames     {count} of them, 1 a second, in {folder / 'frames'}")
    except (FotogramaError, OSError) as error:
        print_line(f"  The demonstration failed: {error}")


def _log_in(client: Client, password: str) -> None:
    try:
        client.register(EMAIL, password, name="Demo")
    except ApiError as error:
        if error.status != 409:  # 409: an earlier demonstration made the account
            raise
    client.login(EMAIL, password)


def _find_earlier(client: Client, name: str) -> Video | None:
    """Returns the video of an earlier demonstration."""
    found = client.videos(q=name)
    return next((video for video in found if video.status not in (Status.FAILED, Status.CANCELLED)), None)
