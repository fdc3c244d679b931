"""The values inside elements: from terms to text, numbers, states, targets, customers.

Every ``read_…`` function takes one decoded term and returns None for a missing value (the atoms ``undefined``,
``null``, ``nil``, or ``{bert, nil}``). It raises :class:`Misfit` for a term of a form that the field is not known
to take; the caller then keeps the term as it is, so that nothing that the PBX sends is lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from math import isfinite
from typing import Any, NoReturn, TypeAlias
from urllib.parse import quote, unquote, unquote_plus

from .etf import Atom, ErlangMap, Term

__all__ = [
    "Customer",
    "EndUser",
    "Json",
    "Misfit",
    "OtherInfo",
    "State",
    "Target",
    "avatar_url",
    "message_counts",
    "moment",
    "plain",
    "read_end_user",
    "read_integer",
    "read_json",
    "read_name",
    "read_origination",
    "read_other_info",
    "read_scalar",
    "read_state",
    "read_tags",
    "read_target",
    "read_text",
    "seconds_between",
]

Json: TypeAlias = Any
"""None, bool, int, float, str, or a list or dict (with str keys) of these."""

Scalar: TypeAlias = "str | int | float | bool | None"

_MISSING = frozenset({"undefined", "null", "nil"})
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Misfit(ValueError):
    """A term that is not of the form that its field is known to take."""


def _missing(term: Term) -> bool:
    return term is None or (type(term) is Atom and term in _MISSING)


def _decode(raw: bytes) -> str:
    """UTF-8, with each invalid byte shown as ``\\xNN``: neither the event nor the byte is lost."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("utf-8", "backslashreplace")


def _characters(items: list[Term]) -> str:
    """The text of an Erlang string: a list of UTF-8 bytes, or of code points."""
    if not all(type(item) is int for item in items):
        raise Misfit("not a string")
    try:
        return bytes(items).decode()
    except ValueError:
        pass
    try:
        text = "".join(map(chr, items))
        text.encode()
    except (ValueError, OverflowError):
        raise Misfit("not a string") from None
    return text


def plain(term: Term) -> Json:
    """Any term as JSON-ready data: binaries and atoms as text, tuples as lists, missing values as None.

    A list of integers stays one, because on the wire it cannot be told from a string.
    """
    kind = type(term)
    if kind is bytes:
        return _decode(term)
    if _missing(term):
        return None
    if kind is Atom:
        return str(term)
    if kind in (bool, int, float, str):
        return term
    if kind is list or kind is tuple:
        return [plain(item) for item in term]
    if kind is dict or kind is ErlangMap:
        pairs = [(plain(key), plain(value)) for key, value in term.items()]
        table = {key: value for key, value in pairs if type(key) is str}
        return table if len(table) == len(pairs) else [list(pair) for pair in pairs]
    if isinstance(term, datetime):
        return term.isoformat()
    return repr(term)


def read_name(term: Term) -> str | None:
    """A name that may come as atom, string or binary; None where the term is none of these."""
    if type(term) is Atom:
        return str(term)
    if type(term) is bytes:
        return _decode(term)
    if type(term) is bool:
        return "true" if term else "false"
    if type(term) is list and term:
        try:
            return _characters(term)
        except Misfit:
            return None
    return None


def read_text(term: Term) -> str | None:
    """Text: a binary of UTF-8, a string, an atom, or a number written out."""
    if type(term) is bytes:
        return _decode(term)
    if _missing(term):
        return None
    if type(term) is Atom:
        return str(term)
    if type(term) is list:
        return _characters(term)
    if type(term) is int:
        try:
            return str(term)
        except ValueError:  # beyond sys.set_int_max_str_digits()
            raise Misfit("a number too long to write out") from None
    raise Misfit("not a text")


def read_scalar(term: Term) -> Scalar:
    """A number or truth value as it is, anything else as text."""
    if isinstance(term, int | float):
        return term
    return read_text(term)


def read_integer(term: Term) -> int | None:
    """A whole number, also one that comes as digits."""
    if type(term) is int:
        return term
    if _missing(term):
        return None
    if type(term) is bytes and len(term) <= 20 and term.isdigit():
        return int(term)
    raise Misfit("not an integer")


_MAX_JSON_DEPTH = 100


def read_json(term: Term) -> Json:
    """Percent-encoded JSON, as the value that it stands for; the text itself where it is not JSON.

    It also stays text where the value could not be written as JSON again everywhere: it nests deeper than 100, has a
    number beyond what a float holds, or half a surrogate pair.
    """
    text = read_text(term)
    if not text:
        return text
    decoded = unquote(text, errors="backslashreplace")
    try:
        value = json.loads(decoded, parse_float=_finite, parse_constant=_refuse_constant)
        if "\\u" in decoded:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return text
    if decoded.count("[") + decoded.count("{") > _MAX_JSON_DEPTH and _nests_too_deeply(value):
        return text
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("beyond what a float holds")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _nests_too_deeply(value: Json) -> bool:
    level = [value]
    for _ in range(_MAX_JSON_DEPTH):
        level = [inner for outer in level if isinstance(outer, list | dict) for inner in _inside(outer)]
    return any(isinstance(value, list | dict) for value in level)


def _inside(container: list[Json] | dict[str, Json]) -> Iterable[Json]:
    return container.values() if isinstance(container, dict) else container


def read_origination(term: Term) -> tuple[str, ...] | None:
    """Parts joined by ``*``, each percent-encoded."""
    return _parts(term, "*", keep_empty=True)


def read_tags(term: Term) -> tuple[str, ...] | None:
    """Parts joined by ``;``."""
    return _parts(term, ";", keep_empty=False)


def _parts(term: Term, separator: str, *, keep_empty: bool) -> tuple[str, ...] | None:
    if type(term) is list and not all(type(item) is int for item in term):
        return tuple([text for item in term if (text := read_text(item)) is not None])
    text = read_text(term)
    if text is None:
        return None
    if not text:
        return ()
    if keep_empty:
        return tuple([unquote(part, errors="backslashreplace") for part in text.split(separator)])
    return tuple([part for part in text.split(separator) if part])


# --- moments ----------------------------------------------------------------------------------------------------


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


# --- state ------------------------------------------------------------------------------------------------------


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


# What follows a state's name, in order. None: a value without a documented meaning.
_STATES: dict[str, tuple[str | None, ...]] = {
    "bridged": (),
    "ringing": (),
    "xml_ivr": (),
    "plivo": (),
    "calling_external": ("address",),
    "calling_siptermination": ("url",),
    "checking_voicemail": ("target_name",),
    "conference": ("room_id",),
    "eavesdrop": ("uuid", "eavesdrop_state"),
    "ivr": ("ivr_id",),
    "park": ("slot", None, "parker_id", "parker_name"),
    "system_operation": ("operation",),
    "voicemail": ("target_type", "target_id", "target_name"),
}
_CALLING_FIRST = ("target_type", "target_id", "target_name")
_CALLING_CURRENT: dict[str, tuple[str | None, ...]] = {
    "user": ("user_id",),
    "group": ("group_type", "group_id", None, None, "group_queue_id"),
    "pstn": ("address",),
}
_RING_GROUP = ("ring", 0)


def read_state(term: Term) -> State | None:
    """``{Timestamp, Name, …}`` of either generation."""
    if _missing(term):
        return None
    if type(term) is not tuple:
        term = (None, term)
    name = read_name(term[1]) if len(term) > 1 else None
    if name is None:
        raise Misfit("not a state")
    rest = term[2:]
    if name == "calling":
        data = _calling(rest)
    elif name in _STATES:
        data = _named(_STATES[name], rest)
    else:
        data = {"args": plain(rest)} if rest else {}
    return State(read_integer(term[0]), name, data)


def _named(names: tuple[str | None, ...], values: tuple[Term, ...]) -> dict[str, Json]:
    data = dict.fromkeys([name for name in names if name is not None])
    for name, value in zip(names, values, strict=False):
        if name is not None:
            data[name] = _scalar_or_plain(value)
    if len(values) > len(names):
        data["args"] = plain(values[len(names) :])
    return data


def _scalar_or_plain(term: Term) -> Json:
    try:
        return read_scalar(term)
    except Misfit:
        return plain(term)


def _calling(rest: tuple[Term, ...]) -> dict[str, Json]:
    """Third value ``int`` or ``ext``: TargetLocation, TargetType, TargetData; else the first generation's form."""
    if not rest or read_name(rest[0]) not in ("int", "ext"):
        return _named(_CALLING_FIRST, rest)
    data = _named(("target_location", "target_type"), rest[:2])
    inner = rest[2] if len(rest) > 2 else ()
    values = inner if type(inner) is tuple else (inner,)
    kind = data["target_type"]
    if kind == "bridged_endpoint" and len(values) == 2:
        data["address"] = "@".join(str(_scalar_or_plain(value)) for value in values)
    elif isinstance(kind, str) and kind in _CALLING_CURRENT:
        data.update(_named(_CALLING_CURRENT[kind], values))
        if data.get("group_type") not in _RING_GROUP:
            data.pop("group_queue_id", None)
    elif values:
        data["args"] = plain(values)
    if len(rest) > 3:
        data["args"] = [*data.get("args", ()), *plain(rest[3:])]
    return data


# --- target and other_info --------------------------------------------------------------------------------------


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


def read_target(term: Term) -> Target | None:
    """``{Type, Id, Name, Address}``."""
    if _missing(term):
        return None
    if type(term) is not tuple:
        raise Misfit("not a target")
    kind, id_, name, address = _pad(term, 4)
    return Target(read_text(kind), read_scalar(id_), read_text(name), read_text(address), tuple(plain(term[4:])))


def _pad(values: tuple[Term, ...], count: int) -> Iterable[Term]:
    return (*values[:count], *(None,) * (count - len(values)))


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


def read_other_info(term: Term) -> OtherInfo | None:
    """``{Type, Who, Direction, PeerLocation, Address, OfferTimestamp, GroupId, WhosCall}``."""
    if _missing(term):
        return None
    if type(term) is not tuple:
        raise Misfit("not an other_info")
    kind, who, direction, location, address, offered, group, whose = _pad(term, 8)
    info = OtherInfo(
        read_text(kind),
        read_text(direction),
        read_text(location),
        read_text(address),
        read_integer(offered),
        read_json(whose),
        args=tuple(plain(term[8:])),
    )
    if info.type == "user":
        info.user_id = read_scalar(who)
        info.group_id = read_scalar(group)
    else:
        info.end_user = read_end_user(who)
    return info


# --- customers --------------------------------------------------------------------------------------------------


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


_CACHED_TEXT = 512


def read_end_user(term: Term) -> EndUser | None:
    """``ID*NAME*ORGANIZATION*AVATAR*PREFECTURE``, or ``_MANY_:COUNT|one|one|…``; None for nobody."""
    text = read_text(term)
    if not text:
        return None
    # The same few customers come in every event of a call; longer texts would make the cache's size unbounded.
    return _cached_end_user(text) if len(text) <= _CACHED_TEXT else _parse_end_user(text)


def _parse_end_user(text: str) -> EndUser | None:
    count = None
    parts = [text]
    if text.startswith("_MANY_:"):
        head, *parts = text[len("_MANY_:") :].split("|")
        count = int(head) if head.isascii() and head.isdigit() and len(head) < 10 else None
    customers = tuple([_customer(part) for part in parts if part.strip("*")])
    if not customers and not count:
        return None
    return EndUser(len(customers) if count is None else count, customers)


_cached_end_user = lru_cache(maxsize=2048)(_parse_end_user)


def _customer(text: str) -> Customer:
    parts = [unquote_plus(part, errors="backslashreplace") for part in text.split("*")]
    id_, name, organization, avatar, prefecture = _pad(tuple(parts), 5)
    return Customer(id_, name, organization, avatar, prefecture, tuple(parts[5:]))


def avatar_url(base: str, avatar: str | None, kind: str, *, flat: bool) -> str:
    """The URL of a ``user``'s or ``end_user``'s avatar: absolute as sent, or beneath the PBX's address."""
    base = base.rstrip("/")
    if not avatar:
        return f"{base}/static/icons/{kind}.png"
    if re.match(r"https?://", avatar, re.IGNORECASE):
        return avatar
    folder = "avatars" if flat else f"avatars/{kind}s"
    return f"{base}/basix/{folder}/{quote(avatar.lstrip('/'))}"


# --- message waiting --------------------------------------------------------------------------------------------

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
