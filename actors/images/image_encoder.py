"""From a decoded frame to an image file: JPEG, PNG or WebP."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from fractions import Fraction

import av
import simplejpeg
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from actors.container.display_geometry import DisplayGeometry
from actors.images.frame_arrays import YuvPlanes, yuv_planes_of
from actors.images.frame_renderer import FrameRenderer
from db.values.frame_spec import Image, ImageFormat

SUFFIXES = {ImageFormat.JPEG: "jpg", ImageFormat.PNG: "png", ImageFormat.WEBP: "webp"}
_UNSPECIFIED_COLOR = 2
_FFMPEG_ENCODERS = {ImageFormat.PNG: "png", ImageFormat.WEBP: "libwebp"}
_PNG_OPTIONS = {"compression_level": "1", "pred": "up"}
"""A quarter of the time of the zlib default for a tenth more bytes."""
_WEBP_METHOD = "2"
"""Of 0–6: half the time of the default for as many bytes."""


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """data: the image file. picture: what was encoded, in the pixel format of the file."""

    data: bytes
    width: int
    height: int
    picture: VideoFrame


class ImageEncoder:
    """Encodes frames as a specification's `image` says. Thread-safe."""

    def __init__(self, geometry: DisplayGeometry, image: Image) -> None:
        self.image = image
        self._renderer = FrameRenderer(geometry, image.max_side, image.format)
        self._encoder = _ThreadEncoder()

    def encode(self, frame: VideoFrame) -> EncodedImage:
        """Raises CatalogueError `picture_too_large`."""
        picture = self._renderer.render(frame)
        if self.image.format is ImageFormat.JPEG:
            data = encode_jpeg(yuv_planes_of(picture), self.image.quality)
        else:
            data = self._encoder.encode(picture, self.image)
        return EncodedImage(data, picture.width, picture.height, picture)


class _ThreadEncoder(threading.local):
    """The calling thread's FFmpeg encoder; opened anew when a picture has another size than the picture before it."""

    _context: VideoCodecContext | None = None
    _size = (0, 0)

    def encode(self, picture: VideoFrame, image: Image) -> bytes:
        size = (picture.width, picture.height)
        if self._context is None or size != self._size:
            self._context, self._size = _ffmpeg_encoder(picture, image), size
        # A file without color tags is sRGB or JFIF's BT.601, which its samples are. The video's tags would be wrong.
        picture.color_primaries = picture.color_trc = _UNSPECIFIED_COLOR
        picture.pts = None
        (packet,) = self._context.encode(picture)
        return bytes(packet)


def _ffmpeg_encoder(picture: VideoFrame, image: Image) -> VideoCodecContext:
    context = av.CodecContext.create(_FFMPEG_ENCODERS[image.format], "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = picture.width, picture.height, picture.format.name
    context.time_base, context.thread_count = Fraction(1, 1), 1
    webp_options = {"quality": str(image.quality), "compression_level": _WEBP_METHOD}
    context.options = webp_options if image.format is ImageFormat.WEBP else dict(_PNG_OPTIONS)
    return context


def encode_jpeg(picture: YuvPlanes, quality: int) -> bytes:
    """A JFIF file; quality 1–100."""
    data: bytes = simplejpeg.encode_jpeg_yuv_planes(picture.y, picture.u, picture.v, quality)
    return data
