"""Writes the files of a result while frames arrive, and the interface of everything that a decode pass fills.

A decode pass fills an output: a whole result, or the files of one segment (`actors.engine.segment_files`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from actors.engine.archive_writer import ArchiveWriter
from actors.engine.contact_sheet import ContactSheet, cell_for, sheet_targets
from actors.engine.plan_file import TimeScale
from actors.engine.preview_sheet import PreviewSheet
from actors.extraction_types import ResultWarning
from actors.images.frame_arrays import YuvPlanes
from actors.images.image_encoder import SUFFIXES
from actors.plan.frame_selection import Plan, Target
from db.values.error_catalogue import CatalogueError
from db.values.frame_spec import FrameSpec, Image, ImageNames
from db.values.manifest import ManifestVideo


@dataclass(frozen=True, slots=True)
class ResultRequest:
    """A result to make. out: the folder for its files. warnings: of probing and planning."""

    spec: FrameSpec
    plan: Plan
    out: Path
    warnings: tuple[ResultWarning, ...] = ()

    def targets(self) -> list[Target]:
        return list(chain.from_iterable(gop.targets for gop in self.plan.gops))


@dataclass(frozen=True, slots=True)
class WrittenResult:
    """size, sha256: of frames.zip. missing: images that were planned but left out."""

    images: int
    size: int
    sha256: str
    missing: int
    warnings: tuple[ResultWarning, ...]


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """data: the image file. thumbnail: when a contact sheet shows the frame."""

    data: bytes
    width: int
    height: int
    thumbnail: YuvPlanes | None


class OutputWriter(ABC):
    """Takes the images of one request. thumbnail_pts: presentation times of the frames that need a thumbnail, ticks.

    image: how the request's images are encoded, whatever their names; outputs with an equal one share their images.
    preview_frames: images that the newest preview is made of; 0 when there is none.
    """

    preview_frames = 0

    def __init__(self, request: ResultRequest, thumbnail_pts: Collection[int]) -> None:
        self.request = request
        self.image: Image = replace(request.spec.image, names=ImageNames.TIME)
        self._pts = np.array([target.pts for target in request.targets()], np.int64)
        self._thumbnail_pts = frozenset(thumbnail_pts)

    @property
    @abstractmethod
    def image_count(self) -> int:
        """Images that are written so far."""

    def includes(self, pts: int) -> bool:
        """Whether the frame with this presentation time is a target of the request."""
        position = int(np.searchsorted(self._pts, pts))
        return position < len(self._pts) and int(self._pts[position]) == pts

    def needs_thumbnail(self, pts: int) -> bool:
        return pts in self._thumbnail_pts

    @abstractmethod
    def add(self, target: Target, frame: EncodedFrame) -> None:
        """Writes one image. Targets must come in time order."""

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
    """Writes a whole result. When another reader starts over, a new writer takes its place."""

    def __init__(
        self,
        request: ResultRequest,
        time_scale: TimeScale,
        video: ManifestVideo,
        preview_seconds: float = math.inf,
    ) -> None:
        sheet_pts = [target.pts for target in sheet_targets(request.targets())]
        super().__init__(request, sheet_pts)
        self._time_scale = time_scale
        suffix = SUFFIXES[request.spec.image.format]
        self._archive = ArchiveWriter(request.out, request.spec, video, time_scale.time_base, suffix)
        self._sheet = ContactSheet(request.out, cell_for(video.media.width, video.media.height), len(sheet_pts))
        self._preview = PreviewSheet(request.out, self._sheet, sheet_pts, time_scale, preview_seconds)

    @property
    def image_count(self) -> int:
        return self._archive.image_count

    def add(self, target: Target, frame: EncodedFrame) -> None:
        time = self._time_scale.time_of(target.pts)
        size = (frame.width, frame.height)
        self._archive.add(frame.data, size, index=target.index, pts=target.pts, time=time, key=target.key)
        if frame.thumbnail is not None and self.needs_thumbnail(target.pts):
            self._sheet.add(frame.thumbnail, time)
        self._preview.update(self.image_count, target.pts)
        self.preview_frames = self._preview.frames

    def finish(self, missing: Sequence[Target], warnings: Sequence[ResultWarning]) -> WrittenResult:
        """Raises CatalogueError `undecodable`."""
        planned = self.request.plan.frames
        if not self.image_count:
            raise CatalogueError("undecodable", f"None of the {planned} frames can be decoded with certainty.")
        missing_pts = [target.pts for target in missing if self.includes(target.pts)]
        all_warnings = [*self.request.warnings, *warnings]
        if missing_pts:
            first = float(self._time_scale.time_of(min(missing_pts)))
            detail = f"{len(missing_pts)} of {planned} frames could not be decoded with certainty and are left out, "
            all_warnings.append(ResultWarning("frames_missing", f"{detail}the first at {first:.3f} s."))
        self._sheet.finish(self._time_scale.end)
        size, digest = self._archive.finish(all_warnings)
        return WrittenResult(self.image_count, size, digest, len(missing_pts), tuple(all_warnings))

    def close(self) -> None:
        self._archive.close()
