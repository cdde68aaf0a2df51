"""From a decoded frame to an image: color, size, upright, JPEG.

A frame's samples go to full-range BT.601, which is what a JFIF file holds, without a detour over RGB; its chroma stays
subsampled as it came. Everything is bit-exact for any number of threads and any processor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import av
import numpy as np
import simplejpeg
from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc
from numpy.typing import NDArray

from actors.upright import Geometry
from db.errors import FotogramaError

MAX_IMAGE_SIDE = 16_384
HD_LINES = 720
"""Frames without color tags count as BT.709 from this height on, as BT.601 below it."""

_RGB, _BT709, _BT601, _BT2020 = 0, 1, 5, 9
_LIMITED, _FULL = 1, 2
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020nc"}
_SAME_AS_601 = {"bt470bg", "smpte170m"}
_DIRECT = {
    f"yuv{kind}{chroma}p{depth}"
    for kind, depths in (("", ("", "10le", "12le")), ("j", ("",)))
    for chroma in (420, 422, 444)
    for depth in depths
}
"""Formats that libavfilter's colorspace filter takes as they are."""
_EXACT = "flags=bicubic+accurate_rnd+full_chroma_int+bitexact"
_TURNS = {0: (), 1: (("transpose", "clock"),), 2: (("hflip", None), ("vflip", None)), 3: (("transpose", "cclock"),)}

Plane = NDArray[np.uint8]
Filters = list[tuple[str, str | None]]


@dataclass(frozen=True, slots=True)
class Planes:
    """A picture of width × height pixels in full-range BT.601; u and v may be subsampled."""

    width: int
    height: int
    y: Plane
    u: Plane
    v: Plane


@dataclass(frozen=True, slots=True)
class _Looks:
    """What the chain of filters depends on."""

    width: int
    height: int
    pixel_format: str
    matrix: int
    range: int
    transfer: int
    primaries: int


class Renderer:
    """Makes frames upright pictures of at most `max_side` pixels, by one resize at most."""

    def __init__(self, geometry: Geometry, max_side: int | None = None) -> None:
        self._geometry, self._max_side = geometry, max_side
        self._looks: _Looks | None = None
        self._run: Callable[[VideoFrame], VideoFrame] | None = None

    def render(self, frame: VideoFrame) -> Planes:
        """Raises FotogramaError `picture_too_large`."""
        looks = _looks(frame)
        if self._run is None or looks != self._looks:
            self._run, self._looks = _chain(looks, self._filters(looks)), looks
        frame.colorspace, frame.color_range = looks.matrix, looks.range
        picture = self._run(frame)
        y, u, v = (
            np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
            for plane in picture.planes
        )
        return Planes(picture.width, picture.height, y, u, v)

    def _filters(self, looks: _Looks) -> Filters:
        width, height = self._geometry.image_size(looks.width, looks.height, self._max_side)
        if max(width, height) > MAX_IMAGE_SIDE:
            raise FotogramaError("picture_too_large", f"{width} × {height} pixels as displayed.")
        size = (height, width) if self._geometry.turned else (width, height)
        mirror: Filters = [("hflip", None)] if self._geometry.mirrored else []
        return [*_color(looks, size, self._geometry.turned), *mirror, *_TURNS[self._geometry.quarter_turns]]


def jpeg(picture: Planes, quality: int) -> bytes:
    """A JFIF file; quality 1–100."""
    data: bytes = simplejpeg.encode_jpeg_yuv_planes(picture.y, picture.u, picture.v, quality)
    return data


def _looks(frame: VideoFrame) -> _Looks:
    """The frame's own tags, and what is usual where it has none."""
    name = frame.format.name
    if frame.format.is_rgb or name == "pal8":
        matrix, span = _RGB, _FULL
    else:
        default = _BT709 if frame.height >= HD_LINES else _BT601
        matrix = frame.colorspace if frame.colorspace in _MATRICES else default
        full = frame.color_range == _FULL or name.startswith("yuvj")
        span = _FULL if full else _LIMITED
    return _Looks(frame.width, frame.height, name, matrix, span, frame.color_trc, frame.color_primaries)


def _subsampling(pixel_format: str) -> str:
    described = av.VideoFormat(pixel_format)
    if described.is_rgb or pixel_format == "pal8":
        return "444"
    if len(described.components) < 3:
        return "420"
    luma, chroma = described.components[0], described.components[1]
    if chroma.width == luma.width:
        return "444"
    return "422" if chroma.height == luma.height else "420"


def _color(looks: _Looks, size: tuple[int, int], turned: bool) -> Filters:
    """From the frame's colors and size to 8-bit planar YUV in full-range BT.601 of the size given."""
    own = _subsampling(looks.pixel_format)
    # 4:2:2 on its side would be 4:4:0, which few programs read.
    chroma = "444" if turned and own == "422" else own
    span = "pc" if looks.range == _FULL else "tv"
    scale, wanted = f"{size[0]}:{size[1]}:{_EXACT}", f"yuv{chroma}p"
    if looks.transfer in {ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67}:
        target = "out_transfer=bt709:out_primaries=bt709:out_color_matrix=bt601:out_range=pc:intent=perceptual"
        return [("scale", f"{scale}:{target}"), ("format", wanted)]
    if looks.matrix == _RGB:
        return [("scale", f"{scale}:out_color_matrix=bt601:out_range=pc"), ("format", wanted)]
    if size[0] % 2 or size[1] % 2:  # the colorspace filter takes even sizes only
        source = f"in_color_matrix={_MATRICES[looks.matrix]}:in_range={span}"
        narrow = ":out_transfer=bt709:out_primaries=bt709" if looks.matrix == _BT2020 else ""
        return [("scale", f"{scale}:{source}:out_color_matrix=bt601:out_range=pc{narrow}"), ("format", wanted)]
    same_range = f"{scale}:in_range={span}:out_range={span}"
    if looks.pixel_format not in _DIRECT:
        return [("scale", same_range), ("format", wanted), *_to_jfif(looks, span, wanted)]
    if size != (looks.width, looks.height) or chroma != own:
        depth = looks.pixel_format.partition("p")[2]
        return [("scale", same_range), ("format", f"{wanted}{depth}"), *_to_jfif(looks, span, wanted)]
    if span == "pc" and _MATRICES[looks.matrix] in _SAME_AS_601 and looks.pixel_format in {wanted, f"yuvj{chroma}p"}:
        return []
    return _to_jfif(looks, span, wanted)


def _to_jfif(looks: _Looks, span: str, pixel_format: str) -> Filters:
    """Matrix and range; primaries only from BT.2020, whose colors would look pale otherwise."""
    wide = looks.matrix == _BT2020
    primaries, transfer = ("bt2020", "bt2020-10") if wide else ("bt709", "bt709")
    source = f"ispace={'bt2020ncl' if wide else _MATRICES[looks.matrix]}:iprimaries={primaries}:itrc={transfer}"
    target = f"space=bt470bg:primaries=bt709:trc=bt709:range=pc:format={pixel_format}"
    return [("colorspace", f"{source}:irange={span}:{target}")]


def _chain(looks: _Looks, filters: Filters) -> Callable[[VideoFrame], VideoFrame]:
    if not filters:
        return lambda frame: frame
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add(
        "buffer",
        video_size=f"{looks.width}x{looks.height}",
        pix_fmt=looks.pixel_format,
        time_base="1/1",
        colorspace=str(looks.matrix),
        range=str(looks.range),
    )
    nodes = [graph.add(name, arguments) for name, arguments in filters]
    graph.link_nodes(source, *nodes, graph.add("buffersink")).configure()

    def run(frame: VideoFrame) -> VideoFrame:
        graph.push(frame)
        picture = graph.pull()
        assert isinstance(picture, VideoFrame)
        return picture

    return run
