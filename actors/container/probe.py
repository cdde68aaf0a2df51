"""What a video file is: its frame table, how its pictures are displayed, and its media facts.

Reads all packets and decodes only the first picture. Only where a container does not say when its pictures are shown
(AVI with B-frames), everything is decoded once.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from actors.container.container_integrity import has_consistent_structure
from actors.container.display_geometry import DisplayGeometry, display_geometry
from actors.container.open_video import VideoSource, identify_source
from actors.container.packet_table import open_and_count_errors, read_packet_table
from actors.container.read_frame_table import (
    ChecksFailEverywhereError,
    read_frame_table,
    with_declared_duration,
    without_uncertain_frames,
)
from actors.container.truncation import is_truncated
from actors.extraction_types import ResultWarning
from actors.plan.frame_table import FrameTable
from db.values.error_catalogue import CatalogueError
from db.values.file_type import Container
from db.values.media_info import Media

_EXACT_SEEK_CONTAINERS = {Container.MP4, Container.MATROSKA}
"""Their demuxers seek to exactly the requested key frame."""
_INTERLACED_FIELD_ORDERS = {2, 3, 4, 5}
"""AVFieldOrder: top or bottom field coded first, top or bottom field shown first."""
_JITTER_SECONDS = Fraction(1, 1000)
"""Rounding to milliseconds makes the intervals of a constant rate differ by this much."""


@dataclass(frozen=True, slots=True)
class Probe:
    """has_hidden_packets: an edit list or discard flags hide packets. color_matrix: the first picture's tag, ISO/IEC
    23091-2 (2: none). pixel_format: the first picture's, by FFmpeg's name. is_full_range: its samples use all values.
    coded_height: pixels. is_interlaced: pictures may be of two fields; each frame says whether it
    is. corrupt_packets: places in decoding order of packets that a wrong checksum of the container covers.
    """

    source: VideoSource
    table: FrameTable
    geometry: DisplayGeometry
    media: Media
    has_hidden_packets: bool
    color_matrix: int
    pixel_format: str
    is_full_range: bool
    coded_height: int
    is_interlaced: bool
    corrupt_packets: frozenset[int]
    warnings: tuple[ResultWarning, ...]

    @property
    def seeks_exactly(self) -> bool:
        """Whether a seek to a key frame of the table lands on it."""
        return self.source.container in _EXACT_SEEK_CONTAINERS and not self.has_hidden_packets


def probe(path: Path) -> Probe:
    """Reads all packets of a video.

    Raises CatalogueError of fault file: the codes of `identify_source` and `open_video`, `encrypted`, `no_frames`,
    `no_timestamps`, `undecodable`.
    """
    source = identify_source(path)
    try:
        return _probe(source)
    except ChecksFailEverywhereError:
        return _probe(replace(source, unchecked=True))


def _probe(source: VideoSource) -> Probe:
    container, stream, errors = open_and_count_errors(source)
    with container:
        packets = read_packet_table(container, stream)
        pixel_aspect, rate = stream.sample_aspect_ratio, stream.guessed_rate
        time_base = stream.time_base
        codec, has_b_frames = stream.codec.canonical_name, bool(stream.codec_context.has_b_frames)
        is_interlaced = stream.codec_context.field_order in _INTERLACED_FIELD_ORDERS
    if time_base is None:
        raise CatalogueError("no_timestamps")
    if not any(packets.is_displayed):
        raise CatalogueError("no_frames")
    table, first, left_out = read_frame_table(source, packets, time_base, codec, has_b_frames=has_b_frames)
    errors += packets.errors + (not has_consistent_structure(source.path, source.container))
    truncated = packets.is_truncated or is_truncated(source.path, source.container)
    table = with_declared_duration(without_uncertain_frames(table, packets) if truncated else table, rate)
    geometry = display_geometry(pixel_aspect, _display_matrix(first))
    return Probe(
        source,
        table,
        geometry,
        _media(source, codec, table, geometry, first),
        not all(packets.is_displayed),
        first.colorspace,
        first.format.name,
        first.color_range == ColorRange.JPEG,
        first.height,
        is_interlaced or first.interlaced_frame,
        frozenset(packets.corrupt),
        (*_warnings(errors, truncated=truncated, unchecked=source.unchecked), *left_out),
    )


def _warnings(errors: int, *, truncated: bool, unchecked: bool) -> tuple[ResultWarning, ...]:
    warnings = []
    if truncated:
        warnings.append(ResultWarning("truncated", "The file breaks off; what comes before that place was read."))
    elif errors:
        detail = "The container is damaged at some places; frames that were there are not in its table."
        warnings.append(ResultWarning("damaged", detail))
    if unchecked:
        detail = "The pictures don't pass the checks of their decoder; they are given as they come out of it."
        warnings.append(ResultWarning("unchecked", detail))
    return tuple(warnings)


def _display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """The display matrix of the container or the stream, as the decoder attaches it to frames."""
    side_data = cast("Mapping[str, SideData]", frame.side_data)
    data = side_data.get("DISPLAYMATRIX")
    return struct.unpack("=9i", bytes(memoryview(data))) if data else None


def _media(source: VideoSource, codec: str, table: FrameTable, geometry: DisplayGeometry, first: VideoFrame) -> Media:
    width, height = geometry.image_size(first.width, first.height)
    intervals = np.diff(table.pts)
    median, jitter = table.median_interval, max(Fraction(1), _JITTER_SECONDS / table.time_base)
    is_variable = len(intervals) > 0 and max(intervals.max() - median, median - intervals.min()) > jitter
    return Media(
        container=source.container.value,
        codec=codec,
        width=width,
        height=height,
        rotation=90 * geometry.quarter_turns,
        duration=float(table.end),
        frames=len(table),
        fps_average=float(len(table) / table.end),
        variable_frame_rate=bool(is_variable),
        key_frames=int(table.is_key.sum()),
    )
