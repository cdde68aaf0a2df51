"""Which FFmpeg filters convert a frame to an image's color matrix, range, bit depth and size.

Filters are (name, arguments). FFmpeg's `colorspace` converts matrix and range exactly and fast, but it takes only some
pixel formats and even sizes. A frame that it does not take is brought to one that it does.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from actors.images.frame_format import BT2020, FULL, MATRICES, RGB, FrameFormat

Filters = list[tuple[str, str | None]]

PAD_TO_EVEN = "pad_to_even"
"""Not a filter of FFmpeg: repeats the last column and row of a planar picture where its sides are odd."""
BT2020_10, PQ = 14, 16
"""Transfer characteristics: SDR in BT.2020, and SMPTE ST 2084. HLG (18) is treated as the first one: ITU-R BT.2100
designed it to look right on such displays."""
SDR_PEAK = 250.0
"""cd/m² that become the brightest white of an SDR picture. White in HDR (203 cd/m²) becomes three quarters of it."""
_BT601_NAMES = {"bt470bg", "smpte170m"}
_COLORSPACE_FORMATS = {
    f"yuv{kind}{chroma}p{depth}"
    for kind, depths in (("", ("", "10le", "12le")), ("j", ("",)))
    for chroma in (420, 422, 444)
    for depth in depths
}
"""Pixel formats that the colorspace filter takes."""
_EXACT = "accurate_rnd+full_chroma_int+bitexact"
AREA_MIN_SHRINK = 4
"""From this factor on every pixel is the mean of many: `area` is as good as `lanczos` and takes a third of the time."""


class OutputPixelFormat(Enum):
    """What an image file holds.

    YUV_FULL_RANGE: BT.601 with the frame's subsampling, as in JFIF. YUV420_LIMITED_RANGE: BT.601, as in WebP. RGB24: as
    in PNG.
    """

    YUV_FULL_RANGE = "yuv_full_range"
    YUV420_LIMITED_RANGE = "yuv420_limited_range"
    RGB24 = "rgb24"


def conversion_filters(
    source: FrameFormat, size: tuple[int, int], output: OutputPixelFormat, *, is_transposed: bool = False
) -> Filters:
    """The filters from the frame's color and size to those of the image.

    size: (width, height) before rotation. is_transposed: the rotation will exchange width and height.
    """
    pixel_format = _output_pixel_format(source, output, is_transposed)
    to_rgb = output is OutputPixelFormat.RGB24
    if source.transfer == PQ:
        tone_mapping, sdr = _tone_map_pq(source, size)
        return [*tone_mapping, *(_to_rgb(sdr, size) if to_rgb else _to_bt601(sdr, size, output, pixel_format))]
    if source.matrix == RGB:
        color = "" if to_rgb else f":out_color_matrix=bt601:out_range={_output_range(output)}"
        return [("scale", _scale_arguments(source, size) + color), ("format", pixel_format)]
    return _to_rgb(source, size) if to_rgb else _to_bt601(source, size, output, pixel_format)


def _output_pixel_format(source: FrameFormat, output: OutputPixelFormat, is_transposed: bool) -> str:
    if output is OutputPixelFormat.RGB24:
        return "rgb24"
    if output is OutputPixelFormat.YUV420_LIMITED_RANGE:
        return "yuv420p"
    # 4:2:2 transposed would be 4:4:0, which few programs read.
    return "yuv444p" if is_transposed and source.subsampling == "422" else f"yuv{source.subsampling}p"


def _output_range(output: OutputPixelFormat) -> str:
    return "tv" if output is OutputPixelFormat.YUV420_LIMITED_RANGE else "pc"


def _source_range(source: FrameFormat) -> str:
    return "pc" if source.range == FULL else "tv"


def _scale_arguments(source: FrameFormat, size: tuple[int, int]) -> str:
    """Size and method. The side that shrinks most decides the method."""
    shrink = max(source.width / size[0], source.height / size[1])
    method = "bicubic" if shrink <= 1 else "lanczos" if shrink < AREA_MIN_SHRINK else "area"
    return f"{size[0]}:{size[1]}:flags={method}+{_EXACT}"


def _tone_map_pq(source: FrameFormat, size: tuple[int, int]) -> tuple[Filters, FrameFormat]:
    """The filters that scale the picture and make it SDR, still in BT.2020; and the format of their output."""
    matrix = ""
    if source.matrix != RGB:
        matrix = f":in_color_matrix={MATRICES[source.matrix]}:in_range={_source_range(source)}"
    filters: Filters = [
        ("scale", f"{_scale_arguments(source, size)}+full_chroma_inp{matrix}:out_range=pc"),
        ("format", "gbrp12le"),
        ("lutrgb", ":".join(f"{channel}='{_tone_curve()}'" for channel in "rgb")),
        ("scale", f"flags=bicubic+{_EXACT}:out_color_matrix=bt2020nc:out_range=pc"),
        ("format", "yuv444p12le"),
    ]
    width, height = size
    sdr = replace(source, width=width, height=height, pixel_format="yuv444p12le", subsampling="444", transfer=BT2020_10)
    return filters, replace(sdr, matrix=BT2020, range=FULL)


def _tone_curve() -> str:
    """An expression of FFmpeg from a 12-bit PQ code to an SDR code, for each of red, green and blue.

    The spline of ITU-R BT.2390 (EETF, 5.4.1) maps PQ's 0–10,000 cd/m² to 0–SDR_PEAK and keeps light below its knee as
    it is. The inverse of BT.1886 (gamma 2.4) follows. Formula of PQ: SMPTE ST 2084.
    """
    m1, m2, c1, c2, c3 = 1305 / 8192, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128
    light = (SDR_PEAK / 10_000) ** m1
    peak = ((c1 + c2 * light) / (1 + c3 * light)) ** m2
    knee = 1.5 * peak - 0.5
    t = f"st(1,(ld(0)-{knee!r})/{1 - knee!r})"
    spline = f"(2*ld(1)^3-3*ld(1)^2+1)*{knee!r}+(ld(1)^3-2*ld(1)^2+ld(1))*{1 - knee!r}+(3*ld(1)^2-2*ld(1)^3)*{peak!r}"
    root = f"st(3,st(2,if(lt(st(0,min(val,4095)/4095),{knee!r}),ld(0),{t}*0+{spline}))^{1 / m2!r})"
    nits = f"(max({root}-{c1!r},0)/({c2!r}-{c3!r}*ld(3)))^{1 / m1!r}*10000"
    return f"round(4095*min(1,({nits}/{SDR_PEAK!r})^{1 / 2.4!r}))"


def _to_rgb(source: FrameFormat, size: tuple[int, int]) -> Filters:
    if source.matrix == BT2020:
        to_bt709 = _to_bt601(source, size, OutputPixelFormat.YUV_FULL_RANGE, "yuv444p12", space="bt709")
        return [*to_bt709, ("scale", f"flags=bicubic+{_EXACT}:in_color_matrix=bt709:in_range=pc"), ("format", "rgb24")]
    color = f"in_color_matrix={MATRICES[source.matrix]}:in_range={_source_range(source)}:out_range=pc"
    return [("scale", f"{_scale_arguments(source, size)}+full_chroma_inp:{color}"), ("format", "rgb24")]


def _to_bt601(
    source: FrameFormat,
    size: tuple[int, int],
    output: OutputPixelFormat,
    pixel_format: str,
    *,
    space: str = "bt470bg",
) -> Filters:
    source_range, is_scaled = _source_range(source), size != (source.width, source.height)
    is_odd = bool(size[0] % 2 or size[1] % 2)
    # Chroma halved at an odd size would be shifted against its luma. So chroma is halved after padding to an even size.
    inner_format = f"yuv444p{pixel_format.partition('p')[2]}" if is_odd and is_scaled else pixel_format
    filters: Filters = []
    if source.pixel_format not in _COLORSPACE_FORMATS or is_scaled or pixel_format != f"yuv{source.subsampling}p":
        depth = source.pixel_format.partition("p")[2] if source.pixel_format in _COLORSPACE_FORMATS else ""
        scaled_format = f"{inner_format.partition('p')[0]}p{depth}"
        ranges = f"in_range={source_range}:out_range={source_range}"
        filters += [("scale", f"{_scale_arguments(source, size)}:{ranges}"), ("format", scaled_format)]
    elif (
        source_range == _output_range(output)
        and MATRICES[source.matrix] in _BT601_NAMES
        and _is_8_bit(source.pixel_format)
    ):
        return []
    if is_odd:
        filters.append((PAD_TO_EVEN, None))
    target = f"space={space}:range={_output_range(output)}:format={inner_format}"
    filters.append(_matrix_and_range(source, source_range, target))
    if inner_format != pixel_format:
        same_range = f"in_range={_output_range(output)}:out_range={_output_range(output)}"
        filters += [("scale", f"flags=area+{_EXACT}:{same_range}"), ("format", pixel_format)]
    if is_odd:
        filters.append(("crop", f"{size[0]}:{size[1]}:0:0:exact=1"))
    return filters


def _is_8_bit(pixel_format: str) -> bool:
    return pixel_format.endswith("p")


def _matrix_and_range(source: FrameFormat, source_range: str, target: str) -> tuple[str, str]:
    """Primaries are converted only from BT.2020, whose colors would look pale otherwise."""
    is_wide = source.matrix == BT2020
    primaries, transfer = ("bt2020", "bt2020-10") if is_wide else ("bt709", "bt709")
    color = f"ispace={'bt2020ncl' if is_wide else MATRICES[source.matrix]}:iprimaries={primaries}:itrc={transfer}"
    return "colorspace", f"{color}:irange={source_range}:{target}:primaries=bt709:trc=bt709"
