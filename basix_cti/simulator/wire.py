"""What a PBX sends: changes as Erlang terms, in the vocabulary of either generation.

Both classes here are used with the PBX's lock held, and keep nothing but tables of names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ..etf import Atom, Term, encode
from .model import (
    Change,
    Channel,
    Domain,
    Group,
    GroupMember,
    Item,
    OtherInfo,
    Pbx,
    State,
    Target,
    Terminal,
    User,
    waiting_kind,
)
from .views import View

__all__ = ["CurrentWire", "FirstWire", "Vocabulary", "Wire"]

UNDEFINED = Atom("undefined")
NOTHING = (Atom("bert"), Atom("nil"))

_CHANNEL_FIELDS = Channel._fields
_DIRECTION, _PEER_LOCATION, _USER_ID, _STATE, _GROUP_ID, _TARGET, _LAST_EVENT, _OTHER_INFO = map(
    _CHANNEL_FIELDS.index,
    ("direction", "peer_location", "user_id", "state", "group_id", "target", "last_event", "other_info"),
)
_FIELDS: dict[str, tuple[str, ...]] = {
    "domain": Domain._fields,
    "user": User._fields[:-1],
    "group": Group._fields[:-1],
    "group_member": GroupMember._fields,
    "terminal": Terminal._fields,
    "channel": _CHANNEL_FIELDS,
    "channel_waiting": _CHANNEL_FIELDS,
    "queued_channel": ("uuid", "state", "peer_number", "end_user"),
    "parked_channel": ("uuid", "state", "peer_number", "end_user"),
    "chan_info": (
        *("uuid", "direction", "peer_location", "calling_name", "calling_number", "called_number"),
        *("offer_timestamp", "answer_timestamp", "hangup_timestamp", "other_uuid", "user_name", "user_id", "state"),
        *("group_id", "group_name", "target", "last_event"),
    ),
    "park_info": ("uuid", "slot", "parker_id", "parker_name"),
    "unpark_info": ("uuid", "slot", "parker_id", "parker_name"),
    "mwi_info": ("target_type", "target_id", "target_name", "new_messages", "saved_messages"),
}

_BRIEF = ("queued_channel", "parked_channel")

_ATOMS: dict[str | None, Atom] = {
    None: UNDEFINED,
    **{
        name: Atom(name)
        for name in (
            *("inbound", "outbound", "internal", "external", "user", "group", "pstn", "end_user", "ring", "hunt"),
            *("added", "updated", "removed"),
            *("NEW_CHANNEL", "CHANNEL_ORIGINATE", "CHANNEL_ANSWER", "CHANNEL_BRIDGE", "CHANNEL_PARK"),
            *("CHANNEL_APPLICATION", "STATE_CHANGE", "CHANNEL_HANGUP"),
        )
    },
}


@dataclass(frozen=True)
class Vocabulary:
    """How the releases of the PBX differ on the wire.

    Args:
        names: how element and event names are written: ``string`` (a list of characters), ``atom`` or ``binary``.
        latin1_atoms: atoms with tag 100, as releases up to OTP 25; otherwise UTF-8 atoms (tag 119).
        wrapper: first generation: the one-element container around each message, None for none.
        waiting_element: one element ``channel_waiting``; otherwise ``queued_channel`` and ``parked_channel``.
        fields: for an element (or a first generation message), the fields that are sent, in this order, in place of
            all there are. A field that the simulator does not know is sent as undefined.

    Raises:
        ValueError: an unknown choice or element.
    """

    names: Literal["string", "atom", "binary"] = "string"
    latin1_atoms: bool = True
    wrapper: Literal["tuple", "list"] | None = None
    waiting_element: bool = True
    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.names not in ("string", "atom", "binary"):
            raise ValueError(f"names must be 'string', 'atom' or 'binary', not {self.names!r}")
        if self.wrapper not in (None, "tuple", "list"):
            raise ValueError(f"wrapper must be None, 'tuple' or 'list', not {self.wrapper!r}")
        unknown = set(self.fields) - set(_FIELDS)
        if unknown:
            raise ValueError(f"the wire has no {', '.join(sorted(unknown))} whose fields could be chosen")

    def name(self, name: str) -> Term:
        """An element's, event's or system message's name as it is written."""
        if self.names == "string":
            return list(name.encode())
        return Atom(name) if self.names == "atom" else name.encode()

    def encode(self, term: Term) -> bytes:
        """The bytes of one message."""
        return encode(term, latin1_atoms=self.latin1_atoms)


class _Generation:
    """What both generations have in common."""

    def __init__(self, pbx: Pbx, vocabulary: Vocabulary) -> None:
        self._pbx = pbx
        self._vocabulary = vocabulary
        self._picks = {
            kind: tuple([_FIELDS[kind].index(name) if name in _FIELDS[kind] else None for name in names])
            for kind, names in vocabulary.fields.items()
        }

    def _spec(self, kind: str) -> Term:
        return [Atom(name) for name in self._vocabulary.fields.get(kind, _FIELDS[kind])]

    def _picked(self, kind: str, values: tuple[Term, ...]) -> tuple[Term, ...]:
        picks = self._picks.get(kind)
        if picks is None:
            return values
        return tuple([UNDEFINED if index is None else values[index] for index in picks])


class CurrentWire(_Generation):
    """The current generation: ``field_spec``, ``initial_info``, ``info_event``, ``system_msg`` and ``msg``."""

    def __init__(self, pbx: Pbx, vocabulary: Vocabulary) -> None:
        super().__init__(pbx, vocabulary)
        waiting = ("channel_waiting",) if vocabulary.waiting_element else _BRIEF
        self._elements = ("domain", "user", "group", "group_member", "terminal", "channel", *waiting)
        self._named = {name: vocabulary.name(name) for name in (*self._elements, "added", "updated", "removed")}

    def opening(self, view: View) -> list[bytes]:
        """The first messages on a connection: every field spec, then the present state of every element."""
        elements = [element for element in self._elements if element != "domain" or view.whole]
        terms = [(Atom("field_spec"), self._named[element], self._spec(element)) for element in elements]
        for element in elements:
            tuples = [self._tuple(element, item) for item in self._items(element, view)]
            terms.append((Atom("initial_info"), self._named[element], tuples or NOTHING))
        return [self._vocabulary.encode(term) for term in terms]

    def messages(self, change: Change) -> list[bytes]:
        """What tells a change; empty if this generation has no words for it."""
        element, item = change.element, change.item
        if element == "waiting" and isinstance(item, Channel):
            element = self._waiting_element(item)
            if change.event == "updated" and element != "channel_waiting":
                assert isinstance(change.before, Channel)
                if self._tuple(element, change.before) == self._tuple(element, item):
                    return []
        named = self._named
        term = (Atom("info_event"), named[element], self._tuple(element, item), named[change.event])
        return [self._vocabulary.encode(term)]

    def system_msg(self, message: Term) -> bytes:
        """A ``system_msg``; a ``str`` is written like the names of elements, any other term as it is."""
        return self._said("system_msg", self._vocabulary.name(message) if type(message) is str else message)

    def msg(self, text: str) -> bytes:
        """A ``msg`` that a user or an admin sent."""
        return self._said("msg", text)

    def _said(self, kind: str, message: Term) -> bytes:
        return self._vocabulary.encode((Atom(kind), message))

    def _waiting_element(self, channel: Channel) -> str:
        return "channel_waiting" if self._vocabulary.waiting_element else f"{waiting_kind(channel)}_channel"

    def _items(self, element: str, view: View) -> Iterable[Item]:
        if element not in ("channel_waiting", *_BRIEF):
            return view.items(element)
        waiting = (item for item in view.items("waiting") if isinstance(item, Channel))
        return [channel for channel in waiting if self._waiting_element(channel) == element]

    def _tuple(self, element: str, item: Item) -> tuple[Term, ...]:
        if not isinstance(item, Channel):
            values = _values(item[: len(_FIELDS[element])])
        elif element in _BRIEF:
            outbound = item.direction == "outbound"
            number = item.called_number if outbound else item.calling_number
            values = (item.uuid, _state(item.state), number, UNDEFINED if item.end_user is None else item.end_user)
        else:
            values = _channel(item)
        return self._picked(element, values)


class FirstWire(_Generation):
    """The first generation: ``field_spec``, ``initial_chan_info``, ``chan_info``, ``park_info`` and so on."""

    def opening(self, view: View) -> list[bytes]:
        """The first messages on a connection: every field spec, then the present channels."""
        kinds = ("chan_info", "park_info", "unpark_info", "mwi_info")
        terms: list[Term] = [(Atom("field_spec"), Atom(kind), self._spec(kind)) for kind in kinds]
        tuples = [self._channel(item) for item in view.items("channel") if isinstance(item, Channel)]
        terms.append((Atom("initial_chan_info"), tuples or NOTHING))
        return [self._message(term) for term in terms]

    def messages(self, change: Change) -> list[bytes]:
        """What tells a change; empty if this generation has no words for it."""
        item, before = change.item, change.before
        if isinstance(item, Channel):
            if change.element == "channel":
                return [] if change.event == "removed" else [self._message((Atom("chan_info"), self._channel(item)))]
            if change.event == "updated" or item.state is None or item.state.name != "park":
                return []
            slot, _, parker_id, parker_name = item.state.details
            kind = "park_info" if change.event == "added" else "unpark_info"
            return [self._told(kind, (item.uuid, *_values((slot, parker_id, parker_name))))]
        if isinstance(item, (User, Group)) and isinstance(before, (User, Group)) and sum(item.mwi) > sum(before.mwi):
            values = (Atom(change.element), item.id, item.name, item.mwi.new, item.mwi.saved)
            return [self._told("mwi_info", values)]
        return []

    def _told(self, kind: str, values: tuple[Term, ...]) -> bytes:
        return self._message((Atom(kind), self._picked(kind, values)))

    def _message(self, term: Term) -> bytes:
        wrapper = self._vocabulary.wrapper
        if wrapper is not None:
            term = (term,) if wrapper == "tuple" else [term]
        return self._vocabulary.encode(term)

    def _channel(self, channel: Channel) -> tuple[Term, ...]:
        user = None if channel.user_id is None else self._pbx.users.get(channel.user_id)
        group = None if channel.group_id is None else self._pbx.groups.get(channel.group_id)
        current = _channel(channel)
        values = (
            *current[:_USER_ID],
            UNDEFINED if user is None else user.name,
            current[_USER_ID],
            _first_state(channel.state),
            current[_GROUP_ID],
            UNDEFINED if group is None else group.name,
            current[_TARGET],
            current[_LAST_EVENT],
        )
        return self._picked("chan_info", values)


Wire: TypeAlias = CurrentWire | FirstWire
"""A generation's vocabulary."""


def _values(values: Iterable[object]) -> tuple[Term, ...]:
    return tuple(
        [UNDEFINED if value is None else str(value) if isinstance(value, tuple) else value for value in values]
    )


def _channel(channel: Channel) -> tuple[Term, ...]:
    values: list[Term] = [UNDEFINED if value is None else value for value in channel]
    values[_DIRECTION] = _ATOMS[channel.direction]
    values[_PEER_LOCATION] = _ATOMS[channel.peer_location]
    values[_STATE] = _state(channel.state)
    values[_TARGET] = _target(channel.target)
    values[_LAST_EVENT] = _ATOMS[channel.last_event]
    values[_OTHER_INFO] = _other_info(channel.other_info)
    return tuple(values)


def _state(state: State | None) -> Term:
    if state is None:
        return UNDEFINED
    called = state.target
    if called is None:
        return (state.since, Atom(state.name), *_details(state))
    if called.type == "pstn":
        return (state.since, Atom("calling"), Atom("ext"), _ATOMS["pstn"], (called.address,))
    if called.type == "user":
        data: tuple[Term, ...] = (called.id,)
    elif state.group_type == "ring":
        data = (_ATOMS["ring"], called.id, UNDEFINED, UNDEFINED, called.name)
    else:
        data = (_ATOMS["hunt"], called.id, UNDEFINED, UNDEFINED)
    return (state.since, Atom("calling"), Atom("int"), _ATOMS[called.type], data)


def _first_state(state: State | None) -> Term:
    if state is None:
        return UNDEFINED
    called = state.target
    if called is not None and called.type == "pstn":
        return (state.since, Atom("calling_external"), called.address)
    if called is not None:
        return (state.since, Atom("calling"), _ATOMS[called.type], called.id, called.name)
    if state.name == "xml_ivr":
        return (state.since, Atom("plivo"))
    if state.name == "park":
        return (state.since, Atom("park"), state.details[0])
    return (state.since, Atom(state.name), *_details(state))


def _details(state: State) -> tuple[Term, ...]:
    if state.name == "voicemail":
        return (Atom(str(state.details[0])), *state.details[1:])
    return _values(state.details)


def _target(target: Target | None) -> Term:
    return UNDEFINED if target is None else (_ATOMS[target.type], *target[1:])


def _other_info(info: OtherInfo | None) -> Term:
    if info is None:
        return UNDEFINED
    values = _values(info)
    return (_ATOMS[info.type], values[1], _ATOMS[info.direction], _ATOMS[info.peer_location], *values[4:])
