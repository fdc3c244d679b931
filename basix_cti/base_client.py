"""What every client has: a life of two threads, a picture, calls and commands, wherever its events come from."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from . import commands
from .base_thread import ClientThread
from .calls import Call
from .commands import Command
from .dispatcher import Dispatcher
from .errors import CTIError, NotConnected, Stopped
from .forks import check, current_process, has_left
from .handler import CTIHandler, check_calls_are_tracked
from .sink import Sink
from .state import Picture
from .statistics import Counters, Lag, Statistics
from .telling import Telling

__all__ = ["Client", "Life"]

logger = logging.getLogger(__name__)

_STOP_TIMEOUT = 2.0
# A signal that comes in the moment before a wait begins, and on Windows any, is seen when the wait ends.
_CTRL_C = 1.0

_Self = TypeVar("_Self", bound="Client")


class Life:
    """A client's two threads, from start to stop. Nothing of it is used again afterwards."""

    def __init__(self, io: ClientThread[Any], sink: Sink) -> None:
        self.io = io
        self.sink = sink

    def start(self) -> None:
        self.sink.start()
        self.io.start()

    def close(self) -> None:
        """Let both threads end, and have nothing told any more but the end of the connection."""
        self.io.stop()
        self.sink.close(Stopped("stopped by stop() on this side", 1000))

    def end(self, timeout: float) -> bool:
        """Close, and wait for the threads; True if they have ended within ``timeout`` seconds."""
        end = time.monotonic() + timeout
        self.io.stop()
        try:
            ended = self.io.join(timeout)
        finally:
            self.close()
        return self.sink.join(max(0.0, end - time.monotonic())) and ended


class Client(ABC):
    """What all clients have in common; :class:`~basix_cti.CTIClient` is the usual one.

    Args:
        handler: whose hooks are called.
        where: what it connects to, for people to read; without credentials.
        name: what the names of its threads start with.
        max_queued_events, max_queued_bytes: how much may wait for slow hooks.
        track_calls: False to leave out all that has to do with calls.

    Raises:
        TypeError: ``handler`` is no CTIHandler.
        ValueError: a bound is not positive, or the handler has hooks for calls that are not tracked.
    """

    def __init__(
        self,
        handler: CTIHandler,
        where: str,
        name: str,
        *,
        max_queued_events: int,
        max_queued_bytes: int,
        track_calls: bool = True,
    ) -> None:
        if not isinstance(handler, CTIHandler):
            raise TypeError(f"handler must be an instance of a CTIHandler subclass, not {type(handler).__name__}")
        if max_queued_events < 1 or max_queued_bytes < 1:
            raise ValueError("max_queued_events and max_queued_bytes must be positive")
        check_calls_are_tracked(handler, track_calls)
        self._handler = handler
        self._where = where
        self._name = name
        self._bounds = (max_queued_events, max_queued_bytes)
        self._telling = Telling(track_calls)
        self._counters = Counters()
        self._sessions = 0
        self._changed = threading.Condition()
        # Reentrant, because a signal handler may call stop() in the midst of anything.
        self._lock = threading.RLock()
        self._life: Life | None = None
        self._latest: Life | None = None
        self._pid = 0  # of the process that has the threads; 0 for none

    @abstractmethod
    def _new_thread(self, sink: Sink, former: ClientThread[Any] | None) -> ClientThread[Any]:
        """The I/O thread of a new life, not yet started."""

    # Life

    def start(self) -> None:
        """Start in the background and return at once; does nothing if it runs. After :meth:`stop` it starts anew.

        Raises:
            ForkedError: this process is a fork of the one that started the client.
        """
        self._check_process()
        with self._lock:
            if self._life is not None and not self._life.io.ended.is_set():
                return
            former = self._latest
            if former is not None:
                former.close()
            self._pid = current_process()
            life = self._life = self._latest = self._new_life(former)
        try:
            life.start()
        except BaseException:
            self.stop()
            raise

    def _new_life(self, former: Life | None) -> Life:
        sink = self._new_sink(None if former is None else former.sink)
        return Life(self._new_thread(sink, None if former is None else former.io), sink)

    def _new_sink(self, former: Sink | None) -> Sink:
        """Who gets the events of a new life."""
        return Dispatcher(
            self._handler,
            self._telling,
            former if isinstance(former, Dispatcher) else None,
            max_events=self._bounds[0],
            max_bytes=self._bounds[1],
            told=self._notify,
            counters=self._counters,
            name=self._name,
        )

    def stop(self) -> None:
        """End the connection and both threads, and return when they have ended, within 2 seconds.

        May be called at any time, more than once, and inside a hook (whose thread then ends after that hook). What was
        received and not yet told is dropped; ``on_disconnect`` is told last. If a hook takes longer than that, its
        thread ends when it returns.

        Raises:
            ForkedError: this process is a fork of the one that started the client.
        """
        self._check_process()
        with self._lock:
            self._life = None
            life = self._latest
        if life is None:
            return
        if not life.end(_STOP_TIMEOUT):
            logger.warning("a thread of %r takes longer to end; it will, and is told nothing more", self)
        elif not life.sink.is_inside_hook():
            with self._lock:
                if self._latest is life:
                    self._pid = 0  # without threads there is nothing that a fork would lose

    def run_forever(self) -> None:
        """Start if need be, and return when the client is stopped, by :meth:`stop` from a hook or another thread.

        May run in any thread but the client's own. On KeyboardInterrupt the client is stopped, and it is raised on.

        Raises:
            ConnectionReplaced: another client took this one's place; see ``return_when_replaced``.
            AuthError: the login was refused; only with ``stop_on_auth_error``.
            RuntimeError: called inside a hook.
            ForkedError: this process is a fork of the one that started the client.
        """
        self._check_process()
        life = self._latest
        if life is not None and life.sink.is_inside_hook():
            raise RuntimeError("run_forever() cannot be called inside a hook: it would wait for itself")
        self.start()
        life = self._life
        if life is None:  # a hook has stopped it already
            return
        try:
            while not life.io.ended.wait(_CTRL_C):
                pass
        finally:
            if self._life is life:
                self.stop()
            else:
                life.sink.join(_STOP_TIMEOUT)
        if life.io.fatal is not None:
            raise life.io.fatal

    def __enter__(self: _Self) -> _Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # In a fork, what ends the block early says more than that the client is not there; often it is sys.exit().
        if error is None or not has_left(self._pid):
            self.stop()

    # What is. In a fork it would be, for ever, what was at that moment; so each looks for that first.

    @property
    def state(self) -> Picture:
        """The live picture of the PBX, as far as it was told to the hooks; safe to read from any thread.

        Raises:
            ForkedError: this process is a fork of the one that started the client.
        """
        self._check_process()
        return self._telling.picture

    @property
    def calls(self) -> list[Call]:
        """The calls that have not ended, oldest first, as far as they were told; may be read from any thread.

        Raises:
            RuntimeError: the client was made with ``track_calls=False``.
            ForkedError: this process is a fork of the one that started the client.
        """
        self._check_process()
        if self._telling.calls is None:
            raise RuntimeError("calls are not tracked: make the client with track_calls=True")
        return self._telling.calls.calls

    @property
    def tracks_calls(self) -> bool:
        """True if ``calls`` and the hooks for calls are to be had; see ``track_calls``.

        Raises:
            ForkedError: this process is a fork of the one that started the client.
        """
        self._check_process()
        return self._telling.calls is not None

    @property
    def connected(self) -> bool:
        """True while a connection is up.

        Raises:
            ForkedError: this process is a fork of the one that started the client.
        """
        self._check_process()
        life = self._life
        return life is not None and life.io.connected.is_set()

    @property
    def last_error(self) -> CTIError | None:
        """The latest failure to connect or end of a connection, as an error; None before the first.

        Raises:
            ForkedError: this process is a fork of the one that started the client.
        """
        self._check_process()
        life = self._latest
        return None if life is None else life.io.last_error

    @property
    def seconds_since_received(self) -> float | None:
        """Age of the last byte received, in seconds; None without a connection.

        Raises:
            ForkedError: this process is a fork of the one that started the client.
        """
        self._check_process()
        life = self._life
        return None if life is None else life.io.silence()

    @property
    def queued_events(self) -> int:
        """How many events have arrived and wait to be told.

        Raises:
            ForkedError: this process is a fork of the one that started the client.
        """
        self._check_process()
        life = self._life
        return 0 if life is None else life.sink.waiting

    @property
    def statistics(self) -> Statistics:
        """The client in numbers, as they are now: what arrived, was told, went wrong, and waits.

        Raises:
            ForkedError: this process is a fork of the one that started the client.
        """
        self._check_process()
        life, counters = self._life, self._counters
        return Statistics(
            connected=life is not None and life.io.connected.is_set(),
            ready=life is not None and self._is_ready(life.io),
            connected_at=None if life is None else life.io.connected_at,
            seconds_since_received=None if life is None else life.io.silence(),
            connections=counters.connections,
            disconnections=dict(counters.disconnections),
            errors=counters.all_errors(),
            messages=counters.messages,
            received_bytes=counters.received_bytes,
            events=dict(counters.events),
            synthetic_events=counters.synthetic_events,
            overflows=counters.overflows,
            dropped_messages=counters.dropped_messages,
            queued_events=0 if life is None else life.sink.waiting,
            queued_bytes=0 if life is None else life.sink.waiting_bytes,
            queue_delay=0.0 if life is None else life.sink.delay,
            max_queued_events=self._bounds[0],
            max_queued_bytes=self._bounds[1],
            lag=Lag(tuple(counters.lag_counts), counters.lag_seconds),
            hook_seconds=counters.hook_seconds,
        )

    def trouble(self, patience: float = 30.0) -> str | None:
        """What keeps the client's threads from their work, in a few words; None if both are alive and move.

        To be without a connection is no trouble: the client is at work to get one. That it was not started, was
        stopped or has ended by itself is; so is a hook that does not return.

        Args:
            patience: how many seconds a thread may stand still where it should move.

        Raises:
            ForkedError: this process is a fork of the one that started the client.
        """
        self._check_process()
        life = self._life
        if life is None:
            return "the client is not running"
        return life.io.trouble(patience) or life.sink.trouble(patience)

    def wait_connected(self, timeout: float | None = None) -> bool:
        """Wait until a connection is up. The full state follows it: see :meth:`wait_ready`.

        Args:
            timeout: seconds; None for no bound.

        Returns:
            True if a connection is up; False if the time is over, or the client is not running.

        Raises:
            ForkedError: this process is a fork of the one that started the client.
        """
        return self._wait(lambda io: io.connected.is_set(), timeout)

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until a connection is up and ``state`` holds the channels that the PBX told on it.

        Args, Returns, Raises: as :meth:`wait_connected`. Inside a hook it cannot get True by waiting.
        """
        return self._wait(self._is_ready, timeout)

    def _is_ready(self, io: ClientThread[Any]) -> bool:
        picture = self.state
        return io.connected.is_set() and picture._session == io.session and picture.is_current("channel")

    # Commands

    def hangup(self, uuid: str) -> Command:
        """End a channel. A uuid that is not known is sent all the same.

        Returns:
            A handle; its :meth:`~basix_cti.Command.wait` is true when the channel's end was seen.

        Raises:
            NotConnected: there is no connection; nothing was sent.
            CommandError: ``uuid`` is not of the form of one; nothing was sent.
            ForkedError: this process is a fork of the one that started the client.
        """
        return self._give(commands.hangup(uuid))

    def park(self, uuid: str, timeout: float | None = None) -> Command:
        """Put a channel into a parking slot.

        Args:
            uuid: the channel's.
            timeout: seconds until the PBX takes it out again; None leaves that to the PBX.

        Returns:
            A handle; its :meth:`~basix_cti.Command.wait` is true when the channel was seen in a slot.

        Raises: as :meth:`hangup`.
        """
        return self._give(commands.park(uuid, timeout))

    def transfer(
        self,
        uuid: str,
        *,
        user_id: str | int | None = None,
        user_name: str | None = None,
        destination: str | None = None,
    ) -> Command:
        """Send a channel elsewhere: to a user or a destination such as an extension or a telephone number.

        At least one of the parameters is required; the PBX gets those that are given.

        Returns:
            A handle; its :meth:`~basix_cti.Command.wait` is true when the channel was seen to move on: in a new state
            (other than ``ringing`` or ``bridged``), with another target, or bridged to another channel.

        Raises: as :meth:`hangup`.
        """
        life = self._life
        newest = self.state if life is None else life.sink.newest
        return self._give(
            commands.transfer(uuid, newest, user_id=user_id, user_name=user_name, destination=destination)
        )

    def eavesdrop(self, uuid: str, target_uuid: str, subcommand: str) -> Command:
        """Listen in on a channel.

        Args:
            uuid: of the channel that listens (a "media plug").
            target_uuid: of the channel that is listened to.
            subcommand: what to do, as the PBX names it.

        Returns:
            A handle; its :meth:`~basix_cti.Command.wait` is true when the listening channel was seen to do so.

        Raises: as :meth:`hangup`.
        """
        return self._give(commands.eavesdrop(uuid, target_uuid, subcommand))

    def _give(self, command: Command) -> Command:
        self._check_process()
        life = self._life
        if life is None:
            raise NotConnected(f"{command.name} was not sent: the client is not running; call start() first")
        if not life.io.submit(command):
            error = life.io.last_error
            why = f" (the last error: {error})" if error is not None else ""
            where = self._where
            raise NotConnected(f"{command.name} was not sent: no connection to {where}, or too many commands wait{why}")
        return command

    # Inside

    def _wait(self, reached: Callable[[ClientThread[Any]], bool], timeout: float | None) -> bool:
        self._check_process()
        life = self._life
        if life is None:
            return False
        io = life.io
        with self._changed:
            self._changed.wait_for(lambda: io.ended.is_set() or reached(io), timeout)
        return reached(io)

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _next_session(self) -> int:
        self._sessions += 1
        return self._sessions

    def _check_process(self) -> None:
        if has_left(self._pid):
            check(self._pid, repr(self))

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be copied or sent to another process; make one there")

    def __repr__(self) -> str:
        if has_left(self._pid):
            state = "left behind by a fork"
        else:
            state = "not running" if self._life is None else "connected" if self.connected else "not connected"
        return f"<{type(self).__name__} {self._title()}: {state}>"

    def _title(self) -> str:
        """What tells it from other clients."""
        return self._where
