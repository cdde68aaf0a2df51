"""What people write with decord and Pillow: one frame per second into a stored zip.

`python decord_pillow.py SOURCE ARCHIVE THREADS QUALITY`: a measured contestant, started by benchmarks.contestants.
"""

from __future__ import annotations

import io
import sys
import zipfile

import decord
from PIL import Image


def main(source: str, archive: str, threads: str, quality: str) -> None:
    reader = decord.VideoReader(source, ctx=decord.cpu(0), num_threads=int(threads))
    step = reader.get_avg_fps()
    indices = [round(second * step) for second in range(int(len(reader) / step) + 1)]
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as frames:
        # One by one: the whole list in one get_batch is no faster and holds every picture at once.
        for n, index in enumerate((i for i in indices if i < len(reader)), start=1):
            image = io.BytesIO()
            Image.fromarray(reader[index].asnumpy()).save(image, "jpeg", quality=int(quality))
            frames.writestr(f"{n:06d}.jpg", image.getvalue())


if __name__ == "__main__":
    main(*sys.argv[1:])
