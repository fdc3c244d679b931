"""``RecordingWriter``: puts records into a file that only ever grows."""

from __future__ import annotations

import os
from collections.abc import Iterable
from io import FileIO

from ..errors import RecordingError
from ..forks import opened
from ..values import Json
from ..version import __version__
from .format import BEGIN, FILE_HEADER, MAX_BLOCK, Path, Record, block_of, check_header, file_header, size_of

__all__ = ["RecordingWriter"]

_BLOCK_SIZE = 256 * 1024


class RecordingWriter:
    """Writes records to a file: a new one, or behind what a recording holds already. Not thread-safe.

    The file is made for its owner's eyes alone, because a recording holds names and numbers of customers. In a forked
    child of the process it is closed at once.

    Args:
        path: the file.
        at: the time of the first record, seconds since the epoch.
        compress: True to compress each block.
        new: True to refuse a file that is there already.
        info: what the first record tells beside the program.

    Attributes:
        path: the file.
        written: how many bytes were written.

    Raises:
        RecordingError: the file is there and is no recording, or another program is recording into it.
        FileExistsError: the file is there, and ``new`` is true.
        OSError: it cannot be written.
    """

    def __init__(
        self, path: Path, at: float, *, compress: bool = False, new: bool = False, info: dict[str, Json] | None = None
    ) -> None:
        self.path = os.fspath(path)
        self.written = 0
        self._compress = compress
        self._file = opened(lambda: FileIO(self.path, "ab", opener=_maker if new else _opener))
        try:
            _lock(self._file.fileno(), self.path)
            if os.fstat(self._file.fileno()).st_size == 0:
                self._put(file_header())
            else:
                with open(self.path, "rb") as file:
                    check_header(file.read(FILE_HEADER.size), self.path)
            first: dict[str, Json] = {"program": f"basix_cti {__version__}", **(info or {})}
            self.write([Record.telling(at, BEGIN, first)])
        except BaseException:
            self._file.close()
            raise

    def write(self, records: Iterable[Record]) -> None:
        """Write records, in one block or a few, and give them to the operating system.

        Raises:
            ValueError: a record is larger than a block may be (64 MiB); those before it are written.
            OSError: it cannot be written, or not all of it.
        """
        batch: list[Record] = []
        total = 0
        for record in records:
            size = size_of(record)
            if batch and total + size > _BLOCK_SIZE:  # also before one that is too large
                self._put(block_of(batch, compress=self._compress))
                batch, total = [], 0
            if size > MAX_BLOCK:
                raise ValueError(f"a record of {size} bytes is larger than a recording can hold")
            batch.append(record)
            total += size
        if batch:
            self._put(block_of(batch, compress=self._compress))

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            count = self._file.write(rest)
            self.written += count
            rest = rest[count:]

    def close(self) -> None:
        """Have what was written put on the disk, and close the file. May be called more than once."""
        if self._file.closed:
            return
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _maker(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_EXCL, 0o600)


def _lock(fd: int, path: str) -> None:
    """Keep others from recording into the same file, where the system can do that."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RecordingError(f"{path}: another program is recording into it") from None
    except OSError:
        return  # a file system without locks
