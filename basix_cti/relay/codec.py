"""Events and elements as they stand in Redis: JSON for objects, so that other programs can read it too.

An object is ``{"f": {field: value, …}, "x": {…}}``: the fields that have a value, by the wire's names, in the form of
:meth:`~basix_cti.elements.Element.to_dict`, and what it has in ``extra``. What comes back is equal to what was written.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .. import bert
from ..elements import CLASSES, Element, Key, MessageWaiting, UnknownElement
from ..errors import DecodeError, EncodeError
from ..etf import Term
from ..values import Customer, EndUser, Json, OtherInfo, State, Target

__all__ = [
    "dump_box",
    "dump_element",
    "dump_key",
    "dump_term",
    "dumps",
    "load_box",
    "load_element",
    "load_key",
    "load_term",
]

_encode = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps() would make an encoder for each text
_OBJECTS = (State, Target, EndUser, OtherInfo)
_TERM = 131  # the version byte of a term; no JSON begins with it


def dumps(value: Json) -> str:
    """JSON without spaces, in ASCII: a lone surrogate is text, too."""
    return _encode(value)


def dump_key(key: Key) -> str:
    """What tells an object from others of its element, as text."""
    return dumps(key)


def load_key(text: str | bytes) -> Key:
    """The key that was written."""
    key = json.loads(text)
    return tuple(key) if isinstance(key, list) else key


def dump_element(item: Element) -> str:
    """An object as text."""
    fields = {}
    for name in item.READERS:
        value = getattr(item, name)
        if value is not None:
            fields[name] = value.to_dict() if isinstance(value, _OBJECTS) else value
    return dumps({"f": fields, "x": item.extra} if item.extra else {"f": fields})


def load_element(element: str, data: str | bytes | dict[str, Any]) -> Element:
    """The object that was written.

    Args:
        element: the element's name.
        data: what :func:`dump_element` gave, or that as read by :mod:`json`.

    Raises:
        ValueError, TypeError, KeyError: it is nothing of the kind.
    """
    told = data if isinstance(data, dict) else json.loads(data)
    extra = told.get("x", {})
    cls = CLASSES.get(element)
    if cls is None:
        return UnknownElement(element, extra=extra)
    fields = told["f"]
    for name, read in _READ.items():
        if name in fields:
            fields[name] = read(fields[name])
    return cls(**fields, extra=extra)


def _customer(data: dict[str, Any]) -> Customer:
    return Customer(**{**data, "args": tuple(data.get("args", ()))})


def _end_user(data: dict[str, Any]) -> EndUser:
    return EndUser(data["count"], tuple(_customer(item) for item in data["items"]))


def _other_info(data: dict[str, Any]) -> OtherInfo:
    customers = data.get("end_user")
    told = {"args": tuple(data.get("args", ())), "end_user": None if customers is None else _end_user(customers)}
    return OtherInfo(**{**data, **told})


_READ: dict[str, Callable[[Any], Any]] = {
    "state": lambda data: State(**data),
    "target": lambda data: Target(**{**data, "args": tuple(data.get("args", ()))}),
    "end_user": _end_user,
    "other_info": _other_info,
    "origination": tuple,
    "tags": tuple,
}


_BOX = ("target_type", "target_id", "target_name", "new_messages", "saved_messages", "text", "extra")


def dump_box(box: MessageWaiting) -> str:
    """A voicemail box as text."""
    return dumps({name: getattr(box, name) for name in _BOX})


def load_box(data: bytes) -> MessageWaiting:
    """The voicemail box that was written."""
    return MessageWaiting(**json.loads(data))


def dump_term(term: Term | str) -> bytes:
    """A message: text as JSON, any other term as BERT has it."""
    if type(term) is not str:
        try:
            return bert.encode(term)
        except EncodeError:
            term = repr(term)
    return dumps(term).encode()


def load_term(data: bytes) -> Term | str:
    """The message that was written.

    Raises:
        ValueError: it is nothing of the kind.
    """
    if data[:1] == bytes([_TERM]):
        try:
            return bert.decode(data)
        except DecodeError as error:
            raise ValueError(str(error)) from None
    return json.loads(data)
