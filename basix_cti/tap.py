"""``Tap``: what sees every message of a connection as it is on the wire, both ways."""

from __future__ import annotations

from .errors import ConnectionLost
from .events import Session

__all__ = ["Tap"]


class Tap:
    """Sees the messages of a :class:`~basix_cti.CTIClient` before they are decoded. Subclass it; give it to ``tap=``.

    A client calls its methods **in the I/O thread**, which waits for them: they must return at once, must not wait for
    the network, a disk or a lock that is held for long, and must not call the client. What they raise is logged, and
    that tap gets nothing more of this connection and those that follow, until the client is started anew.

    Messages are whole: binary ones that the PBX sent, text ones that this side sent. Pings, close frames and the
    handshake are not among them, so neither are tokens and tickets. Times are seconds since the epoch; None is now.

    :class:`basix_cti.recording.RecordingTap` is a ready-made one.
    """

    def connected(self, session: Session, at: float | None = None) -> None:
        """A connection is up; the messages that follow are its."""

    def received(self, frame: bytes, at: float | None = None) -> None:
        """One whole binary message came from the PBX, whether or not it can be decoded."""

    def sent(self, text: str, at: float | None = None) -> None:
        """One whole text message was given out to the PBX."""

    def disconnected(self, reason: ConnectionLost, at: float | None = None) -> None:
        """The connection has ended."""
