"""Cutting WebSocket frames out of a buffer: the usual ones, fast. May be compiled by mypyc.

Source: RFC 6455, section 5.2. What a PBX sends is one whole binary frame a message. Everything else (control frames,
fragments, a frame of which a part is still to come, what breaks the rules) is left to websocket-client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["cut_frames"]

_FIN_BINARY: Final = 0x82


def cut_frames(buf: bytes, start: int, limit: int, payloads: list[bytes]) -> int:
    """Append the payloads of the whole, unmasked binary frames that stand at ``start``, one behind the other.

    Args:
        buf: bytes as they came off the wire.
        start: where a frame begins.
        limit: bytes of the longest payload to take.
        payloads: what is appended to.

    Returns:
        Where the first frame begins that is not of this kind, or longer, or not whole; the end if there is none.
    """
    pos: i64 = start
    size: i64 = len(buf)
    longest: i64 = limit
    head: i64
    length: i64
    while size - pos >= 2 and buf[pos] == _FIN_BINARY:
        length = buf[pos + 1]
        head = pos + 2
        if length > 125:
            if length > 127:  # masked
                break
            head += 2 if length == 126 else 8
            if head > size or (length == 127 and buf[pos + 2] > 127):
                break
            length = int.from_bytes(buf[pos + 2 : head], "big")
        if length > longest or length > size - head:
            break
        pos = head + length
        payloads.append(buf[head:pos])
    return pos
