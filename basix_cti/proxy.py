"""A proxy on the way to the PBX: from the URL that the user wrote to what is said to it. No I/O in here.

Sources: RFC 9110, section 9.3.6 (CONNECT), RFC 1928 (SOCKS 5) and RFC 1929 (its user names and passwords).
"""

from __future__ import annotations

import base64
import ipaddress
import re
import struct
from collections.abc import Generator
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from .endpoint import Endpoint, checked
from .errors import ConnectError

__all__ = ["Dialogue", "Proxy"]

_PORTS = {"http": 8080, "socks5": 1080}
_MAX_HEAD = 16 * 1024
_SOCKS_ERRORS = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "time exceeded",
    7: "CONNECT is not supported",
    8: "this kind of address is not supported",
}

Dialogue: TypeAlias = Generator[bytes | int, bytes, None]
"""Yields bytes to send (and is sent anything), or a number of bytes to read (and is sent exactly so many)."""


class Proxy:
    """An HTTP proxy that knows CONNECT, or a SOCKS 5 proxy. Its user name and password are in no ``repr``.

    Attributes:
        scheme: ``http`` or ``socks5``.
        host: name or address of the proxy, IPv6 without brackets.
        port: as an int.
    """

    __slots__ = ("_login", "host", "port", "scheme")

    def __init__(self, url: str) -> None:
        """
        Args:
            url: ``http://`` or ``socks5://``, then ``host`` or ``host:port``; before the host may stand
                ``user:password@``, each percent-encoded. The port is 8080 or 1080 if there is none.

        Raises:
            ValueError: it is not of that form. The message does not quote it.
        """
        checked("proxy", url)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        else:
            if parts.scheme not in _PORTS:
                raise ValueError("proxy must start with http:// or socks5://")
        if not host or port == 0 or parts.path not in ("", "/") or parts.query or parts.fragment or " " in url:
            raise ValueError(
                "proxy must be http://host:port or socks5://host:port, with user:password@ before the host"
            )
        self.scheme = parts.scheme
        self.host = host
        self.port = port or _PORTS[parts.scheme]
        self._login: tuple[str, str] | None = None
        if parts.username is not None:
            # What is no UTF-8 becomes lone surrogates, which are then refused.
            user, password = (
                unquote(text or "", errors="surrogateescape") for text in (parts.username, parts.password)
            )
            for text in (user, password):
                if text:
                    checked("the login in proxy", text)
            if self.scheme == "socks5" and not (0 < len(user.encode()) < 256 and 0 < len(password.encode()) < 256):
                raise ValueError("the login in proxy must have a user name and a password of at most 255 bytes")
            self._login = user, password

    @property
    def address(self) -> str:
        """``host:port``, as it stands in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def tunnel(self, endpoint: Endpoint) -> Dialogue:
        """What to say to the proxy for a way to ``endpoint``, whose name the proxy looks up.

        Raises:
            ConnectError: it refused, or said something odd.
        """
        return self._socks(endpoint) if self.scheme == "socks5" else self._connect(endpoint)

    def _connect(self, endpoint: Endpoint) -> Dialogue:
        lines = [f"CONNECT {endpoint.address} HTTP/1.1", f"Host: {endpoint.address}"]
        if self._login is not None:
            login = base64.b64encode(":".join(self._login).encode()).decode()
            lines.append(f"Proxy-Authorization: Basic {login}")
        yield "\r\n".join([*lines, "", ""]).encode()
        head = b""
        # Byte by byte, because behind the empty line the tunnel begins.
        while not head.endswith(b"\r\n\r\n"):
            head += yield 1
            if len(head) > _MAX_HEAD:
                raise ConnectError(f"the answer of the proxy {self.address} exceeds {_MAX_HEAD} bytes; is it one?")
        status = re.match(rb"HTTP/\d\.\d (\d{3})", head)
        if status is None:
            raise ConnectError(f"{self.address} did not answer as an HTTP proxy does; check proxy=")
        if not 200 <= int(status[1]) < 300:
            told = f"HTTP {int(status[1])}"
            raise ConnectError(f"the proxy {self.address} did not connect to {endpoint.address} ({told}); check proxy=")

    def _socks(self, endpoint: Endpoint) -> Dialogue:
        wanted = 0 if self._login is None else 2
        yield bytes([5, 1, wanted])
        version, method = yield 2
        if version != 5:
            raise ConnectError(f"{self.address} did not answer as a SOCKS 5 proxy does; check proxy=")
        if method != wanted:
            raise ConnectError(f"the proxy {self.address} refused the way to log in; check user and password in proxy=")
        if self._login is not None:
            user, password = (text.encode() for text in self._login)
            yield bytes([1, len(user)]) + user + bytes([len(password)]) + password
            if (yield 2)[1]:
                raise ConnectError(f"the proxy {self.address} refused the login; check user and password in proxy=")
        yield b"\x05\x01\x00" + _socks_address(endpoint.host) + struct.pack("!H", endpoint.port)
        _, reply, _, kind = yield 4
        if reply:
            told = _SOCKS_ERRORS.get(reply, f"code {reply}")
            raise ConnectError(f"the proxy {self.address} did not connect to {endpoint.address} ({told}); check proxy=")
        size = {1: 4, 4: 16}.get(kind)
        yield (size if size is not None else (yield 1)[0]) + 2

    def __repr__(self) -> str:
        return f"Proxy({self.scheme}://{'***@' if self._login is not None else ''}{self.address})"


def _socks_address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode()
        if len(name) > 255:
            raise ConnectError("the name of the server is too long for a SOCKS proxy") from None
        return bytes([3, len(name)]) + name
    return bytes([1 if address.version == 4 else 4]) + address.packed
