"""``replay``: a recording told to a handler, and when what was recorded is due again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from .. import errors
from ..errors import ConnectionLost
from ..events import Session
from ..handler import CTIHandler
from ..limits import DEFAULT_LIMITS, Limits
from ..parser import MessageParser
from .format import BEGIN, CONNECTED, DISCONNECTED, DROPPED, RECEIVED, SENT, Path, Record
from .reader import Recording

__all__ = ["Pace", "reason_of", "replay", "session_of"]

logger = logging.getLogger(__name__)

# A signal that comes in the moment before a wait begins is seen when the wait ends: a long one would miss Ctrl-C.
_CTRL_C = 1.0


def session_of(record: Record, number: int) -> Session:
    """The session that a ``connected`` record tells.

    Args:
        record: the record; one of another kind tells only when.
        number: the session's number, which is not taken from the file.
    """
    told = record.info if record.kind == CONNECTED else {}
    texts = {name: value if isinstance(value := told.get(name), str) else None for name in ("url", "peer", "tls")}
    return Session(number, **texts, connected_at=record.at)


def reason_of(record: Record) -> ConnectionLost:
    """The end of a connection that a ``disconnected`` record tells."""
    told = record.info
    kind = getattr(errors, str(told.get("kind")), ConnectionLost)
    if not (isinstance(kind, type) and issubclass(kind, ConnectionLost)):
        kind = ConnectionLost
    code = told.get("code")
    reason = told.get("reason")
    return kind(
        str(told.get("message") or "the connection has ended"),
        code if isinstance(code, int) else None,
        reason if isinstance(reason, str) else "",
    )


def replay(
    recording: Recording | Path,
    handler: CTIHandler | MessageParser,
    *,
    speed: float | None = None,
    limits: Limits = DEFAULT_LIMITS,
    stop: threading.Event | None = None,
    progress: Callable[[Recording], None] | None = None,
) -> MessageParser:
    """Play a recording to a handler: its hooks are called as they were when it was recorded, in this thread.

    Ends and beginnings of connections are played as well, so that gaps are told as they were. Times are those of the
    recording: ``event.received_at`` is when the message came then. What was sent to the PBX is left out, for no hook
    tells it. Where messages were dropped while recording, a warning is logged.

    Args:
        recording: a recording, or the path of one.
        handler: whose hooks are called; or a parser that has one, whose ``state`` and ``calls`` other threads can read
            meanwhile.
        speed: 1 for the speed of life, 10 for ten times that; None for as fast as possible.
        limits: bounds for one message; a parser has its own.
        stop: once it is set, the replay ends at once, and tells no end of the connection.
        progress: called with the recording before each record, in this thread; ``recording.position`` and
            ``recording.size`` tell how far it is.

    Returns:
        The parser; its ``state`` is the picture at the end.

    Raises:
        RecordingError: the file is no recording. What is damaged in one is left out: see :attr:`Recording.trouble`.
        ValueError: ``speed`` is not a positive number.
        OSError: it cannot be read.
    """
    pace = Pace(speed)
    if not isinstance(recording, Recording):
        recording = Recording(recording)
    stop = threading.Event() if stop is None else stop
    parser = handler if isinstance(handler, MessageParser) else MessageParser(handler, limits=limits)
    sessions = 0
    connected = False
    at = 0.0
    for record in recording:
        if progress is not None:
            progress(recording)
        if record.kind == SENT:
            continue
        if record.kind == BEGIN:  # how long nobody was recording need not be waited for
            pace = Pace(speed)
        while (left := pace.delay(record.at)) > 0:
            if stop.wait(min(left, _CTRL_C)):
                return parser
        if stop.is_set():
            return parser
        at = record.at
        if record.kind == DROPPED:
            logger.warning("%s messages were dropped while this was recorded: what follows may not fit", _count(record))
        if connected and record.kind in (BEGIN, CONNECTED, DISCONNECTED):
            connected = False
            told = reason_of(record) if record.kind == DISCONNECTED else ConnectionLost("the recording was broken off")
            parser.connection_lost(told, at)
        if record.kind == CONNECTED or (record.kind == RECEIVED and not connected):
            connected = True
            sessions += 1
            parser.connection_made(session_of(record, sessions), at)
        if record.kind == RECEIVED:
            parser.handle_message(record.data, at)
    if connected:
        parser.connection_lost(ConnectionLost("the recording ends here"), at)
    return parser


def _count(record: Record) -> int | str:
    count = record.info.get("count")
    return count if isinstance(count, int) else "some"


class Pace:
    """When what was recorded is due again.

    Args:
        speed: how many times faster than it was; None for at once.

    Raises:
        ValueError: ``speed`` is not a positive number.
    """

    def __init__(self, speed: float | None) -> None:
        if speed is not None and not 0 < speed < float("inf"):
            raise ValueError(f"speed must be a positive number, or None for as fast as possible, not {speed!r}")
        self._speed = speed
        self._begin: tuple[float, float] | None = None

    def delay(self, at: float) -> float:
        """Seconds from now until what was recorded ``at`` is due; 0 where it is due already."""
        if self._speed is None:
            return 0.0
        now = time.monotonic()
        if self._begin is None:
            self._begin = at, now
        first, began = self._begin
        return min(max(0.0, began + (at - first) / self._speed - now), threading.TIMEOUT_MAX)
