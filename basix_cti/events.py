"""What a PBX can say, one small class each, and what the client itself has to tell.

``on_event`` gets every one of them; the docstring of each names its other hooks. Events are immutable by contract.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import ClassVar, Final, Literal

from .calls import Call
from .elements import Channel, Element, MessageWaiting, ParkInfo
from .errors import ConnectionLost
from .etf import Term
from .readers import plain
from .values import Json

__all__ = [
    "CallEvent",
    "Connected",
    "Disconnected",
    "Event",
    "Failed",
    "InfoEvent",
    "InitialInfo",
    "Msg",
    "Overflowed",
    "Session",
    "SystemMsg",
    "UnknownMessage",
]

ADDED: Final = "added"
UPDATED: Final = "updated"
REMOVED: Final = "removed"


@dataclass(slots=True)
class Session:
    """One login at the PBX, as ``on_connect`` gets it.

    Attributes:
        number: 1 for the client's first connection, 2 for the next, …; from 2 on a gap lies before it.
        url: where to, without credentials or any query; None for a :class:`~basix_cti.MessageParser`.
        peer: the address that the TCP connection leads to, ``host:port``; None where unknown.
        tls: the TLS version, such as ``TLSv1.3``; None for a connection in the clear.
        connected_at: when, seconds since the epoch.
    """

    number: int
    url: str | None = None
    peer: str | None = None
    tls: str | None = None
    connected_at: float = 0.0

    def to_dict(self) -> dict[str, Json]:
        """All fields, JSON-ready."""
        return {name: getattr(self, name) for name in ("number", "url", "peer", "tls", "connected_at")}


@dataclass(slots=True)
class Event:
    """The base of all events.

    Attributes:
        received_at: when its bytes arrived, or when it was noticed, seconds since the epoch. For a synthetic event:
            when the message arrived that made the change known; the change itself lies before.
        synthetic: True for a change or a full state that the PBX did not send as such, but that follows from what it
            did send: what happened in a gap.
    """

    NAME: ClassVar[str] = ""

    received_at: float = field(default=0.0, kw_only=True)
    synthetic: bool = field(default=False, kw_only=True)

    @property
    def received_time(self) -> datetime:
        """``received_at`` as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.received_at, timezone.utc)

    def to_dict(self) -> dict[str, Json]:
        """``{"type", "received_at" (ISO 8601), "synthetic", …}``, JSON-ready."""
        received = self.received_time.isoformat(timespec="milliseconds")
        return {"type": self.NAME, "received_at": received, "synthetic": self.synthetic, **self._content()}

    def _content(self) -> dict[str, Json]:
        return {}


@dataclass(slots=True)
class InitialInfo(Event):
    """The full present state of one element (``initial_info``, ``initial_chan_info``).

    Hooks: ``on_initial_info``; for channels also ``on_initial_chan_info``, with those that have not ended.

    Attributes:
        element: the element's name.
        items: its objects, as sent.
        generation: of the wire protocol, 1 or 2; a synthetic event always has 2.
        channels: for channels, those of ``items`` that have not ended.
    """

    NAME: ClassVar[str] = "initial_info"

    element: str
    items: list[Element]
    generation: int = 2
    channels: list[Channel] = field(default_factory=list)

    def _content(self) -> dict[str, Json]:
        return {"element": self.element, "items": [item.to_dict() for item in self.items]}


@dataclass(slots=True)
class InfoEvent(Event):
    """A change of one object (``info_event``, ``chan_info``, ``park_info``, ``unpark_info``, ``mwi_info``).

    Hooks: ``on_info_event``; for a channel also ``on_chan_info``, where ``news`` is true; ``on_park_info``,
    ``on_unpark_info`` and ``on_mwi_info`` where ``park``, ``unpark`` or ``mwi`` is set.

    Attributes:
        element: the element's name.
        item: the object after the change; what was last known of it where it was removed.
        event: ``added``, ``updated``, ``removed``, or another word that the PBX sent.
        generation: of the wire protocol, 1 or 2; a synthetic event always has 2.
        news: False for a channel whose end was told before: its late ``removed`` says nothing new.
        park, unpark: a channel entered or left a parking slot; else None.
        mwi: a voicemail box changed; else None.
    """

    NAME: ClassVar[str] = "info_event"

    element: str
    item: Element
    event: str
    generation: int = 2
    news: bool = True
    park: ParkInfo | None = None
    unpark: ParkInfo | None = None
    mwi: MessageWaiting | None = None

    def _content(self) -> dict[str, Json]:
        return {
            "element": self.element,
            "event": self.event,
            "item": self.item.to_dict(),
            "news": self.news,
            "park": self.park and self.park.to_dict(),
            "unpark": self.unpark and self.unpark.to_dict(),
            "mwi": self.mwi and self.mwi.to_dict(),
        }


@dataclass(slots=True)
class CallEvent(Event):
    """Something happened to a call, by what its channels tell. It follows the event of the channel that showed it.

    Hooks: ``on_call_ringing``, ``on_call_answered``, ``on_call_parked``, ``on_call_transferred`` or
    ``on_call_ended``, by ``kind``.

    Attributes:
        kind: ``ringing``, ``answered``, ``parked``, ``transferred`` or ``ended``.
        call: the call as it is now.
    """

    NAME: ClassVar[str] = "call"

    kind: Literal["ringing", "answered", "parked", "transferred", "ended"]
    call: Call

    def _content(self) -> dict[str, Json]:
        return {"kind": self.kind, "call": self.call.to_dict()}


@dataclass(slots=True)
class SystemMsg(Event):
    """A message of the PBX itself (``system_msg``). Hook: ``on_system_msg``.

    Attributes:
        msg: a str for text or an atom (``connection_limit_reached``, ``connection_replaced``, ``logout``), else the
            decoded term.
    """

    NAME: ClassVar[str] = "system_msg"

    msg: str | Term

    def _content(self) -> dict[str, Json]:
        return {"msg": plain(self.msg)}


@dataclass(slots=True)
class Msg(Event):
    """A message that a user or an admin sent (``msg``). Hook: ``on_msg``.

    Attributes:
        msg: a str for text or an atom, else the decoded term.
    """

    NAME: ClassVar[str] = "msg"

    msg: str | Term

    def _content(self) -> dict[str, Json]:
        return {"msg": plain(self.msg)}


@dataclass(slots=True)
class UnknownMessage(Event):
    """A message of a kind or form that this release of the library does not know. Hook: ``on_event`` alone.

    Attributes:
        kind: the message's name, None where it has none.
        term: the whole message, decoded.
    """

    NAME: ClassVar[str] = "unknown"

    kind: str | None
    term: Term

    def _content(self) -> dict[str, Json]:
        return {"kind": self.kind, "term": plain(self.term)}


@dataclass(slots=True)
class Connected(Event):
    """A connection is up. Hook: ``on_connect``."""

    NAME: ClassVar[str] = "connected"

    session: Session

    def _content(self) -> dict[str, Json]:
        return {"session": self.session.to_dict()}


@dataclass(slots=True)
class Disconnected(Event):
    """The connection has ended. Hook: ``on_disconnect``."""

    NAME: ClassVar[str] = "disconnected"

    reason: ConnectionLost

    def _content(self) -> dict[str, Json]:
        return {"reason": self.reason.reason, "code": self.reason.code, "kind": type(self.reason).__name__}


@dataclass(slots=True)
class Overflowed(Event):
    """Events came faster than the handler took them, and some were dropped. Hook: ``on_overflow``.

    Attributes:
        count: how many messages were dropped.
    """

    NAME: ClassVar[str] = "overflowed"

    count: int

    def _content(self) -> dict[str, Json]:
        return {"count": self.count}


@dataclass(slots=True)
class Failed(Event):
    """Something went wrong that is not the end of a connection. Hook: ``on_error``.

    Attributes:
        error: a :class:`~basix_cti.errors.DecodeError` for a bad frame, a :class:`~basix_cti.errors.ConnectError` for
            a failed attempt to connect, or what a hook raised.
    """

    NAME: ClassVar[str] = "error"

    error: BaseException

    def _content(self) -> dict[str, Json]:
        return {"error": str(self.error), "kind": type(self.error).__name__}
