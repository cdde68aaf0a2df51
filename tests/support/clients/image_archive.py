"""Archives of real images, as the engine writes them, with their manifests."""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import Any

from PIL import Image

from tests.support.clients.fake_service import FakeService


def serve_images(service: FakeService, colours: list[tuple[int, int, int]], size: tuple[int, int] = (64, 48)) -> None:
    """Makes the fake service answer with one PNG of each colour."""
    content, frames = io.BytesIO(), []
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for n, colour in enumerate(colours, 1):
            image, name = png(colour, size), f"frame_{n:06d}_t{n - 1:010.3f}.png"
            archive.writestr(name, image)
            row: dict[str, Any] = {"n": n, "name": name, "index": n - 1, "pts": n - 1, "time": n - 1.0, "key": True}
            row |= {"width": size[0], "height": size[1], "bytes": len(image)}
            row |= {"sha256": hashlib.sha256(image).hexdigest(), "offset": content.tell() - len(image)}
            frames.append(row)
    service.archive = content.getvalue()
    service.manifest = service.manifest | {"frames": frames}


def png(colour: tuple[int, int, int], size: tuple[int, int] = (64, 48)) -> bytes:
    image = io.BytesIO()
    Image.new("RGB", size, colour).save(image, "png")
    return image.getvalue()
