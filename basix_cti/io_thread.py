"""The I/O thread: connects, reads, decodes, writes, pings, and connects again. It never runs user code."""

from __future__ import annotations

import logging
import selectors
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from .auth import Auth
from .base_thread import ClientThread, Timing
from .endpoint import Endpoint
from .errors import (
    ConnectionLimitReached,
    ConnectionLost,
    ConnectionReplaced,
    DecodeError,
    PingTimeout,
    ProtocolError,
    SendTimeout,
    Stopped,
)
from .events import Event, Failed, Session, SystemMsg
from .forks import opened
from .limits import Limits
from .opening import connect
from .protocol import Protocol
from .proxy import Proxy
from .sink import Sink
from .statistics import Counters
from .tap import Tap
from .transport import Connection
from .waiting import Aside

__all__ = ["IOThread"]

logger = logging.getLogger(__name__)

_MAX_BAD_FRAMES = 10
_SEND_AHEAD = 256 * 1024
_BATCH = 32
_TURN = 0.05
_LONGEST_WAIT = 3600.0
_PROTOCOL_ERROR = 1002
_INVALID_DATA = 1007
_NORMAL = 1000
_GOODBYE = 0.5


class IOThread(ClientThread[Connection]):
    """The thread whose sessions are connections to the PBX itself.

    Args:
        endpoint, query, auth, context: where to connect, and how to log in.
        timing, sink, numbers, changed, former, return_when_replaced, stop_on_auth_error, counters, name: as for
            :class:`~basix_cti.base_thread.ClientThread`.
        limits: bounds for one message.
        proxy: through which to connect; None for none.
        tap: sees every message; None for none.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        query: Sequence[tuple[str, str]],
        auth: Auth,
        context: ssl.SSLContext | None,
        timing: Timing,
        limits: Limits,
        sink: Sink,
        numbers: Callable[[], int],
        changed: Callable[[], None],
        former: ClientThread[Any] | None,
        *,
        proxy: Proxy | None,
        tap: Tap | None,
        return_when_replaced: bool,
        stop_on_auth_error: bool,
        counters: Counters,
        name: str,
    ) -> None:
        super().__init__(
            endpoint.url,
            timing,
            sink,
            numbers,
            changed,
            former,
            return_when_replaced=return_when_replaced,
            stop_on_auth_error=stop_on_auth_error,
            counters=counters,
            name=name,
        )
        self._endpoint = endpoint
        self._query = query
        self._auth = auth
        self._context = context
        self._proxy = proxy
        self._limits = limits
        self._look_up = Aside(f"{name}-lookup", f"the look-up of {(proxy or endpoint).host}")
        self._fetch = Aside(f"{name}-ticket", "fetching a ticket")
        self._protocol = Protocol(limits)
        self._frames: deque[bytes] = deque()
        self._tap = tap
        self._bad_frames = 0
        self._pinged_at: float | None = None
        self._notice: type[ConnectionLost] | None = None

    def _connect(self) -> Connection:
        return connect(
            self._endpoint,
            self._query,
            self._auth,
            self._context,
            self._limits,
            self._timing.connect_timeout,
            self._waker,
            self._look_up,
            self._fetch,
            self._proxy,
        )

    def _session_on(self, link: Connection, number: int, now: float) -> Session:
        return Session(number, self._endpoint.url, link.peer, link.tls, now)

    def _begin(self, session: Session, now: float) -> None:
        self._protocol.new_connection()
        self._bad_frames = 0
        self._notice = None
        self._frames.clear()
        self._tell_tap(lambda tap: tap.connected(session, now))

    def _finish(self, link: Connection, lost: ConnectionLost, now: float) -> None:
        self._tell_tap(lambda tap: tap.disconnected(lost, now))

    def _tap_received(self, frames: Sequence[bytes], at: float) -> None:
        def tell(tap: Tap) -> None:
            for frame in frames:
                tap.received(frame, at)

        self._tell_tap(tell)

    def _tap_sent(self, text: str, at: float) -> None:
        self._tell_tap(lambda tap: tap.sent(text, at))

    def _tell_tap(self, tell: Callable[[Tap], None]) -> None:
        if self._tap is None:
            return
        try:
            tell(self._tap)
        except Exception as error:
            logger.exception("the tap raised %s; it is told nothing more", type(error).__name__)
            self._tap = None

    def _explained(self, lost: ConnectionLost) -> ConnectionLost:
        if self._notice is None or isinstance(lost, Stopped):
            return lost
        return self._notice(f"{_NOTICES[self._notice]} ({lost})", lost.code, lost.reason)

    def _pump(self, link: Connection) -> ConnectionLost:
        return self._explained(self._move(link))

    def _move(self, connection: Connection) -> ConnectionLost:
        """Move bytes both ways until the connection is over."""
        writing = False
        self._pinged_at = None
        with opened(selectors.DefaultSelector) as selector:
            selector.register(self._waker, selectors.EVENT_READ)
            selector.register(connection, selectors.EVENT_READ)
            while True:
                self._due = time.monotonic()
                looked = self._read(connection)
                if self._waker.stopping and not connection.is_over():
                    connection.fail(Stopped("stopped by stop() on this side", _NORMAL))
                if not connection.is_over():
                    self._send_commands(connection)
                if connection.wants_write:
                    connection.flush()
                if not connection.is_over():
                    self._check_deadlines(connection, time.monotonic(), looked)
                if connection.lost is not None and (self._waker.stopping or not self._frames):
                    self._say_goodbye(connection, selector)
                    return connection.lost
                if connection.is_over():
                    continue
                if connection.wants_write != writing:
                    writing = connection.wants_write
                    events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
                    selector.modify(connection, events)
                if not connection.has_more and not self._frames and not self._may_send(connection):
                    now = time.monotonic()
                    left = self._until_next(connection, now)
                    self._due = now + left
                    ready = selector.select(left)
                    if any(key.fileobj is self._waker for key, _ in ready):
                        self._waker.drain()

    def _read(self, connection: Connection) -> bool:
        """Take in what has arrived, for a moment at most: other things want to be looked at, too.

        Returns:
            True if the socket was looked at, and no message was there. While there are some, more may wait behind them.
        """
        if not self._frames and not connection.is_over():
            self._frames.extend(connection.receive())
            self._counters.messages += len(self._frames)
            self._counters.received_bytes += sum(map(len, self._frames))
            if self._tap is not None and self._frames:
                self._tap_received(tuple(self._frames), time.time())
        if not self._frames:
            return True
        now = time.time()
        end = time.monotonic() + _TURN
        while self._frames and not self._waker.stopping and time.monotonic() < end:
            self._take_some(connection, now)
        return False

    def _take_some(self, connection: Connection, now: float) -> None:
        """Decode a few frames and hand over what they tell."""
        batch: list[tuple[Event, int]] = []
        try:
            while self._frames and len(batch) < _BATCH and not self._waker.stopping:
                told = self._take(self._frames.popleft(), connection, now)
                if told is not None:
                    batch.append(told)
        finally:
            self._hand_over(batch)

    def _take(self, frame: bytes, connection: Connection, now: float) -> tuple[Event, int] | None:
        """What a frame tells, and how many bytes it may take in memory; None where there is nothing to tell."""
        try:
            event = self._protocol.receive(frame, now)
        except DecodeError as error:
            # The frames that it came through hold all that was decoded before it, which the queue does not count.
            error.__traceback__ = error.__context__ = None
            self._counters.errors[type(error).__name__] += 1
            self._bad_frames += 1
            logger.warning("bad frame of %d bytes: %s", len(frame), error)
            if self._bad_frames >= _MAX_BAD_FRAMES and not connection.is_over():
                problem = f"{self._bad_frames} bad frames in a row, the last: {error}"
                connection.fail(ProtocolError(f"connection given up: {problem}", _INVALID_DATA, problem))
                self._frames.clear()
            return Failed(error, received_at=now), len(frame) or 1
        self._bad_frames = 0
        if event is None:
            return None
        if isinstance(event, SystemMsg):
            self._heed(event, connection)
        return event, self._protocol.cost

    def _heed(self, event: SystemMsg, connection: Connection) -> None:
        """Two system messages tell why the connection is about to end."""
        if event.msg == "connection_limit_reached":
            self._notice = ConnectionLimitReached
        elif event.msg == "connection_replaced":
            self._notice = ConnectionReplaced
            if connection.lost is None:
                connection.fail(ConnectionLost("closed by this side", _NORMAL))

    def _may_send(self, connection: Connection) -> bool:
        """True if a command waits, and little enough that was given out before it."""
        return bool(self._submitted) and connection.unsent < _SEND_AHEAD

    def _send_commands(self, connection: Connection) -> None:
        while self._may_send(connection):
            command = self._submitted.popleft()
            command.sent = True
            connection.send_text(command.text)
            if self._tap is not None:
                self._tap_sent(command.text, time.time())

    def _check_deadlines(self, connection: Connection, now: float, looked: bool) -> None:
        """End the connection where the peer took too long; judge its silence only when the socket was ``looked`` at."""
        timing = self._timing
        if self._pinged_at is not None and connection.last_received > self._pinged_at:
            self._pinged_at = None
        silence = now - connection.last_received
        if self._pinged_at is None and silence >= timing.ping_interval:
            self._pinged_at = now
            connection.ping()
            connection.flush()
        elif looked and self._pinged_at is not None and now - self._pinged_at >= timing.ping_timeout:
            connection.lost = PingTimeout(f"nothing was received for {silence:.1f} s, not even an answer to a ping")
        elif looked and connection.partial_since is not None and now - connection.partial_since >= timing.frame_timeout:
            problem = f"a message was not complete after {timing.frame_timeout:g} s"
            connection.fail(ProtocolError(f"connection given up: {problem}", _PROTOCOL_ERROR, problem))
        elif connection.unsent_since is not None and now - connection.unsent_since >= timing.send_timeout:
            connection.lost = SendTimeout(f"the PBX took nothing of what was sent for {timing.send_timeout:g} s")
        self._expire_commands(now)

    def _until_next(self, connection: Connection, now: float) -> float:
        timing = self._timing
        if self._pinged_at is None:
            moments = [connection.last_received + timing.ping_interval]
        else:
            moments = [self._pinged_at + timing.ping_timeout]
        if connection.partial_since is not None:
            moments.append(connection.partial_since + timing.frame_timeout)
        if connection.unsent_since is not None:
            moments.append(connection.unsent_since + timing.send_timeout)
        if self._watched:
            moments.append(self._watched[0].until)
        return min(max(0.0, min(moments) - now), _LONGEST_WAIT)

    def _say_goodbye(self, connection: Connection, selector: selectors.BaseSelector) -> None:
        """Give the close frame a moment to get out, and the peer's answer one to come in."""
        lost = connection.lost
        if lost is None or (lost.code is None and not connection.wants_write):
            return
        end = time.monotonic() + _GOODBYE
        connection.flush()
        while connection.wants_write and (left := end - time.monotonic()) > 0:
            selector.modify(connection, selectors.EVENT_WRITE)
            selector.select(left)
            self._waker.drain()
            connection.flush()
        while isinstance(lost, Stopped) and not connection.ended_by_peer() and (left := end - time.monotonic()) > 0:
            selector.modify(connection, selectors.EVENT_READ)
            selector.select(left)
            self._waker.drain()


_NOTICES = {
    ConnectionLimitReached: "the PBX allows no further connection for this user and app_name; close one of the others",
    ConnectionReplaced: "another client with the same user and app_name took this connection's place",
}
