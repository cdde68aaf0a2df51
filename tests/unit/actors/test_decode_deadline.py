"""The deadline of a child grows with its planned work."""

from __future__ import annotations

from dataclasses import replace

from actors.extraction_types import DetectingScenes, Planned
from actors.plan.decode_deadline import BASE_SECONDS, PROBE_SECONDS, max_probe_seconds, max_work_seconds
from db.values.media_info import Media

MEDIA = Media("mp4", "h264", 1920, 1080, 0, 600.0, 18_000, 30.0, False, 300)


def test_deadline_of_a_full_hd_video_is_over_five_times_the_work_of_a_slow_processor() -> None:
    # A core that decodes and encodes 40 full HD frames a second, shared by four.
    work_seconds = 18_000 / 40 * 4
    assert max_work_seconds(Planned(MEDIA, 18_000, 18_000)) > 5 * work_seconds


def test_few_frames_have_a_shorter_deadline_than_all() -> None:
    few = max_work_seconds(Planned(MEDIA, 20, 20 * 125))
    assert BASE_SECONDS < few < max_work_seconds(Planned(MEDIA, 18_000, 18_000)) / 4


def test_deadline_grows_with_pixels_frames_and_images() -> None:
    base = max_work_seconds(Planned(MEDIA, 10, 100))
    assert max_work_seconds(Planned(MEDIA, 11, 100)) > base
    assert max_work_seconds(Planned(MEDIA, 10, 101)) > base
    assert max_work_seconds(Planned(replace(MEDIA, width=3840), 10, 100)) > base


def test_scene_detection_has_a_shorter_deadline_than_extraction() -> None:
    assert max_work_seconds(DetectingScenes(MEDIA, 100)) < max_work_seconds(Planned(MEDIA, 1, 100))


def test_deadline_of_the_probe_grows_with_file_size() -> None:
    assert max_probe_seconds(0) == PROBE_SECONDS
    assert max_probe_seconds(50 << 30) > 3600
