"""What is in a recording: a header, then blocks of records. docs/recordings tells it to those who write readers.

The file only ever grows, by blocks that each carry their length and a checksum. So a program that dies in the middle of
writing costs no more than its last record, and a block that is damaged costs no other.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from ..errors import RecordingError
from ..values import Json

__all__ = [
    "BEGIN",
    "BLOCK_HEADER",
    "CONNECTED",
    "DISCONNECTED",
    "DROPPED",
    "FILE_HEADER",
    "MAX_BLOCK",
    "RECEIVED",
    "SENT",
    "Path",
    "Record",
    "begun_records",
    "block_of",
    "check_header",
    "file_header",
    "is_marker",
    "records_of",
    "size_of",
    "unpacked",
]

Path: TypeAlias = "str | os.PathLike[str]"

BEGIN = "begin"
CONNECTED = "connected"
RECEIVED = "received"
SENT = "sent"
DISCONNECTED = "disconnected"
DROPPED = "dropped"

_KINDS = {b"B": BEGIN, b"C": CONNECTED, b"R": RECEIVED, b"S": SENT, b"D": DISCONNECTED, b"L": DROPPED}
_LETTERS = {kind: letter for letter, kind in _KINDS.items()}

_MAGIC = b"\x89CTIREC\n"
_FORM = 1
FILE_HEADER = struct.Struct(">8sH6x")
BLOCK_HEADER = struct.Struct(">4sIII")  # marker, length as stored, length of the records, CRC-32 of what is stored
_RECORD_HEADER = struct.Struct(">QcI")  # microseconds since the epoch, kind, length
_PLAIN = b"CTIB"
_PACKED = b"CTIZ"
MAX_BLOCK = 64 * 1024 * 1024
_LAST = 253_402_300_799_000_000  # in the year 9999, behind which datetime ends


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a recording.

    Attributes:
        at: when, seconds since the epoch.
        kind: ``begin`` (a recorder has started), ``connected``, ``received``, ``sent``, ``disconnected`` or
            ``dropped`` (messages that a recorder had no room for).
        data: for ``received`` and ``sent`` the message as it was on the wire; for the others a JSON object.
    """

    at: float
    kind: str
    data: bytes

    @property
    def info(self) -> dict[str, Json]:
        """What a record that is no message tells; empty for a message, or where it is not readable."""
        if self.kind in (RECEIVED, SENT):
            return {}
        try:
            told = json.loads(self.data)
        except (ValueError, RecursionError):
            return {}
        return told if isinstance(told, dict) else {}

    @classmethod
    def telling(cls, at: float, kind: str, info: dict[str, Json]) -> Record:
        """A record that is no message."""
        return cls(at, kind, json.dumps(info, ensure_ascii=False).encode("utf-8", "replace"))


def file_header() -> bytes:
    """What a recording begins with."""
    return FILE_HEADER.pack(_MAGIC, _FORM)


def check_header(header: bytes, path: str) -> None:
    """Refuse a file that does not begin as a recording does.

    Raises:
        RecordingError: it is none, or one of a later form.
    """
    if len(header) < FILE_HEADER.size or not header.startswith(_MAGIC):
        raise RecordingError(f"{path} is no recording: it does not begin as one does")
    form = FILE_HEADER.unpack(header)[1]
    if form != _FORM:
        raise RecordingError(f"{path} is a recording of form {form}; this release reads form {_FORM}")


def size_of(record: Record) -> int:
    """How many bytes a record takes in a block."""
    return _RECORD_HEADER.size + len(record.data)


def block_of(records: Iterable[Record], *, compress: bool) -> bytes:
    """A block that holds these records, of 64 MiB together at most."""
    inner = bytearray()
    for record in records:
        micros = min(max(0, round(record.at * 1_000_000)), _LAST)
        inner += _RECORD_HEADER.pack(micros, _LETTERS[record.kind], len(record.data)) + record.data
    stored = zlib.compress(inner) if compress else bytes(inner)
    marker = _PACKED if compress else _PLAIN
    return BLOCK_HEADER.pack(marker, len(stored), len(inner), zlib.crc32(stored)) + stored


def is_marker(data: bytes) -> bool:
    """Whether these four bytes are what a block begins with."""
    return data in (_PLAIN, _PACKED)


def unpacked(header: bytes, stored: bytes) -> bytes | None:
    """The records of a block, as bytes; None where it is not whole, or damaged."""
    marker, length, inflated, checksum = BLOCK_HEADER.unpack(header)
    if len(stored) < length or zlib.crc32(stored) != checksum:
        return None
    if marker == _PACKED:
        try:
            stored = zlib.decompressobj().decompress(stored, inflated + 1)
        except zlib.error:
            return None
    return stored if len(stored) == inflated else None


def records_of(inner: bytes) -> tuple[list[Record], int]:
    """The records in a block, and how many bytes they take: less than all where the last one is not whole."""
    records = []
    at = 0
    for micros, letter, data, end in _entries(inner):
        at = end
        kind = _KINDS.get(letter)
        if kind is not None:  # a later release may know more kinds
            records.append(Record(min(micros, _LAST) / 1_000_000, kind, data))
    return records, at


def _entries(inner: bytes) -> Iterator[tuple[int, bytes, bytes, int]]:
    end = 0
    while end + _RECORD_HEADER.size <= len(inner):
        micros, letter, length = _RECORD_HEADER.unpack_from(inner, end)
        begin = end + _RECORD_HEADER.size
        end = begin + length
        if end > len(inner) or letter == b"\0":
            return
        yield micros, letter, inner[begin:end], end


def begun_records(header: bytes, stored: bytes) -> list[Record]:
    """The whole records at the beginning of a block that was not written to its end."""
    marker, length, inflated, _ = BLOCK_HEADER.unpack(header)
    if not is_marker(marker) or max(length, inflated) > MAX_BLOCK or len(stored) >= length:
        return []  # no block, or one that is damaged
    if marker == _PACKED:
        try:
            stored = zlib.decompressobj().decompress(stored, inflated)
        except zlib.error:
            return []
    return records_of(stored)[0]
