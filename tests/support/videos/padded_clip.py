"""Clips of any size: a box `free` at the end, which players skip, fills them up."""

from __future__ import annotations

import os
import random
from pathlib import Path

PIECE_BYTES = 1 << 20


def padded_copy(clip: Path, path: Path, size: int, *, randomness: random.Random | None = None) -> Path:
    """A copy of an MP4 with `size` bytes. Its end is a hole of the file system, or random bytes."""
    content = clip.read_bytes()
    with path.open("wb") as file:
        # The size 1 means that the real one follows, in eight bytes.
        file.write(content + (1).to_bytes(4) + b"free" + (size - len(content)).to_bytes(8))
        if randomness is not None:
            while (missing := size - file.tell()) > 0:
                file.write(randomness.randbytes(min(PIECE_BYTES, missing)))
    os.truncate(path, size)
    return path
