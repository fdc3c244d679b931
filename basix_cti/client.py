"""``CTIClient``: a connection to a Basix PBX that keeps itself up, and calls a handler."""

from __future__ import annotations

import ssl
from typing import Any

from .auth import Auth, Ticket
from .base_client import Client
from .base_thread import ClientThread, Timing
from .endpoint import Endpoint, checked, tls_context
from .handler import CTIHandler
from .io_thread import IOThread
from .limits import DEFAULT_LIMITS, Limits
from .proxy import Proxy
from .sink import Sink
from .tap import Tap

__all__ = ["CTIClient", "login_query"]


class CTIClient(Client):
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
        track_calls: False to leave out ``calls`` and the hooks for calls, which cost about a third of the time that an
            event takes.
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
        track_calls: bool = True,
        tap: Tap | None = None,
    ) -> None:
        endpoint = Endpoint.parse(server)
        super().__init__(
            handler,
            endpoint.url,
            f"basix-cti-{app_name}" if app_name else "basix-cti",
            max_queued_events=max_queued_events,
            max_queued_bytes=max_queued_bytes,
            track_calls=track_calls,
        )
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
        selectors = {
            "user_id": None if user_id is None else str(user_id),
            "user_name": user_name,
            "user_label": user_label,
            "user_extension": user_extension,
            "user_did": user_did,
            "user_email": user_email,
        }
        self._endpoint = endpoint
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
        self._tap = handler if tap is None and isinstance(handler, Tap) else tap

    def _new_thread(self, sink: Sink, former: ClientThread[Any] | None) -> ClientThread[Any]:
        return IOThread(
            self._endpoint,
            self._query,
            self._auth,
            self._context,
            self._timing,
            self._limits,
            sink,
            self._next_session,
            self._notify,
            former,
            proxy=self._proxy,
            tap=self._tap,
            return_when_replaced=self._return_when_replaced,
            stop_on_auth_error=self._stop_on_auth_error,
            counters=self._counters,
            name=self._name,
        )

    def _title(self) -> str:
        return f"{self._where} app_name={self._app_name!r}" if self._app_name else self._where


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
