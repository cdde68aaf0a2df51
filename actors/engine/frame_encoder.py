"""Encodes one frame for all outputs of a decode pass. Outputs with the same image settings share the image."""

from __future__ import annotations

from collections.abc import Sequence

from av.video.frame import VideoFrame

from actors.container.display_geometry import DisplayGeometry
from actors.engine.contact_sheet import ThumbnailScaler, cell_for
from actors.engine.result_writer import EncodedFrame, OutputWriter
from actors.images.image_encoder import ImageEncoder
from db.values.frame_spec import Image
from db.values.media_info import Media


class FrameEncoder:
    """Thread-safe. geometry: of the reader's frames."""

    def __init__(self, outputs: Sequence[OutputWriter], geometry: DisplayGeometry, media: Media) -> None:
        self._outputs = outputs
        cell = cell_for(media.width, media.height)
        self._encoders: dict[Image, tuple[ImageEncoder, ThumbnailScaler]] = {}
        for output in outputs:
            image = output.image
            if image not in self._encoders:
                self._encoders[image] = ImageEncoder(geometry, image), ThumbnailScaler(cell, image.format)

    def encode(self, frame: VideoFrame) -> dict[Image, EncodedFrame]:
        """The frame in each image setting of the outputs that include it. frame: with the pts of its target."""
        pts = frame.pts
        assert pts is not None
        needs_thumbnail: dict[Image, bool] = {}
        for output in self._outputs:
            if output.includes(pts):
                image = output.image
                needs_thumbnail[image] = needs_thumbnail.get(image, False) or output.needs_thumbnail(pts)
        return {image: self._encode(frame, image, thumbnail=needs) for image, needs in needs_thumbnail.items()}

    def _encode(self, frame: VideoFrame, image: Image, *, thumbnail: bool) -> EncodedFrame:
        encoder, scaler = self._encoders[image]
        encoded = encoder.encode(frame)
        scaled = scaler.scale(encoded.picture) if thumbnail else None
        return EncodedFrame(encoded.data, encoded.width, encoded.height, scaled)
