"""From frames to events: both generations of the wire protocol, as tables, with one vocabulary.

No I/O, no threads, no clock. The generation is decided message by message. Source: the wire document
(docs/protocol).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TypeAlias

from . import bert
from .builder import FieldPlan
from .elements import CLASSES, Group, UnknownElement, User, message_waiting_of
from .errors import DecodeError
from .etf import Atom, Term
from .events import ADDED, REMOVED, UPDATED, Event, InfoEvent, InitialInfo, Msg, SystemMsg, UnknownMessage
from .limits import DEFAULT_LIMITS, Limits
from .readers import read_name

__all__ = ["Protocol"]

logger = logging.getLogger(__name__)

_MAX_REMEMBERED = 256
# What a term takes in memory beside the bytes of its encoding: measured, 30 for a number in a tuple, 75 for a text.
_TERM_BYTES = 64
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class _Malformed(ValueError):
    """A message of a known kind whose parts are not what that kind has."""


class Protocol:
    """Reads the messages of one connection after another.

    Args:
        limits: bounds for one message.

    Attributes:
        cost: about how many bytes of memory the latest message takes as an event.
        fields: of each field spec of this connection, the names of its fields, in order.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.cost = 0
        self.fields: dict[str, list[str]] = {}
        self._limits = limits
        self._plans: dict[str, FieldPlan] = {}
        self._logged: set[tuple[str, str]] = set()

    def new_connection(self) -> None:
        """Forget the field specs: each connection sends its own."""
        self._plans.clear()
        self.fields.clear()

    def receive(self, frame: bytes, received_at: float) -> Event | None:
        """The event that one binary frame tells; None for a field spec.

        Args:
            frame: one whole message.
            received_at: when it arrived, seconds since the epoch.

        Raises:
            DecodeError: the frame does not hold one valid term. Nothing of what came before is lost.
        """
        self.cost = len(frame)
        term, size, terms = bert.decode_counted(frame, self._limits)
        self.cost = size + terms * _TERM_BYTES
        message = _unwrapped(term)
        kind = message[0] if message else None
        if type(kind) is not Atom:
            kind = read_name(kind)
        read = _MESSAGES.get(kind or "")
        if read is None:
            kind = None if kind is None else str(kind)
            self._log_once("message", kind)
            return UnknownMessage(kind, term, received_at=received_at)
        try:
            event = read(self, message)
        except ValueError as problem:  # _Malformed, or an integer beyond sys.set_int_max_str_digits()
            self._log_once("form of message", f"{kind}: {problem}")
            return UnknownMessage(str(kind), term, received_at=received_at)
        except RecursionError:
            raise DecodeError("terms nested deeper than the interpreter's stack allows") from None
        if event is not None:
            event.received_at = received_at
        return event

    def _log_once(self, what: str, name: str | None) -> None:
        entry = (what, repr(name)[:100])
        if entry not in self._logged and len(self._logged) < _MAX_REMEMBERED:
            self._logged.add(entry)
            logger.warning("unknown %s from the PBX: %s (told once; it is passed on to on_event)", *entry)

    # Current generation

    def _field_spec(self, message: tuple[Term, ...]) -> None:
        element, names = _take(message, 2)
        element = _name(element)
        if names is None:
            names = []
        if type(names) not in (list, tuple):
            raise _Malformed("no list of fields")
        fields = [read_name(name) or f"field_{position}" for position, name in enumerate(names, 1)]
        self._plans[element] = FieldPlan(_FIRST_SPECS.get(element, element), fields)
        self.fields[element] = fields
        logger.debug("field spec of %s: %s", element, fields)

    def _initial_info(self, message: tuple[Term, ...]) -> Event:
        element, items = _take(message, 2)
        name = _name(element)
        return self._initial(name, self._plan(name), items, 2)

    def _info_event(self, message: tuple[Term, ...]) -> Event:
        element, values, event = _take(message, 3)
        name = _name(element)
        return InfoEvent(name, self._plan(name).build(_values(values)), _name(event))

    def _system_msg(self, message: tuple[Term, ...]) -> Event:
        return SystemMsg(_message_text(_take(message, 1)[0]))

    def _msg(self, message: tuple[Term, ...]) -> Event:
        return Msg(_message_text(_take(message, 1)[0]))

    # First generation

    def _initial_chan_info(self, message: tuple[Term, ...]) -> Event:
        return self._initial("channel", self._plan("chan_info"), _take(message, 1)[0], 1)

    def _chan_info(self, message: tuple[Term, ...]) -> Event:
        # What happened to the channel follows from what is known of it, which is the tracker's to say.
        return InfoEvent("channel", self._plan("chan_info").build(_values(_take(message, 1)[0])), "", 1)

    def _park_info(self, message: tuple[Term, ...]) -> Event:
        item = self._plan("park_info").build(_values(_take(message, 1)[0]))
        return InfoEvent("parked_channel", item, ADDED, 1)

    def _unpark_info(self, message: tuple[Term, ...]) -> Event:
        item = self._plan("unpark_info").build(_values(_take(message, 1)[0]))
        return InfoEvent("parked_channel", item, REMOVED, 1)

    def _mwi_info(self, message: tuple[Term, ...]) -> Event:
        fields = self._plan("mwi_info").build(_values(_take(message, 1)[0]))
        assert isinstance(fields, UnknownElement)
        mwi = message_waiting_of(fields)
        make = Group if mwi.target_type == "group" else User
        # A box of which only the change is told, not the counters, keeps those that were told before.
        text = mwi.text if mwi.text or mwi.new_messages is not None else None
        item = make(id=mwi.target_id, name=mwi.target_name, mwi=text)
        item.extra = {name: value for name, value in mwi.extra.items() if name not in item.READERS}
        return InfoEvent(item.element, item, UPDATED, 1, mwi=mwi)

    # Both

    def _plan(self, spec: str) -> FieldPlan:
        plan = self._plans.get(spec)
        if plan is None:
            self._log_once("order of fields, no field_spec yet", spec)
            plan = self._plans[spec] = FieldPlan(_FIRST_SPECS.get(spec, spec), [])
        return plan

    def _initial(self, element: str, plan: FieldPlan, items: Term, generation: int) -> Event:
        if items is None or (type(items) is Atom and items in ("undefined", "null", "nil")):
            items = []
        elif type(items) is tuple:  # a single object, as domain has
            items = [items]
        elif type(items) is not list:
            raise _Malformed("no list of objects")
        objects = []
        for values in items:
            try:
                objects.append(plan.build(_values(values)))
            except _Malformed as problem:
                self._log_once(f"form of {element} in the initial state", str(problem))
        return InitialInfo(element, objects, generation)


_Reader: TypeAlias = Callable[[Protocol, tuple[Term, ...]], "Event | None"]

# All messages of the two generations.
_MESSAGES: dict[str, _Reader] = {
    "field_spec": Protocol._field_spec,
    "initial_info": Protocol._initial_info,
    "info_event": Protocol._info_event,
    "system_msg": Protocol._system_msg,
    "msg": Protocol._msg,
    "initial_chan_info": Protocol._initial_chan_info,
    "chan_info": Protocol._chan_info,
    "park_info": Protocol._park_info,
    "unpark_info": Protocol._unpark_info,
    "mwi_info": Protocol._mwi_info,
}

# Whose fields the first generation's specs order.
_FIRST_SPECS = {
    "chan_info": "channel",
    "park_info": "parked_channel",
    "unpark_info": "parked_channel",
}


def _unwrapped(term: Term) -> tuple[Term, ...]:
    """The message in a frame, out of the one-element container that the first generation put around it.

    Empty where the term is no tuple that starts with a name.
    """
    while (type(term) is tuple or type(term) is list) and len(term) == 1 and type(term[0]) in (tuple, list):
        term = term[0]
    return term if type(term) is tuple and term else ()


def _take(message: tuple[Term, ...], count: int) -> tuple[Term, ...]:
    """The first ``count`` parts of a message behind its name; what a later PBX may send behind them is left."""
    if len(message) <= count:
        raise _Malformed(f"{len(message) - 1} parts instead of {count}")
    return message[1 : count + 1]


# Strings are lists of integers: these, which are in every message, need not be put together each time.
_NAMES: dict[bytes, str] = {name.encode(): name for name in (*CLASSES, ADDED, UPDATED, REMOVED)}


def _name(term: Term) -> str:
    if type(term) is list:
        try:
            known = _NAMES.get(bytes(term))
        except (TypeError, ValueError):
            known = None
        if known is not None:
            return known
    name = read_name(term)
    if name is None:
        raise _Malformed("a name is missing")
    return name


def _values(term: Term) -> tuple[Term, ...]:
    if type(term) is tuple:
        return term
    raise _Malformed("no tuple of values")


def _message_text(term: Term) -> str | Term:
    """Text and atoms as str; any other term as it is. A list of integers is text unless it has control characters."""
    text = read_name(term)
    return term if text is None or (type(term) is list and _CONTROL.search(text)) else text
