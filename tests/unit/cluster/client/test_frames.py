"""Images of a result, read out of the archive by ranges."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.client.calls.frame_calls import MAX_GAP_BYTES, MAX_RANGE_BYTES, FramePlan, merged_ranges
from cluster.client.result_types import Frame, FrameImage
from fotograma import DownloadCorrupt, FotogramaError, InvalidArgument, PackageMissing, UnexpectedAnswer
from tests.support.clients.fake_messages import ApiRequest, truncate_body
from tests.support.clients.fake_service import FakeService
from tests.support.clients.image_archive import serve_images

COLOURS = [(n, 2 * n, 250 - n) for n in range(60)]
FRAME = Frame(1, "frame_000001.png", 0, 0, 0.0, True, 64, 48, 0, "", 0)


@pytest.fixture
def extraction(client: Any, service: FakeService, clip: Path) -> Any:
    serve_images(service, COLOURS)
    return client.wait(client.upload(clip).extraction)


def colour_of(image: FrameImage) -> tuple[int, ...]:
    return tuple(int(channel) for channel in image.to_numpy()[0, 0])


def test_all_images_come_in_order_with_their_times(client: Any, extraction: Any) -> None:
    images = list(client.frames(extraction))
    assert [colour_of(image) for image in images] == COLOURS
    assert [image.frame.time for image in images] == [float(n) for n in range(60)]
    assert images[0].to_numpy().shape == (48, 64, 3)
    assert images[0].to_pillow().size == (64, 48)


def test_only_the_wanted_images_are_fetched_in_the_order_of_their_numbers(
    client: Any, service: FakeService, extraction: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.client.calls.frame_calls.MAX_GAP_BYTES", 0)
    images = list(client.frames(extraction.id, [40, 3, 40, 1]))
    assert [colour_of(image) for image in images] == [COLOURS[n - 1] for n in (40, 3, 40, 1)]
    fetched = sum(
        end - start + 1
        for request in service.requests_to("GET", ".*frames.zip")
        for start, end in [map(int, request.headers["range"].removeprefix("bytes=").split("-"))]
    )
    assert fetched == sum(service.manifest["frames"][n - 1]["bytes"] for n in (1, 3, 40))


def test_broken_connection_costs_only_the_rest_of_a_range(client: Any, service: FakeService, extraction: Any) -> None:
    service.add_faults("GET", ".*frames.zip", truncate_body(100))
    assert [colour_of(image) for image in client.frames(extraction, range(1, 4))] == COLOURS[:3]
    first, second = (request.headers["range"] for request in service.requests_to("GET", ".*frames.zip"))
    assert int(second.removeprefix("bytes=").split("-")[0]) == int(first.removeprefix("bytes=").split("-")[0]) + 100


def test_image_with_other_bytes_than_the_manifest_says_is_an_error(
    client: Any, service: FakeService, extraction: Any
) -> None:
    offset = service.manifest["frames"][1]["offset"]
    service.archive = service.archive[:offset] + b"x" + service.archive[offset + 1 :]
    with pytest.raises(DownloadCorrupt, match=r"frame_000002_t000001\.000\.png"):
        list(client.frames(extraction))


def test_whole_archive_in_place_of_a_range_is_an_error(client: Any, service: FakeService, extraction: Any) -> None:
    def ignore_range(request: ApiRequest, carry_out: Any) -> Any:
        del request.headers["range"]
        return carry_out()

    service.add_faults("GET", ".*frames.zip", ignore_range)
    with pytest.raises(UnexpectedAnswer, match="another range"):
        list(client.frames(extraction, [2]))


@pytest.mark.parametrize("numbers", [[0], [61], [-1], ["1"], [1.0], 61])
def test_number_that_the_result_does_not_have_is_an_error_before_anything_is_fetched(
    client: Any, service: FakeService, extraction: Any, numbers: Any
) -> None:
    with pytest.raises(InvalidArgument, match="images 1 to 60") as refused:
        list(client.frames(extraction, numbers))
    assert refused.value.code == "invalid_argument"
    assert service.requests_to("GET", ".*frames.zip") == []


def test_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(PackageMissing, match=r'Pillow is not installed.*pip install "fotograma\[images\]"') as missing:
        FrameImage(FRAME, b"").to_pillow()
    assert isinstance(missing.value, ImportError)
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(PackageMissing, match="NumPy is not installed"):
        FrameImage(FRAME, b"").to_numpy()


def test_bytes_that_are_no_image_are_an_explained_error() -> None:
    with pytest.raises(FotogramaError, match=r"frame_000001\.png is no image that Pillow can read"):
        FrameImage(FRAME, b"no image").to_pillow()


def frames_of(sizes_and_gaps: list[tuple[int, int]]) -> list[Frame]:
    frames, offset = [], 0
    for n, (size, gap) in enumerate(sizes_and_gaps, 1):
        frames.append(replace(FRAME, n=n, offset=offset + gap, bytes=size))
        offset += gap + size
    return frames


layouts = st.lists(st.tuples(st.integers(1, 3 << 20), st.integers(30, 200_000)), max_size=40).map(frames_of)


@given(layouts, st.randoms(use_true_random=False))
def test_ranges_have_each_wanted_frame_once_and_little_else(frames: list[Frame], random: Any) -> None:
    wanted = random.choices(frames, k=30) if frames else []
    groups = merged_ranges(wanted)
    assert sorted(frame.n for group in groups for frame in group) == sorted({frame.n for frame in wanted})
    for group in groups:
        for before, after in pairwise(group):
            assert 0 <= after.offset - before.offset - before.bytes <= MAX_GAP_BYTES
        assert len(group) == 1 or group[-1].offset + group[-1].bytes - group[0].offset <= MAX_RANGE_BYTES


@given(layouts)
def test_windows_have_all_frames_in_order_and_are_bounded(frames: list[Frame]) -> None:
    windows = list(FramePlan("e-1", tuple(frames)).windows())
    assert [frame for window in windows for frame in window] == frames
    assert all(len(window) == 1 or sum(frame.bytes for frame in window) <= 16 << 20 for window in windows)
