"""The thread that a client gets its events in: one session after another, and what is the same in all of them."""

from __future__ import annotations

import logging
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from .commands import Command
from .errors import (
    AuthError,
    ConnectError,
    ConnectionLimitReached,
    ConnectionLost,
    ConnectionReplaced,
    CTIError,
    Stopped,
)
from .events import Connected, Disconnected, Event, Failed, InfoEvent, Session
from .forks import opened
from .sink import Sink
from .statistics import Counters
from .waiting import Interrupted, Waker

__all__ = ["ClientThread", "Timing"]

logger = logging.getLogger(__name__)

_MAX_COMMANDS = 10_000
_TURN = 0.05


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


class Link(Protocol):
    """What a session runs on: a connection, however it leads to the PBX."""

    @property
    def last_received(self) -> float:
        """When something was received last, by the monotonic clock in seconds."""

    def abandon(self) -> None:
        """Close it at once, whatever state it is in."""


_L = TypeVar("_L", bound=Link)


class ClientThread(ABC, Generic[_L]):
    """One life of a client, from ``start`` to ``stop``: connects, serves the session, and connects again.

    A subclass knows what to connect to, and how to get events from there. No user code runs in this thread.

    Args:
        where: what it connects to, for the log.
        timing: bounds in time.
        sink: who gets the events.
        numbers: gives each session its number.
        changed: called when ``connected`` or ``ended`` has changed, in this thread.
        former: that of the life before; this one begins when it has ended. None for none.
        return_when_replaced: connect again after ``connection_replaced``.
        stop_on_auth_error: end after a refused login.
        counters: where to count; they go on from life to life.
        name: of the thread.

    Attributes:
        connected: set while a session is up.
        session: the number of the latest session; 0 before the first.
        ended: set when the thread has ended or is about to, by itself or by :meth:`stop`.
        fatal: why it ended by itself; None while it runs, or when it was stopped.
        last_error: the latest failure to connect, or end of a connection; None before the first.
        connected_at: when the session that is up began, seconds since the epoch; None without one.
    """

    def __init__(
        self,
        where: str,
        timing: Timing,
        sink: Sink,
        numbers: Callable[[], int],
        changed: Callable[[], None],
        former: ClientThread[_L] | None,
        *,
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
        self.session = 0
        self._where = where
        self._timing = timing
        self._sink = sink
        self._numbers = numbers
        self._changed = changed
        self._former: ClientThread[_L] | None = former
        self._return_when_replaced = return_when_replaced
        self._stop_on_auth_error = stop_on_auth_error
        self._counters = counters
        self._due = time.monotonic()  # when the thread will next move, unless it is kept from that
        self._waker = opened(Waker)
        self._lock = threading.Lock()
        self._submitted: deque[Command] = deque()
        self._watched: list[_Watched] = []
        self._told_failure: tuple[type[ConnectError], str] | None = None
        self._link: _L | None = None
        self._thread = threading.Thread(target=self._run, name=f"{name}-io", daemon=True)

    # What a subclass has to know

    @abstractmethod
    def _connect(self) -> _L:
        """A connection on which a session can begin.

        Raises:
            ConnectError: none came about.
            Interrupted: :meth:`stop` was called meanwhile.
        """

    @abstractmethod
    def _session_on(self, link: _L, number: int, now: float) -> Session:
        """What is to be told of the session that begins on ``link``."""

    @abstractmethod
    def _begin(self, session: Session, now: float) -> None:
        """Get ready for a session; called before it is told."""

    @abstractmethod
    def _pump(self, link: _L) -> ConnectionLost:
        """Move what is to be moved both ways until the session is over; why it is."""

    @abstractmethod
    def _finish(self, link: _L, lost: ConnectionLost, now: float) -> None:
        """Clean up after a session; called before its end is told."""

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
        command._settle(self._sink.newest)
        self._waker.wake()
        return True

    def silence(self) -> float | None:
        """Seconds since something was received; None without a connection."""
        link = self._link
        return None if link is None else max(0.0, time.monotonic() - link.last_received)

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

    # In the thread

    def _run(self) -> None:
        logger.debug("I/O thread started for %s", self._where)
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
                logger.debug("connecting to %s", self._where)
                self._due = time.monotonic() + self._timing.connect_timeout
                link = self._connect()
                self._told_failure = None
                self._due = began = time.monotonic()
                lost = self._serve(link)
                slow = isinstance(lost, ConnectionLimitReached | ConnectionReplaced)
                if time.monotonic() - began >= self._timing.stable_after:
                    failures = 0
            except Interrupted:
                break
            except ConnectError as error:
                slow = isinstance(error, AuthError)
                self._failed(error)
            except BaseException as error:
                slow = True
                self._report_bug(error)
            failures += 1
            if not self._over():
                self._back_off(failures, slow)

    def _over(self) -> bool:
        return self._waker.stopping or self.fatal is not None

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

    def _serve(self, link: _L) -> ConnectionLost:
        now = time.time()
        try:
            session = self._session_on(link, self._numbers(), now)
        except BaseException:
            link.abandon()
            raise
        self.session = session.number
        self._counters.connections += 1
        logger.info("connected to %s (session %d)", self._where, session.number)
        self._begin(session, now)
        self._tell(Connected(session, received_at=now))
        self._link = link
        self.connected_at = now
        self.connected.set()
        self._changed()
        try:
            lost = self._pump(link)
        except BaseException as error:
            self._report_bug(error)
            lost = ConnectionLost(f"given up because of a bug of basix_cti ({type(error).__name__})")
        with self._lock:
            self.connected.clear()
            waiting = [watched.command for watched in self._watched]
            self._submitted.clear()
            self._watched.clear()
        self._link = None
        self.connected_at = None
        self._counters.disconnections[type(lost).__name__] += 1
        link.abandon()
        for command in waiting:
            command._fail(lost)
        self.last_error = lost
        if isinstance(lost, ConnectionReplaced) and not self._return_when_replaced:
            self._end(lost)
        logger.log(logging.INFO if isinstance(lost, Stopped) else logging.WARNING, "disconnected: %s", lost)
        now = time.time()
        self._finish(link, lost, now)
        self._tell(Disconnected(lost, received_at=now))
        return lost

    def _report_bug(self, error: BaseException) -> None:
        logger.error("please report this as a bug of basix_cti", exc_info=error)
        self._counters.errors["bug"] += 1
        error.__traceback__ = error.__context__ = None
        self._tell(Failed(error, received_at=time.time()))

    def _tell(self, event: Event) -> None:
        """Hand over an event of the connection itself, which is never dropped."""
        self._sink.offer(event, 0)

    def _hand_over(self, batch: list[tuple[Event, int]]) -> None:
        """Hand over what has arrived, together: taking a lock for each event costs as much again."""
        self._sink.offer_all(batch)
        # After they were handed over: a command that is given right now looks at what was.
        if self._watched:
            for event, _ in batch:
                if isinstance(event, InfoEvent):
                    self._observe(event)

    def _observe(self, event: InfoEvent) -> None:
        with self._lock:
            self._watched = [watched for watched in self._watched if not watched.command._observe(event)]

    def _expire_commands(self, now: float) -> None:
        """Look no longer for the effect of commands that were given too long ago."""
        if self._watched and self._watched[0].until <= now:
            with self._lock:
                for watched in self._watched:
                    if watched.until <= now:
                        watched.command._finish(False)
                self._watched = [watched for watched in self._watched if watched.until > now]
