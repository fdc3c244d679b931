"""``RecordingTap`` and ``RecordingHandler``: record what a client gets and sends."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from types import TracebackType
from typing import TypeVar

from ..errors import ConnectionLost
from ..events import Session
from ..handler import CTIHandler
from ..tap import Tap
from ..values import Json
from .format import CONNECTED, DISCONNECTED, DROPPED, MAX_BLOCK, RECEIVED, SENT, Path, Record, size_of
from .writer import RecordingWriter

__all__ = ["RecordingHandler", "RecordingTap"]

logger = logging.getLogger(__name__)

_TapT = TypeVar("_TapT", bound="RecordingTap")


class RecordingTap(Tap):
    """Writes every message of a client to a file.

    ::

        with RecordingTap("calls.ctirec") as tap:
            client = CTIClient(server, handler, auth=auth, app_name="screen", tap=tap)
            ...

    With a WebSocket of your own, call :meth:`connected`, :meth:`received`, :meth:`sent` and :meth:`disconnected`
    yourself; all methods may be called from any thread. They put the record into a bounded queue and return; a daemon
    thread, started by the first of them, writes what has gathered every ``interval``. So a slow disk delays nothing,
    and a program that is killed loses what it told in that time, no more.

    In a forked child of the process that made it, it records nothing.

    Args:
        path: the file; if it is a recording already, the new one goes behind it.
        compress: True to compress each block: a fifth of the size or less.
        max_queued_bytes: how much may wait for the disk; messages beyond it are dropped, counted, and told by a
            ``dropped`` record.
        interval: seconds between two writes.

    Attributes:
        path: the file.
        recorded: how many messages were taken.
        dropped: how many were not, because too many waited or the disk failed.
        error: why nothing is written any more, as an OSError; None while all is well. It is logged once, and the
            client goes on.

    Raises:
        RecordingError, OSError: as :class:`RecordingWriter`.
    """

    def __init__(
        self,
        path: Path,
        *,
        compress: bool = False,
        max_queued_bytes: int = 16 * 1024 * 1024,
        interval: float = 0.5,
    ) -> None:
        self._writer = RecordingWriter(path, time.time(), compress=compress)
        self.path = self._writer.path
        self.recorded = 0
        self.dropped = 0
        self.error: OSError | None = None
        self._max_bytes = max_queued_bytes
        self._interval = interval
        self._queue: deque[Record] = deque()
        self._bytes = 0
        self._untold = 0
        self._closed = False
        self._pid = os.getpid()
        self._closing = threading.Event()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        atexit.register(self.close)

    @property
    def written(self) -> int:
        """How many bytes were written to the file."""
        return self._writer.written

    def connected(self, session: Session, at: float | None = None) -> None:
        """A connection is up."""
        self._tell(CONNECTED, session.to_dict(), at)

    def received(self, frame: bytes, at: float | None = None) -> None:
        """One binary message came from the PBX."""
        self._take(Record(_now(at), RECEIVED, bytes(frame)))

    def sent(self, text: str, at: float | None = None) -> None:
        """One text message was given out to the PBX."""
        self._take(Record(_now(at), SENT, text.encode("utf-8", "replace")))

    def disconnected(self, reason: ConnectionLost | None = None, at: float | None = None) -> None:
        """The connection has ended."""
        reason = ConnectionLost("the connection has ended") if reason is None else reason
        told: dict[str, Json] = {"kind": type(reason).__name__, "message": str(reason)}
        self._tell(DISCONNECTED, {**told, "code": reason.code, "reason": reason.reason}, at)

    def close(self) -> None:
        """Write what waits, and close the file. What is told afterwards is ignored. May be called more than once."""
        if self._is_fork():
            return
        with self._changed:
            if self._closed:
                return
            self._closed = True
            thread = self._thread
            self._changed.notify_all()
        self._closing.set()
        atexit.unregister(self.close)
        if thread is not None:
            thread.join()
        self._write()
        try:
            self._writer.close()
        except OSError as error:
            self._fail(error)

    def __enter__(self: _TapT) -> _TapT:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _is_fork(self) -> bool:
        """True in a child process. It has no thread to write, and its copy of the lock may be held for ever."""
        return self._pid != os.getpid()

    def _tell(self, kind: str, info: dict[str, Json], at: float | None) -> None:
        self._take(Record.telling(_now(at), kind, info), always=True)

    def _take(self, record: Record, *, always: bool = False) -> None:
        if self._is_fork():
            return
        size = size_of(record)
        with self._changed:
            if self._closed:
                return
            full = self._bytes + size > self._max_bytes and not always
            if full or size > MAX_BLOCK or self.error is not None:
                self.dropped += not always
                self._untold += not always
                return
            self.recorded += not always
            if self._untold:
                count, self._untold = self._untold, 0
                self._queue.append(Record.telling(record.at, DROPPED, {"count": count}))
            self._queue.append(record)
            self._bytes += size
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="basix-cti-recording", daemon=True)
                self._thread.start()
            if len(self._queue) == 1:
                self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return  # close() writes the rest
            self._closing.wait(self._interval)
            self._write()

    def _write(self) -> None:
        with self._changed:
            records, self._queue = self._queue, deque()
            self._bytes = 0
            if self._untold and self._closed:
                records.append(Record.telling(time.time(), DROPPED, {"count": self._untold}))
        if not records or self.error is not None:
            return
        try:
            self._writer.write(records)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        logger.error("the recording %s cannot be written, and ends: %s", self.path, error.strerror)
        self.error = error


class RecordingHandler(CTIHandler, RecordingTap):
    """A handler whose client records everything: give it to a client, or subclass it and add hooks of your own.

    ::

        with RecordingHandler("calls.ctirec") as handler:
            CTIClient(server, handler, auth=auth, app_name="recorder", full_events=True).run_forever()

    Args, Attributes, Raises: as :class:`RecordingTap`. Subclasses have to call ``super().__init__(path)``.
    """


def _now(at: float | None) -> float:
    return time.time() if at is None else at
