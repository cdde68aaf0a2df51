"""The types of a result: manifest, images and contact sheet."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cluster.client.api_types import ApiValue, ResultWarning
from cluster.client.errors import PackageMissing, UnexpectedAnswer

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray
    from PIL.Image import Image

EXTRA = "images"


@dataclass(frozen=True, slots=True)
class Frame(ApiValue):
    """One image of an archive. n: from 1. index: among the video's displayed frames, from 0. pts: ticks.

    time: seconds from the first displayed frame. offset: first byte of the image in the archive.

        >>> client.manifest(extraction).frames[1].name
        'frame_000002_t000001.000.png'
    """

    n: int
    name: str
    index: int
    pts: int
    time: float
    key: bool
    width: int
    height: int
    bytes: int
    sha256: str
    offset: int


@dataclass(frozen=True, slots=True)
class ManifestVideo(ApiValue):
    """The video of an archive, by what follows from its bytes. size: bytes. width, height: pixels as displayed.

    rotation: degrees clockwise. duration: seconds. frames: all that are displayed.

        >>> video = client.manifest(extraction).video
        >>> video.codec, video.width, video.height
        ('h264', 64, 48)
    """

    sha256: str
    size: int
    container: str
    codec: str
    width: int
    height: int
    rotation: int
    duration: float
    frames: int
    fps_average: float
    variable_frame_rate: bool


@dataclass(frozen=True, slots=True)
class Manifest(ApiValue):
    """The manifest of an archive. time_base: seconds per tick, as numerator and denominator.

    >>> len(client.manifest(extraction).frames)
    2
    """

    version: int
    spec: Mapping[str, Any]
    video: ManifestVideo
    time_base: tuple[int, ...]
    frames: tuple[Frame, ...]
    warnings: tuple[ResultWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class FrameImage:
    """One image of a result. frame: its row of the manifest. content: the bytes of the JPEG, PNG or WebP file.

    >>> for image in client.frames(extraction):
    ...     print(image.frame.time, image.to_numpy().shape)
    0.0 (48, 64, 3)
    1.0 (48, 64, 3)
    """

    frame: Frame
    content: bytes = field(repr=False)

    def to_pillow(self) -> Image:
        """Returns the decoded image. Raises PackageMissing without Pillow.

        >>> next(client.frames(extraction)).to_pillow().size
        (64, 48)
        """
        return decode_image(self.content, self.frame.name)

    def to_numpy(self) -> NDArray[numpy.uint8]:
        """Returns the pixels: height × width × 3, red, green and blue. Raises PackageMissing without NumPy or Pillow.

        >>> next(client.frames(extraction)).to_numpy().dtype
        dtype('uint8')
        """
        try:
            import numpy  # noqa: PLC0415
        except ImportError as error:
            raise PackageMissing("NumPy", EXTRA) from error
        return numpy.asarray(self.to_pillow().convert("RGB"))


@dataclass(frozen=True, slots=True)
class ContactSheet:
    """All images of a result, small, in one. content: the bytes of a JPEG file. index: WebVTT, where each one is.

    >>> client.sheet(extraction).index.splitlines()[0]
    'WEBVTT'
    """

    content: bytes = field(repr=False)
    index: str = field(repr=False)

    def to_pillow(self) -> Image:
        """Returns the decoded image. Raises PackageMissing without Pillow.

        >>> client.sheet(extraction).to_pillow().size
        (64, 48)
        """
        return decode_image(self.content, "sheet.jpg")


def decode_image(content: bytes, name: str) -> Image:
    """Raises PackageMissing; UnexpectedAnswer when Pillow can't read the bytes."""
    try:
        from PIL import Image  # noqa: PLC0415
    except ImportError as error:
        raise PackageMissing("Pillow", EXTRA) from error
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise UnexpectedAnswer(f"{name} is no image that Pillow can read: {error}") from error
    return image
