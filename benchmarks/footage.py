"""The clips that benchmarks read: generated, textured and moving, each frame with its number in its pixels.

They are encoded with B-frames, CABAC and the loop filter, so that decoding costs what it does with real footage.
"""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from tests.clips import ClipSpec, make

_REAL = ClipSpec(
    b_frames=3,
    audio=True,
    matrix="bt709",
    fps=Fraction(30),
    options=(("preset", "superfast"), ("crf", "23")),
    threads=os.cpu_count() or 1,
)
_HD = replace(_REAL, width=1920, height=1080)
_UHD = replace(_REAL, width=3840, height=2160)


def footage(*, quick: bool) -> dict[str, ClipSpec]:
    """The clips by name; `quick` ones last a few seconds only."""
    seconds, seconds_4k = (6, 3) if quick else (60, 15)
    return {
        "1080p_gop250": replace(_HD, gop=250, frames=30 * seconds),
        "1080p_gop48": replace(_HD, gop=48, frames=30 * seconds),
        "4k_gop60": replace(_UHD, gop=60, frames=30 * seconds_4k),
    }


def made(folder: Path, name: str, spec: ClipSpec) -> Path:
    """The clip's file in the folder; made when it is not there yet, and never seen half made."""
    path = folder / f"{name}_{spec.frames}{spec.suffix}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        make(unfinished, spec)
        unfinished.rename(path)
    return path
