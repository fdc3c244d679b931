"""Every error that basix_cti raises or reports, in one tree.

::

    CTIError
    ├── DecodeError         bytes that are not a valid Erlang term (also a ValueError)
    ├── EncodeError         a Python value that has no Erlang term (also a ValueError)
    ├── ConnectError        no connection came about; the client tries again
    │   ├── ConnectTimeout  the deadline for the whole connect passed
    │   ├── TLSError        certificate, host name or TLS handshake
    │   ├── HandshakeError  the server answered, but not with a WebSocket
    │   │   └── AuthError   the server refused the login (HTTP 401 or 403)
    │   └── TicketError     no one-time ticket could be had
    ├── ConnectionLost      a connection that was up has ended
    │   ├── ConnectionClosed    the PBX sent a close frame
    │   ├── ConnectionLimitReached  the PBX allows no further connection for this user and app_name
    │   ├── ConnectionReplaced  another client with the same app_name forced its way in
    │   ├── PingTimeout         nothing was received for too long
    │   ├── SendTimeout         the PBX stopped reading
    │   ├── ProtocolError       the PBX broke the rules of WebSocket, or a limit of ours
    │   └── Stopped             stop() was called on this side
    ├── NotConnected        a command was given while there is no connection
    ├── CommandError        a command whose form is wrong (also a ValueError)
    ├── ConfigError         a setting that is missing or wrong (also a ValueError)
    ├── RecordingError      a file that is no recording, or cannot become one (also a ValueError)
    └── ForkedError         a client was used in a child process of the one that made it

Each message is one line that tells what happened, where, and what to do next. No message, ``repr`` or
traceback of the library holds a token or a ticket.
"""

from __future__ import annotations

__all__ = [
    "AuthError",
    "CTIError",
    "CTIWarning",
    "CommandError",
    "ConfigError",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionClosed",
    "ConnectionLimitReached",
    "ConnectionLost",
    "ConnectionReplaced",
    "DecodeError",
    "EncodeError",
    "ForkedError",
    "HandshakeError",
    "NotConnected",
    "PingTimeout",
    "ProtocolError",
    "RecordingError",
    "SendTimeout",
    "Stopped",
    "TLSError",
    "TicketError",
]


class CTIError(Exception):
    """The root of all errors of this library."""


class CTIWarning(UserWarning):
    """A likely mistake in a program that uses the library, such as a misspelled hook."""


class DecodeError(CTIError, ValueError):
    """Bytes that are not one whole, valid Erlang external term, or that exceed a limit.

    Attributes:
        reason: what is wrong, without the position.
        offset: index of the offending byte in the data that was given to the decoder; inside a compressed term
            (tag 80), in the inflated data. None when no single byte is to blame.
        tag: the term's tag byte as an int, None when no tag was read.
    """

    def __init__(self, reason: str, offset: int | None = None, tag: int | None = None) -> None:
        self.reason = reason
        self.offset = offset
        self.tag = tag
        where = "" if offset is None else f" at byte {offset}"
        what = "" if tag is None else f" (tag {tag})"
        super().__init__(f"{reason}{where}{what}")

    def __reduce__(self) -> tuple[type[DecodeError], tuple[str, int | None, int | None]]:
        return type(self), (self.reason, self.offset, self.tag)


class EncodeError(CTIError, ValueError):
    """A Python value that cannot be written as an Erlang external term."""


class ConnectError(CTIError):
    """A connection attempt failed. The client reports it to ``on_error`` and tries again after a delay."""


class ConnectTimeout(ConnectError):
    """Name look-up, TCP, TLS, ticket and WebSocket handshake together took longer than ``connect_timeout``."""


class TLSError(ConnectError):
    """The server's certificate could not be verified, or the TLS handshake failed. Nothing was sent in the clear."""


class HandshakeError(ConnectError):
    """The server answered the WebSocket handshake with something else.

    Attributes:
        status: the HTTP status as an int, None when the answer was not HTTP.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)

    def __reduce__(self) -> tuple[type[HandshakeError], tuple[str, int | None]]:
        return type(self), (str(self), self.status)


class AuthError(HandshakeError):
    """The PBX refused the login (HTTP 401 or 403): domain, token, ticket or rights are wrong."""


class TicketError(ConnectError):
    """The callable that fetches one-time tickets failed, or what it returned is no ticket."""


class ConnectionLost(CTIError):
    """A connection that was up has ended; what ``on_disconnect`` is given, and what waiting commands fail with.

    Attributes:
        code: the close code of RFC 6455, section 7.4, None when the connection ended without a close frame.
        reason: the text that the peer sent with the code, or what was noticed on this side.
    """

    def __init__(self, message: str, code: int | None = None, reason: str = "") -> None:
        self.code = code
        self.reason = reason or message
        super().__init__(message)

    def __reduce__(self) -> tuple[type[ConnectionLost], tuple[str, int | None, str]]:
        return type(self), (str(self), self.code, self.reason)


class ConnectionClosed(ConnectionLost):
    """The PBX ended the connection with a close frame."""


class ConnectionLimitReached(ConnectionLost):
    """The PBX has two connections for this user and ``app_name`` already (``connection_limit_reached``)."""


class ConnectionReplaced(ConnectionLost):
    """Another client with the same user and ``app_name`` took this connection's place (``connection_replaced``)."""


class PingTimeout(ConnectionLost):
    """Not one byte arrived within ping_interval + ping_timeout: the peer or the way to it is gone."""


class SendTimeout(ConnectionLost):
    """The peer accepted no byte of what was to be sent within ``send_timeout``."""


class ProtocolError(ConnectionLost):
    """The peer broke RFC 6455 or exceeded a limit; ``code`` is what this side closed with."""


class Stopped(ConnectionLost):
    """The connection was ended by ``stop()`` on this side."""


class NotConnected(CTIError):
    """A command was given while the client has no connection; nothing was sent and nothing is kept."""


class CommandError(CTIError, ValueError):
    """A command's arguments are of the wrong form; nothing was sent."""


class ConfigError(CTIError, ValueError):
    """A setting that is missing, wrong, or does not go with another one; the message tells where it stands.

    Attributes:
        name: the setting's name, None where no single one is to blame.
        missing: True if it is needed, and in none of the places where settings are looked for.
    """

    def __init__(self, message: str, name: str | None = None, missing: bool = False) -> None:
        self.name = name
        self.missing = missing
        super().__init__(message)

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, str | None, bool]]:
        return type(self), (str(self), self.name, self.missing)


class RecordingError(CTIError, ValueError):
    """A file that is no recording, is one of a later form, or that another recorder is writing into."""


class ForkedError(CTIError):
    """A client was used in a forked child of the process that started it. Make a client of its own there."""
