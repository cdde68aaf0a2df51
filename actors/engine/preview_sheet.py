"""The preview: a contact sheet of the images so far, for those who wait for the result."""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path

from actors.engine.contact_sheet import ContactSheet
from actors.engine.plan_file import TimeScale
from actors.extraction_types import preview_files

FIRST_SECONDS = 2.0
"""The first preview comes sooner than the others. A result that takes less time needs none."""


class PreviewSheet:
    """Writes `sheet` into a folder again and again while thumbnails are added to it; newer files replace older ones.

    sheet_pts: presentation times of the frames that will be on the sheet, in order. seconds: the shortest time between
    two previews; infinite for none.
    """

    def __init__(
        self,
        folder: Path,
        sheet: ContactSheet,
        sheet_pts: Sequence[int],
        time_scale: TimeScale,
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._sheet, self._sheet_pts, self._time_scale = folder, sheet, sheet_pts, time_scale
        self._seconds, self._clock = seconds, clock
        self._due_at = clock() + (min(FIRST_SECONDS, seconds) if seconds < math.inf else math.inf)
        self._thumbnails = 0
        self.frames = 0
        """Images that the newest preview is made of."""

    def update(self, images: int, pts: int) -> None:
        """images: written so far. pts: of the last of them."""
        is_new = self._sheet.thumbnail_count > self._thumbnails
        if not is_new or self._clock() < self._due_at:
            return
        before, self.frames = self.frames, images
        for name, content in zip(preview_files(images), self._contents(pts), strict=True):
            # Another reader that starts over may write the same name again.
            part = self._folder / f"{name}.part"
            part.write_bytes(content)
            part.replace(self._folder / name)
        for name in preview_files(before):
            (self._folder / name).unlink(missing_ok=True)
        self._thumbnails = self._sheet.thumbnail_count
        self._due_at = self._clock() + self._seconds

    def _contents(self, pts: int) -> tuple[bytes, bytes]:
        following = bisect_right(self._sheet_pts, pts)
        is_last = following == len(self._sheet_pts)
        end = self._time_scale.end if is_last else self._time_scale.time_of(self._sheet_pts[following])
        return self._sheet.jpeg(), self._sheet.index(end).encode("ascii")
