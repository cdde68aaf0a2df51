"""How long a decoding child may take at most, and how long its work usually takes. Pure.

The rates for the maximum are those of a slow, shared processor with the slowest codecs and image formats. A child that
is slower than that hangs. The sizes that a hostile file declares can't extend a deadline past the worker's own limit.
"""

from __future__ import annotations

from typing import assert_never

from actors.extraction_types import DetectingScenes, Planned

PROBE_SECONDS = 120.0
PROBED_BYTES_PER_SECOND = 5e6
"""Of reading all packets. A video whose container does not time its pictures is decoded in this time too."""
BASE_SECONDS = 60.0
DECODED_PIXELS_PER_SECOND = 8e6
SECOND_DECODE_PIXELS_PER_SECOND = 40e6
"""After an error the whole file is decoded a second time. That is rare, so this rate is less generous."""
IMAGE_PIXELS_PER_SECOND = 4e6

USUAL_DECODED_PIXELS_PER_SECOND = 120e6
"""Of one core; half of it for heavier codecs, twice for lighter ones."""
USUAL_IMAGE_PIXELS_PER_SECOND = 120e6


def max_probe_seconds(file_bytes: int) -> float:
    """For the time until the child knows what is in the file."""
    return PROBE_SECONDS + file_bytes / PROBED_BYTES_PER_SECOND


def max_work_seconds(work: Planned | DetectingScenes) -> float:
    """From the moment when the child reports the work."""
    pixels = work.media.width * work.media.height
    decode_seconds_per_pixel = (
        work.frames_to_decode / DECODED_PIXELS_PER_SECOND + work.media.frames / SECOND_DECODE_PIXELS_PER_SECOND
    )
    match work:
        case Planned(frames_total=images):
            return BASE_SECONDS + pixels * (decode_seconds_per_pixel + images / IMAGE_PIXELS_PER_SECOND)
        case DetectingScenes():
            return BASE_SECONDS + pixels * decode_seconds_per_pixel
        case _:
            assert_never(work)


def usual_work_seconds(work: Planned) -> float:
    """How long one core usually takes. It decides whether the work is split into segments."""
    pixels = work.media.width * work.media.height
    decode_seconds_per_pixel = work.frames_to_decode / USUAL_DECODED_PIXELS_PER_SECOND
    return pixels * (decode_seconds_per_pixel + work.frames_total / USUAL_IMAGE_PIXELS_PER_SECOND)
