"""The frame specification is read exactly and has one canonical text."""

import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.values.error_catalogue import CatalogueError
from db.values.frame_spec import (
    AllFrames,
    EveryNth,
    Fps,
    FrameSpec,
    Image,
    ImageFormat,
    ImageNames,
    Interval,
    Keyframes,
    Range,
    Scenes,
    Snap,
    Timestamps,
    Uniform,
    canonical,
    parse,
)

DEFAULTS = (
    '{"sample":{"mode":"fps","fps":1},"range":{"start":0,"end":null},'
    '"image":{"format":"jpeg","quality":90,"max_side":null,"names":"time"},"snap":"exact","max_frames":null}'
)


def test_empty_object_means_the_defaults() -> None:
    assert canonical(parse("{}")) == DEFAULTS
    assert parse(DEFAULTS) == FrameSpec()


def test_number_is_read_by_its_decimal_text() -> None:
    spec = parse('{"sample": {"mode": "fps", "fps": 0.1}, "range": {"start": 0.3333333333333333333333333333333333}}')
    assert spec.sample == Fps(Fraction(1, 10))
    assert spec.range.start == Fraction("0.3333333333333333333333333333333333")


@pytest.mark.parametrize("text", ["29.970", "29.97", "2997e-2", "0.2997E2"])
def test_equal_numbers_have_one_canonical_text(text: str) -> None:
    assert '"fps":29.97}' in canonical(parse(f'{{"sample": {{"mode": "fps", "fps": {text}}}}}'))


def test_timestamps_are_sorted_without_duplicates() -> None:
    assert parse('{"sample": {"mode": "timestamps", "at": [3, 1.0, 1, 2.5]}}').sample == Timestamps(
        (Fraction(1), Fraction(5, 2), Fraction(3))
    )


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[]", "spec"),
        ('{"fps": 1}', "spec.fps"),
        ('{"sample": {"mode": "random"}}', "sample.mode"),
        ('{"sample": {"mode": "fps", "fps": 0}}', "sample.fps"),
        ('{"sample": {"mode": "fps", "fps": -1}}', "sample.fps"),
        ('{"sample": {"mode": "fps", "fps": "1"}}', "sample.fps"),
        ('{"sample": {"mode": "fps", "fps": true}}', "sample.fps"),
        ('{"sample": {"mode": "fps", "fps": 1e999999999}}', "sample.fps"),
        ('{"sample": {"mode": "fps", "fps": 1e-999999999}}', "sample.fps"),
        ('{"sample": {"mode": "fps", "fps": 1e99999999999999999999}}', "sample.fps"),
        ('{"sample": {"mode": "fps", "fps": %s}}' % ("9" * 100_000), "sample.fps"),
        ('{"sample": {"mode": "interval"}}', "sample.seconds"),
        ('{"sample": {"mode": "every_nth", "n": 0}}', "sample.n"),
        ('{"sample": {"mode": "every_nth", "n": 1.5}}', "sample.n"),
        ('{"sample": {"mode": "uniform", "count": 0}}', "sample.count"),
        ('{"sample": {"mode": "timestamps", "at": []}}', "sample.at"),
        ('{"sample": {"mode": "timestamps", "at": [1, "2"]}}', "sample.at[1]"),
        ('{"sample": {"mode": "keyframes", "n": 2}}', "sample.n"),
        ('{"sample": {"mode": "scenes", "threshold": 101}}', "sample.threshold"),
        ('{"range": {"start": -1}}', "range.start"),
        ('{"range": {"start": 2, "end": 2}}', "range.end"),
        ('{"image": {"format": "gif"}}', "image.format"),
        ('{"image": {"quality": 0}}', "image.quality"),
        ('{"image": {"quality": 101}}', "image.quality"),
        ('{"image": {"max_side": 15}}', "image.max_side"),
        ('{"image": {"names": "hash"}}', "image.names"),
        ('{"image": {"names": null}}', "image.names"),
        ('{"snap": "nearest"}', "snap"),
        ('{"max_frames": 0}', "max_frames"),
    ],
)
def test_invalid_field_is_named_in_the_error(text: str, field: str) -> None:
    with pytest.raises(CatalogueError, match=r"invalid_spec") as caught:
        parse(text)
    assert caught.value.detail.startswith(f"{field} ")


def test_too_many_timestamps_are_refused() -> None:
    with pytest.raises(CatalogueError, match=r"sample\.at"):
        parse(json.dumps({"sample": {"mode": "timestamps", "at": list(range(100_001))}}))


@pytest.mark.parametrize("text", ["", "{", '{"a": NaN}', '{"a": Infinity}', "[" * 100_000, b"\xff\xfe"])
def test_invalid_json_is_malformed(text: str | bytes) -> None:
    with pytest.raises(CatalogueError, match="malformed_request"):
        parse(text)


decimals = st.decimals(min_value=Decimal("0.001"), max_value=Decimal(10**6), allow_nan=False, places=6).map(Fraction)
samples = st.one_of(
    decimals.map(Fps),
    decimals.map(Interval),
    st.integers(1, 10**6).map(Uniform),
    st.lists(decimals, min_size=1, max_size=20).map(lambda times: Timestamps(tuple(sorted(set(times))))),
    st.integers(1, 10**6).map(EveryNth),
    st.just(Keyframes()),
    st.just(AllFrames()),
    st.integers(0, 100).map(lambda threshold: Scenes(Fraction(threshold))),
)
ranges = st.tuples(decimals, decimals).map(lambda pair: Range(min(pair), max(pair) + 1)) | st.just(Range())
images = st.builds(
    Image,
    format=st.sampled_from(ImageFormat),
    quality=st.integers(1, 100),
    max_side=st.none() | st.integers(16, 8000),
    names=st.sampled_from(ImageNames),
)


@given(st.builds(FrameSpec, samples, ranges, images, st.sampled_from(Snap), st.none() | st.integers(1, 10**6)))
def test_canonical_text_parses_to_the_same_specification(spec: FrameSpec) -> None:
    text = canonical(spec)
    assert parse(text) == spec
    assert canonical(parse(text)) == text
    json.loads(text)
