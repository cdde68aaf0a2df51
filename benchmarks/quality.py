"""What a contestant delivered: how many images, how large, of the right frames, and how near to the decoded video."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace
from PIL import Image

from tests.clips import ClipSpec, read_number
from tests.pattern import Rgb

COMPARED_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Delivery:
    """right: images of exactly the frame on screen at 0, 1, 2 … s.

    psnr: dB, RGB, over the first images against the decoded frames they are of; None when those are not known.
    """

    images: int
    image_bytes: int
    right: int
    psnr: float | None


def delivered(archive: Path, reference: Mapping[int, Rgb], spec: ClipSpec) -> Delivery:
    """Reads an archive's JPEGs; their frames are told by the numbers in their pixels."""
    with zipfile.ZipFile(archive) as frames:
        files = [frames.read(name) for name in sorted(frames.namelist()) if name.endswith(".jpg")]
    pictures = (np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files)
    numbers: list[int | None] = []
    errors: list[float] = []
    for picture in pictures:
        number = read_number(picture)
        numbers.append(number)
        if number is not None and number in reference:
            errors.append(float(np.mean((reference[number].astype(np.int16) - picture) ** 2.0)))
    right = sum(number == wanted for number, wanted in zip(numbers, wanted_numbers(spec), strict=False))
    return Delivery(len(files), sum(map(len, files)), right, _psnr(errors))


def wanted_numbers(spec: ClipSpec) -> list[int]:
    """The frames on screen at 0, 1, 2 … s of a clip with a constant rate."""
    return [math.floor(second * spec.fps) for second in range(math.ceil(spec.frames / spec.fps))]


def decoded(source: Path) -> dict[int, Rgb]:
    """The frames of the first seconds by number, from a plain decode; the footage is BT.709."""
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        rate = stream.average_rate or 30
        kept: dict[int, Rgb] = {}
        for number, frame in enumerate(container.decode(stream)):
            if number > COMPARED_SECONDS * rate:
                break
            # The frames that a contestant takes for a whole second; ffmpeg's fps=1 takes the one before each half.
            if number % rate in (0, rate // 2 - 1):
                rgb = frame.reformat(format="rgb24", src_colorspace=Colorspace.ITU709)
                kept[number] = np.asarray(rgb.to_ndarray(), np.uint8)
        return kept


def _psnr(errors: Iterable[float]) -> float | None:
    known = list(errors)
    if not known:
        return None
    mean = sum(known) / len(known)
    return 10 * math.log10(255**2 / mean) if mean else math.inf
