"""The demonstration of `fotograma up --demo`: makes a clip and an account, and extracts frames over the public API."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from cluster.client.api_types import Status, Video
from cluster.client.errors import ApiError, FotogramaError
from cluster.client.sync_client import Client
from cluster.unpack_archive import unpack

EMAIL = "demo@example.org"
SPEC = {"sample": {"mode": "fps", "fps": 1}}
WIDTH, HEIGHT = 640, 360
FRAMES_PER_SECOND = 25
SECONDS = 8

Picture = npt.NDArray[np.uint8]

# The bars of a seven-segment digit that are lit: top, middle, bottom, upper left, upper right, lower left, lower right.
_SEGMENTS = {
    "0": "1011111", "1": "0000101", "2": "1110110", "3": "1110101", "4": "0101101",
    "5": "1111001", "6": "1111011", "7": "1000101", "8": "1111111", "9": "1111101",
}  # fmt: skip


def run_demo(folder: Path, url: str, password: str, print_line: Callable[[str], None]) -> None:
    """Extracts the sample clip and prints where the frames are. Prints its errors; the service continues."""
    try:
        print_line("\nDemonstration:")
        folder.mkdir(parents=True, exist_ok=True)
        clip = folder / "clock.mp4"
        if not clip.exists():
            make_clip(clip)
        print_line(f"  Clip       {clip} ({SECONDS} s, {WIDTH}x{HEIGHT})")
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


def make_clip(path: Path) -> None:
    """Writes an H.264 clip of SECONDS, atomically."""
    temporary = path.with_name(f".{path.stem}.new{path.suffix}")
    with av.open(temporary, "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(SECONDS * FRAMES_PER_SECOND):
            frame = av.VideoFrame.from_ndarray(draw(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FRAMES_PER_SECOND)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    temporary.replace(path)


def draw(number: int) -> Picture:
    """Frame `number`, shape (HEIGHT, WIDTH, 3): moving waves of color under the time and the frame number."""
    seconds = number / FRAMES_PER_SECOND
    y, x = np.arange(HEIGHT, dtype=np.float32)[:, None], np.arange(WIDTH, dtype=np.float32)
    wave = np.sin(x / 38 + seconds) + np.sin(y / 27 - 1.3 * seconds) + np.sin((x + y) / 49 + 0.7 * seconds)
    grain = (np.arange(WIDTH) * 7 + number * 3 ^ np.arange(HEIGHT)[:, None] * 13) & 15
    colors = [118 + 38 * np.sin(wave * 1.1 + turn) + grain for turn in (0.0, 2.1 + 0.2 * seconds, 4.2)]
    picture: Picture = np.stack(colors, axis=-1).astype(np.uint8)
    picture[HEIGHT - 126 : HEIGHT - 26, 26:426] //= 4
    hundredths = number % FRAMES_PER_SECOND * 100 // FRAMES_PER_SECOND
    clock = f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}.{hundredths:02d}"
    _write(picture, clock, left=46, top=HEIGHT - 110, height=68, color=(255, 244, 214))
    _write(picture, f"{number:04d}", left=WIDTH - 150, top=26, height=36, color=(255, 255, 255))
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
