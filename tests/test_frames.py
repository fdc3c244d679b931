"""Frames cut out of a buffer: what is taken, what is left, and that it is the same however the bytes arrive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peer import BINARY, CLOSE, CONTINUATION, PING, TEXT, frame

from basix_cti.frames import cut_frames

LIMIT = 1 << 20


def cut(data: bytes, start: int = 0, limit: int = LIMIT) -> tuple[list[bytes], bytes]:
    """The payloads that were taken, and the bytes that were left."""
    payloads: list[bytes] = []
    end = cut_frames(data, start, limit, payloads)
    return payloads, data[end:]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 255, 256, 65535, 65536, 100_000])
def test_each_way_to_write_a_length(size: int) -> None:
    payload = bytes(size)
    whole = frame(payload)
    assert cut(whole * 3) == ([payload] * 3, b"")
    assert cut(b"x" + whole + b"\x82", 1) == ([payload], b"\x82")
    for there in {0, 1, 2, 3, 4, 9, 10, len(whole) - 1}:
        if there < len(whole):
            assert cut(whole + whole[:there]) == ([payload], whole[:there])


@pytest.mark.parametrize(
    "unusual",
    [
        frame(b"a", TEXT),
        frame(b"a", CONTINUATION),
        frame(b"a", PING),
        frame(b"\x03\xe8", CLOSE),
        frame(b"a", BINARY, fin=False),
        frame(b"a", rsv=4),
        b"\x82\x81abcda",  # masked
        b"\x82\xfe\x00\x01abcda",
        frame(b"", claim=LIMIT + 1),
        frame(b"", claim=1 << 62),
        b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff",  # the highest bit must be 0
    ],
)
def test_everything_unusual_is_left(unusual: bytes) -> None:
    rest = unusual + frame(b"z")
    assert cut(frame(b"a") + frame(b"b") + rest) == ([b"a", b"b"], rest)


def test_a_frame_of_the_limit_is_taken_and_one_beyond_it_is_left() -> None:
    assert cut(frame(bytes(100)), limit=100) == ([bytes(100)], b"")
    assert cut(frame(bytes(101)), limit=100) == ([], frame(bytes(101)))


@given(st.lists(st.binary(max_size=300), max_size=20), st.data())
def test_the_same_payloads_however_the_bytes_arrive(payloads: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(map(frame, payloads))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=20)))
    taken: list[bytes] = []
    rest = b""
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        some, rest = cut(rest + wire[start:end])
        taken += some
    assert (taken, rest) == (payloads, b"")
