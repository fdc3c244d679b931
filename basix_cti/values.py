"""What stands inside the fields of elements: states, targets, customers, moments, counters.

These are the values that :mod:`basix_cti.readers` makes of terms. Objects are immutable by contract.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias
from urllib.parse import quote

__all__ = [
    "Customer",
    "EndUser",
    "Json",
    "Misfit",
    "OtherInfo",
    "Scalar",
    "State",
    "Target",
    "avatar_url",
    "message_counts",
    "moment",
    "seconds_between",
]

Json: TypeAlias = Any
"""None, bool, int, float, str, or a list or dict (with str keys) of these."""

Scalar: TypeAlias = "str | int | float | bool | None"

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Misfit(ValueError):
    """A term that is not of the form that its field is known to take."""


def moment(microseconds: int | None) -> datetime | None:
    """The aware datetime (UTC) of microseconds since the epoch; None for None, 0, or beyond what datetime holds."""
    if not microseconds:
        return None
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return None


def seconds_between(start: int | None, end: int | None) -> float | None:
    """Seconds from one moment to another, both in microseconds; None where either is missing."""
    if not start or not end:
        return None
    try:
        return (end - start) / 1_000_000
    except OverflowError:
        return None


@dataclass(slots=True)
class State:
    """What a channel is doing. Immutable by contract. Wire document, section "Meaning of the channel's fields".

    Attributes:
        ts: since when, microseconds since the epoch; None when not sent.
        name: as sent: ``ringing``, ``calling``, ``bridged``, ``park``, ``voicemail``, ``plivo``, …
        data: what belongs to that state, JSON-ready, by name: ``{"slot": 901, "parker_id": 7, …}``. Values that
            follow the documented ones, or an unknown state's name, are kept as the list ``data["args"]``; those
            between them that the wire document gives no meaning (``_``) are left out.
    """

    ts: int | None
    name: str
    data: dict[str, Json] = field(default_factory=dict)

    @property
    def time(self) -> datetime | None:
        """``ts`` as an aware datetime in UTC."""
        return moment(self.ts)

    def to_dict(self) -> dict[str, Json]:
        """``{"ts", "name", "data"}``, JSON-ready."""
        return {"ts": self.ts, "name": self.name, "data": self.data}


@dataclass(slots=True)
class Target:
    """Whom a call is for. Immutable by contract.

    Attributes:
        type: ``user`` or ``group``.
        id: the user's or group's id, as sent.
        name: its name.
        address: how the caller reached it, usually the DID.
        args: what a later PBX sends behind these, JSON-ready.
    """

    type: str | None = None
    id: Scalar = None
    name: str | None = None
    address: str | None = None
    args: tuple[Json, ...] = ()

    def to_dict(self) -> dict[str, Json]:
        """``{"type", "id", "name", "address"}``, JSON-ready; with ``args`` only where there are any."""
        data: dict[str, Json] = {"type": self.type, "id": self.id, "name": self.name, "address": self.address}
        return data | {"args": list(self.args)} if self.args else data


@dataclass(slots=True)
class OtherInfo:
    """A summary of the related channel. Immutable by contract.

    Attributes:
        type: ``user``, or what else the other party is.
        direction, peer_location, address: of the related channel, as in :class:`~basix_cti.elements.Channel`.
        offer_timestamp: microseconds since the epoch.
        whoscall: JSON-ready, as in ``Channel.whoscall``.
        user_id, group_id: whose channel it is; only where ``type`` is ``user``.
        end_user: the customer; only where ``type`` is something else.
        args: what a later PBX sends behind these, JSON-ready.
    """

    type: str | None = None
    direction: str | None = None
    peer_location: str | None = None
    address: str | None = None
    offer_timestamp: int | None = None
    whoscall: Json = None
    user_id: Scalar = None
    group_id: Scalar = None
    end_user: EndUser | None = None
    args: tuple[Json, ...] = ()

    @property
    def offer_time(self) -> datetime | None:
        """``offer_timestamp`` as an aware datetime in UTC."""
        return moment(self.offer_timestamp)

    def to_dict(self) -> dict[str, Json]:
        """JSON-ready; has ``user_id`` and ``group_id``, or ``end_user`` in their place."""
        data: dict[str, Json] = {
            "type": self.type,
            "direction": self.direction,
            "peer_location": self.peer_location,
            "address": self.address,
            "offer_timestamp": self.offer_timestamp,
            "whoscall": self.whoscall,
        }
        if self.type == "user":
            data |= {"user_id": self.user_id, "group_id": self.group_id}
        else:
            data["end_user"] = self.end_user and self.end_user.to_dict()
        return data | {"args": list(self.args)} if self.args else data


@dataclass(slots=True)
class Customer:
    """One customer, as the PBX's address book has them. Immutable by contract.

    All fields are text as sent, decoded; "" where the part is empty, None where an older PBX sends no such part.

    Attributes:
        id, name, organization, prefecture: of the customer.
        avatar: an absolute URL or a name; see :meth:`avatar_url`.
        args: further parts, sent by a later PBX.
    """

    id: str | None = None
    name: str | None = None
    organization: str | None = None
    avatar: str | None = None
    prefecture: str | None = None
    args: tuple[str, ...] = ()

    def avatar_url(self, base: str, *, flat: bool = False) -> str:
        """The avatar's URL; that of the PBX's icon where there is none.

        Args:
            base: the PBX's web address, such as ``https://bcs.brastel.com``.
            flat: True for a PBX from before 2026, which keeps all avatars in one folder.
        """
        return avatar_url(base, self.avatar, "end_user", flat=flat)

    def to_dict(self) -> dict[str, Json]:
        """``{"id", "name", "organization", "avatar", "prefecture"}``; with ``args`` only where there are any."""
        data: dict[str, Json] = {
            "id": self.id,
            "name": self.name,
            "organization": self.organization,
            "avatar": self.avatar,
            "prefecture": self.prefecture,
        }
        return data | {"args": list(self.args)} if self.args else data


@dataclass(slots=True)
class EndUser:
    """The customers behind a telephone number. Immutable by contract.

    Attributes:
        count: how many the PBX knows, which may be more than it lists.
        items: those it lists; none where it tells only how many there are.
    """

    count: int
    items: tuple[Customer, ...]

    def to_dict(self) -> dict[str, Json]:
        """``{"count", "items": […]}``, JSON-ready."""
        return {"count": self.count, "items": [item.to_dict() for item in self.items]}


def avatar_url(base: str, avatar: str | None, kind: str, *, flat: bool) -> str:
    """The URL of a ``user``'s or ``end_user``'s avatar: absolute as sent, or beneath the PBX's address."""
    base = base.rstrip("/")
    if not avatar:
        return f"{base}/static/icons/{kind}.png"
    if re.match(r"https?://", avatar, re.IGNORECASE):
        return avatar
    folder = "avatars" if flat else f"avatars/{kind}s"
    return f"{base}/basix/{folder}/{quote(avatar.lstrip('/'))}"


_COUNTS = re.compile(r"(?:voice-message\s*:)?\s*(\d{1,9})(?:(?:\s*[/,;:|]\s*|\s+)(\d{1,9}))?(?!\S*\d)", re.IGNORECASE)


def message_counts(text: str | None) -> tuple[int | None, int | None]:
    """New and saved messages told by an ``mwi`` text such as ``3/1`` (RFC 3842, section 5.2).

    No text means no messages: ``(0, 0)``. None stands for a counter that the text does not tell.
    """
    if not text or not text.strip():
        return 0, 0
    match = _COUNTS.match(text)
    if match is None:
        return None, None
    return int(match[1]), int(match[2]) if match[2] else None
