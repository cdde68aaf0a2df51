"""Small renditions of a result's images, for lists and galleries."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from io import BytesIO

from PIL import Image

MAX_WIDTH = 1024
MAX_CONCURRENT = 2
"""Renditions that one replica makes at a time. Others wait."""
MAX_DECODED_PIXELS = 50_000_000
"""Of an image that is not JPEG, 150 MB. A larger one is sent as it is. JPEG is decoded at an eighth of its size."""
QUALITY = 80
MEDIA_TYPE = "image/jpeg"


@dataclass(frozen=True, slots=True)
class ImageRenditions:
    """Makes renditions in threads, so that they never block the event loop."""

    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_CONCURRENT))

    async def render(self, image: bytes, width: int) -> bytes | None:
        """A JPEG of this width with the same ratio of its sides; None when the image itself is as small as that.

        Raises OSError for bytes that are no image.
        """
        async with self._slots:
            return await asyncio.to_thread(render, image, width)


def render(content: bytes, width: int) -> bytes | None:
    """The same as `ImageRenditions.render`, in the calling thread."""
    with Image.open(BytesIO(content), formats=("JPEG", "PNG", "WEBP")) as image:
        if image.width <= width or (image.format != "JPEG" and image.width * image.height > MAX_DECODED_PIXELS):
            return None
        size = (width, max(1, round(image.height * width / image.width)))
        # The decoder itself scales a JPEG by a power of two, which takes a fraction of the time.
        image.draft("RGB", (2 * size[0], 2 * size[1]))
        target = BytesIO()
        small = image.convert("RGB").resize(size, Image.Resampling.BOX, reducing_gap=2.0)
        small.save(target, "JPEG", quality=QUALITY)
        return target.getvalue()
