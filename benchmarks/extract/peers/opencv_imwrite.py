"""The usual program with OpenCV. `python -I opencv_imwrite.py JSON`: see
benchmarks.extract.compared_programs.PeerJob.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2


def main(job: dict[str, Any]) -> None:
    video = cv2.VideoCapture(job["source"])
    quality = [cv2.IMWRITE_JPEG_QUALITY, job["quality"]]
    with (
        tempfile.TemporaryDirectory(dir=Path(job["archive"]).parent) as folder,
        zipfile.ZipFile(job["archive"], "w", zipfile.ZIP_STORED) as frames,
    ):
        for n, picture in enumerate(pictures(video, job), start=1):
            image = Path(folder, f"{n:06d}.jpg")
            cv2.imwrite(str(image), resize(picture, job["size"]), quality)
            frames.write(image, image.name)


def resize(picture: Any, size: tuple[int, int] | None) -> Any:
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if size else picture


def pictures(video: Any, job: dict[str, Any]) -> Iterator[Any]:
    fps = video.get(cv2.CAP_PROP_FPS)
    match job["mode"]:
        case "fps":
            number = second = 0
            while video.grab():  # other frames are decoded, but not converted
                if number >= second * fps:
                    yield video.retrieve()[1]
                    second += 1
                number += 1
        case "all":
            while (read := video.read())[0]:
                yield read[1]
        case _:
            for time in job["times"]:
                video.set(cv2.CAP_PROP_POS_FRAMES, int(time * fps + 1e-6))
                yield video.read()[1]


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
