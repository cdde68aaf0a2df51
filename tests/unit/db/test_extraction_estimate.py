"""Estimates: the number of images follows from the specification, sizes and times from earlier results."""

from __future__ import annotations

from dataclasses import replace

import pytest

from db.values.extraction_estimate import EarlierResult, MediaFacts, estimate, estimate_frames
from db.values.frame_spec import parse

FULL_HD = MediaFacts("h264", 1920, 1080, 60.0, 25.0)


@pytest.mark.parametrize(
    ("spec", "frames"),
    [
        ("{}", 60),
        ('{"sample":{"mode":"fps","fps":0.5}}', 30),
        ('{"sample":{"mode":"fps","fps":100}}', 1500),
        ('{"sample":{"mode":"interval","seconds":7}}', 9),
        ('{"sample":{"mode":"uniform","count":12}}', 12),
        ('{"sample":{"mode":"uniform","count":99999}}', 1500),
        ('{"sample":{"mode":"timestamps","at":[1,2,59.9,60,-1]}}', 3),
        ('{"sample":{"mode":"every_nth","n":10}}', 150),
        ('{"sample":{"mode":"all"}}', 1500),
        ('{"sample":{"mode":"all"},"range":{"start":10,"end":20}}', 250),
        ('{"sample":{"mode":"all"},"range":{"start":50,"end":900}}', 250),
        ('{"sample":{"mode":"all"},"range":{"start":100}}', 1),
        ('{"sample":{"mode":"all"},"max_frames":7}', 7),
    ],
)
def test_number_of_images_follows_from_the_specification(spec: str, frames: int) -> None:
    assert estimate_frames(parse(spec), FULL_HD) == frames


@pytest.mark.parametrize(
    ("spec", "frames"),
    [
        ('{"sample":{"mode":"keyframes"}}', 7),
        ('{"sample":{"mode":"keyframes"},"range":{"end":30}}', 4),
        ('{"snap":"keyframe"}', 7),
    ],
)
def test_number_of_key_frames_is_that_of_the_probe(spec: str, frames: int) -> None:
    assert estimate_frames(parse(spec), replace(FULL_HD, key_frames=7)) == frames


def test_few_images_from_long_groups_of_pictures_take_longer_than_from_short_ones() -> None:
    spec = parse('{"sample":{"mode":"uniform","count":4}}')
    long, short = (estimate(spec, replace(FULL_HD, key_frames=count)) for count in (4, 60))
    assert long.seconds > short.seconds * 1.5


def earlier(spec: str, frames: int, size: int, seconds: float | None, *, is_same_video: bool = True) -> EarlierResult:
    return EarlierResult(FULL_HD, parse(spec), frames, size, seconds, is_same_video)


def test_size_of_the_same_video_is_that_of_its_earlier_images() -> None:
    result = earlier("{}", 60, 60 * 100_700, 3.0)
    assert estimate(parse('{"sample":{"mode":"all"}}'), FULL_HD, [result]).size == pytest.approx(1500 * 100_700)


def test_results_of_the_same_video_take_precedence_over_others() -> None:
    results = [earlier("{}", 60, 60 * 900_700, 3.0, is_same_video=False), earlier("{}", 60, 60 * 100_700, 3.0)]
    assert estimate(parse("{}"), FULL_HD, results).size == pytest.approx(60 * 100_700)


def test_smaller_images_and_lower_quality_are_smaller() -> None:
    full = estimate(parse("{}"), FULL_HD)
    small = estimate(parse('{"image":{"max_side":480}}'), FULL_HD)
    rough = estimate(parse('{"image":{"quality":50}}'), FULL_HD)
    lossless = estimate(parse('{"image":{"format":"png"}}'), FULL_HD)
    assert small.size < full.size / 8
    assert rough.size < full.size < lossless.size


def test_time_follows_the_measured_times_of_earlier_results() -> None:
    usual = estimate(parse("{}"), FULL_HD).seconds
    slow = estimate(parse("{}"), FULL_HD, [earlier("{}", 60, 6_000_000, usual * 3)])
    assert slow.seconds == pytest.approx(usual * 3, rel=0.1)
    assert estimate(parse("{}"), FULL_HD, [earlier("{}", 60, 6_000_000, None)]).seconds == usual


def test_earlier_results_of_little_work_do_not_correct_the_time() -> None:
    one_image = '{"sample":{"mode":"timestamps","at":[0]},"image":{"max_side":16}}'
    delayed = earlier(one_image, 1, 10_000, 5.0)
    assert estimate(parse("{}"), FULL_HD, [delayed]).seconds == estimate(parse("{}"), FULL_HD).seconds


def test_start_is_not_multiplied_by_the_speed_of_the_account() -> None:
    slow = earlier("{}", 60, 6_000_000, 5 * estimate(parse("{}"), FULL_HD).seconds)
    one_image = parse('{"sample":{"mode":"keyframes"},"max_frames":1}')
    assert estimate(one_image, FULL_HD, [slow]).seconds < 2 * estimate(one_image, FULL_HD).seconds


def test_finding_scenes_and_scaling_images_down_take_time_beside_the_decoding() -> None:
    seconds = {
        spec: estimate(parse(spec), FULL_HD).seconds
        for spec in (
            "{}",
            '{"sample":{"mode":"scenes"}}',
            '{"sample":{"mode":"all"}}',
            '{"sample":{"mode":"all"},"image":{"max_side":1919}}',
        )
    }
    each_second, scenes, full, scaled = seconds.values()
    assert scenes > 1.5 * each_second
    assert scaled > 1.2 * full


def test_video_without_size_and_length_has_an_estimate() -> None:
    unknown_media = MediaFacts("unknown", 0, 0, 0.0, 0.0, key_frames=1)
    assert (
        estimate(parse("{}"), unknown_media, [EarlierResult(unknown_media, parse("{}"), 0, 0, 0.0, True)]).frames == 1
    )
