"""From a decoded frame to an image's file: color, size, upright, JPEG, PNG or WebP.

A frame's samples go to those of the file without a detour, and its chroma stays subsampled as it came where the file
can hold that. Everything is bit-exact for any number of threads and any processor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import av
import numpy as np
import simplejpeg
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from actors.container.display_geometry import DisplayGeometry
from actors.images.color_conversion import (
    BT601,
    BT709,
    EVEN,
    FULL,
    HD_LINES,
    LIMITED,
    MATRICES,
    RGB,
    ColorProperties,
    Filters,
    Samples,
    filters,
)
from db.values.error_catalogue import CatalogueError
from db.values.frame_spec import Image, ImageFormat

MAX_IMAGE_SIDE = 16_384
MAX_WEBP_SIDE = 16_383
SUFFIXES = {ImageFormat.JPEG: "jpg", ImageFormat.PNG: "png", ImageFormat.WEBP: "webp"}
_SAMPLES = {ImageFormat.JPEG: Samples.JFIF, ImageFormat.PNG: Samples.RGB, ImageFormat.WEBP: Samples.WEBP}
_TURNS = {0: (), 1: (("transpose", "clock"),), 2: (("hflip", None), ("vflip", None)), 3: (("transpose", "cclock"),)}
_UNTAGGED = 2
_ENCODERS = {ImageFormat.PNG: "png", ImageFormat.WEBP: "libwebp"}
_PNG_OPTIONS = {"compression_level": "1", "pred": "up"}
"""A quarter of the time of the zlib default for a tenth more bytes."""
_WEBP_METHOD = "2"
"""Of 0–6: half the time of the default for as many bytes."""

Plane = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class YuvPlanes:
    """A picture of width × height pixels in full-range BT.601; u and v may be subsampled."""

    width: int
    height: int
    y: Plane
    u: Plane
    v: Plane


class _ChainOfThread(threading.local):
    """A chain of filters and what it was made for; each thread has its own."""

    looks: ColorProperties | None = None
    run: Callable[[VideoFrame], VideoFrame] | None = None


class FrameRenderer:
    """Makes frames upright pictures of at most `max_side` pixels, by one resize at most; any thread may ask."""

    def __init__(
        self, geometry: DisplayGeometry, max_side: int | None = None, image_format: ImageFormat = ImageFormat.JPEG
    ) -> None:
        self._geometry, self._max_side = geometry, max_side
        self._samples = _SAMPLES[image_format]
        self._most = MAX_WEBP_SIDE if image_format is ImageFormat.WEBP else MAX_IMAGE_SIDE
        self._chain = _ChainOfThread()

    def draw(self, frame: VideoFrame) -> VideoFrame:
        """The picture in the samples of its file. Raises CatalogueError `picture_too_large`."""
        looks = color_properties_of(frame)
        chain = self._chain
        if chain.run is None or looks != chain.looks:
            chain.run, chain.looks = chain_of(looks, self._filters(looks)), looks
        frame.colorspace, frame.color_range = looks.matrix, looks.range
        return chain.run(frame)

    def render(self, frame: VideoFrame) -> YuvPlanes:
        """The picture in full-range BT.601. Raises CatalogueError `picture_too_large`."""
        return planes_of(self.draw(frame))

    def _filters(self, looks: ColorProperties) -> Filters:
        width, height = self._geometry.image_size(looks.width, looks.height, self._max_side)
        if max(width, height) > self._most:
            raise CatalogueError("picture_too_large", f"{width} × {height} pixels as displayed.")
        size = (height, width) if self._geometry.is_transposed else (width, height)
        mirror: Filters = [("hflip", None)] if self._geometry.mirrored else []
        colors = filters(looks, size, self._samples, turned=self._geometry.is_transposed)
        return [*colors, *mirror, *_TURNS[self._geometry.quarter_turns]]


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image's file. picture: what it was made of, in the samples of the file."""

    data: bytes
    width: int
    height: int
    picture: VideoFrame


class ImageEncoder:
    """Makes images as a specification says; any thread may ask."""

    def __init__(self, geometry: DisplayGeometry, image: Image) -> None:
        self.image = image
        self._renderer = FrameRenderer(geometry, image.max_side, image.format)
        self._encoder = _EncoderOfThread()

    def make(self, frame: VideoFrame) -> EncodedImage:
        """Raises CatalogueError `picture_too_large`."""
        picture = self._renderer.draw(frame)
        if self.image.format is ImageFormat.JPEG:
            data = jpeg(planes_of(picture), self.image.quality)
        else:
            data = self._encoder.encode(picture, self.image)
        return EncodedImage(data, picture.width, picture.height, picture)


class _EncoderOfThread(threading.local):
    """FFmpeg's encoder of single pictures, opened once for pictures of one size; each thread has its own."""

    _context: VideoCodecContext | None = None
    _size = (0, 0)

    def encode(self, picture: VideoFrame, image: Image) -> bytes:
        size = (picture.width, picture.height)
        if self._context is None or size != self._size:
            self._context, self._size = _encoder(picture, image), size
        # A file without color tags is sRGB, or JFIF's BT.601; with those of the video it would be shown otherwise.
        picture.color_primaries = picture.color_trc = _UNTAGGED
        picture.pts = None
        (packet,) = self._context.encode(picture)
        return bytes(packet)


def _encoder(picture: VideoFrame, image: Image) -> VideoCodecContext:
    context = av.CodecContext.create(_ENCODERS[image.format], "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = picture.width, picture.height, picture.format.name
    context.time_base, context.thread_count = Fraction(1, 1), 1
    webp = {"quality": str(image.quality), "compression_level": _WEBP_METHOD}
    context.options = webp if image.format is ImageFormat.WEBP else dict(_PNG_OPTIONS)
    return context


def planes_of(picture: VideoFrame) -> YuvPlanes:
    """The samples of a planar 8-bit picture, not copied."""
    y, u, v = (
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in picture.planes
    )
    return YuvPlanes(picture.width, picture.height, y, u, v)


def rgb_of(picture: VideoFrame) -> Plane:
    """The samples of a picture in rgb24, height × width × 3, not copied."""
    (plane,) = picture.planes
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: picture.height, : 3 * picture.width].reshape(picture.height, picture.width, 3)


def jpeg(picture: YuvPlanes, quality: int) -> bytes:
    """A JFIF file; quality 1–100."""
    data: bytes = simplejpeg.encode_jpeg_yuv_planes(picture.y, picture.u, picture.v, quality)
    return data


def color_properties_of(frame: VideoFrame) -> ColorProperties:
    """The frame's own tags, and what is usual where it has none."""
    name = frame.format.name
    if frame.format.is_rgb or name == "pal8":
        matrix, span = RGB, FULL
    else:
        default = BT709 if frame.height >= HD_LINES else BT601
        matrix = frame.colorspace if frame.colorspace in MATRICES else default
        full = frame.color_range == FULL or name.startswith("yuvj")
        span = FULL if full else LIMITED
    chroma, transfer = _subsampling(name), int(frame.color_trc)
    return ColorProperties(frame.width, frame.height, name, chroma, matrix, span, transfer, int(frame.color_primaries))


def _subsampling(pixel_format: str) -> str:
    described = av.VideoFormat(pixel_format, 64, 64)  # without a size all of its components have none
    if described.is_rgb or pixel_format == "pal8":
        return "444"
    if len(described.components) < 3:
        return "420"
    luma, chroma = described.components[0], described.components[1]
    if chroma.width == luma.width:
        return "444"
    return "422" if chroma.height == luma.height else "420"


def chain_of(looks: ColorProperties, steps: Filters) -> Callable[[VideoFrame], VideoFrame]:
    """One frame in, one frame out."""
    if not steps:
        return lambda frame: frame
    if (EVEN, None) in steps:
        at = steps.index((EVEN, None))
        before, after = chain_of(looks, steps[:at]), _ChainOnDemand(looks, steps[at + 1 :])
        return lambda frame: after.run(_even(before(frame)))
    return _graph(looks, steps)


class _ChainOnDemand:
    """A chain for frames of one kind, of which only the first one tells size and format."""

    def __init__(self, looks: ColorProperties, steps: Filters) -> None:
        self._looks, self._steps = looks, steps
        self._run: Callable[[VideoFrame], VideoFrame] | None = None

    def run(self, frame: VideoFrame) -> VideoFrame:
        if self._run is None:
            looks = replace(self._looks, width=frame.width, height=frame.height, pixel_format=frame.format.name)
            self._run = chain_of(looks, self._steps)
        frame.colorspace, frame.color_range = self._looks.matrix, self._looks.range
        return self._run(frame)


def _even(frame: VideoFrame) -> VideoFrame:
    wider = VideoFrame(frame.width + frame.width % 2, frame.height + frame.height % 2, frame.format.name)
    sample = 2 if frame.format.components[0].bits > 8 else 1
    for old, new in zip(frame.planes, wider.planes, strict=True):
        kind = np.dtype(f"u{sample}")
        held = np.frombuffer(memoryview(old), kind).reshape(-1, old.line_size // sample)[: old.height, : old.width]
        samples = np.zeros((new.height, new.line_size // sample), kind)
        samples[: old.height, : old.width] = held
        samples[: old.height, old.width : new.width] = held[:, -1:]
        samples[old.height :] = samples[old.height - 1]
        new.update(samples.tobytes())
    return wider


def _graph(looks: ColorProperties, steps: Filters) -> Callable[[VideoFrame], VideoFrame]:
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
    nodes = [graph.add(name, arguments) for name, arguments in steps]
    graph.link_nodes(source, *nodes, graph.add("buffersink")).configure()

    def run(frame: VideoFrame) -> VideoFrame:
        graph.push(frame)
        picture = graph.pull()
        assert isinstance(picture, VideoFrame)
        return picture

    return run
