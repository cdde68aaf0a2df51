"""File types by magic bytes: videos are accepted; files that make a demuxer open other resources are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.values.error_catalogue import CatalogueError
from db.values.file_type import HEAD_BYTES, Container, sniff


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"\x00\x00\x00\x20ftypisom", Container.MP4),
        (b"\x00\x00\x00\x08wide", Container.MP4),
        (b"\x00\x01\x00\x00moov", Container.MP4),
        (b"\x1a\x45\xdf\xa3\x93", Container.MATROSKA),
        (b"RIFF\x00\x00\x00\x00AVI LIST", Container.AVI),
        (b"\x00\x00\x01\xba\x44", Container.MPEG_PS),
        (b"FLV\x01\x05", Container.FLV),
        (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), Container.ASF),
        ((b"\x47" + bytes(187)) * 5, Container.MPEG_TS),
        ((bytes(4) + b"\x47" + bytes(187)) * 5, Container.MPEG_TS),
    ],
)
def test_container_is_recognized_by_its_first_bytes(head: bytes, container: Container) -> None:
    assert sniff(head) is container


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (b"", "empty_file"),
        (b"#EXTM3U\n#EXT-X-VERSION:3\n", "playlist"),
        (b"\xef\xbb\xbf#EXTM3U\n", "playlist"),
        (b"\n\n  #EXTM3U\n", "playlist"),
        (b'<?xml version="1.0"?><MPD>', "playlist"),
        (b"ffconcat version 1.0\nfile /etc/passwd", "playlist"),
        (b"hello, world", "not_a_video"),
        (b"RIFF\x00\x00\x00\x00WAVE", "not_a_video"),
        (b"\xff\xd8\xff\xe0", "not_a_video"),
        (b"\x47", "not_a_video"),
        (b"G" + b"a" * 1000, "not_a_video"),
    ],
)
def test_non_video_is_refused_with_a_code(head: bytes, code: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        sniff(head)
    assert caught.value.code == code


@given(st.binary(max_size=HEAD_BYTES))
def test_any_bytes_give_a_type_or_a_catalogue_error(head: bytes) -> None:
    try:
        outcome = sniff(head).value
    except CatalogueError as error:
        outcome = error.code
    assert outcome in {*Container, "empty_file", "playlist", "not_a_video"}
