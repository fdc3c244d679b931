"""``MessageParser``: the decoding, the hooks and the live picture for users who bring a WebSocket of their own."""

from __future__ import annotations

import time

from .calls import Call
from .errors import ConnectionLost, DecodeError
from .events import Connected, Disconnected, Event, Failed, Session
from .handler import CTIHandler, check_calls_are_tracked
from .limits import DEFAULT_LIMITS, Limits
from .protocol import Protocol
from .state import Picture
from .telling import Telling, deliver

__all__ = ["MessageParser"]


class MessageParser:
    """Turns the binary frames of a Basix PBX into calls of a handler's hooks. No I/O, no threads.

    ::

        parser = MessageParser(Screen())
        while True:
            websocket = connect_somehow()
            parser.connection_made()
            for frame in websocket:
                parser.handle_message(frame)
            parser.connection_lost()

    Not thread-safe but for :attr:`state` and :attr:`calls`: call it from one thread at a time. Hooks run in that
    thread.

    Args:
        handler: whose hooks are called.
        limits: bounds for one message.
        track_calls: False to leave out :attr:`calls` and the hooks for calls, which cost about a third of the time that
            an event takes.

    Raises:
        ValueError: the handler has hooks for calls that are not tracked.
    """

    def __init__(self, handler: CTIHandler, *, limits: Limits = DEFAULT_LIMITS, track_calls: bool = True) -> None:
        check_calls_are_tracked(handler, track_calls)
        self.handler = handler
        self._protocol = Protocol(limits)
        self._telling = Telling(track_calls)
        self._connections = 0

    @property
    def state(self) -> Picture:
        """The live picture of the PBX, safe to read from any thread."""
        return self._telling.picture

    @property
    def calls(self) -> list[Call]:
        """The calls that have not ended, oldest first; may be read from any thread.

        Raises:
            RuntimeError: the parser was made with ``track_calls=False``.
        """
        if self._telling.calls is None:
            raise RuntimeError("calls are not tracked: make the parser with track_calls=True")
        return self._telling.calls.calls

    def handle_message(self, frame: bytes | bytearray | memoryview, received_at: float | None = None) -> list[Event]:
        """Decode one binary frame and call the hooks for what it tells.

        A frame that is not a valid term goes to ``on_error`` as a :class:`~basix_cti.errors.DecodeError`; nothing is
        raised, and the next frame is read as if it had not been there.

        Args:
            frame: the payload of one whole WebSocket message.
            received_at: when it arrived, seconds since the epoch; None for now.

        Returns:
            The events that were told, synthetic ones included.

        Raises:
            TypeError: ``frame`` is no bytes. The PBX sends binary frames only; leave out what else arrives.
        """
        if not isinstance(frame, bytes | bytearray | memoryview):
            raise TypeError(f"handle_message takes the bytes of a binary frame, not {type(frame).__name__}")
        now = time.time() if received_at is None else received_at
        try:
            event = self._protocol.receive(bytes(frame), now)
        except DecodeError as error:
            # The frames that it came through hold all that was decoded before it, for as long as a hook keeps it.
            error.__traceback__ = error.__context__ = None
            event = Failed(error, received_at=now)
        return [] if event is None else self._tell(event)

    def connection_made(self, session: Session | None = None, received_at: float | None = None) -> None:
        """Tell that a new connection is up, before its first frame: calls ``on_connect``.

        The full state that the PBX sends on it is then compared with the picture from before, and what is gone, new
        or changed is told as synthetic events.

        Args:
            session: what ``on_connect`` gets; None for one that holds only its number and the time.
            received_at: when that was, seconds since the epoch; None for now.
        """
        self._connections += 1
        self._protocol.new_connection()
        now = time.time() if received_at is None else received_at
        self._tell(Connected(session or Session(self._connections, connected_at=now), received_at=now))

    def connection_lost(self, reason: ConnectionLost | None = None, received_at: float | None = None) -> None:
        """Tell that the connection has ended: calls ``on_disconnect``. The picture stays as it was.

        Args:
            reason: what ``on_disconnect`` gets; None for one that says no more than that.
            received_at: when that was, seconds since the epoch; None for now.
        """
        now = time.time() if received_at is None else received_at
        self._tell(Disconnected(reason or ConnectionLost("the connection has ended"), received_at=now))

    def _tell(self, event: Event) -> list[Event]:
        told = []
        for each in self._telling.of(event):
            told.append(each)
            deliver(self.handler, each)
        return told
