"""A service of yours calls Fotograma over HTTP: it sends a video and reads its frames.

FOTOGRAMA_URL=http://127.0.0.1:8000 FOTOGRAMA_API_KEY=fg_… python over_http.py clip.mp4
"""

import sys
from pathlib import Path

from fotograma import Client


def main(path: Path) -> None:
    # The address and the API key come from the environment.
    with Client() as client:
        video = client.upload(path, spec={"sample": {"mode": "keyframes"}})
        extraction = client.wait(video.extraction, timeout_seconds=300)
        for image in client.frames(extraction):
            print(f"{image.frame.time:.3f} s  {image.frame.name}, {len(image.content)} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
