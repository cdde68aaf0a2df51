"""Images of a result, read out of its archive by ranges, as flows."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.client.api_types import Extraction
from cluster.client.authorized_requests import Session, authorized
from cluster.client.calls.resource_paths import extraction_path, id_of
from cluster.client.calls.result_calls import manifest
from cluster.client.effects import Flow, Request, RunConcurrently, RunInThread
from cluster.client.errors import DownloadCorrupt, InvalidArgument, UnexpectedAnswer
from cluster.client.result_types import Frame, FrameImage

MAX_REQUESTS = 8
"""Ranges that are fetched at a time."""
MAX_RANGE_BYTES = 4 << 20
MAX_GAP_BYTES = 64 << 10
"""Unwanted bytes between two images that are fetched with them: cheaper than another request."""
FIRST_WINDOW_BYTES, MAX_WINDOW_BYTES = 1 << 20, 16 << 20
"""What is fetched before the first image is given; it doubles for each window, so that the first image comes soon."""

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class FramePlan:
    """The wanted frames of an extraction, in the order in which they are given."""

    extraction_id: str
    frames: tuple[Frame, ...]

    def windows(self) -> Iterator[Sequence[Frame]]:
        """Yields stretches of the wanted frames that are held in memory together."""
        window: list[Frame] = []
        size, limit = 0, FIRST_WINDOW_BYTES
        for frame in self.frames:
            if window and size + frame.bytes > limit:
                yield window
                window, size, limit = [], 0, min(2 * limit, MAX_WINDOW_BYTES)
            window.append(frame)
            size += frame.bytes
        if window:
            yield window


def plan_frames(session: Session, extraction: Extraction | str, numbers: Iterable[int] | None) -> Flow[FramePlan]:
    """numbers: of the wanted images, from 1; None: all. Raises InvalidArgument."""
    frames = (yield from manifest(session, extraction)).frames
    return FramePlan(id_of(extraction), frames if numbers is None else choose_frames(frames, numbers))


def choose_frames(frames: Sequence[Frame], numbers: Iterable[int]) -> tuple[Frame, ...]:
    """Pure. Raises InvalidArgument for a number that the result does not have."""
    chosen = []
    for number in [numbers] if isinstance(numbers, int) else numbers:
        if not isinstance(number, int) or not 1 <= number <= len(frames):
            raise InvalidArgument(f"There is no image {number!r}: the result has the images 1 to {len(frames)}.")
        chosen.append(frames[number - 1])
    return tuple(chosen)


def fetch_window(session: Session, plan: FramePlan, frames: Sequence[Frame]) -> Flow[list[FrameImage]]:
    """Fetches these frames, several ranges at a time. Raises DownloadCorrupt."""
    ranges = merged_ranges(frames)
    flows = [_fetch_range(session, plan.extraction_id, wanted) for wanted in ranges]
    outcomes: list[Any] = yield RunConcurrently(flows, MAX_REQUESTS)
    images: dict[int, FrameImage] = {}
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
        images |= outcome or {}
    return [images[frame.n] for frame in frames]


def merged_ranges(frames: Iterable[Frame]) -> list[list[Frame]]:
    """Returns the frames, each once, by offset, in groups that are fetched with one request. Pure."""
    groups: list[list[Frame]] = []
    for frame in sorted({frame.n: frame for frame in frames}.values(), key=lambda frame: frame.offset):
        if groups:
            first, last = groups[-1][0], groups[-1][-1]
            gap = frame.offset - (last.offset + last.bytes)
            if gap <= MAX_GAP_BYTES and frame.offset + frame.bytes - first.offset <= MAX_RANGE_BYTES:
                groups[-1].append(frame)
                continue
        groups.append([frame])
    return groups


def _fetch_range(session: Session, extraction_id: str, frames: Sequence[Frame]) -> Flow[dict[int, FrameImage]]:
    start = frames[0].offset
    received = RangeContent(start, frames[-1].offset + frames[-1].bytes - start)
    yield from authorized(session, Request("GET", f"{extraction_path(extraction_id)}/frames.zip"), received)
    images: dict[int, FrameImage] = yield RunInThread(lambda: {frame.n: received.image(frame) for frame in frames})
    return images


class RangeContent:
    """The bytes of one range, in memory. After a broken connection the rest is asked for."""

    def __init__(self, start: int, length: int) -> None:
        self._start, self._length = start, length
        self._content = bytearray()

    @property
    def size(self) -> int:
        return len(self._content)

    def headers(self) -> dict[str, str]:
        return {
            "Accept-Encoding": "identity",
            "Range": f"bytes={self._start + self.size}-{self._start + self._length - 1}",
        }

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Raises UnexpectedAnswer when the response is not the requested range."""
        found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        if status != 206 or found is None or int(found[1]) != self._start + self.size:
            raise UnexpectedAnswer("The server sent another range of the archive than the requested one.")

    def write(self, chunk: bytes) -> None:
        self._content += chunk

    def image(self, frame: Frame) -> FrameImage:
        """Returns the image of a frame. Raises DownloadCorrupt."""
        start = frame.offset - self._start
        content = bytes(self._content[start : start + frame.bytes])
        digest = hashlib.sha256(content).hexdigest()
        if digest != frame.sha256.lower():
            raise DownloadCorrupt(Path(frame.name), frame.sha256, digest)
        return FrameImage(frame, content)
