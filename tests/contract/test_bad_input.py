"""Invalid input: each has a catalogue code, a fault, and a remedy in two languages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from actors.engine.extract import extract
from actors.extraction_types import Extracted
from db.values.error_catalogue import CatalogueError, Fault
from db.values.frame_spec import parse
from tests.support.videos.clips import CLIPS, ClipSpec, make_clip, write_audio_only, write_hls_playlist, write_text_file

CENC = (
    ("encryption_scheme", "cenc-aes-ctr"),
    ("encryption_key", "76a6c65c5ea762046bd749a2e632ccbb"),
    ("encryption_kid", "a7e61c373e219033c21091fa607bf3b8"),
)
SMALL = ClipSpec(width=96, height=64, frames=20, fps=Fraction(25), gop=5)
MakeFile = Callable[[Path], None]


def clip(**changes: Any) -> MakeFile:
    return lambda path: discard(make_clip(path, replace(SMALL, suffix=path.suffix, **changes)))


def discard(_: object) -> None:
    return None


def patched(make_intact: MakeFile, old: bytes, new: bytes) -> MakeFile:
    def patch(path: Path) -> None:
        make_intact(path)
        data = path.read_bytes()
        assert old in data
        path.write_bytes(data.replace(old, new))

    return patch


def cut(make_intact: MakeFile, start: float, end: float) -> MakeFile:
    def cut_out(path: Path) -> None:
        make_intact(path)
        data = path.read_bytes()
        path.write_bytes(data[int(len(data) * start) : int(len(data) * end)])

    return cut_out


def header_alone(path: Path) -> None:
    """A fragmented MP4 that ends before its first fragment."""
    clip(fragmented=True)(path)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moof") - 4])


def no_clusters(path: Path) -> None:
    clip()(path)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"\x1f\x43\xb6\x75")])


def zeroed_media(path: Path) -> None:
    clip()(path)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    length = int.from_bytes(data[start - 8 : start - 4], "big") - 8
    data[start : start + length] = bytes(length)
    path.write_bytes(data)


FILES: dict[str, tuple[str, MakeFile, str]] = {
    "nothing": (".mp4", lambda path: path.touch(), "empty_file"),
    "a text": (".mp4", write_text_file, "not_a_video"),
    "a playlist": (".mp4", write_hls_playlist, "playlist"),
    "a zip": (".mp4", lambda path: discard(path.write_bytes(b"PK\x03\x04" + bytes(5000))), "not_a_video"),
    "zeros": (".mp4", lambda path: discard(path.write_bytes(bytes(5000))), "not_a_video"),
    "sound alone in MP4": (".mp4", write_audio_only, "no_video_stream"),
    "sound alone in MKV": (".mkv", write_audio_only, "no_video_stream"),
    "sound alone in TS": (".ts", write_audio_only, "no_video_stream"),
    "no fragment": (".mp4", header_alone, "no_frames"),
    "no cluster": (".mkv", no_clusters, "unreadable_container"),
    "common encryption": (".mp4", clip(muxer=CENC), "encrypted"),
    "an encrypted sample entry": (".mp4", patched(clip(), b"avc1\0\0\0\0\0\0", b"encv\0\0\0\0\0\0"), "encrypted"),
    "an unknown codec in MP4": (".mp4", patched(clip(), b"avc1\0\0\0\0\0\0", b"zz00\0\0\0\0\0\0"), "unsupported_codec"),
    "an unknown codec in MKV": (".mkv", patched(clip(), b"V_MPEG4/ISO/AVC", b"V_ZZZZZ/ZZZ/ZZZ"), "unsupported_codec"),
    "an unknown codec in AVI": (
        ".avi",
        patched(patched(clip(), b"vidsH264", b"vidsZZ00"), b"H264\0", b"ZZ00\0"),
        "unsupported_codec",
    ),
    "the head alone, index at the end": (".mp4", cut(clip(), 0, 0.5), "unreadable_container"),
    "the tail alone of MP4": (".mp4", cut(clip(), 0.3, 1), "not_a_video"),
    "the tail alone of MKV": (".mkv", cut(clip(), 0.3, 1), "not_a_video"),
    "a box size of 2³¹": (".mp4", patched(clip(), b"moov", b"moox"), "unreadable_container"),
    "pictures of zeros": (".mp4", zeroed_media, "undecodable"),
}


@pytest.mark.parametrize("name", FILES)
def test_invalid_file_has_fault_file_and_its_code(name: str, tmp_path: Path) -> None:
    suffix, make_file, code = FILES[name]
    path = tmp_path / f"bad{suffix}"
    make_file(path)
    with pytest.raises(CatalogueError) as raised:
        extract(path, parse('{"sample": {"mode": "all"}}'), tmp_path)
    assert raised.value.code == code
    assert raised.value.fault is Fault.FILE
    assert raised.value.detail
    assert all(raised.value.entry.text(locale).remedy for locale in ("en", "pt-BR"))


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".webm", ".mpg", ".flv", ".avi", ".wmv"])
@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_truncated_file_gives_certain_frames_and_a_warning(suffix: str, keep: float, tmp_path: Path) -> None:
    codecs = {".webm": "libvpx", ".mpg": "mpeg2video", ".wmv": "wmv2"}
    path = tmp_path / f"short{suffix}"
    cut(clip(codec=codecs.get(suffix, "libx264")), 0, keep)(path)
    result = extract(path, parse('{"sample": {"mode": "all"}}'), tmp_path)
    assert 0 < result.frames < SMALL.frames
    assert {warning.code for warning in result.warnings} & {"truncated", "damaged", "frames_missing"}


SPECS: dict[str, tuple[str, str]] = {
    "n is 0": ('{"sample": {"mode": "every_nth", "n": 0}}', "invalid_spec"),
    "n is -1": ('{"sample": {"mode": "every_nth", "n": -1}}', "invalid_spec"),
    "n is 1.5": ('{"sample": {"mode": "every_nth", "n": 1.5}}', "invalid_spec"),
    "fps is 0": ('{"sample": {"mode": "fps", "fps": 0}}', "invalid_spec"),
    "fps is NaN": ('{"sample": {"mode": "fps", "fps": NaN}}', "malformed_request"),
    "fps is infinite": ('{"sample": {"mode": "fps", "fps": Infinity}}', "malformed_request"),
    "fps is 1e999999999": ('{"sample": {"mode": "fps", "fps": 1e999999999}}', "invalid_spec"),
    "fps is a text": ('{"sample": {"mode": "fps", "fps": "1"}}', "invalid_spec"),
    "count is 0": ('{"sample": {"mode": "uniform", "count": 0}}', "invalid_spec"),
    "no times": ('{"sample": {"mode": "timestamps", "at": []}}', "invalid_spec"),
    "a time is NaN": ('{"sample": {"mode": "timestamps", "at": [NaN]}}', "malformed_request"),
    "a million times": (
        '{"sample": {"mode": "timestamps", "at": [' + ",".join(map(str, range(1_000_000))) + "]}}",
        "invalid_spec",
    ),
    "an empty range": ('{"range": {"start": 1, "end": 1}}', "invalid_spec"),
    "a range backwards": ('{"range": {"start": 2, "end": 1}}', "invalid_spec"),
    "a start before 0": ('{"range": {"start": -1}}', "invalid_spec"),
    "an unknown mode": ('{"sample": {"mode": "best"}}', "invalid_spec"),
    "an unknown field": ('{"frames": 1}', "invalid_spec"),
    "max_frames is 0": ('{"max_frames": 0}', "invalid_spec"),
    "quality is 101": ('{"image": {"quality": 101}}', "invalid_spec"),
    "max_side is 1": ('{"image": {"max_side": 1}}', "invalid_spec"),
    "not JSON": ("{", "malformed_request"),
    "deep nesting": ("[" * 100_000, "malformed_request"),
    "a list": ("[]", "invalid_spec"),
    "all times outside of the video": ('{"sample": {"mode": "timestamps", "at": [-1, 99]}}', "empty_selection"),
    "a range behind the end": ('{"sample": {"mode": "all"}, "range": {"start": 99}}', "empty_selection"),
    "a range between two frames": (
        '{"sample": {"mode": "all"}, "range": {"start": 0.041, "end": 0.079}}',
        "empty_selection",
    ),
    "no key frame in the range": (
        '{"sample": {"mode": "fps"}, "range": {"start": 0.05, "end": 0.1}, "snap": "keyframe"}',
        "empty_selection",
    ),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bad_input") / "small.mp4"
    make_clip(path, SMALL)
    return path


@pytest.mark.parametrize("name", SPECS)
def test_invalid_specification_has_fault_request_and_its_code(name: str, small: Path, tmp_path: Path) -> None:
    text, code = SPECS[name]
    with pytest.raises(CatalogueError) as raised:
        extract(small, parse(text), tmp_path)
    assert raised.value.code == code
    assert raised.value.fault is Fault.REQUEST
    assert all(raised.value.entry.text(locale).remedy for locale in ("en", "pt-BR"))


def extract_text(small: Path, out: Path, text: str) -> Extracted:
    return extract(small, parse(text), out)


def test_times_outside_of_the_video_give_a_warning(small: Path, tmp_path: Path) -> None:
    result = extract_text(small, tmp_path, '{"sample": {"mode": "timestamps", "at": [-1, 0.1, 99]}}')
    assert result.frames == 1
    assert [warning.code for warning in result.warnings] == ["times_outside_video"]


def test_hundred_thousand_timestamps_are_accepted(small: Path, tmp_path: Path) -> None:
    at = ",".join(f"{i / 125_000:.6f}" for i in range(100_000))
    result = extract_text(small, tmp_path, f'{{"sample": {{"mode": "timestamps", "at": [{at}]}}}}')
    assert result.frames == SMALL.frames
    assert result.warnings == ()


def test_intact_clips_give_no_damage_warning(tmp_path: Path) -> None:
    """The checks for damage find none in what FFmpeg's encoders and muxers write."""
    for name, spec in CLIPS.items():
        path = tmp_path / f"{name}{spec.suffix}"
        make_clip(path, replace(spec, frames=min(spec.frames, 20)) if not spec.edit_list else spec)
        assert extract(path, parse("{}"), tmp_path).warnings == (), name
