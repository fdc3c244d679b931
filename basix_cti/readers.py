"""From terms to what stands in fields: text, numbers, states, targets, customers. May be compiled by mypyc.

Every ``read_…`` function takes one decoded term and returns None for a missing value (the atoms ``undefined``,
``null``, ``nil``, or ``{bert, nil}``). It raises :class:`Misfit` for a term of a form that the field is not known
to take; the caller then keeps the term as it is, so that nothing that the PBX sends is lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from math import isfinite
from typing import Final, NoReturn
from urllib.parse import unquote, unquote_plus

from .terms import UNDEFINED, Atom, ErlangMap, Term
from .values import Customer, EndUser, Json, Misfit, OtherInfo, Scalar, State, Target

__all__ = [
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
]

_MISSING: Final = frozenset({"undefined", "null", "nil"})
# What the latest atoms read as; there are a few dozens, which come all the time.
_texts: Final[dict[Atom, str]] = {}
_MOST_TEXTS: Final = 1024


def _missing(term: Term) -> bool:
    return term is None or term is UNDEFINED or (type(term) is Atom and term in _MISSING)


def _text_of(atom: Atom) -> str:
    """An atom as a plain str, the same one each time."""
    text = _texts.get(atom)
    if text is None:
        text = str(atom)
        if len(_texts) >= _MOST_TEXTS:
            _texts.clear()
        _texts[atom] = text
    return text


def _decode(raw: bytes) -> str:
    """UTF-8, with each invalid byte shown as ``\\xNN``: neither the event nor the byte is lost."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("utf-8", "backslashreplace")


def _characters(items: list[Term]) -> str:
    """The text of an Erlang string: a list of UTF-8 bytes, or of code points."""
    try:
        raw = bytes(items)
        # 0 and 1 may be the atoms false and true.
        if b"\0" not in raw and b"\1" not in raw:
            return raw.decode()
    except (TypeError, ValueError):
        pass
    for item in items:
        if type(item) is not int:
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
        return _text_of(term)
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
    if type(term) is Atom:
        return None if term in _MISSING else _text_of(term)
    if term is None:
        return None
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
    kind = type(term)
    if kind is int or kind is bool or kind is float:
        number: Scalar = term
        return number
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


# --- what is remembered -----------------------------------------------------------------------------------------

# All events of a call repeat these. What is remembered is bounded in number and size, and flat: the keys of a cache
# take 1 and true for the same further inside, and 0.0 and -0.0 anywhere.
_REMEMBERED: Final = 2048
_LONGEST: Final = 512
_MOST_PARTS: Final = 16
_FLAT: Final = (bytes, Atom, int, bool, type(None))


class _NotRememberedError(Exception):
    """A cache is given nothing to keep."""


def _keep_out_the_rest(parts: tuple[Term, ...]) -> None:
    if len(parts) > _MOST_PARTS:
        raise _NotRememberedError
    for part in parts:
        kind = type(part)
        if kind not in _FLAT or (kind is bytes and len(part) > _LONGEST):
            raise _NotRememberedError


# --- state ------------------------------------------------------------------------------------------------------


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
_BARE_STATES: Final = frozenset(name for name, fields in _STATES.items() if not fields)
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
    if not rest and name in _BARE_STATES:
        return State(read_integer(term[0]), name, {})
    inner = rest[-1] if rest and type(rest[-1]) is tuple else None
    try:
        data = _cached_data(name, -1, *rest) if inner is None else _cached_data(name, len(inner), *rest[:-1], *inner)
    except (_NotRememberedError, TypeError):
        data = _data(name, rest)
    return State(read_integer(term[0]), name, data)


@lru_cache(_REMEMBERED, typed=True)
def _cached_data(name: str, nested: int, *parts: Term) -> dict[str, Json]:
    """As :func:`_data`; the last ``nested`` parts make a tuple, which is the last value, unless it is negative."""
    _keep_out_the_rest(parts)
    if nested >= 0:
        outer = len(parts) - nested
        parts = (*parts[:outer], parts[outer:])
    data = _data(name, parts)
    if "args" in data:  # a list, which would be shared
        raise _NotRememberedError
    return data


def _data(name: str, rest: tuple[Term, ...]) -> dict[str, Json]:
    if name == "calling":
        return _calling(rest)
    if name in _STATES:
        return _named(_STATES[name], rest)
    return {"args": plain(rest)} if rest else {}


def _named(names: tuple[str | None, ...], values: tuple[Term, ...]) -> dict[str, Json]:
    data: dict[str, Json] = {}
    there = len(values)
    for place, name in enumerate(names):
        if name is not None:
            data[name] = _scalar_or_plain(values[place]) if place < there else None
    if there > len(names):
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


def read_target(term: Term) -> Target | None:
    """``{Type, Id, Name, Address}``."""
    if _missing(term):
        return None
    if type(term) is not tuple:
        raise Misfit("not a target")
    try:
        return _cached_target(*term)
    except (_NotRememberedError, TypeError):
        return _target(term)


@lru_cache(_REMEMBERED, typed=True)
def _cached_target(*parts: Term) -> Target:
    _keep_out_the_rest(parts)
    return _target(parts)


def _target(parts: tuple[Term, ...]) -> Target:
    kind, id_, name, address = _pad(parts, 4)
    return Target(read_text(kind), read_scalar(id_), read_text(name), read_text(address), tuple(plain(parts[4:])))


def _pad(values: tuple[Term, ...], count: int) -> tuple[Term, ...]:
    return (*values[:count], *(None,) * (count - len(values)))


def read_other_info(term: Term) -> OtherInfo | None:
    """``{Type, Who, Direction, PeerLocation, Address, OfferTimestamp, GroupId, WhosCall}``."""
    if _missing(term):
        return None
    if type(term) is not tuple:
        raise Misfit("not an other_info")
    try:
        return _cached_other_info(*term)
    except (_NotRememberedError, TypeError):
        return _other_info(term)


@lru_cache(_REMEMBERED, typed=True)
def _cached_other_info(*parts: Term) -> OtherInfo:
    _keep_out_the_rest(parts)
    return _other_info(parts)


def _other_info(parts: tuple[Term, ...]) -> OtherInfo:
    kind, who, direction, location, address, offered, group, whose = _pad(parts, 8)
    info = OtherInfo(
        read_text(kind),
        read_text(direction),
        read_text(location),
        read_text(address),
        read_integer(offered),
        read_json(whose),
        args=tuple(plain(parts[8:])),
    )
    if info.type == "user":
        info.user_id = read_scalar(who)
        info.group_id = read_scalar(group)
    else:
        info.end_user = read_end_user(who)
    return info


# --- customers --------------------------------------------------------------------------------------------------


def read_end_user(term: Term) -> EndUser | None:
    """``ID*NAME*ORGANIZATION*AVATAR*PREFECTURE``, or ``_MANY_:COUNT|one|one|…``; None for nobody."""
    text = read_text(term)
    if not text:
        return None
    # The same few customers come in every event of a call; longer texts would make the cache's size unbounded.
    return _cached_end_user(text) if len(text) <= _LONGEST else _parse_end_user(text)


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


_cached_end_user = lru_cache(_REMEMBERED)(_parse_end_user)


def _customer(text: str) -> Customer:
    parts = [unquote_plus(part, errors="backslashreplace") for part in text.split("*")]
    id_, name, organization, avatar, prefecture = _pad(tuple(parts), 5)
    return Customer(id_, name, organization, avatar, prefecture, tuple(parts[5:]))
