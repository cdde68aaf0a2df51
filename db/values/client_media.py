"""The facts of a file that is not sent yet: what its client leaves out is assumed. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median

from db.values.extraction_estimate import EarlierResult

ASSUMED_CODEC = "h264"
ASSUMED_FPS = 30.0
# Sample entries of MP4, which begin the codecs of RFC 6381, and spellings of people. The other names are FFmpeg's.
_CODEC_NAMES: Mapping[str, str] = {
    "avc1": "h264", "avc3": "h264", "h.264": "h264", "x264": "h264", "avc": "h264",
    "hvc1": "hevc", "hev1": "hevc", "dvh1": "hevc", "dvhe": "hevc", "h265": "hevc", "h.265": "hevc", "x265": "hevc",
    "vp09": "vp9", "av01": "av1",
}  # fmt: skip


def codec_name(text: str) -> str:
    """Returns FFmpeg's name of a codec: h264 for `H.264` and for `avc1.64001f`."""
    name = text.strip().lower()
    return _CODEC_NAMES.get(name) or _CODEC_NAMES.get(name.partition(".")[0], name)


def codec_or_usual(codec: str | None, earlier: Sequence[EarlierResult]) -> str:
    """Returns the name of the codec. None is given: the one that most of the account's latest videos have."""
    if codec is not None:
        return codec_name(codec)
    usual = Counter(result.media.codec for result in earlier).most_common(1)
    return usual[0][0] if usual else ASSUMED_CODEC


def fps_or_usual(fps_average: float | None, earlier: Sequence[EarlierResult]) -> float:
    """Returns the frame rate. None is given: the median of the account's latest videos."""
    if fps_average is not None:
        return fps_average
    rates = [result.media.fps_average for result in earlier if result.media.fps_average > 0]
    return median(rates) if rates else ASSUMED_FPS
