"""Makes the clips that benchmarks read and keeps them in a folder; benchmarks.extract.synthetic_frames draws them.

Each clip is encoded once, with B-frames, CABAC and loop filters where the codec has them. Then its encoded packets are
written `loops` times, with later times in each loop. For a decoder that is as much work as a longer video: every GOP
starts with a key frame and refers to no other GOP. Frame n of a clip shows the number n % encoding.frames.
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

from benchmarks.extract.synthetic_frames import SyntheticVideo
from benchmarks.thread_priority_guard import kept_scheduling

FPS = 30
CLIPS_VERSION = 4
"""Part of the file names; rises when older clips must not be used."""
_BT709 = 1

os.environ.setdefault("SVT_LOG", "0")  # the AV1 encoder reports on stderr otherwise


@dataclass(frozen=True, slots=True)
class Encoding:
    """width, height: pixels. gop: frames of a GOP; `frames` is a multiple of it, so that loops join."""

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
    """An encoded video that is repeated `loops` times."""

    name: str
    encoding: Encoding
    loops: int = 1

    @property
    def frames(self) -> int:
        return self.encoding.frames * self.loops

    @property
    def seconds(self) -> Fraction:
        return Fraction(self.frames, FPS)


def _gop_options(gop: int) -> str:
    return f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:bframes=3"


_X264 = "preset=veryfast crf=23 x264-params="
_X265 = "preset=ultrafast crf=26 x265-params=log-level=none:"
_VP9 = "deadline=good cpu-used=5 row-mt=1 tile-columns=2 crf=34 b=0 auto-alt-ref=1 lag-in-frames=16"
_AV1 = "preset=11 crf=35"

GOP_250 = Encoding("h264_gop250", "libx264", 250, 500, _X264 + _gop_options(250))
GOP_48 = Encoding("h264_gop48", "libx264", 48, 480, _X264 + _gop_options(48))
UHD = Encoding("h264_4k", "libx264", 60, 240, _X264 + _gop_options(60), width=3840, height=2160)
HEVC = Encoding("hevc_10bit", "libx265", 60, 240, _X265 + _gop_options(60), pixel_format="yuv420p10le")
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


def find_clip(name: str, *, quick: bool = False) -> Clip:
    """The clip of this name. quick: a version with few frames."""
    clip = CLIPS[name]
    if not quick:
        return clip
    encoding = replace(clip.encoding, frames=max(1, 60 // clip.encoding.gop) * clip.encoding.gop)
    return Clip(name, encoding, min(clip.loops, 4))


def ensure_clip(folder: Path, clip: Clip) -> Path:
    """The clip's file in the folder. When it is missing it is made under another name and then renamed."""
    encoding = clip.encoding
    path = folder / f"{clip.name}_{clip.frames}_{CLIPS_VERSION}{encoding.suffix}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        master = folder / f"{encoding.name}_{encoding.frames}_{CLIPS_VERSION}.master{encoding.suffix}"
        if not master.exists():
            print(
                f"making {encoding.name}: {encoding.frames} frames of {encoding.width} × {encoding.height} …",
                flush=True,
            )
            unfinished = _unfinished(master)
            encode_video(unfinished, encoding)
            unfinished.rename(master)
        unfinished = _unfinished(path)
        write_loops(master, unfinished, clip)
        unfinished.rename(path)
    return path


def _unfinished(path: Path) -> Path:
    return path.with_name(f"{path.stem}.{os.getpid()}.part{path.suffix}")


def encode_video(path: Path, encoding: Encoding) -> None:
    """Draws and encodes a video on all cores."""
    video = SyntheticVideo(encoding.width, encoding.height)
    with av.open(str(path), "w") as container:
        options = dict(option.split("=", 1) for option in encoding.options.split())
        stream = container.add_stream(encoding.codec, rate=FPS, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = encoding.width, encoding.height, encoding.pixel_format
        context = stream.codec_context
        context.gop_size, context.max_b_frames = encoding.gop, 3
        context.thread_count = os.cpu_count() or 1
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        with kept_scheduling():
            container.start_encoding()
        for number in range(encoding.frames):
            frame = video.frame(number).reformat(format=encoding.pixel_format)
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_loops(master: Path, path: Path, clip: Clip) -> None:
    """Writes the master's packets `clip.loops` times, one loop after the other."""
    with av.open(str(path), "w") as container:
        stream: VideoStream | None = None
        for loop in range(clip.loops):
            with av.open(str(master)) as source:
                video = source.streams.video[0]
                stream = stream or container.add_stream_from_template(video, opaque=True)
                for packet in _shifted_packets(source.demux(video), loop * clip.encoding.frames):
                    packet.stream = stream
                    container.mux(packet)


def _shifted_packets(packets: Iterator[Packet[VideoStream]], shift_frames: int) -> Iterator[Packet[VideoStream]]:
    """The packets with their times later by `shift_frames` frames."""
    for packet in packets:
        if packet.dts is None or packet.pts is None or not packet.size:
            continue
        assert packet.time_base is not None
        shift = round(Fraction(shift_frames, FPS) / packet.time_base)
        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
        yield packet
