"""``Recording``: the records of a file, whatever has happened to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from .format import (
    BLOCK_HEADER,
    FILE_HEADER,
    MAX_BLOCK,
    Path,
    Record,
    begun_records,
    check_header,
    is_marker,
    records_of,
    unpacked,
)

__all__ = ["Recording"]

_MAX_SEARCHES = 1000
_CHUNK = 1024 * 1024


class Recording:
    """A file that a :class:`RecordingTap` has written, or is still writing. Iterate over it for its records, in order.

    Each iteration reads the file anew, block by block, and holds no more than one block in memory (64 MiB at most, as a
    rule 256 KiB).

    Args:
        path: the file.

    Attributes:
        path: the file.
        size: its length in bytes, when it was opened.
        position: how far the latest iteration has come, in bytes.
        unreadable: where the latest iteration could not read all, as (position, length) in bytes: the last block of a
            writer that died, or damage.

    Raises:
        RecordingError: the file is no recording, or one of a later form.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = os.fspath(path)
        self.position = 0
        self.unreadable: list[tuple[int, int]] = []
        with open(self.path, "rb") as file:
            check_header(file.read(FILE_HEADER.size), self.path)
            self.size = os.fstat(file.fileno()).st_size

    def __iter__(self) -> Iterator[Record]:
        self.unreadable = []
        with open(self.path, "rb") as file:
            self.position = FILE_HEADER.size
            searches = _MAX_SEARCHES
            while True:
                inner, length = _block_at(file, self.position)
                if inner is not None:
                    records, good = records_of(inner)
                    if good < len(inner):
                        self.unreadable.append((self.position, length))
                    yield from records
                    self.position += length
                    continue
                end = os.fstat(file.fileno()).st_size
                if self.position >= end:
                    return
                following, searches = _next_block(file, self.position + 1, searches)
                following = end if following is None else following
                self.unreadable.append((self.position, following - self.position))
                yield from _begun_at(file, self.position, following)
                self.position = following

    @property
    def trouble(self) -> str | None:
        """What the latest iteration could not read, in a line; None when it has read everything."""
        if not self.unreadable:
            return None
        places = ", ".join(f"{length} bytes at byte {at}" for at, length in self.unreadable[:3])
        more = f" and {len(self.unreadable) - 3} more" if len(self.unreadable) > 3 else ""
        return f"{self.path} is cut off or damaged: of {places}{more}, only what is whole was read; all else was read"


def _block_at(file: BinaryIO, position: int) -> tuple[bytes | None, int]:
    """The records of the block at a position, and its length with its header; None where there is no whole one."""
    file.seek(position)
    header = file.read(BLOCK_HEADER.size)
    if len(header) < BLOCK_HEADER.size:
        return None, 0
    marker, length, inflated, _ = BLOCK_HEADER.unpack(header)
    if not is_marker(marker) or max(length, inflated) > MAX_BLOCK:
        return None, 0
    return unpacked(header, file.read(length)), BLOCK_HEADER.size + length


def _begun_at(file: BinaryIO, position: int, end: int) -> list[Record]:
    """The whole records of a block that was not written to its end."""
    file.seek(position)
    header = file.read(BLOCK_HEADER.size)
    if len(header) < BLOCK_HEADER.size:
        return []
    return begun_records(header, file.read(max(0, min(end - position - BLOCK_HEADER.size, MAX_BLOCK))))


def _next_block(file: BinaryIO, start: int, searches: int) -> tuple[int | None, int]:
    """Where the next whole block begins, and how many more searches there may be; None where there is none."""
    position = start
    while True:
        file.seek(position)
        chunk = file.read(_CHUNK)
        at = chunk.find(b"CTI")
        while at >= 0:
            if is_marker(chunk[at : at + 4]):
                searches -= 1
                if searches < 0:
                    return None, 0
                if _block_at(file, position + at)[0] is not None:
                    return position + at, searches
            at = chunk.find(b"CTI", at + 1)
        if len(chunk) < _CHUNK:
            return None, searches
        position += _CHUNK - 3
