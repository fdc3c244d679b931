"""Frames in files, as ``frames.escript`` writes them."""

from __future__ import annotations

import struct
from pathlib import Path


def frames_in(path: str) -> list[bytes]:
    """The frames in a file, each behind its length in four bytes."""
    data = Path(path).read_bytes()
    frames, pos = [], 0
    while pos < len(data):
        (size,) = struct.unpack_from(">I", data, pos)
        frames.append(data[pos + 4 : pos + 4 + size])
        pos += 4 + size
    return frames
