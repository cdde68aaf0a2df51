"""One result while it is written: which frames it wants, what becomes of them, and the files they go into.

What a pass over a video fills is an Output: a whole result, or the files of one segment of it
(`actors.engine.extract_segment`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from actors.container.display_geometry import DisplayGeometry
from actors.engine.contact_sheet import ContactSheet, ThumbnailScaler, cell_for, sheet_targets
from actors.engine.plan_file import TimeScale
from actors.engine.zip_archive import Archive
from actors.extraction_types import ResultWarning
from actors.images.frame_arrays import YuvPlanes
from actors.images.image_encoder import SUFFIXES, ImageEncoder
from actors.plan.frame_selection import Plan, Target
from db.values.error_catalogue import CatalogueError
from db.values.frame_spec import FrameSpec, Image
from db.values.media_info import Media

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


@dataclass(frozen=True, slots=True)
class ResultRequest:
    """A result that is wanted. out: the folder for its files. warnings: those that hold whatever reads the video."""

    spec: FrameSpec
    plan: Plan
    out: Path
    warnings: tuple[ResultWarning, ...] = ()

    def targets(self) -> list[Target]:
        return list(chain.from_iterable(gop.targets for gop in self.plan.gops))


@dataclass(frozen=True, slots=True)
class WrittenResult:
    """size, sha256: of frames.zip. missing: images that were planned and could not be given."""

    images: int
    size: int
    sha256: str
    missing: int
    warnings: tuple[ResultWarning, ...]


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """An image of one frame. small: the same for the contact sheet, when one of the results has it there."""

    data: bytes
    width: int
    height: int
    small: YuvPlanes | None


class OutputWriter(ABC):
    """What takes the images of one order. on_sheet: presentation times of the frames on the contact sheet, ticks."""

    def __init__(self, order: ResultRequest, on_sheet: Collection[int]) -> None:
        self.order = order
        self._pts = np.array([target.pts for target in order.targets()], np.int64)
        self._on_sheet = frozenset(on_sheet)

    @property
    @abstractmethod
    def images(self) -> int:
        """So far."""

    def wants(self, pts: int) -> bool:
        at = int(np.searchsorted(self._pts, pts))
        return at < len(self._pts) and int(self._pts[at]) == pts

    def shows(self, pts: int) -> bool:
        """Whether this frame is on the contact sheet."""
        return pts in self._on_sheet

    @abstractmethod
    def add(self, target: Target, made: EncodedFrame) -> None:
        """In time order."""

    @abstractmethod
    def finish(self, missing: Sequence[Target], warnings: Sequence[ResultWarning]) -> WrittenResult:
        """missing: frames that the reader left out, of all outputs of the pass. warnings: of the pass."""

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ResultWriter(OutputWriter):
    """A result's files while they grow; made anew when another reader begins from the start."""

    def __init__(self, order: ResultRequest, timeline: TimeScale, media: Media) -> None:
        on_sheet = sheet_targets(order.targets())
        super().__init__(order, [target.pts for target in on_sheet])
        self._timeline = timeline
        self._archive = Archive(order.out, order.spec, timeline.time_base, SUFFIXES[order.spec.image.format])
        self._sheet = ContactSheet(order.out, cell_for(media.width, media.height), len(on_sheet))

    @property
    def images(self) -> int:
        return self._archive.frames

    def add(self, target: Target, made: EncodedFrame) -> None:
        time = self._timeline.time(target.pts)
        size = (made.width, made.height)
        self._archive.add(made.data, size, index=target.index, pts=target.pts, time=time, key=target.key)
        if made.small is not None and self.shows(target.pts):
            self._sheet.add(made.small, time)

    def finish(self, missing: Sequence[Target], warnings: Sequence[ResultWarning]) -> WrittenResult:
        """Raises CatalogueError `undecodable`."""
        planned = self.order.plan.frames
        if not self.images:
            raise CatalogueError("undecodable", f"None of the {planned} frames can be decoded with certainty.")
        own = [target.pts for target in missing if self.wants(target.pts)]
        told = [*self.order.warnings, *warnings]
        if own:
            first = float(self._timeline.time(min(own)))
            detail = f"{len(own)} of {planned} frames could not be decoded with certainty and are left out, "
            told.append(ResultWarning("frames_missing", f"{detail}the first at {first:.3f} s."))
        self._sheet.finish(self._timeline.end)
        size, digest = self._archive.finish(told)
        return WrittenResult(self.images, size, digest, len(own), tuple(told))

    def close(self) -> None:
        self._archive.close()


class FrameEncoder:
    """Makes the images of all outputs of one frame; equal wishes share the work. Any thread may ask."""

    def __init__(self, outputs: Sequence[OutputWriter], geometry: DisplayGeometry, media: Media) -> None:
        self._outputs = outputs
        cell = cell_for(media.width, media.height)
        self._studios: dict[Image, tuple[ImageEncoder, ThumbnailScaler]] = {}
        for output in outputs:
            image = output.order.spec.image
            if image not in self._studios:
                self._studios[image] = ImageEncoder(geometry, image), ThumbnailScaler(cell, image.format)

    def make(self, frame: VideoFrame) -> dict[Image, EncodedFrame]:
        """frame: its pts tells who wants it."""
        pts = frame.pts
        assert pts is not None
        wishes: dict[Image, bool] = {}
        for output in self._outputs:
            if output.wants(pts):
                image = output.order.spec.image
                wishes[image] = wishes.get(image, False) or output.shows(pts)
        return {image: self._made(frame, image, small=small) for image, small in wishes.items()}

    def _made(self, frame: VideoFrame, image: Image, *, small: bool) -> EncodedFrame:
        studio, reducer = self._studios[image]
        encoded = studio.encode(frame)
        reduced = reducer.scale(encoded.picture) if small else None
        return EncodedFrame(encoded.data, encoded.width, encoded.height, reduced)
