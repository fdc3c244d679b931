"""Where a PBX is: from what the user wrote to scheme, host, port and path. Nothing in it is secret."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

__all__ = ["Endpoint", "checked", "one_line", "tls_context"]

_PATH = "/basix/api/ws_cti"
_PORTS = {"ws": 80, "wss": 443}


def checked(name: str, value: object) -> str:
    """``value``, if it is a text that may stand in a URL or a header.

    Raises:
        ValueError: it is no text, is empty, or has control characters or lone surrogates. The message names the
            parameter, never its value, which may be a secret.
    """
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be a text that is not empty")
    if any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 for char in value):
        raise ValueError(f"{name} must not contain control characters")
    return value


def one_line(text: str, limit: int = 300) -> str:
    """``text`` without control characters and line ends, cut to ``limit`` characters: for what a peer has sent."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:limit]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect.

    Attributes:
        scheme: ``ws`` or ``wss``. host: name or address, IPv6 without brackets. port: as an int. path: of the URL.
    """

    scheme: str
    host: str
    port: int
    path: str = _PATH

    @classmethod
    def parse(cls, server: str) -> Endpoint:
        """The endpoint of ``host``, ``host:port``, or a ``ws://`` or ``wss://`` URL.

        Without a scheme it is ``wss``; without a path, the PBX's own.

        Raises:
            ValueError: the text is none of these, or carries credentials, a query or a fragment.
        """
        checked("server", server)
        url = server if "://" in server else f"wss://{server}"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError("server is not a valid host, host:port or URL") from None
        if parts.scheme not in _PORTS:
            raise ValueError(
                f"server starts with {parts.scheme}://, but a PBX is reached by wss:// (test rigs by ws://)"
            )
        if parts.username is not None or parts.password is not None:
            raise ValueError("server must not contain credentials; pass them with auth=")
        if parts.query or parts.fragment or " " in server:
            raise ValueError("server must not contain a query, a fragment or a space")
        name = parts.hostname or ""
        try:
            host = name.encode("ascii" if ":" in name else "idna").decode()
        except UnicodeError:
            host = ""
        if not host or port == 0:
            raise ValueError("server is not a valid host, host:port or URL")
        path = _PATH if parts.path in ("", "/") else quote(parts.path, safe="/%:@!$&'()*+,;=~-._")
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], path)

    @property
    def tls(self) -> bool:
        """True for ``wss``."""
        return self.scheme == "wss"

    @property
    def address(self) -> str:
        """``host:port``, as it stands in a URL."""
        return f"{self._host}:{self.port}"

    @property
    def host_header(self) -> str:
        """The value of the Host header: without the port where it is the scheme's own (RFC 9110, section 7.2)."""
        return self._host if self.port == _PORTS[self.scheme] else self.address

    @property
    def _host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def url(self) -> str:
        """The URL without a query, for people to read."""
        return f"{self.scheme}://{self.address}{self.path}"

    def uri(self, query: Sequence[tuple[str, str]]) -> str:
        """Path and query, as they stand in the request and in the order of ``query``."""
        return f"{self.path}?{urlencode(query, quote_via=quote)}" if query else self.path

    def ticket_endpoint(self) -> tuple[str, str]:
        """URL scheme (``http`` or ``https``) and path of the ``gen_ws_ticket`` beside this ``ws_cti``."""
        return ("https" if self.tls else "http"), self.path.rpartition("/")[0] + "/gen_ws_ticket"


def tls_context(*, verify: bool = True, ca_file: str | None = None) -> ssl.SSLContext:
    """The TLS settings for a PBX.

    Args:
        verify: False takes any certificate of any host: for test rigs only.
        ca_file: a file of certificates in PEM form that are trusted instead of the system's; None for the system's.

    Raises:
        OSError: ``ca_file`` cannot be read, or holds no certificate (then an ``ssl.SSLError``).
        ValueError: ``ca_file`` beside ``verify=False``, which would not look at it.
    """
    if ca_file is not None and not verify:
        raise ValueError("ca_file has no effect with verify=False; drop one of the two")
    context = ssl.create_default_context(cafile=ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
