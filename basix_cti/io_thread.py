"""The I/O thread: connects, reads, decodes, writes, pings, and connects again. It never runs user code."""

from __future__ import annotations

import logging
import random
import selectors
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .auth import Auth
from .commands import Command
from .dispatcher import Dispatcher
from .endpoint import Endpoint
from .errors import (
    AuthError,
    ConnectError,
    ConnectionLimitReached,
    ConnectionLost,
    ConnectionReplaced,
    CTIError,
    DecodeError,
    PingTimeout,
    ProtocolError,
    SendTimeout,
    Stopped,
)
from .events import Connected, Disconnected, Event, Failed, InfoEvent, Session, SystemMsg
from .forks import opened
from .limits import Limits
from .protocol import Protocol
from .proxy import Proxy
from .statistics import Counters
from .tap import Tap
from .transport import Aside, Connection, Interrupted, Waker, connect

__all__ = ["IOThread", "Timing"]

logger = logging.getLogger(__name__)

_MAX_BAD_FRAMES = 10
_MAX_COMMANDS = 10_000
_SEND_AHEAD = 256 * 1024
_BATCH = 32
_TURN = 0.05
_LONGEST_WAIT = 3600.0
_PROTOCOL_ERROR = 1002
_INVALID_DATA = 1007
_NORMAL = 1000
_GOODBYE = 0.5


@dataclass(frozen=True, slots=True)
class Timing:
    """All delays of a connection, in seconds; see :class:`~basix_cti.CTIClient`."""

    connect_timeout: float = 10.0
    ping_interval: float = 20.0
    ping_timeout: float = 10.0
    frame_timeout: float = 30.0
    send_timeout: float = 10.0
    command_timeout: float = 60.0
    reconnect_min: float = 1.0
    reconnect_max: float = 60.0
    stable_after: float = 30.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a positive number of seconds, not {value!r}")
        if self.reconnect_min > self.reconnect_max:
            raise ValueError("reconnect_min must not be greater than reconnect_max")


class _Watched:
    """A command whose effect is looked for, and until when, by the monotonic clock in seconds."""

    __slots__ = ("command", "until")

    def __init__(self, command: Command, until: float) -> None:
        self.command = command
        self.until = until


class IOThread:
    """One life of a client's connection, from ``start`` to ``stop``.

    Args:
        endpoint, query, auth, context: where to connect, and how to log in.
        timing, limits: bounds in time and size.
        dispatcher: who gets the events.
        numbers: gives each session its number.
        changed: called when ``connected`` or ``ended`` has changed, in the I/O thread.
        former: that of the life before; this one begins when it has ended. None for none.
        proxy: through which to connect; None for none.
        tap: sees every message; None for none.
        return_when_replaced: connect again after ``connection_replaced``.
        stop_on_auth_error: end after a refused login.
        counters: where to count; they go on from life to life.
        name: of the thread.

    Attributes:
        connected: set while a connection is up.
        session: the number of the latest connection; 0 before the first.
        ended: set when the thread has ended or is about to, by itself or by :meth:`stop`.
        fatal: why it ended by itself; None while it runs, or when it was stopped.
        last_error: the latest failure to connect, or end of a connection; None before the first.
        connected_at: when the connection that is up was made, seconds since the epoch; None without one.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        query: Sequence[tuple[str, str]],
        auth: Auth,
        context: ssl.SSLContext | None,
        timing: Timing,
        limits: Limits,
        dispatcher: Dispatcher,
        numbers: Callable[[], int],
        changed: Callable[[], None],
        former: IOThread | None,
        *,
        proxy: Proxy | None,
        tap: Tap | None,
        return_when_replaced: bool,
        stop_on_auth_error: bool,
        counters: Counters,
        name: str,
    ) -> None:
        self.connected = threading.Event()
        self.ended = threading.Event()
        self.fatal: CTIError | None = None
        self.last_error: CTIError | None = None
        self.connected_at: float | None = None
        self._endpoint = endpoint
        self._query = query
        self._auth = auth
        self._context = context
        self._proxy = proxy
        self._timing = timing
        self._limits = limits
        self._dispatcher = dispatcher
        self._numbers = numbers
        self._changed = changed
        self._return_when_replaced = return_when_replaced
        self._stop_on_auth_error = stop_on_auth_error
        self._waker = opened(Waker)
        self._look_up = Aside(f"{name}-lookup", f"the look-up of {(proxy or endpoint).host}")
        self._fetch = Aside(f"{name}-ticket", "fetching a ticket")
        self._protocol = Protocol(limits)
        self._lock = threading.Lock()
        self._submitted: deque[Command] = deque()
        self._watched: list[_Watched] = []
        self._frames: deque[bytes] = deque()
        self._former: IOThread | None = former
        self._tap = tap
        self._counters = counters
        self._due = time.monotonic()  # when the thread will next move, unless it is kept from that
        self.session = 0
        self._bad_frames = 0
        self._pinged_at: float | None = None
        self._notice: type[ConnectionLost] | None = None
        self._told_failure: tuple[type[ConnectError], str] | None = None
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._run, name=f"{name}-io", daemon=True)

    # From any thread

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end soon: at once in a wait, after a short goodbye on a connection."""
        self._waker.stop()

    def join(self, timeout: float) -> bool:
        """Wait for the thread's end, at most ``timeout`` seconds; True if it has ended, or was never started."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def submit(self, command: Command) -> bool:
        """Have a command sent; False where there is no connection, or too many commands wait."""
        until = time.monotonic() + self._timing.command_timeout
        with self._lock:
            if not self.connected.is_set() or len(self._submitted) >= _MAX_COMMANDS:
                return False
            self._submitted.append(command)
            self._watched.append(_Watched(command, until))
        # From here on each event is looked at; this is for those that came before.
        command._settle(self._dispatcher.newest)
        self._waker.wake()
        return True

    def silence(self) -> float | None:
        """Seconds since the last byte was received; None without a connection."""
        connection = self._connection
        return None if connection is None else max(0.0, time.monotonic() - connection.last_received)

    def trouble(self, patience: float) -> str | None:
        """What keeps the thread from its work, connected or not; None for nothing.

        Args:
            patience: how many seconds it may be late.
        """
        if self.ended.is_set():
            return f"the client has ended: {self.fatal}" if self.fatal is not None else "the client has ended"
        if self._thread.ident is not None and not self._thread.is_alive():
            return f"the thread {self._thread.name} has ended"
        if self._former is None and (late := time.monotonic() - self._due) > patience:
            return f"the thread {self._thread.name} has not moved for {late:.0f} s"
        return None

    # In the I/O thread

    def _run(self) -> None:
        logger.debug("I/O thread started for %s", self._endpoint.url)
        try:
            while self._former is not None and not self._waker.stopping:
                if self._former.join(_TURN):
                    self._due = time.monotonic()
                    self._former = None
            self._live()
        finally:
            self.ended.set()
            self._changed()
            self._waker.close()
        logger.debug("I/O thread ended")

    def _live(self) -> None:
        failures = 0
        while not self._over():
            try:
                connection = self._connect()
            except Interrupted:
                break
            except ConnectError as error:
                slow = isinstance(error, AuthError)
                self._failed(error)
            except BaseException as error:
                slow = True
                self._report_bug(error)
            else:
                self._told_failure = None
                self._due = began = time.monotonic()
                lost = self._serve(connection)
                slow = isinstance(lost, ConnectionLimitReached | ConnectionReplaced)
                if time.monotonic() - began >= self._timing.stable_after:
                    failures = 0
            failures += 1
            if not self._over():
                self._back_off(failures, slow)

    def _over(self) -> bool:
        return self._waker.stopping or self.fatal is not None

    def _connect(self) -> Connection:
        logger.debug("connecting to %s", self._endpoint.url)
        self._due = time.monotonic() + self._timing.connect_timeout
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

    def _failed(self, error: ConnectError) -> None:
        # The frames that it came through hold the login, and some tools show the variables of a traceback.
        error.__traceback__ = error.__context__ = None
        self._counters.errors[type(error).__name__] += 1
        self.last_error = error
        if isinstance(error, AuthError) and self._stop_on_auth_error:
            self._end(error)
        alike = (type(error), str(error))
        if alike == self._told_failure:
            logger.info("connecting failed again: %s", error)
            return
        logger.warning("connecting failed: %s", error)
        self._told_failure = alike
        self._tell(Failed(error, received_at=time.time()))

    def _end(self, error: CTIError) -> None:
        """This life ends by itself; a hook that is told why may start the next one."""
        self.fatal = error
        self.ended.set()

    def _back_off(self, failures: int, slow: bool) -> None:
        """Full jitter over a bound that doubles with each failure; the longest delay where haste is pointless."""
        timing = self._timing
        bound = min(timing.reconnect_max, timing.reconnect_min * 2.0 ** min(failures, 30))
        delay = timing.reconnect_max if slow else random.uniform(timing.reconnect_min, bound)
        logger.info("connecting again in %.1f s", delay)
        self._due = end = time.monotonic() + delay
        while not self._waker.stopping and (left := end - time.monotonic()) > 0:
            self._waker.wait(left)

    def _serve(self, connection: Connection) -> ConnectionLost:
        now = time.time()
        session = Session(self._numbers(), self._endpoint.url, connection.peer, connection.tls, now)
        self.session = session.number
        self._counters.connections += 1
        logger.info("connected to %s (session %d)", self._endpoint.url, session.number)
        self._protocol.new_connection()
        self._bad_frames = 0
        self._notice = None
        self._frames.clear()
        self._tell_tap(lambda tap: tap.connected(session, now))
        self._tell(Connected(session, received_at=now))
        self._connection = connection
        self.connected_at = now
        self.connected.set()
        self._changed()
        try:
            lost = self._explained(self._pump(connection))
        except BaseException as error:
            self._report_bug(error)
            lost = ConnectionLost(f"given up because of a bug of basix_cti ({type(error).__name__})")
        with self._lock:
            self.connected.clear()
            waiting = [watched.command for watched in self._watched]
            self._submitted.clear()
            self._watched.clear()
        self._connection = None
        self.connected_at = None
        self._counters.disconnections[type(lost).__name__] += 1
        connection.abandon()
        for command in waiting:
            command._fail(lost)
        self.last_error = lost
        if isinstance(lost, ConnectionReplaced) and not self._return_when_replaced:
            self._end(lost)
        logger.log(logging.INFO if isinstance(lost, Stopped) else logging.WARNING, "disconnected: %s", lost)
        now = time.time()
        self._tell_tap(lambda tap: tap.disconnected(lost, now))
        self._tell(Disconnected(lost, received_at=now))
        return lost

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

    def _report_bug(self, error: BaseException) -> None:
        logger.error("please report this as a bug of basix_cti", exc_info=error)
        self._counters.errors["bug"] += 1
        error.__traceback__ = error.__context__ = None
        self._tell(Failed(error, received_at=time.time()))

    def _pump(self, connection: Connection) -> ConnectionLost:
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
        """Decode a few frames and hand over what they tell together: taking a lock for each costs as much again."""
        batch: list[tuple[Event, int]] = []
        try:
            while self._frames and len(batch) < _BATCH:
                told = self._take(self._frames.popleft(), connection, now)
                if told is not None:
                    batch.append(told)
        finally:
            self._dispatcher.offer_all(batch)
        # After they were handed over: a command that is given right now looks at what was.
        if self._watched:
            for event, _ in batch:
                if isinstance(event, InfoEvent):
                    self._observe(event)

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

    def _tell(self, event: Event) -> None:
        """Hand over an event of the connection itself, which is never dropped."""
        self._dispatcher.offer(event, 0)

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

    def _observe(self, event: InfoEvent) -> None:
        with self._lock:
            self._watched = [watched for watched in self._watched if not watched.command._observe(event)]

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
        if self._watched and self._watched[0].until <= now:
            with self._lock:
                for watched in self._watched:
                    if watched.until <= now:
                        watched.command._finish(False)
                self._watched = [watched for watched in self._watched if watched.until > now]

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
