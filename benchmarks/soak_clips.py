"""Makes the files of benchmarks.soak: `python -m benchmarks.soak_clips FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.videos.clips import CLIPS, make_clip, truncated_copy, write_audio_only, write_text_file

KINDS = ("h264", "h264_b_frames", "h264_vfr", "hevc_10_bit", "vp9_webm", "av1_webm", "mpegts", "mpeg4_avi", "mov")


def main(folder: Path) -> None:
    """Writes intact clips of many kinds, a truncated one, one without video, and a text file."""
    for kind in KINDS:
        make_clip(folder / f"{kind}{CLIPS[kind].suffix}", CLIPS[kind])
    truncated_copy(folder / "mpegts.ts")
    write_audio_only(folder / "sound.mp4")
    write_text_file(folder / "text.mp4")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
