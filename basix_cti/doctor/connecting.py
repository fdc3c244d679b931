"""From the server's name to a WebSocket on which the login was accepted."""

from __future__ import annotations

import errno
import ipaddress
import socket
import ssl
import time

from ..client import login_query
from ..config import Settings
from ..endpoint import Endpoint, one_line, tls_context
from ..errors import AuthError, ConnectError, ConnectTimeout, HandshakeError
from ..limits import DEFAULT_LIMITS
from ..opening import Address, authorize, look_up, open_tcp, open_tls, open_tunnel, open_websocket
from ..proxy import Proxy
from ..transport import Connection
from ..values import Json
from ..waiting import Aside, Deadline, Waker
from .certificate import Certificate, look, problems
from .findings import OK, SKIPPED, WARNING, Failed, Finding, milliseconds, origin

__all__ = ["Connecting"]

_RENEW_DAYS = 14
_SELECTORS = ("user_id", "user_name", "user_label", "user_extension", "user_did", "user_email")


class Connecting:
    """The first seven steps, each to be called once and in order, as long as none of them raises.

    Args:
        settings: where the PBX is, and how to log in.
        timeout: seconds for each step.

    Attributes:
        timeout: as above.
        endpoint: where the PBX is.
        proxy: through which to connect; None for none.
        waker: for waits on the connection.
        header: the Authorization header, once it is known; None where there is none.
        connection: the WebSocket; None while there is none.
        asked_at, answered_at: when the handshake was begun and done, seconds since the epoch.
    """

    def __init__(self, settings: Settings, timeout: float) -> None:
        self.timeout = timeout
        self.header: str | None = None
        self.connection: Connection | None = None
        self.asked_at = self.answered_at = 0.0
        self._settings = settings
        self.endpoint = Endpoint.parse(settings.server)
        self.proxy = None if settings.proxy is None else Proxy(settings.proxy)
        self._nearest = self.proxy or self.endpoint
        self._auth = settings.auth
        selectors: dict[str, str | None] = {name: getattr(settings, name) for name in _SELECTORS}
        self._selector = next((name for name, value in selectors.items() if value is not None), None)
        query = login_query(self._auth, settings.app_name, settings.full_events, False, selectors)
        self._uri = self.endpoint.uri(query)
        self._context: ssl.SSLContext | None = None
        if self.endpoint.tls:
            self._context = tls_context(verify=not settings.insecure, ca_file=settings.ca_file)
        self._names = Aside("basix-cti-doctor-lookup", f"the look-up of {self._nearest.host}")
        self._fetch = Aside("basix-cti-doctor-ticket", "fetching a ticket")
        self._addresses: list[Address] = []
        self._sock: socket.socket | None = None
        self._refused: AuthError | None = None
        self.waker = Waker()  # last, because the above may raise

    def close(self) -> None:
        """Close the connection, as far as it came."""
        if self.connection is not None:
            if not self.connection.is_over():
                self.connection.close(1000)
                self.connection.flush()
            self.connection.abandon()
        elif self._sock is not None:
            self._sock.close()
        self.waker.close()

    def name(self) -> Finding:
        """Look up the host's name."""
        host = self._nearest.host
        began = time.monotonic()
        try:
            self._addresses = look_up(self._nearest, self.waker, Deadline(self.timeout), self._names)
        except ConnectTimeout:
            raise Failed(
                f"no answer within {self.timeout:g} s",
                "check this machine's DNS servers, and whether a firewall keeps it from them",
            ) from None
        except ConnectError:
            raise Failed(
                f"the name {host} was not found",
                f"check the name{self._nearest_origin()}, and this machine's DNS",
            ) from None
        seconds = time.monotonic() - began
        found: list[Json] = [str(address[4][0]) for address in self._addresses]
        told = f"{', '.join(map(str, found))} ({milliseconds(seconds)})"
        if found == [host]:
            told = "this is an address already"
        return Finding("name", OK, told, "", {"addresses": found, "seconds": round(seconds, 3)})

    def _nearest_origin(self) -> str:
        return origin(self._settings, "server" if self.proxy is None else "proxy")

    def tcp(self) -> Finding:
        """Connect to one address after the other, until one accepts."""
        failures: list[tuple[str, ConnectError]] = []
        for address in self._addresses:
            began = time.monotonic()
            where = _where(address)
            try:
                self._sock = open_tcp(self._nearest, [address], self.waker, Deadline(self.timeout))
            except ConnectError as error:
                failures.append((where, error))
                continue
            seconds = time.monotonic() - began
            told = f"{where} accepted ({milliseconds(seconds)})"
            failed: list[Json] = [name for name, _ in failures]
            details: dict[str, Json] = {"peer": where, "seconds": round(seconds, 3), "failed": failed}
            if not failures:
                return Finding("tcp", OK, told, "", details)
            told += f", but {'; '.join(f'{name} did not: {_why(error)}' for name, error in failures)}"
            if not any(isinstance(error, ConnectTimeout) for _, error in failures):
                return Finding("tcp", OK, told, "", details)  # it costs no time, and is usual for IPv6
            advice = "each connection loses time with addresses that are silent; have them taken out of DNS"
            return Finding("tcp", WARNING, told, advice, details)
        told = "; ".join(f"{name}: {_why(error)}" for name, error in failures)
        raise Failed(told, self._tcp_advice([error for _, error in failures]))

    def _tcp_advice(self, errors: list[ConnectError]) -> str:
        if all(_errno(error) == errno.ECONNREFUSED for error in errors):
            port = f"port {self._nearest.port}{self._nearest_origin()}"
            whose = "PBX" if self.proxy is None else "proxy"
            return f"nothing listens there on {port}: check the port, and whether the {whose} is up"
        if all(isinstance(error, ConnectTimeout) for error in errors):
            return "a firewall on the way drops the packets, the machine is down, or the address is wrong"
        return "check this machine's network, and whether it has a route to there"

    def way(self) -> Finding:
        """Have the proxy connect to the PBX, if there is one."""
        assert self._sock is not None
        if self.proxy is None:
            return Finding("proxy", SKIPPED, "none is given")
        details: dict[str, Json] = {"scheme": self.proxy.scheme, "address": self.proxy.address}
        began = time.monotonic()
        try:
            open_tunnel(self._sock, self.endpoint, self.proxy, self.waker, Deadline(self.timeout))
        except ConnectTimeout:
            raise Failed(
                f"no answer within {self.timeout:g} s",
                f"check whether this is a proxy of the kind {self.proxy.scheme}://{self._nearest_origin()}; it may "
                "also wait for a PBX that is silent",
                details,
            ) from None
        except ConnectError as error:
            raise Failed(
                one_line(str(error).partition("; ")[0]),
                f"check the proxy's address and kind, user and password{self._nearest_origin()}, and whether it may "
                f"connect to {self.endpoint.address}",
                details,
            ) from None
        seconds = time.monotonic() - began
        return Finding("proxy", OK, f"it did ({milliseconds(seconds)})", "", {**details, "seconds": round(seconds, 3)})

    def tls(self) -> Finding:
        """Make TLS, and look at the certificate."""
        assert self._sock is not None
        if self._context is None:
            return self._in_the_clear(self._sock)
        address = self.endpoint.address
        plain = f"check the port: does it speak TLS? For a test rig without it, write ws://{address}"
        try:
            tls = open_tls(self._sock, self.endpoint, self._context, self.waker, Deadline(self.timeout))
        except ConnectTimeout:
            raise Failed(f"no answer within {self.timeout:g} s", plain) from None
        except ConnectError as error:
            if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                raise self._untrusted(error.__cause__) from None
            plain += "; an old server may offer only versions of TLS that this machine refuses"
            raise Failed(_ssl_words(error), plain) from None
        self._sock = tls
        certificate = Certificate.of(tls) or look(self._handshake)
        words = "" if certificate is None else f": {certificate.words}"
        details = {"version": tls.version(), **({} if certificate is None else certificate.details)}
        if self._settings.insecure:
            told = f"{tls.version()}, but the certificate was not verified{words}"
            advice = f"do without insecure{origin(self._settings, 'insecure')}: anybody on the way can read the token"
            return Finding("tls", WARNING, told, advice, details)
        told = f"{tls.version()}, and the certificate is trusted{words}"
        if certificate is not None and certificate.days_left < _RENEW_DAYS:
            return Finding("tls", WARNING, told, "have the PBX's certificate renewed in time", details)
        return Finding("tls", OK, told, "", details)

    def _in_the_clear(self, sock: socket.socket) -> Finding:
        told = "the server is a ws:// URL"
        if self.proxy is None and ipaddress.ip_address(sock.getpeername()[0].partition("%")[0]).is_loopback:
            return Finding("tls", SKIPPED, told)
        told = "it is not, because the server is a ws:// URL: the token crosses the network in the clear"
        return Finding("tls", WARNING, told, "use wss://; ws:// is for test rigs on this machine")

    def _untrusted(self, error: ssl.SSLCertVerificationError) -> Failed:
        certificate = look(self._handshake)
        found, advices = problems(error, certificate, self.endpoint.host)
        told = f"the certificate {' and '.join(found)}"
        details: dict[str, Json] = {"verify_code": error.verify_code}
        if certificate is not None:
            told += f": {certificate.words}"
            details |= certificate.details
        return Failed(told, "; ".join(advices), details)

    def _handshake(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        deadline = Deadline(self.timeout)
        sock = open_tcp(self._nearest, self._addresses, self.waker, deadline)
        if self.proxy is not None:
            try:
                open_tunnel(sock, self.endpoint, self.proxy, self.waker, deadline)
            except ConnectError:
                sock.close()
                raise
        return open_tls(sock, self.endpoint, context, self.waker, deadline)

    def ticket(self) -> Finding:
        """Fetch a one-time ticket, if the login is by one."""
        settings = self._settings
        try:
            self.header = authorize(self._auth, self._uri, self.waker, Deadline(self.timeout), self._fetch)
        except AuthError as error:
            raise Failed(
                f"the PBX refused the API token for that (HTTP {error.status})",
                f"check domain{origin(settings, 'domain')} and token{origin(settings, 'token')}",
                {"status": error.status},
            ) from None
        except ConnectError as error:
            advice = "check whether this PBX gives tickets; an API token logs in alone, without --ticket"
            raise Failed(one_line(str(error)), advice) from None
        if not self._auth.blocking:
            return Finding("ticket", SKIPPED, "not needed for this login")
        return Finding("ticket", OK, "the PBX gave a fresh one")

    def http(self) -> Finding:
        """Do the WebSocket handshake, and tell how it was answered."""
        assert self._sock is not None
        deadline = Deadline(self.timeout)
        self.asked_at = time.time()
        try:
            self.connection = open_websocket(
                self._sock, self.endpoint, self._uri, self.header, DEFAULT_LIMITS, self.waker, deadline
            )
        except AuthError as error:
            self._refused = error
            return Finding(
                "http", OK, f"answered with HTTP {error.status}, see the next step", "", {"status": error.status}
            )
        except ConnectTimeout:
            speaks = "something listens there that does not speak HTTP"
            if not self.endpoint.tls:
                speaks += ", or it speaks TLS: then write wss://"
            told = f"no answer within {self.timeout:g} s"
            raise Failed(told, f"check the port: {speaks}") from None
        except HandshakeError as error:
            status = error.status
            told = "answered with something else than a WebSocket does"
            if status not in (None, 101):
                told = f"answered with HTTP {status}, not with a WebSocket"
            raise Failed(told, self._http_advice(status), {"status": status}) from None
        self.answered_at = time.time()
        return Finding("http", OK, "answered with a WebSocket (HTTP 101)", "", {"status": 101})

    def _http_advice(self, status: int | None) -> str:
        server = origin(self._settings, "server")
        if status is None or status < 300:
            advice = f"check server and port{server}: is this a Basix PBX?"
            return advice if self.endpoint.tls else f"{advice} Or does the port speak TLS? Then write wss://"
        if status < 400:
            return (
                "a redirection is not followed, because it would take the token elsewhere: check the server's name"
                f"{server}, or give the host that it leads to"
            )
        if status >= 500:
            return "the web server is up, but the PBX behind it is not, or has a problem: ask the PBX's operator"
        if status == 429:
            return "too many attempts: wait a while"
        if status == 400:
            advice = f"the PBX did not take the parameters: check app_name{origin(self._settings, 'app_name')}"
            return advice if self.endpoint.tls else f"{advice}; or does the port speak TLS? Then write wss://"
        user = "" if self._selector is None else f", and {self._selector}{origin(self._settings, self._selector)}"
        return f"check the server's name and path{server}{user}"

    def login(self) -> Finding:
        """Tell whether the login was accepted, which the answer to the handshake has shown."""
        settings = self._settings
        if self._refused is None:
            return Finding("login", OK, f"accepted; events are those of {self._watched()}")
        status = self._refused.status
        advice = f"check domain{origin(settings, 'domain')} and token{origin(settings, 'token')}"
        if status == 403:
            advice = f"the login may lack a right: {advice}"
            if settings.full_events:
                advice += "; full_events needs an API token or a PBX admin, so try it without"
        elif settings.api_user is not None:
            advice += f", and api_user{origin(settings, 'api_user')}; a PBX of today needs the token without --api-user"
        else:
            advice += "; a PBX of the first generation (2016 to 2018) needs --api-user"
        raise Failed(f"refused with HTTP {status}", advice, {"status": status})

    def _watched(self) -> str:
        if self._settings.full_events or self._settings.api_user is not None:
            return "the whole PBX"
        if self._selector is None:
            return "one user, whom the PBX chooses"
        return f"the user with {self._selector.removeprefix('user_')} {getattr(self._settings, self._selector)}"


def _where(address: Address) -> str:
    host, port = address[4][:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _errno(error: ConnectError) -> int | None:
    return error.__cause__.errno if isinstance(error.__cause__, OSError) else None


def _why(error: ConnectError) -> str:
    if isinstance(error, ConnectTimeout):
        return "no answer"
    cause = error.__cause__
    return one_line(cause.strerror or str(cause) if isinstance(cause, OSError) else str(error))


def _ssl_words(error: ConnectError) -> str:
    """OpenSSL's reason without its source line, such as ``wrong version number``."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLError) and cause.reason:
        return cause.reason.replace("_", " ").lower()
    return _why(error)
