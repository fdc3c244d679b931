"""What a PBX is made of, as typed objects: channels, users, groups, …

Field names are exactly the wire's. A field that was not sent, or was sent as ``undefined``, is None. What a PBX
sends beyond the fields declared here is kept, JSON-ready, in ``extra``: fields of later releases under their own
names, values behind the end of the field spec as ``field_N`` (N counts from 1), and values of an unexpected form
under the name of their field. Objects are immutable by contract: the library shares them between threads.

Source: the wire document (docs/protocol), section "Elements".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, ClassVar, TypeAlias, TypeVar

from .readers import (
    read_end_user,
    read_integer,
    read_json,
    read_origination,
    read_other_info,
    read_scalar,
    read_state,
    read_tags,
    read_target,
    read_text,
)
from .terms import Term
from .values import (
    Customer,
    EndUser,
    Json,
    Misfit,
    OtherInfo,
    Scalar,
    State,
    Target,
    avatar_url,
    message_counts,
    moment,
    seconds_between,
)

__all__ = [
    "CLASSES",
    "Channel",
    "ChannelWaiting",
    "Customer",
    "Domain",
    "Element",
    "EndUser",
    "Group",
    "GroupMember",
    "Key",
    "MessageWaiting",
    "OtherInfo",
    "ParkInfo",
    "ParkedChannel",
    "QueuedChannel",
    "Reader",
    "State",
    "Target",
    "Terminal",
    "UnknownElement",
    "User",
    "filled_from",
]

Key: TypeAlias = "str | int | float | bool | tuple[Scalar, Scalar]"
"""What tells the objects of one element apart."""

CHANNEL_HANGUP = "CHANNEL_HANGUP"

Reader: TypeAlias = Callable[[Term], Any]
"""Makes a field's value of a term."""
_E = TypeVar("_E", bound="Element")


@dataclass(slots=True)
class Element:
    """The base of all elements: something the PBX reports, with fields.

    Attributes:
        extra: what was sent beyond the declared fields, by name, JSON-ready.
    """

    ELEMENT: ClassVar[str] = ""
    READERS: ClassVar[dict[str, Reader]] = {}

    extra: dict[str, Json] = field(default_factory=dict, kw_only=True)

    @property
    def element(self) -> str:
        """The element's name on the wire, such as ``channel``."""
        return self.ELEMENT

    @property
    def key(self) -> Key | None:
        """What tells this object from the others of its element; None where the PBX did not send it."""
        return None

    def to_dict(self) -> dict[str, Json]:
        """All fields by their wire names, JSON-ready; None for what is undefined; unknown fields beside the known."""
        data = {name: _json(getattr(self, name)) for name in self.READERS}
        data.update(self.extra)
        return data


def _json(value: Any) -> Json:
    if isinstance(value, tuple):
        return list(value)
    return value.to_dict() if isinstance(value, State | Target | EndUser | OtherInfo) else value


@dataclass(slots=True)
class Channel(Element):
    """One leg of a call. Immutable by contract.

    Attributes:
        uuid: the key; for calls that the PBX makes it equals the SIP Call-ID.
        direction: ``inbound`` (offered to the PBX) or ``outbound`` (offered by it).
        peer_location: ``internal`` (a station) or ``external`` (the telephone network).
        calling_name, calling_number, called_number: text.
        offer_timestamp, answer_timestamp, hangup_timestamp: microseconds since the epoch.
        other_uuid: the channel this one is bridged to, or the other leg that it was created for.
        user_id, group_id: whose channel it is, as sent. user_name, group_name: the first generation's.
        state: what it is doing.
        target: whom the call is for.
        origination: parts of a call made through the API.
        end_user: the customers behind the number; None for nobody.
        tags: text parts.
        last_bridged_user_id: on a customer's channel, the last user bridged to it.
        last_event: ``NEW_CHANNEL``, ``CHANNEL_ANSWER``, ``CHANNEL_BRIDGE``, ``CHANNEL_PARK``, ``CHANNEL_HANGUP``, …
        last_event_data: text; see :attr:`hangup_cause`.
        other_info: a summary of the related channel.
        call_id: the SIP Call-ID header.
        whoscall: JSON-ready.
    """

    ELEMENT: ClassVar[str] = "channel"
    READERS: ClassVar[dict[str, Reader]] = {
        "uuid": read_text,
        "direction": read_text,
        "peer_location": read_text,
        "calling_name": read_text,
        "calling_number": read_text,
        "called_number": read_text,
        "offer_timestamp": read_integer,
        "answer_timestamp": read_integer,
        "hangup_timestamp": read_integer,
        "other_uuid": read_text,
        "user_id": read_scalar,
        "user_name": read_text,
        "state": read_state,
        "group_id": read_scalar,
        "group_name": read_text,
        "target": read_target,
        "origination": read_origination,
        "end_user": read_end_user,
        "tags": read_tags,
        "last_bridged_user_id": read_scalar,
        "last_event": read_text,
        "last_event_data": read_text,
        "other_info": read_other_info,
        "call_id": read_text,
        "whoscall": read_json,
    }

    uuid: str | None = None
    direction: str | None = None
    peer_location: str | None = None
    calling_name: str | None = None
    calling_number: str | None = None
    called_number: str | None = None
    offer_timestamp: int | None = None
    answer_timestamp: int | None = None
    hangup_timestamp: int | None = None
    other_uuid: str | None = None
    user_id: Scalar = None
    user_name: str | None = None
    state: State | None = None
    group_id: Scalar = None
    group_name: str | None = None
    target: Target | None = None
    origination: tuple[str, ...] | None = None
    end_user: EndUser | None = None
    tags: tuple[str, ...] | None = None
    last_bridged_user_id: Scalar = None
    last_event: str | None = None
    last_event_data: str | None = None
    other_info: OtherInfo | None = None
    call_id: str | None = None
    whoscall: Json = None

    @property
    def key(self) -> Key | None:
        """``uuid``."""
        return self.uuid

    @property
    def offer_time(self) -> datetime | None:
        """``offer_timestamp`` as an aware datetime in UTC; None also where it is 0 or beyond what datetime holds."""
        return moment(self.offer_timestamp)

    @property
    def answer_time(self) -> datetime | None:
        """``answer_timestamp`` likewise."""
        return moment(self.answer_timestamp)

    @property
    def hangup_time(self) -> datetime | None:
        """``hangup_timestamp`` likewise."""
        return moment(self.hangup_timestamp)

    @property
    def wait_duration(self) -> float | None:
        """Seconds from the offer to the answer, or to the hangup of an unanswered channel; None while it waits."""
        return seconds_between(self.offer_timestamp, self.answer_timestamp or self.hangup_timestamp)

    @property
    def talk_duration(self) -> float | None:
        """Seconds from the answer to the hangup; None where one of the two is unknown."""
        return seconds_between(self.answer_timestamp, self.hangup_timestamp)

    @property
    def duration(self) -> float | None:
        """Seconds from the offer to the hangup; None where one of the two is unknown."""
        return seconds_between(self.offer_timestamp, self.hangup_timestamp)

    @property
    def is_hung_up(self) -> bool:
        """True for a channel's end: ``last_event`` is ``CHANNEL_HANGUP``."""
        return self.last_event == CHANNEL_HANGUP

    @property
    def hangup_disposition(self) -> str | None:
        """``recv_bye``, ``send_bye``, ``recv_cancel``, ``send_refuse``, …; None before the hangup, or if untold."""
        return self._hangup()[0]

    @property
    def hangup_cause(self) -> str | None:
        """FreeSWITCH's hangup cause, such as ``NORMAL_CLEARING``; None before the hangup, or if untold."""
        return self._hangup()[1]

    def _hangup(self) -> tuple[str | None, str | None]:
        """``DISPOSITION,CAUSE`` of ``last_event_data``. Dispositions are in small letters, causes in capitals."""
        if not self.is_hung_up or not self.last_event_data:
            return None, None
        disposition, comma, cause = self.last_event_data.partition(",")
        if not comma and disposition.isupper():
            return None, disposition.strip()
        return disposition.strip() or None, cause.strip() or None

    def as_hung_up(self) -> Channel:
        """This channel as it is told when its end is known only from its absence: cause and time are not known."""
        return replace(self, last_event=CHANNEL_HANGUP, last_event_data=None)


@dataclass(slots=True)
class ChannelWaiting(Channel):
    """A channel that waits in a queue or a parking slot (from 2026 on); all fields as in :class:`Channel`."""

    ELEMENT: ClassVar[str] = "channel_waiting"


@dataclass(slots=True)
class _Waiting(Element):
    """The fields that the two older kinds of waiting channel share."""

    READERS: ClassVar[dict[str, Reader]] = {
        "uuid": read_text,
        "state": read_state,
        "peer_number": read_text,
        "end_user": read_end_user,
    }

    uuid: str | None = None
    state: State | None = None
    peer_number: str | None = None
    end_user: EndUser | None = None

    @property
    def key(self) -> Key | None:
        """``uuid``."""
        return self.uuid


@dataclass(slots=True)
class QueuedChannel(_Waiting):
    """A channel in a group's queue (until about 2024). Immutable by contract.

    Attributes:
        uuid: the channel's, and the key. state: what it is doing. peer_number: text. end_user: the customers.
    """

    ELEMENT: ClassVar[str] = "queued_channel"


@dataclass(slots=True)
class ParkedChannel(_Waiting):
    """A channel in a parking slot (until about 2024, and the first generation's ``park_info``). Immutable by contract.

    Attributes:
        uuid: the channel's, and the key. state: what it is doing. peer_number: text. end_user: the customers.
    """

    ELEMENT: ClassVar[str] = "parked_channel"


@dataclass(slots=True)
class User(Element):
    """A person with a telephone. Immutable by contract.

    Attributes:
        id: the key, as sent. name, label, email, language, main_extension: text; ``label`` is for people to read.
        fwd_always_status, do_not_disturb_status, presence, role, park_group, mwi_target, flags, followme: as sent.
        avatar: an absolute URL or a name; see :meth:`avatar_url`.
        mwi: text with the counters of new and saved voicemail messages; see :class:`MessageWaiting`.
    """

    ELEMENT: ClassVar[str] = "user"
    READERS: ClassVar[dict[str, Reader]] = {
        "id": read_scalar,
        "name": read_text,
        "fwd_always_status": read_scalar,
        "do_not_disturb_status": read_scalar,
        "language": read_text,
        "main_extension": read_text,
        "presence": read_scalar,
        "role": read_scalar,
        "park_group": read_scalar,
        "mwi_target": read_scalar,
        "flags": read_scalar,
        "followme": read_scalar,
        "email": read_text,
        "avatar": read_text,
        "label": read_text,
        "mwi": read_text,
    }

    id: Scalar = None
    name: str | None = None
    fwd_always_status: Scalar = None
    do_not_disturb_status: Scalar = None
    language: str | None = None
    main_extension: str | None = None
    presence: Scalar = None
    role: Scalar = None
    park_group: Scalar = None
    mwi_target: Scalar = None
    flags: Scalar = None
    followme: Scalar = None
    email: str | None = None
    avatar: str | None = None
    label: str | None = None
    mwi: str | None = None

    @property
    def key(self) -> Key | None:
        """``id``."""
        return self.id

    def avatar_url(self, base: str, *, flat: bool = False) -> str:
        """The avatar's URL; that of the PBX's icon where there is none.

        Args:
            base: the PBX's web address, such as ``https://bcs.brastel.com``.
            flat: True for a PBX from before 2026, which keeps all avatars in one folder.
        """
        return avatar_url(base, self.avatar, "user", flat=flat)


@dataclass(slots=True)
class Group(Element):
    """A ring or hunt group. Immutable by contract.

    Attributes:
        id: the key, as sent. name, label, language, main_extension: text; ``label`` is for people to read.
        type: 0 for a ring group, 1 for a hunt group. queue, flags, check_login_status: as sent.
        mwi: text with the counters of new and saved voicemail messages; see :class:`MessageWaiting`.
    """

    ELEMENT: ClassVar[str] = "group"
    READERS: ClassVar[dict[str, Reader]] = {
        "id": read_scalar,
        "name": read_text,
        "type": read_scalar,
        "language": read_text,
        "main_extension": read_text,
        "queue": read_scalar,
        "label": read_text,
        "flags": read_scalar,
        "check_login_status": read_scalar,
        "mwi": read_text,
    }

    id: Scalar = None
    name: str | None = None
    type: Scalar = None
    language: str | None = None
    main_extension: str | None = None
    queue: Scalar = None
    label: str | None = None
    flags: Scalar = None
    check_login_status: Scalar = None
    mwi: str | None = None

    @property
    def key(self) -> Key | None:
        """``id``."""
        return self.id


@dataclass(slots=True)
class GroupMember(Element):
    """A user's place in a group. Immutable by contract.

    Attributes:
        id: as sent; None on a PBX that has none. group_id, user_id: whose place, and where.
        priority, login_status, role: as sent.
    """

    ELEMENT: ClassVar[str] = "group_member"
    READERS: ClassVar[dict[str, Reader]] = {
        "id": read_scalar,
        "group_id": read_scalar,
        "user_id": read_scalar,
        "priority": read_scalar,
        "login_status": read_scalar,
        "role": read_scalar,
    }

    id: Scalar = None
    group_id: Scalar = None
    user_id: Scalar = None
    priority: Scalar = None
    login_status: Scalar = None
    role: Scalar = None

    @property
    def key(self) -> Key | None:
        """``id``, or ``(user_id, group_id)`` where there is no id."""
        if self.id is not None:
            return self.id
        return None if self.user_id is None and self.group_id is None else (self.user_id, self.group_id)


@dataclass(slots=True)
class Terminal(Element):
    """A telephone. Immutable by contract.

    Attributes:
        id: the key, as sent. name, user_agent: text. assoc_user_id: whose it is. type, registered: as sent.
    """

    ELEMENT: ClassVar[str] = "terminal"
    READERS: ClassVar[dict[str, Reader]] = {
        "id": read_scalar,
        "name": read_text,
        "assoc_user_id": read_scalar,
        "type": read_scalar,
        "user_agent": read_text,
        "registered": read_scalar,
    }

    id: Scalar = None
    name: str | None = None
    assoc_user_id: Scalar = None
    type: Scalar = None
    user_agent: str | None = None
    registered: Scalar = None

    @property
    def key(self) -> Key | None:
        """``id``."""
        return self.id


@dataclass(slots=True)
class Domain(Element):
    """The PBX's domain: one object, whose fields are not documented; all are in ``extra``. Immutable by contract."""

    ELEMENT: ClassVar[str] = "domain"

    @property
    def key(self) -> Key | None:
        """Always ``"domain"``: there is only one."""
        return "domain"


@dataclass(slots=True)
class UnknownElement(Element):
    """An object of an element that this release of the library does not know. Immutable by contract.

    All its fields are in ``extra``.
    """

    name: str = ""

    @property
    def element(self) -> str:
        """The element's name on the wire."""
        return self.name

    @property
    def key(self) -> Key | None:
        """The field ``uuid`` or ``id``, where there is one."""
        key = self.extra.get("uuid", self.extra.get("id"))
        return key if isinstance(key, str | int | float) else None


CLASSES: dict[str, type[Element]] = {
    cls.ELEMENT: cls
    for cls in (
        Channel,
        ChannelWaiting,
        QueuedChannel,
        ParkedChannel,
        User,
        Group,
        GroupMember,
        Terminal,
        Domain,
    )
}


def filled_from(item: _E, older: Element | None) -> _E:
    """``item`` with each field that it lacks taken from ``older``, where that is of the same class."""
    if older is None or type(older) is not type(item):
        return item
    lacking = {
        each.name: getattr(older, each.name)
        for each in fields(item)
        if each.name != "extra" and getattr(item, each.name) is None
    }
    return replace(item, **lacking, extra={**older.extra, **item.extra})


# --- what the voicemail and parking hooks get -------------------------------------------------------------------


@dataclass(slots=True)
class MessageWaiting:
    """The state of a voicemail box after it changed. Immutable by contract.

    Attributes:
        target_type: ``user`` or ``group``.
        target_id: whose box, as sent. target_name: that user's or group's name.
        new_messages, saved_messages: how many; None where the text does not tell.
        text: as the PBX sent it (``mwi``), or ``NEW/SAVED`` where it sends numbers; "" for no messages.
        extra: further fields of the first generation's ``mwi_info``, JSON-ready.
    """

    target_type: str | None
    target_id: Scalar
    target_name: str | None
    new_messages: int | None
    saved_messages: int | None
    text: str
    extra: dict[str, Json] = field(default_factory=dict)

    @classmethod
    def of(cls, item: User | Group) -> MessageWaiting:
        """The box of a user or group, by its ``mwi``."""
        new, saved = message_counts(item.mwi)
        return cls(item.element, item.id, item.name, new, saved, item.mwi or "")

    def to_dict(self) -> dict[str, Json]:
        """All fields, JSON-ready."""
        names = ("target_type", "target_id", "target_name", "new_messages", "saved_messages", "text")
        return {name: getattr(self, name) for name in names} | self.extra


@dataclass(slots=True)
class ParkInfo:
    """A channel that entered or left a parking slot. Immutable by contract.

    Attributes:
        uuid: the channel's.
        slot: the parking slot, as sent. parker_id, parker_name: the user who parked it. None where not told.
    """

    uuid: str | None
    slot: Scalar = None
    parker_id: Scalar = None
    parker_name: str | None = None

    @classmethod
    def of(cls, item: Element) -> ParkInfo | None:
        """The parking of a parked or waiting channel; None for a channel that is not parked.

        The first generation sends the slot as a field of its own, the current one inside the state.
        """
        if isinstance(item, Channel):
            if item.is_hung_up:
                return None
        elif not isinstance(item, _Waiting):
            return None
        state, extra = item.state, item.extra
        if state is not None and state.name == "park":
            told = state.data
        elif isinstance(item, ParkedChannel):
            told = extra
        else:
            return None
        return cls(
            item.uuid,
            _told(told, extra, "slot", "park_slot"),
            _told(told, extra, "parker_id", "user_id"),
            _name(_told(told, extra, "parker_name", "user_name")),
        )

    def to_dict(self) -> dict[str, Json]:
        """All fields, JSON-ready."""
        return {name: getattr(self, name) for name in ("uuid", "slot", "parker_id", "parker_name")}


def _told(state: dict[str, Json], extra: dict[str, Json], name: str, other_name: str) -> Json:
    """The value of a field that has two names, in the state or beside it."""
    for each in (name, other_name):
        value = state.get(each)
        value = _single(extra.get(each) if value is None else value)
        if value is not None:
            return value
    return None


def _single(value: Json) -> Scalar:
    """A number, truth value or text; None for what is none of these. A list of integers can only be a string here."""
    if isinstance(value, list):
        try:
            return read_text(value)
        except Misfit:
            return None
    return None if isinstance(value, dict) else value


def message_waiting_of(fields_: UnknownElement) -> MessageWaiting:
    """The first generation's ``mwi_info``, whose fields are only what its field spec says."""
    extra = dict(fields_.extra)

    def take(*names: str) -> Json:
        """The first of these fields that has a value; the others stay in ``extra``."""
        for name in names:
            value = _single(extra.get(name))
            if value is not None or extra.get(name) is None:
                extra.pop(name, None)
            if value is not None:
                return value
        return None

    kind = _text(take("target_type", "type"))
    if kind is None:
        user_id, group_id = _single(extra.get("user_id")), _single(extra.get("group_id"))
        kind = "group" if user_id is None and group_id is not None else "user"
    target_id = take("target_id", "id", f"{kind}_id")
    name = _text(take("target_name", "name", f"{kind}_name"))
    new, saved = take("new_messages", "new"), take("saved_messages", "saved")
    text = take("text", "mwi")
    if new is None and saved is None and text is not None:
        new, saved = message_counts(str(text))
    elif text is None and not (new is None and saved is None):
        text = f"{new or 0}/{saved or 0}"
    return MessageWaiting(kind, target_id, name, _count(new), _count(saved), str(text or ""), extra)


def _name(value: Json) -> str | None:
    try:
        return _text(value)
    except ValueError:  # a number beyond sys.set_int_max_str_digits()
        return None


def _text(value: Json) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None else str(value)


def _count(value: Json) -> int | None:
    return value if isinstance(value, int) else message_counts(str(value))[0] if value else None
