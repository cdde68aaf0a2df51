"""Makes the files of benchmarks.soak: `python -m benchmarks.soak_clips FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.clips import NAMED, audio_only, make, text_file, truncated

KINDS = ("h264", "h264_b_frames", "h264_vfr", "hevc_10_bit", "vp9_webm", "av1_webm", "mpegts", "mpeg4_avi", "mov")


def main(folder: Path) -> None:
    """Intact clips of many kinds, a truncated one, one without video, and a text file."""
    for kind in KINDS:
        make(folder / f"{kind}{NAMED[kind].suffix}", NAMED[kind])
    truncated(folder / "mpegts.ts")
    audio_only(folder / "sound.mp4")
    text_file(folder / "text.mp4")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
