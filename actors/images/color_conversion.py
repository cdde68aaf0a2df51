"""Which filters bring a frame's samples to those of an image: matrix, range, bit depth, size. Pure.

The filters are FFmpeg's, as (name, arguments). `colorspace` does matrix and range, exactly and fast, but takes only
some formats and even sizes; what it doesn't take is brought there first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

Filters = list[tuple[str, str | None]]

EVEN = "even"
"""Not a filter of FFmpeg: repeats the last column and row of a planar picture where its sides are odd."""
HD_LINES = 720
"""Frames without color tags count as BT.709 from this height on, as BT.601 below it."""
LIMITED, FULL = 1, 2
"""AVColorRange."""
RGB, BT709, BT601, BT2020 = 0, 1, 5, 9
"""ISO/IEC 23091-2, matrix coefficients."""
MATRICES = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020nc"}
BT2020_10, PQ = 14, 16
"""Transfer characteristics: SDR in BT.2020, and SMPTE ST 2084. HLG (18) is made to look right where it is taken for the
first (ITU-R BT.2100), and so it is."""
SDR_PEAK = 250.0
"""cd/m² that become the brightest white of an SDR picture; what is white in HDR (203) becomes three quarters of it."""
_SAME_AS_601 = {"bt470bg", "smpte170m"}
_DIRECT = {
    f"yuv{kind}{chroma}p{depth}"
    for kind, depths in (("", ("", "10le", "12le")), ("j", ("",)))
    for chroma in (420, 422, 444)
    for depth in depths
}
"""Formats that the colorspace filter takes as they are."""
_EXACT = "accurate_rnd+full_chroma_int+bitexact"
STRONG_SHRINK = 4
"""From here on every pixel is the mean of many: `area` is as good as `lanczos` then, and three times as fast."""


class Samples(Enum):
    """What an image's file holds.

    JFIF: BT.601 in full range, chroma as it came. WEBP: BT.601 in limited range, 4:2:0. RGB: 8 bits each.
    """

    JFIF = "jfif"
    WEBP = "webp"
    RGB = "rgb"


@dataclass(frozen=True, slots=True)
class ColorProperties:
    """What the chain of filters depends on. subsampling: "420", "422" or "444", as near as the format comes."""

    width: int
    height: int
    pixel_format: str
    subsampling: str
    matrix: int
    range: int
    transfer: int
    primaries: int


def filters(looks: ColorProperties, size: tuple[int, int], samples: Samples, *, turned: bool = False) -> Filters:
    """From the frame's colors and size to those of the image; turned: the image will be laid on its side."""
    wanted = _wanted(looks, samples, turned)
    if looks.transfer == PQ:
        mapped, then = _from_pq(looks, size)
        return [*mapped, *(_to_rgb(then, size) if samples is Samples.RGB else _to_601(then, size, samples, wanted))]
    if looks.matrix == RGB:
        target = "" if samples is Samples.RGB else f":out_color_matrix=bt601:out_range={_span(samples)}"
        return [("scale", _scale(looks, size) + target), ("format", wanted)]
    if samples is Samples.RGB:
        return _to_rgb(looks, size)
    return _to_601(looks, size, samples, wanted)


def _wanted(looks: ColorProperties, samples: Samples, turned: bool) -> str:
    if samples is Samples.RGB:
        return "rgb24"
    if samples is Samples.WEBP:
        return "yuv420p"
    # 4:2:2 on its side would be 4:4:0, which few programs read.
    return "yuv444p" if turned and looks.subsampling == "422" else f"yuv{looks.subsampling}p"


def _span(samples: Samples) -> str:
    return "tv" if samples is Samples.WEBP else "pc"


def _own_span(looks: ColorProperties) -> str:
    return "pc" if looks.range == FULL else "tv"


def _scale(looks: ColorProperties, size: tuple[int, int]) -> str:
    """Size and method; the widest side says how much the picture shrinks."""
    shrink = max(looks.width / size[0], looks.height / size[1])
    method = "bicubic" if shrink <= 1 else "lanczos" if shrink < STRONG_SHRINK else "area"
    return f"{size[0]}:{size[1]}:flags={method}+{_EXACT}"


def _from_pq(looks: ColorProperties, size: tuple[int, int]) -> tuple[Filters, ColorProperties]:
    """The picture in its size and in SDR, still in BT.2020, and what it looks like then."""
    matrix = "" if looks.matrix == RGB else f":in_color_matrix={MATRICES[looks.matrix]}:in_range={_own_span(looks)}"
    steps: Filters = [
        ("scale", f"{_scale(looks, size)}+full_chroma_inp{matrix}:out_range=pc"),
        ("format", "gbrp12le"),
        ("lutrgb", ":".join(f"{channel}='{_tone_curve()}'" for channel in "rgb")),
        ("scale", f"flags=bicubic+{_EXACT}:out_color_matrix=bt2020nc:out_range=pc"),
        ("format", "yuv444p12le"),
    ]
    width, height = size
    then = replace(looks, width=width, height=height, pixel_format="yuv444p12le", subsampling="444", transfer=BT2020_10)
    return steps, replace(then, matrix=BT2020, range=FULL)


def _tone_curve() -> str:
    """An expression of FFmpeg from a 12-bit PQ code to an SDR code, for each of red, green and blue.

    PQ's 0–10,000 cd/m² go to 0–SDR_PEAK by the spline of ITU-R BT.2390 (EETF, 5.4.1): up to its knee light stays as it
    is. Then the inverse of BT.1886 (gamma 2.4). Formula of PQ: SMPTE ST 2084.
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


def _to_rgb(looks: ColorProperties, size: tuple[int, int]) -> Filters:
    if looks.matrix == BT2020:
        deep = _to_601(looks, size, Samples.JFIF, "yuv444p12", space="bt709")
        return [*deep, ("scale", f"flags=bicubic+{_EXACT}:in_color_matrix=bt709:in_range=pc"), ("format", "rgb24")]
    source = f"in_color_matrix={MATRICES[looks.matrix]}:in_range={_own_span(looks)}:out_range=pc"
    return [("scale", f"{_scale(looks, size)}+full_chroma_inp:{source}"), ("format", "rgb24")]


def _to_601(
    looks: ColorProperties, size: tuple[int, int], samples: Samples, wanted: str, *, space: str = "bt470bg"
) -> Filters:
    span, resized = _own_span(looks), size != (looks.width, looks.height)
    odd = bool(size[0] % 2 or size[1] % 2)
    # Half as much color as an odd side has would lie beside its brightness; so it is halved when the side is even.
    inside = f"yuv444p{wanted.partition('p')[2]}" if odd and resized else wanted
    chain: Filters = []
    if looks.pixel_format not in _DIRECT or resized or wanted != f"yuv{looks.subsampling}p":
        depth = looks.pixel_format.partition("p")[2] if looks.pixel_format in _DIRECT else ""
        between = f"{inside.partition('p')[0]}p{depth}"
        chain += [("scale", f"{_scale(looks, size)}:in_range={span}:out_range={span}"), ("format", between)]
    elif span == _span(samples) and MATRICES[looks.matrix] in _SAME_AS_601 and _is_8_bit(looks.pixel_format):
        return []
    if odd:
        chain.append((EVEN, None))
    chain.append(_matrix_and_range(looks, span, f"space={space}:range={_span(samples)}:format={inside}"))
    if inside != wanted:
        same = f"in_range={_span(samples)}:out_range={_span(samples)}"
        chain += [("scale", f"flags=area+{_EXACT}:{same}"), ("format", wanted)]
    if odd:
        chain.append(("crop", f"{size[0]}:{size[1]}:0:0:exact=1"))
    return chain


def _is_8_bit(pixel_format: str) -> bool:
    return pixel_format.endswith("p")


def _matrix_and_range(looks: ColorProperties, span: str, target: str) -> tuple[str, str]:
    """Primaries are changed only from BT.2020, whose colors would look pale otherwise."""
    wide = looks.matrix == BT2020
    primaries, transfer = ("bt2020", "bt2020-10") if wide else ("bt709", "bt709")
    source = f"ispace={'bt2020ncl' if wide else MATRICES[looks.matrix]}:iprimaries={primaries}:itrc={transfer}"
    return "colorspace", f"{source}:irange={span}:{target}:primaries=bt709:trc=bt709"
