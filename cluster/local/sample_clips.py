"""Sample clips that this machine makes: a clock that shows its own time and number in each frame."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, cycle, islice
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]

LANDSCAPE = (640, 360)
PORTRAIT = (360, 640)
CLOCK_SECONDS = 8
_CLOCK_TICKS = [40] * (25 * CLOCK_SECONDS)
# As a phone films in changing light: between 18 and 30 frames a second.
_PHONE_TICKS = list(islice(cycle([33, 34, 33, 50, 55, 41]), 100))
_TICK = Fraction(1, 1000)
SAMPLES = {
    "clock.mp4": "8 seconds, 25 frames a second",
    "phone.mp4": "4 seconds, variable frame rate, turned upright",
    "damaged.mp4": "the clock with a lost sector",
}
"""What each clip is, by its name."""
# The bars of a seven-segment digit that are lit: top, middle, bottom, upper left, upper right, lower left, lower right.
_SEGMENTS = {
    "0": "1011111", "1": "0000101", "2": "1110110", "3": "1110101", "4": "0101101",
    "5": "1111001", "6": "1111011", "7": "1000101", "8": "1111111", "9": "1111101",
}  # fmt: skip


def write_samples(folder: Path) -> list[Path]:
    """Writes the clips that are not in the folder yet. Returns the paths of all."""
    folder.mkdir(parents=True, exist_ok=True)
    clock, phone, damaged = (folder / name for name in SAMPLES)
    if not clock.exists():
        _encode(clock, _CLOCK_TICKS, LANDSCAPE, rotation=0)
    if not phone.exists():
        _encode(phone, _PHONE_TICKS, PORTRAIT, rotation=90)
    if not damaged.exists():
        _write_damaged(clock, damaged)
    return [clock, phone, damaged]


def _write_damaged(clip: Path, path: Path) -> None:
    """Copies a clip with zeros in place of its third key frame, as after a lost sector. Later frames refer to it."""
    with av.open(clip) as container:
        keys = [packet for packet in container.demux(video=0) if packet.is_keyframe]
        lost = keys[2]
        data = bytearray(clip.read_bytes())
        assert lost.pos is not None
        data[lost.pos : lost.pos + lost.size] = bytes(lost.size)
    temporary = path.with_name(f".{path.stem}.new{path.suffix}")
    temporary.write_bytes(data)
    temporary.replace(path)


def _encode(path: Path, ticks: Sequence[int], size: tuple[int, int], *, rotation: int) -> None:
    """Writes an H.264 clip, atomically. ticks: how long each frame is shown, in milliseconds. size: as displayed."""
    temporary = path.with_name(f".{path.stem}.new{path.suffix}")
    with av.open(temporary, "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": "20", "g": "50"})
        stream.width, stream.height = size if rotation == 0 else size[::-1]
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", _TICK
        if rotation:
            stream.set_display_rotation(-rotation)
        for number, (time, duration) in enumerate(zip(accumulate(ticks, initial=0), ticks, strict=False)):
            upright = draw(number, time * _TICK, size)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.rot90(upright, rotation // 90)), format="rgb24")
            frame.pts, frame.duration, frame.time_base = time, duration, _TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    temporary.replace(path)


def draw(number: int, time: Fraction, size: tuple[int, int]) -> Picture:
    """A frame, shape (height, width, 3): moving waves of color under its time in seconds and its number."""
    width, height = size
    seconds = float(time)
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    wave = np.sin(x / 38 + seconds) + np.sin(y / 27 - 1.3 * seconds) + np.sin((x + y) / 49 + 0.7 * seconds)
    grain = (np.arange(width) * 7 + number * 3 ^ np.arange(height)[:, None] * 13) & 15
    colors = [118 + 38 * np.sin(wave * 1.1 + turn) + grain for turn in (0.0, 2.1 + 0.2 * seconds, 4.2)]
    picture: Picture = np.stack(colors, axis=-1).astype(np.uint8)
    digit = min(68, width // 8)
    picture[height - 2 * digit : height - digit // 3, 20 : width * 2 // 3 + 20] //= 4
    clock = f"{int(time) // 60:02d}:{int(time) % 60:02d}.{int(time * 100) % 100:02d}"
    _write(picture, clock, left=40, top=height - 10 * digit // 6, height=digit, color=(255, 244, 214))
    _write(picture, f"{number:04d}", left=width - 150, top=26, height=36, color=(255, 255, 255))
    return picture


def _write(picture: Picture, text: str, *, left: int, top: int, height: int, color: tuple[int, int, int]) -> None:
    """Draws digits, ":" and "." like a seven-segment display."""
    width, bar = height // 2, max(4, height // 9)
    for sign in text:
        if sign in ":.":
            for dot in (height // 3, height - bar) if sign == ":" else (height - bar,):
                picture[top + dot : top + dot + bar, left : left + bar] = color
            left += 3 * bar
            continue
        boxes = _boxes(width, height, bar)
        for lit, (y0, y1, x0, x1) in zip(_SEGMENTS[sign], boxes, strict=True):
            if lit == "1":
                picture[top + y0 : top + y1, left + x0 : left + x1] = color
        left += width + 2 * bar


def _boxes(width: int, height: int, bar: int) -> list[tuple[int, int, int, int]]:
    """The seven bars, each as (top, bottom, left, right)."""
    half = height // 2
    across = [(y, y + bar, 0, width) for y in (0, half - bar // 2, height - bar)]
    down = [(y0, y1, x, x + bar) for y0, y1 in ((0, half), (half, height)) for x in (0, width - bar)]
    return across + down
