"""Opening a connection, step by step under one deadline: name, TCP, proxy, TLS, ticket, WebSocket handshake.

:func:`connect` takes all steps. Each is a function of its own as well, because the doctor takes them one by one. What
comes of them is a :class:`~basix_cti.transport.Connection`.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import ssl
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias

import websocket

from .auth import Auth
from .endpoint import Endpoint, checked, one_line
from .errors import AuthError, ConnectError, ConnectTimeout, CTIError, HandshakeError, TicketError, TLSError
from .forks import opened
from .limits import Limits
from .proxy import Proxy
from .transport import Connection, Stream, cause_of
from .waiting import Aside, Deadline, Interrupted, Waker, await_socket

__all__ = [
    "Address",
    "authorize",
    "connect",
    "look_up",
    "open_tcp",
    "open_tls",
    "open_tunnel",
    "open_websocket",
]

Address: TypeAlias = tuple[Any, ...]
"""What ``socket.getaddrinfo`` gives for one address."""


def connect(
    endpoint: Endpoint,
    query: Sequence[tuple[str, str]],
    auth: Auth,
    context: ssl.SSLContext | None,
    limits: Limits,
    timeout: float,
    waker: Waker,
    names: Aside,
    fetch: Aside,
    proxy: Proxy | None = None,
) -> Connection:
    """Open one connection: name, TCP, proxy, TLS, ticket and WebSocket handshake, all within ``timeout`` seconds.

    Args:
        endpoint, query, auth, context: where to, how to log in, TLS settings (None for none).
        limits: bounds for one message.
        timeout: seconds for all of it.
        waker: its stop interrupts.
        names, fetch: where name look-ups and tickets' fetches are called.
        proxy: through which to connect; None for none.

    Raises:
        ConnectError: it did not come about; the subclass tells at which step.
        Interrupted: the waker's stop was called.
    """
    deadline = Deadline(timeout)
    nearest = proxy or endpoint
    sock = open_tcp(nearest, look_up(nearest, waker, deadline, names), waker, deadline)
    try:
        if proxy is not None:
            open_tunnel(sock, endpoint, proxy, waker, deadline)
        if context is not None:
            sock = open_tls(sock, endpoint, context, waker, deadline)
        # A ticket expires within seconds, so it is fetched last.
        uri = endpoint.uri(query)
        header = authorize(auth, uri, waker, deadline, fetch)
        return open_websocket(sock, endpoint, uri, header, limits, waker, deadline)
    except BaseException:
        sock.close()
        raise


def authorize(auth: Auth, uri: str, waker: Waker, deadline: Deadline, fetch: Aside) -> str | None:
    """The Authorization header for one connection to ``uri``; None for no header. Fetches a ticket, where it needs one.

    Raises:
        ConnectError: there is no login; the subclass tells why.
        Interrupted: the waker's stop was called.
    """
    return fetch.call(lambda: _header(auth, uri), waker, deadline) if auth.blocking else _header(auth, uri)


def _header(auth: Auth, uri: str) -> str | None:
    failure: CTIError
    try:
        header = auth.authorization(uri)
        return header if header is None else checked("the Authorization header", header)
    except ConnectError as error:
        failure = error
    except BaseException as error:
        # Its text may hold anything, the ticket included.
        failure = TicketError(f"fetching a ticket failed with {type(error).__name__}; see the fetch given to Ticket()")
    raise failure


def look_up(endpoint: Endpoint | Proxy, waker: Waker, deadline: Deadline, names: Aside) -> list[Address]:
    """The addresses of the endpoint's host, the best first.

    Raises:
        ConnectError: the name is not known; a ConnectTimeout if that could not be found out in time.
        Interrupted: the waker's stop was called.
    """

    def addresses() -> list[Address]:
        return list(socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM))

    try:
        return names.call(addresses, waker, deadline)
    except (OSError, UnicodeError) as error:
        told = cause_of(error) if isinstance(error, OSError) else "not a valid host name"
        raise ConnectError(f"the name {endpoint.host} was not found ({told}); check server and DNS") from None


def open_tcp(
    endpoint: Endpoint | Proxy, addresses: Sequence[Address], waker: Waker, deadline: Deadline
) -> socket.socket:
    """A connection to the first address that accepts one; the addresses share the time.

    Raises:
        ConnectError: none did; the error of the last one, from an OSError if there is one.
        Interrupted: the waker's stop was called.
    """
    where = endpoint.address
    failure: ConnectError = ConnectError(f"the name {endpoint.host} has no address")
    for number, (family, kind, proto, _, address) in enumerate(addresses):
        share = deadline.share(len(addresses) - number)
        try:
            sock = opened(partial(socket.socket, family, kind, proto))
        except OSError as error:  # an address family that this machine does not have, or no descriptor left
            failure = ConnectError(f"{where} cannot be reached ({cause_of(error)})")
            failure.__cause__ = error.with_traceback(None)
            continue
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            with contextlib.suppress(BlockingIOError):
                sock.connect(address)
            await_socket(sock, waker, share, f"{where} did not accept", write=True)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
        except ConnectTimeout:
            sock.close()
            failure = deadline.missed(f"{where} is silent")
        except OSError as error:
            sock.close()
            failure = ConnectError(f"{where} cannot be reached ({cause_of(error)}); is the PBX up, and the port right?")
            failure.__cause__ = error.with_traceback(None)
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


def open_tunnel(sock: socket.socket, endpoint: Endpoint, proxy: Proxy, waker: Waker, deadline: Deadline) -> None:
    """Have the proxy at the other end of a connection lead it on to ``endpoint``. What follows is left unread.

    Raises:
        ConnectError: it did not; a ConnectTimeout if it did not answer in time. The connection stays open.
        Interrupted: the waker's stop was called.
    """
    silence = f"the proxy {proxy.address} did not answer"
    dialogue = proxy.tunnel(endpoint)
    received = b""
    with contextlib.suppress(StopIteration):
        step = next(dialogue)
        while True:
            if isinstance(step, int) and len(received) == step:
                step, received = dialogue.send(received), b""
            elif isinstance(step, bytes) and not step:
                step = dialogue.send(b"")
            try:
                if isinstance(step, bytes):
                    step = step[sock.send(step) :]
                    continue
                data = sock.recv(step - len(received))
            except BlockingIOError:
                await_socket(sock, waker, deadline, silence, write=isinstance(step, bytes))
            except OSError as error:
                raise ConnectError(f"the proxy {proxy.address} broke the connection ({cause_of(error)})") from None
            else:
                if not data:
                    raise ConnectError(f"the proxy {proxy.address} ended the connection; check proxy=")
                received += data


def open_tls(
    sock: socket.socket, endpoint: Endpoint, context: ssl.SSLContext, waker: Waker, deadline: Deadline
) -> ssl.SSLSocket:
    """TLS over a connection, which is closed where that fails.

    Raises:
        TLSError: it failed; from the ``ssl`` module's own error.
        ConnectTimeout: the deadline passed.
        Interrupted: the waker's stop was called.
    """
    where = endpoint.address
    try:
        tls = opened(lambda: context.wrap_socket(sock, server_hostname=endpoint.host, do_handshake_on_connect=False))
    except (OSError, ValueError) as error:
        raise TLSError(f"TLS with {where} failed ({one_line(str(error))})") from error.with_traceback(None)
    try:
        while True:
            try:
                tls.do_handshake()
                return tls
            except ssl.SSLWantReadError:
                await_socket(tls, waker, deadline, "TLS was not answered", write=False)
            except ssl.SSLWantWriteError:
                await_socket(tls, waker, deadline, "TLS was not read", write=True)
    except ssl.SSLCertVerificationError as error:
        tls.close()
        told = one_line(error.verify_message)
        failure = TLSError(f"the certificate of {where} is not trusted ({told}); see verify= and ca_file=")
        raise failure from error.with_traceback(None)
    except OSError as error:
        tls.close()
        failure = TLSError(f"TLS with {where} failed ({cause_of(error)}); does this port speak TLS?")
        raise failure from error.with_traceback(None)
    except BaseException:
        tls.close()
        raise


def open_websocket(
    sock: socket.socket,
    endpoint: Endpoint,
    uri: str,
    authorization: str | None,
    limits: Limits,
    waker: Waker,
    deadline: Deadline,
) -> Connection:
    """The WebSocket handshake over a TCP or TLS connection, which stays open where that fails.

    Args:
        sock, endpoint: the connection, and where it leads.
        uri, authorization: path and query, and the header of the login; None for no header.
        limits, waker, deadline: as for :func:`connect`.

    Raises:
        HandshakeError: the answer was no WebSocket; an AuthError if the login was refused.
        ConnectTimeout: the deadline passed.
        Interrupted: the waker's stop was called.
    """
    stream = Stream(sock, waker, deadline)
    failure: BaseException
    try:
        ws = websocket.create_connection(
            # websocket-client keeps cookies by host name for the whole process, and would send one client's session
            # along with another client's login. Of this URL it uses only the rest; for a host that nobody knows, and
            # that is in no domain, there is no cookie.
            f"{endpoint.scheme}://{secrets.token_hex(16)}{uri}",
            host=endpoint.host_header,
            socket=stream,
            header=[] if authorization is None else [f"Authorization: {authorization}"],
            suppress_origin=True,
            redirect_limit=0,
            skip_utf8_validation=True,
            enable_multithread=False,
        )
    except Interrupted:
        raise
    except CTIError as error:
        failure = _refused(stream, endpoint) or error
    except Exception as error:
        # Besides its own errors, websocket-client lets through what its parsing of an odd answer raises. Their texts
        # may quote headers, so none of them goes into ours.
        failure = _refused(stream, endpoint) or HandshakeError(
            f"{endpoint.url} did not answer as a WebSocket does ({type(error).__name__}); is this a Basix PBX?"
        )
    else:
        # websocket-client 1.9.0 takes a redirection that it does not follow for a connection.
        if _status(stream) == 101:
            stream.upgraded()
            return Connection(stream, ws, limits)
        failure = _refused(stream, endpoint) or HandshakeError(f"{endpoint.url} did not answer as a WebSocket does")
    # Raised here, the error has no context: the frames of the handshake hold the login.
    raise failure.with_traceback(None)


def _status(stream: Stream) -> int | None:
    match = re.match(rb"HTTP/\d\.\d (\d{3})", stream.head)
    return int(match[1]) if match else None


def _refused(stream: Stream, endpoint: Endpoint) -> HandshakeError | None:
    """What the HTTP status says, if there is one and it is no upgrade."""
    status = _status(stream)
    where = endpoint.url
    if status is None:
        return None
    if status in (401, 403):
        return AuthError(f"{where} refused the login (HTTP {status}): check domain, token and rights", status)
    if 300 <= status < 400:
        return HandshakeError(f"{where} redirects elsewhere (HTTP {status}), which is not followed", status)
    if status != 101:
        return HandshakeError(f"{where} answered HTTP {status} instead of a WebSocket; check server and path", status)
    return None
