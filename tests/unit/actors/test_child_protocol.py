"""Messages between worker and child survive encoding, and invalid messages are rejected."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack

from actors.extraction_types import (
    DetectingScenes,
    EngineMismatch,
    EngineOptions,
    Extracted,
    Planned,
    Progress,
    Reader,
    ResultWarning,
    SegmentExtracted,
    Split,
)
from actors.sandbox.child_protocol import (
    HEADER,
    MAX_TEXT_CHARACTERS,
    AssembleWork,
    ChildMessage,
    ExtractWork,
    Job,
    Limits,
    ProtocolChecker,
    ProtocolError,
    Ready,
    Refused,
    SegmentWork,
    Work,
    decode_job,
    decode_message,
    encode_job,
    encode_message,
)
from db.values.media_info import Media
from db.values.segment import Segment

MEDIA = Media("mp4", "h264", 64, 48, 90, 2.5, 50, 24.99, variable_frame_rate=True, key_frames=3)
MESSAGES: list[ChildMessage] = [
    Ready(),
    DetectingScenes(MEDIA, 50),
    Planned(MEDIA, 7, 50),
    Progress(3),
    Extracted(MEDIA, 7, 2**40, "0a" * 32, (ResultWarning("code", "Detail."),)),
    Split(MEDIA, 7, (Segment(0, 0, 3, 20), Segment(1, 3, 7, 30))),
    SegmentExtracted(7),
    EngineMismatch("auto/1"),
    Refused("no_video_stream", "Only sound."),
    Progress(3, preview_frames=2),
]
WORKS: list[Work] = [
    ExtractWork(),
    ExtractWork(300.0),
    SegmentWork(Path("/plan.json"), Segment(1, 2, 5, 9)),
    AssembleWork(Path("/plan.json"), (Path("/a"), Path("/b"))),
]


def job(work: Work = WORKS[0], source: Path = Path("/source"), max_frames: int = 10) -> Job:
    options = EngineOptions(Reader.PYAV, threads=3, sequential=True, max_frames=max_frames)
    return Job(source, "{}", Path("/out"), options, Limits(1 << 40, 60, 1 << 62, 0.5, math.inf), work, "auto/2")


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_message_survives_encoding_and_decoding(message: ChildMessage) -> None:
    encoded = encode_message(message)
    assert HEADER.unpack(encoded[: HEADER.size]) == (len(encoded) - HEADER.size,)
    assert decode_message(encoded[HEADER.size :]) == message


def test_every_message_type_has_an_example() -> None:
    assert {type(message) for message in MESSAGES} == set(get_args(ChildMessage))


@pytest.mark.parametrize("work", WORKS, ids=repr)
def test_job_survives_encoding_and_decoding(work: Work) -> None:
    given_job = job(work)
    assert decode_job(encode_job(given_job)[HEADER.size :]) == given_job


def test_file_name_may_be_any_bytes() -> None:
    source = Path(os.fsdecode(b"/videos/caf\xe9.mp4"))
    assert decode_job(encode_job(job(source=source))[HEADER.size :]).source == source


def test_text_from_the_child_is_printable_and_short() -> None:
    refused = decode_message(msgpack.encode(Refused("no_video_stream", "a\x00b\x1b[2Jc\n" + "x" * 1000)))
    assert isinstance(refused, Refused)
    assert refused.detail.startswith("a\ufffdb\ufffd[2Jc\ufffdxxx")
    assert len(refused.detail) == MAX_TEXT_CHARACTERS


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def _changed_messages() -> st.SearchStrategy[Any]:
    """Messages with one field, at any depth, replaced by another value."""
    return st.sampled_from(MESSAGES).flatmap(lambda message: _changed(msgpack.decode(msgpack.encode(message))))


def _changed(value: Any) -> st.SearchStrategy[Any]:
    match value:
        case dict() if value:
            return st.sampled_from(sorted(value)).flatmap(
                lambda name: (values | _changed(value[name])).map(lambda other: value | {name: other})
            )
        case list() if value:
            return (values | _changed(value[0])).map(lambda other: [other, *value[1:]])
        case _:
            return values


@given(_changed_messages().map(msgpack.encode) | st.binary())
def test_any_bytes_decode_to_a_valid_message_or_are_rejected(body: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        message = decode_message(body)
        for count in _numbers(msgpack.decode(msgpack.encode(message))):
            assert 0 <= count < 2**63
            assert math.isfinite(count)
        assert "\x00" not in repr(message)


def _numbers(value: Any) -> list[float]:
    match value:
        case dict():
            return [number for item in value.values() for number in _numbers(item)]
        case list():
            return [number for item in value for number in _numbers(item)]
        case bool() | str() | None:
            return []
        case _:
            return [value]


def test_deeply_nested_message_is_rejected() -> None:
    with pytest.raises(ProtocolError):
        decode_message(b"\x91" * 100_000)


@pytest.mark.parametrize(
    ("work", "messages"),
    [
        (WORKS[0], [DetectingScenes(MEDIA, 50), Planned(MEDIA, 7, 50), Progress(3), Progress(1), MESSAGES[4]]),
        (WORKS[0], [Refused("no_video_stream", "")]),
        (WORKS[1], [Split(MEDIA, 10, (Segment(0, 0, 10, 20),))]),
        (WORKS[2], [Planned(MEDIA, 3, 9), Progress(3, preview_frames=3), SegmentExtracted(2)]),
        (WORKS[3], [Planned(MEDIA, 5000, 0), Progress(5000), Extracted(MEDIA, 5000, 9, "0a" * 32, ())]),
        (WORKS[3], [EngineMismatch("")]),
    ],
)
def test_valid_sequence_of_messages_is_accepted(work: Work, messages: list[ChildMessage]) -> None:
    checker = ProtocolChecker(job(work))
    for message in messages:
        checker.check(message)


@pytest.mark.parametrize(
    ("work", "messages"),
    [
        (WORKS[0], [Ready()]),
        (WORKS[0], [Progress(0)]),
        (WORKS[0], [Planned(MEDIA, 11, 50)]),
        (WORKS[0], [Planned(MEDIA, 7, 50), Planned(MEDIA, 7, 50)]),
        (WORKS[0], [Planned(MEDIA, 7, 50), Progress(8)]),
        (WORKS[0], [Planned(MEDIA, 7, 50), Progress(3, preview_frames=4)]),
        (WORKS[0], [Planned(MEDIA, 6, 50), MESSAGES[4]]),
        (WORKS[0], [MESSAGES[4]]),
        (WORKS[1], [Split(MEDIA, 11, (Segment(0, 0, 11, 20),))]),
        (WORKS[1], [Planned(MEDIA, 7, 50), MESSAGES[5]]),
        (WORKS[2], [Planned(MEDIA, 4, 9)]),
        (WORKS[2], [Planned(MEDIA, 3, 9), SegmentExtracted(4)]),
        (WORKS[3], [Planned(MEDIA, 7, 0), Progress(8)]),
    ],
)
def test_message_out_of_sequence_is_rejected(work: Work, messages: list[ChildMessage]) -> None:
    checker = ProtocolChecker(job(work))
    for message in messages[:-1]:
        checker.check(message)
    with pytest.raises(ProtocolError):
        checker.check(messages[-1])
