"""The three ways to log in at a PBX. Tokens and tickets are in no ``repr`` and in no error."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

from .endpoint import Endpoint, checked, one_line, tls_context
from .errors import AuthError, ConnectError, TicketError
from .proxy import Dialogue, Proxy

__all__ = ["ApiToken", "ApiUser", "Auth", "Ticket", "TicketService"]

_MAX_ANSWER = 64 * 1024


class Auth(ABC):
    """How to log in: the base of :class:`ApiToken`, :class:`ApiUser` and :class:`Ticket`."""

    __slots__ = ()

    #: True where the PBX wants an ``app_name`` (the current generation of the protocol).
    needs_app_name: bool = True
    #: True where :meth:`authorization` may block, so that it gets a thread of its own.
    blocking: bool = False

    def query(self) -> list[tuple[str, str]]:
        """The query parameters that the login needs. They may be secret."""
        return []

    @abstractmethod
    def authorization(self, uri: str) -> str | None:
        """The value of the Authorization header for one connection to ``uri`` (path and query); None for no header.

        Raises:
            TicketError: no ticket could be had.
        """


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


class ApiToken(Auth):
    """Login of the current generation: HTTP Basic with the domain and its API token.

    Args:
        domain: the PBX domain, such as ``test1.com``.
        token: the domain's API token.

    Raises:
        ValueError: a value is empty or has control characters, or the domain has a colon.
    """

    __slots__ = ("_token", "domain")

    def __init__(self, domain: str, token: str) -> None:
        self.domain = checked("domain", domain)
        if ":" in domain:
            raise ValueError("domain must not contain a colon (RFC 7617, section 2)")
        self._token = checked("token", token)

    def authorization(self, uri: str) -> str | None:
        """``Basic`` with domain and token."""
        return _basic(self.domain, self._token)

    def __repr__(self) -> str:
        return f"ApiToken({self.domain!r}, token=***)"


class ApiUser(Auth):
    """Login of the first generation: domain, API user and API token in the URL's query.

    Args:
        domain: the PBX domain.
        api_user: the API user's name.
        api_token: that user's token.

    Raises:
        ValueError: a value is empty or has control characters.
    """

    __slots__ = ("_token", "api_user", "domain")

    needs_app_name = False

    def __init__(self, domain: str, api_user: str, api_token: str) -> None:
        self.domain = checked("domain", domain)
        self.api_user = checked("api_user", api_user)
        self._token = checked("api_token", api_token)

    def query(self) -> list[tuple[str, str]]:
        """``domain``, ``api_user`` and ``api_token``."""
        return [("domain", self.domain), ("api_user", self.api_user), ("api_token", self._token)]

    def authorization(self, uri: str) -> str | None:
        """None: the login is in the query."""
        return None

    def __repr__(self) -> str:
        return f"ApiUser({self.domain!r}, {self.api_user!r}, api_token=***)"


class Ticket(Auth):
    """Login with one-time tickets, for programs that must not hold an API token.

    Args:
        fetch: called before every connection with its URI (path and query, such as
            ``/basix/api/ws_cti?app_name=screen``); returns a fresh ticket for that very URI. It runs in a thread of
            its own under the connect deadline, and may raise anything: the attempt then fails and is repeated.
            :class:`TicketService` is a ready-made one.

    Raises:
        TypeError: ``fetch`` cannot be called.
    """

    __slots__ = ("_fetch",)

    blocking = True

    def __init__(self, fetch: Callable[[str], str]) -> None:
        if not callable(fetch):
            raise TypeError("Ticket takes a callable that returns a fresh ticket for a URI, not a ticket")
        self._fetch = fetch

    def authorization(self, uri: str) -> str | None:
        """``Basic`` with ``ws_ticket`` and a fresh ticket."""
        ticket = self._fetch(uri)
        try:
            checked("ticket", ticket)
        except ValueError as error:
            raise TicketError(f"fetch returned no ticket: {error}") from None
        return _basic("ws_ticket", ticket)

    def __repr__(self) -> str:
        return f"Ticket({type(self._fetch).__name__})"


def _converse(sock: socket.socket, dialogue: Dialogue) -> None:
    """Say to a proxy what it wants to hear, and leave what follows its answer unread."""
    received = b""
    with contextlib.suppress(StopIteration):
        step = next(dialogue)
        while True:
            if isinstance(step, bytes):
                sock.sendall(step)
                step = dialogue.send(b"")
            elif len(received) == step:
                step, received = dialogue.send(received), b""
            elif data := sock.recv(step - len(received)):
                received += data
            else:
                raise EOFError("the proxy ended the connection")


def _abort(connection: http.client.HTTPConnection) -> None:
    """Let whatever waits for the connection's socket find its end."""
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


class TicketService:
    """Fetches tickets from the PBX's own ``gen_ws_ticket``; give it to :class:`Ticket`.

    ::

        Ticket(TicketService("bcs.brastel.com", ApiToken("test1.com", token)))

    Args:
        server: as for :class:`~basix_cti.CTIClient`.
        auth: the API token that entitles to tickets.
        verify: False takes any certificate: for test rigs only.
        ca_file: a file of trusted certificates in PEM form; None for the system's.
        proxy: as for :class:`~basix_cti.CTIClient`.
        timeout: seconds for the connection, and as many for the request and its answer together.

    Raises:
        ValueError: ``server`` or ``proxy`` is of no known form, or ``ca_file`` beside ``verify=False``.
    """

    __slots__ = ("_context", "_endpoint", "_proxy", "_timeout", "auth")

    def __init__(
        self,
        server: str,
        auth: ApiToken,
        *,
        verify: bool = True,
        ca_file: str | None = None,
        proxy: str | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._endpoint = Endpoint.parse(server)
        self._context = tls_context(verify=verify, ca_file=ca_file) if self._endpoint.tls else None
        self._proxy = None if proxy is None else Proxy(proxy)
        self._timeout = timeout
        self.auth = auth

    def __call__(self, uri: str) -> str:
        """A fresh ticket for one connection to ``uri`` (path and query).

        Raises:
            AuthError: the PBX refused the API token.
            TicketError: it could not be reached, or gave no ticket.
        """
        status, body = self._post(uri)
        if status in (401, 403):
            raise AuthError(f"{self._where()} refused the API token (HTTP {status}): check domain and token", status)
        if status != 200:
            raise TicketError(f"{self._where()} answered HTTP {status} instead of a ticket")
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise TicketError(f"{self._where()} answered with something else than a JSON object")
        code, ticket = answer.get("result_code"), answer.get("ticket")
        if code != 0 or not isinstance(ticket, str):
            told = [str(value)[:200] for key, value in answer.items() if key not in ("result_code", "ticket")]
            detail = one_line("; ".join(told)) or "no description"
            raise TicketError(f"{self._where()} gave no ticket: result_code {one_line(str(code), 20)} ({detail})")
        return ticket

    def _post(self, uri: str) -> tuple[int, bytes]:
        failure = ""
        connection = self._connection()
        # The time-out of a socket starts anew with each byte; this one does not.
        deadline = threading.Timer(self._timeout, _abort, (connection,))
        deadline.daemon = True
        deadline.start()
        try:
            if self._proxy is not None:
                self._through(self._proxy, connection)
            path, body = self._endpoint.ticket_endpoint()[1], json.dumps({"uri": uri})
            connection.request("POST", path, body, self._headers(uri))
            response = connection.getresponse()
            return response.status, response.read(_MAX_ANSWER)
        except (OSError, ValueError, EOFError, http.client.HTTPException) as error:
            failure = f"{type(error).__name__}: {error}"
        except ConnectError as error:
            failure = str(error)
        finally:
            deadline.cancel()
            connection.close()
            deadline.join()
        raise TicketError(f"no answer from {self._where()} ({one_line(failure)})")

    def _headers(self, uri: str) -> dict[str, str]:
        return {"Authorization": self.auth.authorization(uri) or "", "Content-Type": "application/json"}

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._endpoint.host, self._endpoint.port
        if isinstance(self._context, ssl.SSLContext):
            return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._context)
        return http.client.HTTPConnection(host, port, timeout=self._timeout)

    def _through(self, proxy: Proxy, connection: http.client.HTTPConnection) -> None:
        """Connect through the proxy; http.client leaves a socket that is there as it is."""
        sock = connection.sock = socket.create_connection((proxy.host, proxy.port), self._timeout)
        _converse(sock, proxy.tunnel(self._endpoint))
        if self._context is not None:
            connection.sock = self._context.wrap_socket(sock, server_hostname=self._endpoint.host)

    def _where(self) -> str:
        scheme, path = self._endpoint.ticket_endpoint()
        return f"{scheme}://{self._endpoint.address}{path}"

    def __repr__(self) -> str:
        return f"TicketService({self._where()!r}, {self.auth!r})"
