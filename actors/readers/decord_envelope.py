"""Which files decord is used for: those of kinds that it was seen to read correctly. Does not import decord.

For other kinds (MPEG-TS, edit lists, open GOPs) decord gives neighbors of the requested frame, or hangs. On the GPU its
limits are those of its source, `src/improc/improc.cu` and `src/video/nvcodec`: it does not rotate, it takes 8 bits of
4:2:0 only, and it has one color matrix for all videos.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from actors.container.probe import Probe
from actors.extraction_types import GpuDecoder
from actors.images.frame_format import HD_MIN_HEIGHT
from actors.plan.frame_table import FrameTable
from db.values.file_type import Container

SUPPORTED_CONTAINERS = {Container.MP4, Container.MATROSKA}
SUPPORTED_CODECS = {"h264", "hevc", "vp9", "av1"}
MAX_PIXELS = 1920 * 1088
"""For larger pictures its memory is not bounded well enough."""
_BT709, _UNTAGGED = 1, 2
_BT601 = {5, 6}
_GPU_PIXEL_FORMAT = "yuv420p"


def unsupported_feature(probe: Probe) -> str | None:
    """A property of the file that decord is known to read wrongly on the CPU; None when there is none."""
    # decord treats every untagged picture as BT.601.
    matrices = _BT601 | ({_BT709, _UNTAGGED} if probe.coded_height < HD_MIN_HEIGHT else {_BT709})
    codec = probe.media.codec
    return _first(
        {
            f"the codec {codec}": codec not in SUPPORTED_CODECS,
            "colors that decord converts wrongly": probe.color_matrix not in matrices,
        }
        | _common_features(probe)
    )


def unsupported_on_gpu(probe: Probe, gpu: GpuDecoder) -> str | None:
    """A property of the file that this GPU or decord on it does not decode; None when there is none."""
    is_hd = probe.coded_height >= HD_MIN_HEIGHT
    matrices = {_BT709} if gpu.has_bt709 else set(_BT601)
    if is_hd == gpu.has_bt709:
        matrices.add(_UNTAGGED)
    codec = probe.media.codec
    return _first(
        {
            f"the codec {codec}": codec not in gpu.codecs,
            f"the pixel format {probe.pixel_format}": probe.pixel_format != _GPU_PIXEL_FORMAT or probe.is_full_range,
            "colors of another matrix": probe.color_matrix not in matrices,
            "a rotated picture": bool(probe.geometry.quarter_turns),
        }
        | _common_features(probe)
    )


def _common_features(probe: Probe) -> dict[str, bool]:
    media = probe.media
    return {
        f"the container {probe.source.container}": probe.source.container not in SUPPORTED_CONTAINERS,
        "an edit list": probe.has_hidden_packets,
        "times that are not in the container": probe.table.match_by_index,
        "pictures larger than full HD": media.width * media.height > MAX_PIXELS,
        "damage": bool(probe.warnings),
        "interlaced pictures": probe.is_interlaced,
        "pixels that are not square": probe.geometry.pixel_aspect != 1,
        "a mirrored picture": probe.geometry.mirrored,
        "open GOPs": not _has_only_closed_gops(probe.table),
    }


def _first(features: Mapping[str, bool]) -> str | None:
    return next((feature for feature, is_present in features.items() if is_present), None)


def _has_only_closed_gops(table: FrameTable) -> bool:
    """Whether no picture is a leading picture: shown before the key frame that it is coded after."""
    in_decode_order = np.argsort(table.decode_order, kind="stable")
    pts, keys = table.pts[in_decode_order], table.is_key[in_decode_order]
    latest_key_pts = np.maximum.accumulate(np.where(keys, pts, table.pts[0]))
    return bool(table.is_key[0] and keys[0] and np.all(pts >= latest_key_pts))
