"""From a decoded frame to the displayed picture: color conversion, one scaling, rotation.

The samples go straight to the format of the image file, and chroma stays subsampled where the file can hold that. The
result is bit-exact for any number of threads and any processor.
"""

from __future__ import annotations

from av.video.frame import VideoFrame

from actors.container.display_geometry import DisplayGeometry
from actors.images.color_conversion import Filters, OutputPixelFormat, conversion_filters
from actors.images.filter_graph import ThreadFilterGraph
from actors.images.frame_arrays import YuvPlanes, yuv_planes_of
from actors.images.frame_format import FrameFormat, frame_format_of
from db.values.error_catalogue import CatalogueError
from db.values.frame_spec import ImageFormat

MAX_IMAGE_SIDE = 16_384
MAX_WEBP_SIDE = 16_383
_OUTPUT_PIXEL_FORMATS = {
    ImageFormat.JPEG: OutputPixelFormat.YUV_FULL_RANGE,
    ImageFormat.PNG: OutputPixelFormat.RGB24,
    ImageFormat.WEBP: OutputPixelFormat.YUV420_LIMITED_RANGE,
}
_ROTATION_FILTERS: dict[int, Filters] = {
    0: [],
    1: [("transpose", "clock")],
    2: [("hflip", None), ("vflip", None)],
    3: [("transpose", "cclock")],
}
"""By the number of clockwise quarter turns."""


class FrameRenderer:
    """Renders frames as pictures of at most `max_side` pixels, as a player displays them. Thread-safe."""

    def __init__(
        self, geometry: DisplayGeometry, max_side: int | None = None, image_format: ImageFormat = ImageFormat.JPEG
    ) -> None:
        self._geometry, self._max_side = geometry, max_side
        self._output = _OUTPUT_PIXEL_FORMATS[image_format]
        self._max_format_side = MAX_WEBP_SIDE if image_format is ImageFormat.WEBP else MAX_IMAGE_SIDE
        self._graph = ThreadFilterGraph()

    def render(self, frame: VideoFrame) -> VideoFrame:
        """The picture in the pixel format of its image file. Raises CatalogueError `picture_too_large`."""
        source = frame_format_of(frame)
        run_filters = self._graph.prepare(source, self._filters)
        frame.colorspace, frame.color_range = source.matrix, source.range
        return run_filters(frame)

    def render_planes(self, frame: VideoFrame) -> YuvPlanes:
        """The picture of a JPEG: full-range BT.601. Raises CatalogueError `picture_too_large`."""
        return yuv_planes_of(self.render(frame))

    def _filters(self, source: FrameFormat) -> Filters:
        width, height = self._geometry.image_size(source.width, source.height, self._max_side)
        if max(width, height) > self._max_format_side:
            raise CatalogueError("picture_too_large", f"{width} × {height} pixels as displayed.")
        is_transposed = self._geometry.is_transposed
        size = (height, width) if is_transposed else (width, height)
        mirror: Filters = [("hflip", None)] if self._geometry.mirrored else []
        conversion = conversion_filters(source, size, self._output, is_transposed=is_transposed)
        return [*conversion, *mirror, *_ROTATION_FILTERS[self._geometry.quarter_turns]]
