"""The clips that benchmarks read, made here and kept in a folder; benchmarks.extract.synthetic_film says what is on
them.

Each is a film that is encoded once, with B-frames, CABAC and loop filters where the codec has them, and then played
`loops` times: its encoded packets stand in the file again with later times. To a decoder that is the same work as so
much more film, for every GOP begins with a key frame and needs nothing of the others; frame n of a clip shows the
number n % film.frames.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet
from av.video.stream import VideoStream

from benchmarks.extract.synthetic_film import Film

FPS = 30
EDITION = 4
"""Stands in the files' names; rises when the clips of before must not be taken."""
_BT709 = 1

os.environ.setdefault("SVT_LOG", "0")  # the AV1 encoder reports on stderr otherwise


@dataclass(frozen=True, slots=True)
class Encoding:
    """What is encoded. width, height: pixels. gop: frames; `frames` is a multiple of it, so that a loop fits."""

    name: str
    codec: str
    gop: int
    frames: int
    options: str
    width: int = 1920
    height: int = 1080
    pixel_format: str = "yuv420p"
    suffix: str = ".mp4"


@dataclass(frozen=True, slots=True)
class Clip:
    """A film that is played `loops` times."""

    name: str
    film: Encoding
    loops: int = 1

    @property
    def frames(self) -> int:
        return self.film.frames * self.loops

    @property
    def seconds(self) -> Fraction:
        return Fraction(self.frames, FPS)


def _x26(gop: int) -> str:
    return f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:bframes=3"


_X264 = "preset=veryfast crf=23 x264-params="
_X265 = "preset=ultrafast crf=26 x265-params=log-level=none:"
_VP9 = "deadline=good cpu-used=5 row-mt=1 tile-columns=2 crf=34 b=0 auto-alt-ref=1 lag-in-frames=16"
_AV1 = "preset=11 crf=35"

GOP_250 = Encoding("h264_gop250", "libx264", 250, 500, _X264 + _x26(250))
GOP_48 = Encoding("h264_gop48", "libx264", 48, 480, _X264 + _x26(48))
UHD = Encoding("h264_4k", "libx264", 60, 240, _X264 + _x26(60), width=3840, height=2160)
HEVC = Encoding("hevc_10bit", "libx265", 60, 240, _X265 + _x26(60), pixel_format="yuv420p10le")
VP9 = Encoding("vp9", "libvpx-vp9", 128, 256, _VP9, suffix=".webm")
AV1 = Encoding("av1", "libsvtav1", 120, 240, _AV1)

CLIPS = {
    clip.name: clip
    for clip in (
        Clip("1080p_gop250", GOP_250, 3),
        Clip("1080p_gop48", GOP_48, 3),
        Clip("1080p_gop48_short", GOP_48),
        Clip("1080p_10min", GOP_250, 36),
        Clip("4k_gop60", UHD, 2),
        Clip("4k_gop60_short", UHD),
        Clip("hevc_10bit", HEVC, 3),
        Clip("vp9", VP9, 3),
        Clip("av1", AV1, 3),
    )
}


def clip(name: str, *, quick: bool = False) -> Clip:
    """One of CLIPS; a quick one is of few frames."""
    whole = CLIPS[name]
    if not quick:
        return whole
    film = replace(whole.film, frames=max(1, 60 // whole.film.gop) * whole.film.gop)
    return Clip(name, film, min(whole.loops, 4))


def made(folder: Path, clip: Clip) -> Path:
    """The clip's file in the folder; made when it is not there yet, and never seen half made."""
    film = clip.film
    path = folder / f"{clip.name}_{clip.frames}_{EDITION}{film.suffix}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        master = folder / f"{film.name}_{film.frames}_{EDITION}.film{film.suffix}"
        if not master.exists():
            print(f"making {film.name}: {film.frames} frames of {film.width} × {film.height} …", flush=True)
            unfinished = _unfinished(master)
            encode(unfinished, film)
            unfinished.rename(master)
        unfinished = _unfinished(path)
        play(master, unfinished, clip)
        unfinished.rename(path)
    return path


def _unfinished(path: Path) -> Path:
    return path.with_name(f"{path.stem}.{os.getpid()}.part{path.suffix}")


def encode(path: Path, film: Encoding) -> None:
    """Draws and encodes a film on all cores."""
    drawn = Film(film.width, film.height)
    with av.open(str(path), "w") as container:
        options = dict(option.split("=", 1) for option in film.options.split())
        stream = container.add_stream(film.codec, rate=FPS, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = film.width, film.height, film.pixel_format
        context = stream.codec_context
        context.gop_size, context.max_b_frames = film.gop, 3
        context.thread_count = os.cpu_count() or 1
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        for number in range(film.frames):
            frame = drawn.frame(number).reformat(format=film.pixel_format)
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def play(master: Path, path: Path, clip: Clip) -> None:
    """Writes the master's packets `clip.loops` times, one play after the other."""
    with av.open(str(path), "w") as container:
        stream: VideoStream | None = None
        for turn in range(clip.loops):
            with av.open(str(master)) as source:
                film = source.streams.video[0]
                stream = stream or container.add_stream_from_template(film, opaque=True)
                for packet in _packets(source.demux(film), turn * clip.film.frames):
                    packet.stream = stream
                    container.mux(packet)


def _packets(packets: Iterator[Packet[VideoStream]], after: int) -> Iterator[Packet[VideoStream]]:
    """The packets, `after` frames later."""
    for packet in packets:
        if packet.dts is None or packet.pts is None or not packet.size:
            continue
        assert packet.time_base is not None
        later = round(Fraction(after, FPS) / packet.time_base)
        packet.pts, packet.dts = packet.pts + later, packet.dts + later
        yield packet
