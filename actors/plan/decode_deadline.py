"""How long a decoding child may take, generously, and how long its work takes as a rule: by what is before it. Pure.

The rates of what it may take are those of a slow processor that is shared, with the slowest codecs and image formats; a
child that is slower than that hangs. What hostile files make a child say is bounded by the worker's own limit.
"""

from __future__ import annotations

from typing import assert_never

from actors.extraction_types import Planned, Scanning

PROBE_SECONDS = 120.0
PROBED_BYTES_PER_SECOND = 5e6
"""Reading all packets; a container without times is decoded for them."""
FLOOR_SECONDS = 60.0
DECODED_PIXELS_PER_SECOND = 8e6
RETRIED_PIXELS_PER_SECOND = 40e6
"""After trouble the whole file is decoded once more; that is rare and need not be as generous."""
IMAGE_PIXELS_PER_SECOND = 4e6

USUAL_DECODED_PIXELS_PER_SECOND = 120e6
"""One core; half of it for heavier codecs, twice for lighter ones."""
USUAL_IMAGE_PIXELS_PER_SECOND = 120e6


def probe_seconds(size: int) -> float:
    """For a file of so many bytes, until it is known what is in it."""
    return PROBE_SECONDS + size / PROBED_BYTES_PER_SECOND


def work_seconds(work: Planned | Scanning) -> float:
    """From the moment that the work is told."""
    pixels = work.media.width * work.media.height
    decoding = work.frames_to_decode / DECODED_PIXELS_PER_SECOND + work.media.frames / RETRIED_PIXELS_PER_SECOND
    match work:
        case Planned(frames_total=images):
            return FLOOR_SECONDS + pixels * (decoding + images / IMAGE_PIXELS_PER_SECOND)
        case Scanning():
            return FLOOR_SECONDS + pixels * decoding
        case _:
            assert_never(work)


def usual_seconds(work: Planned) -> float:
    """What the work takes one core as a rule: whether it is long enough to be shared out."""
    pixels = work.media.width * work.media.height
    decoding = work.frames_to_decode / USUAL_DECODED_PIXELS_PER_SECOND
    return pixels * (decoding + work.frames_total / USUAL_IMAGE_PIXELS_PER_SECOND)
