"""Measures a program's archive: number and size of the images, which frames they show, and their PSNR."""

from __future__ import annotations

import io
import math
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from PIL import Image

from benchmarks.extract.synthetic_frames import read_number_in_corner

Luma = npt.NDArray[np.float32]

DRAFT = 4
"""Frame numbers are read from images decoded at a quarter of their size, which is much faster."""
SMALLEST_DRAFT = 320
_WEIGHTS = {"bt709": (0.2126, 0.7152, 0.0722), "bt601": (0.299, 0.587, 0.114)}
"""The weights of red, green and blue in luma."""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """psnr: dB, of luma as the decoder gives it. has_right_colors: the images have the matrix that JPEG prescribes.

    A program may leave BT.709 samples in a JPEG, which holds BT.601 by its standard. Then the colors are wrong. The
    PSNR is about the encoder's quality alone, so the luma is computed with the matrix that the program used.
    """

    psnr: float
    has_right_colors: bool


@dataclass(frozen=True, slots=True)
class ArchiveQuality:
    """right: images of exactly the requested frame. shift: the most frequent distance in frames from the requested
    frame, and how many images have it. fidelity: None when no image is of a frame of the reference.
    """

    images: int
    image_bytes: int
    right: int
    shift: tuple[int, int]
    fidelity: Fidelity | None


Reference = Mapping[int, Luma]
"""Decoded frames by number: luma from 0 to 255."""


def decode_reference(source: Path, numbers: Iterable[int]) -> Reference:
    """The frames with these numbers, as far as the video has them, from a sequential decode. BT.709, limited range."""
    requested = set(numbers)
    lumas: dict[int, Luma] = {}
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for number, frame in enumerate(container.decode(stream)):
            if number > max(requested):
                break
            if number in requested:
                lumas[number] = _source_luma(frame)
    return lumas


def _source_luma(frame: VideoFrame) -> Luma:
    plane, component = frame.planes[0], frame.format.components[0]
    samples = np.frombuffer(memoryview(plane), np.uint8 if component.bits == 8 else np.uint16)
    rows = samples.reshape(plane.height, -1)[:, : plane.width].astype(np.float32)
    return np.asarray((rows / 2 ** (component.bits - 8) - 16) * (255 / 219), np.float32)


def measure_archive(archive: Path, requested: Sequence[int], cycle: int, reference: Reference) -> ArchiveQuality:
    """Reads an archive's JPEGs. The number in the pixels identifies the frame; numbers start again after `cycle`."""
    files = read_images(archive)
    numbers = [read_frame_number(file) for file in files]
    shifts = Counter(
        (number - frame + cycle // 2) % cycle - cycle // 2
        for number, frame in zip(numbers, requested, strict=False)
        if number is not None
    )
    shift = shifts.most_common(1)[0] if shifts else (0, 0)
    return ArchiveQuality(
        len(files), sum(map(len, files)), shifts[0], shift, measure_fidelity(files, numbers, reference)
    )


def read_images(archive: Path) -> list[bytes]:
    with zipfile.ZipFile(archive) as frames:
        return [frames.read(name) for name in sorted(frames.namelist()) if name.endswith(".jpg")]


def read_frame_number(file: bytes) -> int | None:
    image = Image.open(io.BytesIO(file))
    if image.width // DRAFT >= SMALLEST_DRAFT:
        image.draft("RGB", (image.width // DRAFT, image.height // DRAFT))
    return read_number_in_corner(np.asarray(image.convert("RGB")))


def measure_fidelity(files: Sequence[bytes], numbers: Sequence[int | None], reference: Reference) -> Fidelity | None:
    """The fidelity of all images of the reference's frames. A smaller image is compared with the scaled-down frame."""
    errors: dict[str, list[float]] = {matrix: [] for matrix in _WEIGHTS}
    for file, number in zip(files, numbers, strict=True):
        if number is not None and number in reference:
            image = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"), np.float32)
            expected = _resized(reference[number], image.shape[1], image.shape[0])
            for matrix, weights in _WEIGHTS.items():
                errors[matrix].append(float(np.mean((image @ np.array(weights, np.float32) - expected) ** 2)))
    if not errors["bt709"]:
        return None
    right, wrong = (sum(of_matrix) / len(of_matrix) for of_matrix in (errors["bt709"], errors["bt601"]))
    return Fidelity(psnr(min(right, wrong)), right <= wrong)


def psnr(mean_square: float) -> float:
    return 10 * math.log10(255**2 / mean_square) if mean_square else math.inf


def _resized(luma: Luma, width: int, height: int) -> Luma:
    if luma.shape == (height, width):
        return luma
    return np.asarray(Image.fromarray(luma).resize((width, height), Image.Resampling.LANCZOS), np.float32)
