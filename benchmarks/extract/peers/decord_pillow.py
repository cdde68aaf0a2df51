"""The usual program with decord and Pillow. `python -I decord_pillow.py JSON`: see
benchmarks.extract.compared_programs.PeerJob.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Iterable
from typing import Any

import decord
from PIL import Image


def main(job: dict[str, Any]) -> None:
    width, height = job["size"] or (-1, -1)
    video = decord.VideoReader(job["source"], width=width, height=height, num_threads=job["threads"])
    with zipfile.ZipFile(job["archive"], "w", zipfile.ZIP_STORED) as frames:
        # One by one: one get_batch for the whole list is no faster and keeps every picture in memory.
        for n, index in enumerate(frame_indexes(video, job), start=1):
            image = io.BytesIO()
            Image.fromarray(video[index].asnumpy()).save(image, "jpeg", quality=job["quality"])
            frames.writestr(f"{n:06d}.jpg", image.getvalue())


def frame_indexes(video: Any, job: dict[str, Any]) -> Iterable[int]:
    fps = video.get_avg_fps()
    match job["mode"]:
        case "fps":
            return [round(second * fps) for second in range(int(len(video) / fps) + 1) if second * fps < len(video)]
        case "all":
            return range(len(video))
        case "keyframes":
            indices: list[int] = video.get_key_indices()
            return indices
        case _:
            return [int(time * fps + 1e-6) for time in job["times"]]


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
