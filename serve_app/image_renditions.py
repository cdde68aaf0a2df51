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
"""Of an image that is decoded as a whole, 150 MB. A larger one is sent as it is."""
MAX_PIXELS = 16_384**2
"""Of a baseline JPEG, which is decoded at an eighth of its size. A larger one is sent as it is."""
QUALITY = 80
MEDIA_TYPE = "image/jpeg"

# Pillow warns of pictures above it, and refuses those that are twice as large.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS


class DamagedImageError(Exception):
    """The bytes are no image, or only a part of one."""


@dataclass(frozen=True, slots=True)
class ImageRenditions:
    """Makes renditions in threads, so that they never block the event loop."""

    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_CONCURRENT))

    async def render(self, image: bytes, width: int) -> bytes | None:
        """A JPEG of this width with the same ratio of its sides; None when the image itself is as small as that.

        Raises DamagedImageError.
        """
        async with self._slots:
            return await asyncio.to_thread(render, image, width)


def render(content: bytes, width: int) -> bytes | None:
    """The same as `ImageRenditions.render`, in the calling thread."""
    try:
        return _render(content, width)
    except Image.DecompressionBombError:
        return None
    except (OSError, SyntaxError, ValueError) as error:
        # Pillow raises SyntaxError for a wrong checksum in a PNG.
        raise DamagedImageError(str(error)) from error


def _render(content: bytes, width: int) -> bytes | None:
    with Image.open(BytesIO(content), formats=("JPEG", "PNG", "WEBP")) as image:
        if image.width <= width or image.width * image.height > _max_pixels(image):
            return None
        size = (width, max(1, round(image.height * width / image.width)))
        # The decoder itself scales a JPEG by a power of two, which takes a fraction of the time.
        image.draft("RGB", (2 * size[0], 2 * size[1]))
        target = BytesIO()
        small = image.convert("RGB").resize(size, Image.Resampling.BOX, reducing_gap=2.0)
        small.save(target, "JPEG", quality=QUALITY)
        return target.getvalue()


def _max_pixels(image: Image.Image) -> int:
    # The decoder holds all coefficients of a progressive JPEG.
    is_baseline_jpeg = image.format == "JPEG" and "progressive" not in image.info
    return MAX_PIXELS if is_baseline_jpeg else MAX_DECODED_PIXELS
