"""``CTIClient``: a connection to a Basix PBX that keeps itself up, and calls a handler."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn

from . import commands
from .auth import Auth, Ticket
from .call_tracker import CallTracker
from .calls import Call
from .commands import Command
from .dispatcher import Dispatcher
from .endpoint import Endpoint, checked, tls_context
from .errors import CTIError, NotConnected, Stopped
from .forks import check, current_process, has_left
from .handler import CTIHandler
from .io_thread import IOThread, Timing
from .limits import DEFAULT_LIMITS, Limits
from .proxy import Proxy
from .state import Picture, Tracker
from .statistics import Counters, Lag, Statistics
from .tap import Tap

__all__ = ["CTIClient", "login_query"]

logger = logging.getLogger(__name__)

_STOP_TIMEOUT = 2.0
# A signal that comes in the moment before a wait begins, and on Windows any, is seen when the wait ends.
_CTRL_C = 1.0


class _Life:
    """A client's two threads, from start to stop. Nothing of it is used again afterwards."""

    def __init__(self, io: IOThread, dispatcher: Dispatcher) -> None:
        self.io = io
        self.dispatcher = dispatcher

    def start(self) -> None:
        self.dispatcher.start()
        self.io.start()

    def close(self) -> None:
        """Let both threads end, and have nothing told any more but the end of the connection."""
        self.io.stop()
        self.dispatcher.close(Stopped("stopped by stop() on this side", 1000))

    def end(self, timeout: float) -> bool:
        """Close, and wait for the threads; True if they have ended within ``timeout`` seconds."""
        end = time.monotonic() + timeout
        self.io.stop()
        try:
            ended = self.io.join(timeout)
        finally:
            self.close()
        return self.dispatcher.join(max(0.0, end - time.monotonic())) and ended


class CTIClient:
    """Connects to a PBX, tells a handler what happens there, and connects again whenever the connection is lost.

    ::

        client = CTIClient("bcs.brastel.com", Screen(), auth=ApiToken("test1.com", token), app_name="screen",
                           full_events=True)
        with client:
            client.wait_connected(10)
            ...

    Two daemon threads are started by :meth:`start`, none before: one does all network work, the other makes every call
    of the handler's hooks. All methods may be called from any thread, inside a hook too. All times are in seconds.

    Args:
        server: the PBX: a host, ``host:port``, or a ``wss://`` URL (``ws://`` on test rigs); a path is optional.
        handler: whose hooks are called.
        auth: :class:`~basix_cti.ApiToken`, :class:`~basix_cti.ApiUser` (first generation) or
            :class:`~basix_cti.Ticket`.
        app_name: names the application; the PBX allows two connections per user and ``app_name``. Required but with
            ``ApiUser``.
        full_events: True for events of the whole PBX, False for those of one user. Not allowed with ``Ticket``.
        forced: True to take the place of the oldest connection when the limit is reached.
        user_id, user_name, user_label, user_extension, user_did, user_email: which user to watch; at most one, and none
            with ``full_events``.
        verify: False takes any certificate: for test rigs only.
        ca_file: a file of certificates in PEM form that are trusted instead of the system's; None for the system's.
        ssl_context: TLS settings of your own, in place of the two above; None for the usual ones.
        proxy: the proxy to connect through, as ``http://host:port`` or ``socks5://host:port``, with ``user:password@``
            before the host where it wants a login; None for none. Proxies named in the environment are not used.
        limits: bounds for one message.
        connect_timeout: for name look-up, TCP, proxy, TLS, ticket and handshake together.
        ping_interval: after so long without a byte, a ping is sent.
        ping_timeout: after so long without an answer to it, the connection is given up.
        frame_timeout: how long one message may take to arrive.
        send_timeout: how long the PBX may take nothing of what is sent.
        command_timeout: how long the effect of a command is looked for.
        reconnect_min, reconnect_max: the delay before a new attempt is random, up to a bound that doubles with each
            failure, within these two.
        stable_after: a connection that held so long starts the delays anew.
        return_when_replaced: True to connect again after another client with the same ``app_name`` has taken this
            one's place. Two such clients would evict each other without end.
        stop_on_auth_error: True to end after a refused login, False to try again every ``reconnect_max``.
        max_queued_events, max_queued_bytes: how much may wait for slow hooks; what exceeds it is dropped, told to
            ``on_overflow``, and made good by synthetic events.
        tap: sees every message as it is on the wire, in the I/O thread; None for the handler itself if it is a
            :class:`~basix_cti.Tap`, otherwise for none.

    Raises:
        ValueError: a parameter has control characters, is out of range, or does not go with another one.
        TypeError: ``handler`` is no CTIHandler, ``auth`` is no login, or ``tap`` is no Tap.
        OSError: ``ca_file`` cannot be read.
    """

    def __init__(
        self,
        server: str,
        handler: CTIHandler,
        *,
        auth: Auth,
        app_name: str | None = None,
        full_events: bool = False,
        forced: bool = False,
        user_id: str | int | None = None,
        user_name: str | None = None,
        user_label: str | None = None,
        user_extension: str | None = None,
        user_did: str | None = None,
        user_email: str | None = None,
        verify: bool = True,
        ca_file: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        limits: Limits = DEFAULT_LIMITS,
        connect_timeout: float = 10.0,
        ping_interval: float = 20.0,
        ping_timeout: float = 10.0,
        frame_timeout: float = 30.0,
        send_timeout: float = 10.0,
        command_timeout: float = 60.0,
        reconnect_min: float = 1.0,
        reconnect_max: float = 60.0,
        stable_after: float = 30.0,
        return_when_replaced: bool = False,
        stop_on_auth_error: bool = False,
        max_queued_events: int = 10_000,
        max_queued_bytes: int = 64 * 1024 * 1024,
        tap: Tap | None = None,
    ) -> None:
        if not isinstance(handler, CTIHandler):
            raise TypeError(f"handler must be an instance of a CTIHandler subclass, not {type(handler).__name__}")
        if not isinstance(auth, Auth):
            raise TypeError(f"auth must be ApiToken, ApiUser or Ticket, not {type(auth).__name__}")
        for name, flag in (("full_events", full_events), ("forced", forced), ("verify", verify)):
            if not isinstance(flag, bool):
                raise TypeError(f"{name} must be True or False, not {flag!r}")
        if not isinstance(limits, Limits):
            raise TypeError(f"limits must be Limits(...), not {type(limits).__name__}")
        if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
            raise TypeError(f"ssl_context must be an ssl.SSLContext, not {type(ssl_context).__name__}")
        if tap is not None and not isinstance(tap, Tap):
            raise TypeError(f"tap must be an instance of a Tap subclass, not {type(tap).__name__}")
        if app_name is None and auth.needs_app_name:
            raise ValueError(f"app_name is required with {type(auth).__name__}")
        if full_events and isinstance(auth, Ticket):
            raise ValueError("full_events=True is not allowed with a Ticket; log in with an ApiToken")
        if ssl_context is not None and (ca_file is not None or not verify):
            raise ValueError("ssl_context takes the place of verify= and ca_file=; drop these")
        if max_queued_events < 1 or max_queued_bytes < 1:
            raise ValueError("max_queued_events and max_queued_bytes must be positive")
        selectors = {
            "user_id": None if user_id is None else str(user_id),
            "user_name": user_name,
            "user_label": user_label,
            "user_extension": user_extension,
            "user_did": user_did,
            "user_email": user_email,
        }
        self._endpoint = Endpoint.parse(server)
        if not self._endpoint.tls and (ca_file is not None or ssl_context is not None):
            raise ValueError("ca_file and ssl_context have no effect with a ws:// server")
        self._query = login_query(auth, app_name, full_events, forced, selectors)
        self._context = ssl_context
        if self._endpoint.tls and ssl_context is None:
            self._context = tls_context(verify=verify, ca_file=ca_file)
        elif not self._endpoint.tls:
            self._context = None
        self._proxy = None if proxy is None else Proxy(proxy)
        self._auth = auth
        self._app_name = app_name
        self._limits = limits
        self._timing = Timing(
            connect_timeout,
            ping_interval,
            ping_timeout,
            frame_timeout,
            send_timeout,
            command_timeout,
            reconnect_min,
            reconnect_max,
            stable_after,
        )
        self._return_when_replaced = return_when_replaced
        self._stop_on_auth_error = stop_on_auth_error
        self._name = f"basix-cti-{app_name}" if app_name else "basix-cti"
        self._handler = handler
        self._tap = handler if tap is None and isinstance(handler, Tap) else tap
        self._bounds = (max_queued_events, max_queued_bytes)
        self._tracker = Tracker()
        self._calls = CallTracker(self._tracker.picture)
        self._counters = Counters()
        self._sessions = 0
        self._changed = threading.Condition()
        # Reentrant, because a signal handler may call stop() in the midst of anything.
        self._lock = threading.RLock()
        self._life: _Life | None = None
        self._latest: _Life | None = None
        self._pid = 0  # of the process that has the threads; 0 for none

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

    def _new_life(self, former: _Life | None) -> _Life:
        dispatcher = Dispatcher(
            self._handler,
            self._tracker,
            self._calls,
            None if former is None else former.dispatcher,
            max_events=self._bounds[0],
            max_bytes=self._bounds[1],
            told=self._notify,
            counters=self._counters,
            name=self._name,
        )
        io = IOThread(
            self._endpoint,
            self._query,
            self._auth,
            self._context,
            self._timing,
            self._limits,
            dispatcher,
            self._next_session,
            self._notify,
            None if former is None else former.io,
            proxy=self._proxy,
            tap=self._tap,
            return_when_replaced=self._return_when_replaced,
            stop_on_auth_error=self._stop_on_auth_error,
            counters=self._counters,
            name=self._name,
        )
        return _Life(io, dispatcher)

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
        elif not life.dispatcher.is_inside_hook():
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
        if life is not None and life.dispatcher.is_inside_hook():
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
                life.dispatcher.join(_STOP_TIMEOUT)
        if life.io.fatal is not None:
            raise life.io.fatal

    def __enter__(self) -> CTIClient:
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
        return self._tracker.picture

    @property
    def calls(self) -> list[Call]:
        """The calls that have not ended, oldest first, as far as they were told; may be read from any thread.

        Raises:
            ForkedError: this process is a fork of the one that started the client.
        """
        self._check_process()
        return self._calls.calls

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
        return 0 if life is None else life.dispatcher.waiting

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
            queued_events=0 if life is None else life.dispatcher.waiting,
            queued_bytes=0 if life is None else life.dispatcher.waiting_bytes,
            queue_delay=0.0 if life is None else life.dispatcher.delay,
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
        return life.io.trouble(patience) or life.dispatcher.trouble(patience)

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

    def _is_ready(self, io: IOThread) -> bool:
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
        newest = self.state if life is None else life.dispatcher.newest
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
            where = self._endpoint.url
            raise NotConnected(f"{command.name} was not sent: no connection to {where}, or too many commands wait{why}")
        return command

    # Inside

    def _wait(self, reached: Callable[[IOThread], bool], timeout: float | None) -> bool:
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
        raise TypeError("a CTIClient cannot be copied or sent to another process; make one there")

    def __repr__(self) -> str:
        name = f" app_name={self._app_name!r}" if self._app_name else ""
        if has_left(self._pid):
            state = "left behind by a fork"
        else:
            state = "not running" if self._life is None else "connected" if self.connected else "not connected"
        return f"<CTIClient {self._endpoint.url}{name}: {state}>"


def login_query(
    auth: Auth, app_name: str | None, full_events: bool, forced: bool, selectors: dict[str, str | None]
) -> list[tuple[str, str]]:
    """The query parameters of a login, in a fixed order: a ticket is good for that very text.

    Raises:
        ValueError: a value has control characters, or does not go with another one.
    """
    query = []
    if app_name is not None:
        query.append(("app_name", checked("app_name", app_name)))
    query += auth.query()
    if full_events:
        query.append(("full_events", "true"))
    if forced:
        query.append(("forced", "true"))
    given = [(name, checked(name, value)) for name, value in selectors.items() if value is not None]
    if len(given) > 1:
        raise ValueError(f"give only one of {' and '.join(name for name, _ in given)}")
    if given and full_events:
        raise ValueError(f"{given[0][0]} has no effect with full_events=True; drop one of the two")
    return query + given
