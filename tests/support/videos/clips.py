"""Test clips with the frame number in the pixels of every frame, and files that are not valid clips.

The pattern (see tests.support.videos.frame_number_pattern) is drawn upright, then turned and squeezed the way a camera
stores it, so that only a reader that applies rotation and pixel aspect ratio reads numbers.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, cycle, islice
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream
from PIL import Image

from benchmarks.thread_priority_guard import kept_scheduling
from tests.support.videos.frame_number_pattern import Rgb, picture, read_image, read_number

__all__ = [
    "BIG_CLIPS",
    "CLIPS",
    "ClipByName",
    "ClipSpec",
    "ClipTruth",
    "DisplayedFrame",
    "make_clip",
    "picture",
    "read_image",
    "read_number",
    "truncated_copy",
    "write_audio_only",
    "write_hls_playlist",
    "write_text_file",
]

os.environ.setdefault("SVT_LOG", "0")  # the AV1 encoder reports on stderr otherwise

SAMPLE_RATE = 48_000


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """Properties of a clip.

    width, height: pixels as coded. rotation: degrees clockwise that a player turns the picture by. sar: pixel aspect
    ratio. vfr: durations of the frames in ticks of `time_base`, repeated in turn; empty for a constant rate.
    time_base: seconds of one tick, by default one frame. edit_list, edit_end: so many frames at the start and at the
    end are coded but hidden (MP4 and MOV). start_offset: seconds before the first frame. matrix: "bt601" or "bt709",
    tagged; empty for an untagged BT.601. options, threads: for the encoder. muxer: its options.
    """

    codec: str = "libx264"
    suffix: str = ".mp4"
    width: int = 192
    height: int = 112
    frames: int = 60
    fps: Fraction = Fraction(30)
    gop: int = 12
    b_frames: int = 0
    pix_fmt: str = "yuv420p"
    rotation: int = 0
    sar: Fraction = Fraction(1)
    vfr: tuple[int, ...] = ()
    time_base: Fraction | None = None
    edit_list: int = 0
    edit_end: int = 0
    start_offset: Fraction = Fraction(0)
    faststart: bool = False
    fragmented: bool = False
    open_gop: bool = False
    audio: bool = False
    matrix: str = ""
    options: tuple[tuple[str, str], ...] = ()
    threads: int = 1
    muxer: tuple[tuple[str, str], ...] = ()

    @property
    def tick(self) -> Fraction:
        return self.time_base or 1 / self.fps

    @property
    def displayed_size(self) -> tuple[int, int]:
        """Pixels (width, height) after pixel aspect ratio and rotation; half rounds up."""
        width, height = math.floor(self.width * self.sar + Fraction(1, 2)), self.height
        return (height, width) if self.rotation % 180 else (width, height)

    def durations(self) -> list[int]:
        """Ticks that each frame is shown."""
        return list(islice(cycle(self.vfr or (int(1 / self.fps / self.tick),)), self.frames))

    def times(self) -> list[int]:
        """Ticks at which each frame is shown; the first one that is not hidden at `start_offset`."""
        starts = list(accumulate(self.durations(), initial=0))[: self.frames]
        zero = starts[self.edit_list] - int(self.start_offset / self.tick)
        return [start - zero for start in starts]


@dataclass(frozen=True, slots=True)
class DisplayedFrame:
    """One displayed frame. number: in its pixels. pts: seconds after the first displayed frame, as the file has it."""

    number: int
    pts: Fraction
    key: bool


@dataclass(frozen=True, slots=True)
class ClipTruth:
    """The true content of a clip.

    duration: seconds, from the first displayed frame to the end of the last. width, height: pixels as displayed.
    time_base: seconds of one tick in the file.
    """

    shown: tuple[DisplayedFrame, ...]
    duration: Fraction
    width: int
    height: int
    rotation: int
    time_base: Fraction
    spec: ClipSpec = field(repr=False)

    @property
    def numbers(self) -> list[int]:
        return [shown.number for shown in self.shown]

    @property
    def times(self) -> list[Fraction]:
        return [shown.pts for shown in self.shown]


ClipByName = Callable[[str], tuple[Path, ClipTruth]]
"""The fixture `clips`: returns the path and the true content of a clip by its name."""

_HALF, _NTSC = Fraction(1, 2), Fraction(30_000, 1_001)

# MP4 keeps durations in decoding order: with B-frames the last one is only certain when its neighbors are equal.
_VFR_DURATIONS = (1, 4, 2, 9, 3, 1, 7, 2, 12, 3, 3, 3, 3, 3, 3)

CLIPS: dict[str, ClipSpec] = {
    "h264": ClipSpec(),
    "h264_b_frames": ClipSpec(b_frames=3, audio=True, faststart=True),
    "h264_vfr": ClipSpec(vfr=_VFR_DURATIONS, time_base=Fraction(1, 100)),
    "h264_vfr_b_frames": ClipSpec(vfr=_VFR_DURATIONS, time_base=Fraction(1, 100), b_frames=2),
    "h264_ntsc": ClipSpec(fps=_NTSC, b_frames=2, frames=90),
    "h264_rotated_90": ClipSpec(rotation=90, frames=30),
    "h264_rotated_180": ClipSpec(rotation=180, frames=30),
    "h264_rotated_270": ClipSpec(rotation=270, frames=30, suffix=".mov"),
    "h264_anamorphic": ClipSpec(width=144, sar=Fraction(4, 3), frames=30),
    "h264_anamorphic_rotated": ClipSpec(width=144, sar=Fraction(4, 3), rotation=90, frames=30),
    "h264_edit_list": ClipSpec(edit_list=7, frames=60),
    "h264_edit_list_b_frames": ClipSpec(edit_list=17, b_frames=2, frames=60),
    "h264_edit_list_both_ends": ClipSpec(edit_list=7, edit_end=5, fps=Fraction(25)),
    "h264_start_offset": ClipSpec(start_offset=_HALF, b_frames=2),
    "h264_open_gop": ClipSpec(open_gop=True, b_frames=3),
    "h264_one_gop": ClipSpec(gop=1_000, frames=90, b_frames=2),
    "h264_all_intra": ClipSpec(gop=1, frames=30),
    "h264_444": ClipSpec(pix_fmt="yuv444p", frames=30),
    "h264_422": ClipSpec(pix_fmt="yuv422p", frames=30),
    "h264_10_bit": ClipSpec(pix_fmt="yuv420p10le", frames=30),
    "h264_full_range": ClipSpec(pix_fmt="yuvj420p", frames=30),
    "h264_bt709": ClipSpec(matrix="bt709", frames=30),
    "h264_bt709_full_range": ClipSpec(matrix="bt709", pix_fmt="yuvj420p", frames=30),
    "h264_fragmented": ClipSpec(fragmented=True, b_frames=2),
    "h264_slow": ClipSpec(fps=Fraction(1, 2), frames=6, gop=3),
    "odd_size": ClipSpec(width=191, height=113, pix_fmt="yuv444p", frames=30),
    "one_frame": ClipSpec(frames=1),
    "two_frames": ClipSpec(frames=2),
    "hevc": ClipSpec(codec="libx265", b_frames=2),
    "hevc_open_gop": ClipSpec(codec="libx265", b_frames=3, open_gop=True),
    "hevc_10_bit": ClipSpec(codec="libx265", pix_fmt="yuv420p10le", suffix=".mkv", frames=30),
    "vp8_webm": ClipSpec(codec="libvpx", suffix=".webm"),
    "vp9_webm": ClipSpec(codec="libvpx-vp9", suffix=".webm", audio=True),
    "vp9_mp4": ClipSpec(codec="libvpx-vp9", frames=30),
    "av1_mp4": ClipSpec(codec="libsvtav1", frames=30),
    "av1_webm": ClipSpec(codec="libsvtav1", suffix=".webm", frames=30),
    "mpeg4_avi": ClipSpec(codec="mpeg4", suffix=".avi"),
    "h264_avi": ClipSpec(suffix=".avi"),
    "wmv": ClipSpec(codec="wmv2", suffix=".wmv"),
    "mpeg4_mp4_b_frames": ClipSpec(codec="mpeg4", b_frames=2),
    "mjpeg_avi": ClipSpec(codec="mjpeg", suffix=".avi", gop=1, pix_fmt="yuvj420p", frames=30),
    "mpegts": ClipSpec(suffix=".ts", b_frames=2, audio=True),
    "mpegts_mpeg2": ClipSpec(codec="mpeg2video", suffix=".ts", b_frames=2),
    "mpeg_ps": ClipSpec(codec="mpeg2video", suffix=".mpg", b_frames=2),
    "mkv": ClipSpec(suffix=".mkv", b_frames=2, fps=_NTSC),
    "mkv_vfr": ClipSpec(suffix=".mkv", vfr=(10, 40, 20, 95, 33), time_base=Fraction(1, 1_000)),
    "flv": ClipSpec(suffix=".flv", b_frames=2, fps=Fraction(25)),
    "mov": ClipSpec(suffix=".mov", b_frames=2, audio=True),
}

BIG_CLIPS: dict[str, ClipSpec] = {
    "h264_long": ClipSpec(width=320, height=192, frames=3_000, gop=60),
    "h264_4k": ClipSpec(width=3840, height=2160, frames=60, gop=30, b_frames=2),
    "hevc_4k": ClipSpec(codec="libx265", width=3840, height=2160, frames=30, gop=30, b_frames=2),
}
"""Clips whose memory and time count; a few seconds each to make."""

_FORMATS = {".mkv": "matroska", ".ts": "mpegts", ".m2ts": "mpegts", ".mpg": "mpeg", ".wmv": "asf"}
_MATRICES = {"": 5, "bt601": 5, "bt709": 1}


def make_clip(path: Path, spec: ClipSpec) -> ClipTruth:
    """Writes the clip; `path` should end with `spec.suffix`."""
    name = _FORMATS.get(spec.suffix, spec.suffix[1:])
    with av.open(str(path), "w", format=name, options=_muxer_options(spec)) as container:
        video = _video_stream(container, spec)
        audio = _audio_stream(container, spec.suffix) if spec.audio else None
        with kept_scheduling():
            container.start_encoding()
        keys = _encode(container, video, audio, spec)
        time_base = video.time_base  # after the header: the muxer's own
    assert time_base is not None
    if spec.edit_end:
        _set_edit_end(path, sum(spec.durations()[spec.edit_list : -spec.edit_end]) * spec.tick)
    return _truth(spec, keys, time_base)


def _coded_picture(spec: ClipSpec, number: int) -> Rgb:
    """The picture as it is stored: turned back, and squeezed by the pixel aspect ratio."""
    width, height = spec.displayed_size
    turned = np.rot90(picture(width, height, number), spec.rotation // 90)
    if turned.shape[1] == spec.width:
        return np.ascontiguousarray(turned)
    return np.asarray(Image.fromarray(turned).resize((spec.width, spec.height), Image.Resampling.BILINEAR))


def _muxer_options(spec: ClipSpec) -> dict[str, str]:
    flags = ["+faststart"] * spec.faststart + ["+frag_keyframe+empty_moov+default_base_moof"] * spec.fragmented
    m2ts = {"mpegts_m2ts_mode": "1"} if spec.suffix == ".m2ts" else {}
    return ({"movflags": "".join(flags)} if flags else {}) | m2ts | dict(spec.muxer)


def _video_stream(container: OutputContainer, spec: ClipSpec) -> VideoStream:
    stream = container.add_stream(spec.codec, rate=spec.fps, options=_encoder_options(spec))
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt = spec.width, spec.height, spec.pix_fmt
    context = stream.codec_context
    context.time_base = spec.tick
    context.gop_size, context.max_b_frames = spec.gop, spec.b_frames
    context.sample_aspect_ratio = spec.sar
    context.thread_count = spec.threads
    if not spec.codec.startswith(("libx26", "libsvt")):
        context.bit_rate = max(2_000_000, 8 * spec.width * spec.height)
    if spec.matrix:
        context.colorspace = context.color_primaries = context.color_trc = _MATRICES[spec.matrix]
    if spec.rotation:
        stream.set_display_rotation(-spec.rotation)
    return stream


def _encoder_options(spec: ClipSpec) -> dict[str, str]:
    common = f"keyint={spec.gop}:min-keyint={spec.gop}:scenecut=0:bframes={spec.b_frames}:open-gop={spec.open_gop:d}"
    options = {
        "libx264": {"preset": "ultrafast", "crf": "20", "x264-params": common},
        "libx265": {"preset": "ultrafast", "crf": "20", "x265-params": f"{common}:log-level=none:pools=1"},
        "libvpx": {"deadline": "realtime", "cpu-used": "8"},
        "libvpx-vp9": {"deadline": "good", "cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "12"},
        "libsvtav1": {"preset": "12", "crf": "25", "svtav1-params": "lp=1"},
    }.get(spec.codec, {})
    return options | dict(spec.options)


def _audio_stream(container: OutputContainer, suffix: str) -> AudioStream:
    codec = {".webm": "libopus", ".mpg": "mp2", ".avi": "mp2"}.get(suffix, "aac")
    stream = container.add_stream(codec, rate=SAMPLE_RATE, layout="mono")
    assert isinstance(stream, AudioStream)
    return stream


def _encode(container: OutputContainer, video: VideoStream, audio: AudioStream | None, spec: ClipSpec) -> set[int]:
    """Encodes all frames. Returns the presentation times of the key frames, in ticks."""
    keys: set[int] = set()
    durations = dict(zip(spec.times(), spec.durations(), strict=True))
    for number, time in enumerate(durations):
        _write(container, video.encode(_frame(spec, number, time)), durations, keys)
        if audio:
            container.mux(audio.encode(_tone(time * spec.tick, durations[time] * spec.tick)))
    _write(container, video.encode(None), durations, keys)
    if audio:
        container.mux(audio.encode(None))
    return keys


def _write(
    container: OutputContainer, packets: list[av.Packet[VideoStream]], durations: dict[int, int], keys: set[int]
) -> None:
    for packet in packets:
        assert packet.pts is not None
        packet.duration = durations[packet.pts]
        if packet.is_keyframe:
            keys.add(packet.pts)
        container.mux(packet)


def _frame(spec: ClipSpec, number: int, time: int) -> av.VideoFrame:
    rgb = av.VideoFrame.from_ndarray(_coded_picture(spec, number), format="rgb24")
    frame = rgb.reformat(format=spec.pix_fmt, dst_colorspace=_MATRICES[spec.matrix], threads=1)
    frame.pts, frame.time_base = time, spec.tick
    return frame


def _tone(start: Fraction, seconds: Fraction) -> av.AudioFrame:
    """A piece of a quiet tone of 440 Hz, without gaps to the piece before."""
    first, last = round(start * SAMPLE_RATE), round((start + seconds) * SAMPLE_RATE)
    wave = 0.1 * np.sin(2 * np.pi * 440 / SAMPLE_RATE * np.arange(first, last))
    frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[np.newaxis], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, first, Fraction(1, SAMPLE_RATE)
    return frame


def _set_edit_end(path: Path, seconds: Fraction) -> None:
    """Sets the edit's length (ISO/IEC 14496-12, 8.6.6, version 0) in a file whose movie ticks are milliseconds."""
    data = bytearray(path.read_bytes())
    place = data.index(b"elst")
    version, entries = struct.unpack_from(">II", data, place + 4)
    assert (version, entries) == (0, 1)
    struct.pack_into(">I", data, place + 12, int(seconds * 1_000))
    path.write_bytes(data)


def _truth(spec: ClipSpec, keys: set[int], time_base: Fraction) -> ClipTruth:
    """The content of the file: times rounded to the container's ticks, half away from zero as the muxers do."""
    times = spec.times()

    def stored(ticks: int) -> int:
        exact = ticks * spec.tick / time_base
        return math.floor(exact + _HALF) if exact >= 0 else -math.floor(_HALF - exact)

    zero = stored(times[spec.edit_list])
    shown = [
        DisplayedFrame(number, (stored(time) - zero) * time_base, time in keys)
        for number, time in enumerate(times)
        if spec.edit_list <= number < spec.frames - spec.edit_end
    ]
    duration = shown[-1].pts + stored(spec.durations()[shown[-1].number]) * time_base
    return ClipTruth(tuple(shown), duration, *spec.displayed_size, spec.rotation, time_base, spec)


def write_audio_only(path: Path, seconds: int = 1) -> None:
    """Writes a file with sound only. The suffix of `path` names the container."""
    with av.open(str(path), "w") as container:
        stream = _audio_stream(container, path.suffix)
        for tone in [_tone(Fraction(0), Fraction(seconds)), None]:
            container.mux(stream.encode(tone))


def write_text_file(path: Path) -> None:
    path.write_text("This is a text, not a video.\n" * 100, encoding="utf-8")


def write_hls_playlist(path: Path, target: str = "http://127.0.0.1:1/segment.ts") -> None:
    """A playlist. A demuxer that guesses the format opens `target`."""
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n", encoding="utf-8")


def truncated_copy(clip: Path, keep: float = 0.5) -> Path:
    """A copy beside the clip that has only the first `keep` of its bytes."""
    short = clip.with_name(f"{clip.stem}_truncated_{keep:.2f}{clip.suffix}")
    whole = clip.read_bytes()
    # Another process may read the same copy and must not see an unfinished one.
    unfinished = short.with_name(f"{short.name}.{os.getpid()}")
    unfinished.write_bytes(whole[: int(len(whole) * keep)])
    return unfinished.replace(short)
