"""The usual program with PyAV and Pillow. `python -I pyav_pillow.py JSON`: see
benchmarks.extract.compared_programs.PeerJob.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Iterator
from typing import Any

import av
from av.container import InputContainer

HALF_TICK = 0.0005


def main(job: dict[str, Any]) -> None:
    width, height = job["size"] or (None, None)
    with av.open(job["source"]) as video, zipfile.ZipFile(job["archive"], "w", zipfile.ZIP_STORED) as frames:
        video.streams.video[0].thread_type = "AUTO"
        for n, frame in enumerate(selected_frames(video, job), start=1):
            image = io.BytesIO()
            frame.to_image(width=width, height=height).save(image, "jpeg", quality=job["quality"])
            frames.writestr(f"{n:06d}.jpg", image.getvalue())


def selected_frames(video: InputContainer, job: dict[str, Any]) -> Iterator[Any]:
    stream = video.streams.video[0]
    match job["mode"]:
        case "fps":
            second = 0
            for frame in video.decode(stream):
                if frame.time is not None and frame.time >= second - HALF_TICK:
                    yield frame
                    second += 1
        case "all":
            yield from video.decode(stream)
        case "keyframes":
            stream.codec_context.skip_frame = "NONKEY"
            yield from video.decode(stream)
        case _:
            for time in job["times"]:
                yield _at(video, time)


def _at(video: InputContainer, time: float) -> Any:
    video.seek(int(time * 1_000_000))
    return next(f for f in video.decode(video=0) if f.time is not None and f.time >= time - HALF_TICK)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
