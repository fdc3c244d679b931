"""Messages of both generations of the wire protocol, and a line on which to send them to a handler.

Names are written as a PBX may write them: as atoms, as strings or as binaries. Everything here is pure data and
synchronous calls: no sockets, threads or clocks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from basix_cti import Call, Channel, CTIHandler, Element, MessageParser, MessageWaiting, ParkInfo, Picture
from basix_cti.errors import ConnectionLost
from basix_cti.etf import Atom, Term, encode
from basix_cti.events import CallEvent, Event, InfoEvent, Session
from basix_cti.limits import DEFAULT_LIMITS, Limits

__all__ = [
    "BERT_NIL",
    "CHANNEL_FIELDS",
    "CHAN_INFO_FIELDS",
    "EMPTY_LISTS",
    "GROUP_FIELDS",
    "NAMES",
    "PARK_INFO_FIELDS",
    "UNDEFINED",
    "USER_FIELDS",
    "WAITING_FIELDS",
    "WRAPPERS",
    "Line",
    "Name",
    "Recorder",
    "atom",
    "binary",
    "chan_info",
    "current_session",
    "field_spec",
    "first_session",
    "info_event",
    "initial_chan_info",
    "initial_info",
    "row",
    "string",
    "text",
]

Name: TypeAlias = Callable[[str], Term]
"""One of the three ways in which a PBX may write a name."""


def atom(name: str) -> Term:
    return Atom(name)


def string(name: str) -> Term:
    return list(name.encode())


def binary(name: str) -> Term:
    return name.encode()


def text(value: str) -> bytes:
    """A text as the PBX sends it: a binary of UTF-8."""
    return value.encode()


NAMES: dict[str, Name] = {"atom": atom, "string": string, "binary": binary}
WRAPPERS: dict[str, Callable[[Term], Term]] = {
    "bare": lambda message: message,
    "tuple": lambda message: (message,),
    "list": lambda message: [message],
}

UNDEFINED = Atom("undefined")
BERT_NIL = (Atom("bert"), Atom("nil"))
EMPTY_LISTS: dict[str, Term] = {
    "list": [],
    "bert nil": BERT_NIL,
    "undefined": UNDEFINED,
    "null": Atom("null"),
    "nil": Atom("nil"),
}

CHANNEL_FIELDS = (
    "uuid",
    "direction",
    "peer_location",
    "calling_name",
    "calling_number",
    "called_number",
    "offer_timestamp",
    "answer_timestamp",
    "hangup_timestamp",
    "other_uuid",
    "user_id",
    "state",
    "group_id",
    "target",
    "origination",
    "end_user",
    "tags",
    "last_bridged_user_id",
    "last_event",
    "last_event_data",
    "other_info",
    "call_id",
    "whoscall",
)
CHAN_INFO_FIELDS = (
    "uuid",
    "direction",
    "peer_location",
    "calling_name",
    "calling_number",
    "called_number",
    "offer_timestamp",
    "answer_timestamp",
    "hangup_timestamp",
    "other_uuid",
    "user_name",
    "user_id",
    "state",
    "group_id",
    "group_name",
    "target",
    "last_event",
)
WAITING_FIELDS = ("uuid", "state", "peer_number", "end_user")
USER_FIELDS = (
    "id",
    "name",
    "fwd_always_status",
    "do_not_disturb_status",
    "language",
    "main_extension",
    "presence",
    "role",
    "park_group",
    "mwi_target",
    "flags",
    "followme",
    "email",
    "avatar",
    "label",
    "mwi",
)
GROUP_FIELDS = (
    "id",
    "name",
    "type",
    "language",
    "main_extension",
    "queue",
    "label",
    "flags",
    "check_login_status",
    "mwi",
)
GROUP_MEMBER_FIELDS = ("id", "group_id", "user_id", "priority", "login_status", "role")
TERMINAL_FIELDS = ("id", "name", "assoc_user_id", "type", "user_agent", "registered")
PARK_INFO_FIELDS = ("uuid", "park_slot", "parker_id", "parker_name")
MWI_INFO_FIELDS = ("target_type", "target_id", "target_name", "new_messages", "saved_messages")

FIELDS: dict[str, Sequence[str]] = {
    "channel": CHANNEL_FIELDS,
    "channel_waiting": CHANNEL_FIELDS,
    "queued_channel": WAITING_FIELDS,
    "parked_channel": WAITING_FIELDS,
    "user": USER_FIELDS,
    "group": GROUP_FIELDS,
    "group_member": GROUP_MEMBER_FIELDS,
    "terminal": TERMINAL_FIELDS,
    "domain": ("id", "name"),
    "chan_info": CHAN_INFO_FIELDS,
    "park_info": PARK_INFO_FIELDS,
    "unpark_info": ("uuid", "park_slot"),
    "mwi_info": MWI_INFO_FIELDS,
}


def row(spec: str | Sequence[str], **values: Term) -> tuple[Term, ...]:
    """One object's tuple; fields that are not given are undefined."""
    fields = FIELDS[spec] if isinstance(spec, str) else spec
    unknown = values.keys() - set(fields)
    assert not unknown, f"not in the spec: {unknown}"
    return tuple(values.get(name, UNDEFINED) for name in fields)


def field_spec(element: str, fields: Iterable[str] | None = None, name: Name = string) -> Term:
    """``field_spec`` of an element; by default with all fields of the wire document."""
    return (Atom("field_spec"), name(element), [Atom(each) for each in (FIELDS[element] if fields is None else fields)])


def initial_info(element: str, *items: Term, name: Name = string) -> Term:
    return (Atom("initial_info"), name(element), list(items))


def info_event(element: str, event: str, values: Term, name: Name = string) -> Term:
    return (Atom("info_event"), name(element), values, name(event))


def initial_chan_info(*items: Term) -> Term:
    return (Atom("initial_chan_info"), list(items))


def chan_info(**values: Term) -> Term:
    return (Atom("chan_info"), row("chan_info", **values))


# --- whole sessions ---------------------------------------------------------------------------------------------

_T0 = 1_775_001_600_123_456


def _at(seconds: int) -> int:
    return _T0 + seconds * 1_000_000


_CUSTOMER = b"1001*%E5%B1%B1%E7%94%B0+%E5%A4%AA%E9%83%8E*Example%2ATrading*1001.png*%E6%9D%B1%E4%BA%AC"


def _customers_leg() -> dict[str, Term]:
    return {
        "uuid": b"c1",
        "direction": Atom("inbound"),
        "peer_location": Atom("external"),
        "calling_name": text("山田太郎"),
        "calling_number": b"0312345678",
        "called_number": b"0501234567",
        "offer_timestamp": _at(0),
        "group_id": 21,
        "target": (Atom("group"), 21, text("サポート"), b"0501234567"),
    }


def first_session() -> list[Term]:
    """One call on a PBX of the first generation: offered, answered, parked, taken back, ended; and a voicemail."""
    leg = _customers_leg() | {"group_name": text("サポート")}
    answered = leg | {"answer_timestamp": _at(5)}
    bridged = (_at(5), Atom("bridged"))
    slot = row("park_info", uuid=b"c1", park_slot=b"901", parker_id=1, parker_name=b"suzuki")
    return [
        field_spec("chan_info", name=atom),
        field_spec("park_info", name=atom),
        field_spec("unpark_info", name=atom),
        field_spec("mwi_info", name=atom),
        initial_chan_info(row("chan_info", uuid=b"c0", state=(_at(-60), Atom("plivo")))),
        chan_info(**leg, state=(_at(0), Atom("calling"), Atom("group"), 21, b"support"), last_event=b"NEW_CHANNEL"),
        chan_info(**answered, state=bridged, last_event=b"CHANNEL_ANSWER"),
        chan_info(**answered, state=(_at(20), Atom("park"), b"901"), last_event=b"CHANNEL_PARK"),
        (Atom("park_info"), slot),
        (Atom("unpark_info"), slot[:2]),
        chan_info(**answered, state=bridged, last_event=b"CHANNEL_BRIDGE"),
        (Atom("mwi_info"), (Atom("user"), 1, b"suzuki", 1, 0)),
        chan_info(**answered, state=bridged, hangup_timestamp=_at(60), last_event=b"CHANNEL_HANGUP"),
    ]


def current_session(name: Name = string) -> list[Term]:
    """The same call on a PBX of the current generation, with everything else that such a PBX tells."""
    whose = b"%7B%22name%22%3A%22%E5%B1%B1%E7%94%B0%22%7D"
    leg = _customers_leg() | {
        "end_user": _CUSTOMER,
        "tags": b"a;b",
        "origination": b"api*%E6%8A%98+%23",
        "call_id": b"c1@carrier.example",
        "whoscall": whose,
        "other_info": (Atom("user"), 1, Atom("outbound"), Atom("internal"), b"101", _at(1), 21, UNDEFINED),
    }
    answered = leg | {"answer_timestamp": _at(5)}
    bridged = (_at(5), Atom("bridged"))
    park = (_at(20), Atom("park"), b"901", UNDEFINED, 1, b"suzuki")
    suzuki = {"id": 1, "name": b"suzuki", "label": text("鈴木 一郎"), "followme": [b"09011112222"], "mwi": b""}

    def event(element: str, what: str, **values: Term) -> Term:
        return info_event(element, what, row(element, **values), name)

    def initial(element: str, *items: dict[str, Term]) -> list[Term]:
        rows = [row(element, **item) for item in items]
        return [field_spec(element, name=name), initial_info(element, *rows, name=name)]

    calling = (_at(0), Atom("calling"), Atom("int"), Atom("group"), (0, 21, UNDEFINED, UNDEFINED, 5))
    ended = answered | {
        "state": bridged,
        "hangup_timestamp": _at(60),
        "last_event": b"CHANNEL_HANGUP",
        "last_event_data": b"recv_bye,NORMAL_CLEARING",
    }
    return [
        *initial("domain", {"id": 1, "name": b"example"}),
        *initial("user", suzuki),
        *initial("group", {"id": 21, "name": b"support", "type": 0, "label": text("サポート")}),
        *initial("group_member", {"group_id": 21, "user_id": 1}),
        *initial("terminal", {"id": 31, "name": b"desk-101", "registered": True}),
        *initial("channel", {"uuid": b"c0", "state": (_at(-60), Atom("xml_ivr")), "end_user": b"_MANY_:2|1*A|2*B"}),
        field_spec("channel_waiting", name=name),
        (Atom("initial_info"), name("channel_waiting"), BERT_NIL),
        event("channel", "added", **leg, state=calling, last_event=b"NEW_CHANNEL"),
        event("channel", "updated", **answered, state=bridged, last_event=b"CHANNEL_ANSWER"),
        event("channel", "updated", **answered, state=park, last_event=b"CHANNEL_PARK"),
        event("channel_waiting", "added", **answered, state=park, last_event=b"CHANNEL_PARK"),
        event("channel_waiting", "removed", **answered, state=park, last_event=b"CHANNEL_PARK"),
        event("channel", "updated", **answered, state=bridged, last_event=b"CHANNEL_BRIDGE"),
        event("user", "updated", **suzuki | {"mwi": b"1/0"}),
        (Atom("system_msg"), (Atom("auto_answer"), b"c1")),
        (Atom("msg"), text("会議は15時からです")),
        event("channel", "updated", **ended),
        event("channel", "removed", **ended),
    ]


# --- the receiving side -----------------------------------------------------------------------------------------


class Recorder(CTIHandler):
    """Records each call of a hook, in order, as ``(name, first argument, …)``; ``on_event``'s events apart.

    What is told of calls is left out where ``channels_only`` is set: it follows from the channels.
    """

    channels_only = False

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        if not (self.channels_only and isinstance(event, CallEvent)):
            self.events.append(event)

    def on_initial_info(self, element: str, items: list[Element]) -> None:
        self.calls.append(("on_initial_info", element, items))

    def on_initial_chan_info(self, channels: list[Channel]) -> None:
        self.calls.append(("on_initial_chan_info", channels))

    def on_info_event(self, element: str, item: Element, event: str) -> None:
        self.calls.append(("on_info_event", element, item, event))

    def on_chan_info(self, channel: Channel) -> None:
        self.calls.append(("on_chan_info", channel))

    def on_park_info(self, park: ParkInfo) -> None:
        self.calls.append(("on_park_info", park))

    def on_unpark_info(self, park: ParkInfo) -> None:
        self.calls.append(("on_unpark_info", park))

    def on_call_ringing(self, call: Call) -> None:
        self._of_call("on_call_ringing", call)

    def on_call_answered(self, call: Call) -> None:
        self._of_call("on_call_answered", call)

    def on_call_parked(self, call: Call) -> None:
        self._of_call("on_call_parked", call)

    def on_call_transferred(self, call: Call) -> None:
        self._of_call("on_call_transferred", call)

    def on_call_ended(self, call: Call) -> None:
        self._of_call("on_call_ended", call)

    def _of_call(self, hook: str, call: Call) -> None:
        if not self.channels_only:
            self.calls.append((hook, call))

    def on_mwi_info(self, mwi: MessageWaiting) -> None:
        self.calls.append(("on_mwi_info", mwi))

    def on_system_msg(self, msg: Term) -> None:
        self.calls.append(("on_system_msg", msg))

    def on_msg(self, msg: Term) -> None:
        self.calls.append(("on_msg", msg))

    def on_connect(self, session: Session) -> None:
        self.calls.append(("on_connect", session))

    def on_disconnect(self, reason: ConnectionLost) -> None:
        self.calls.append(("on_disconnect", reason))

    def on_error(self, error: BaseException) -> None:
        self.calls.append(("on_error", error))

    def on_overflow(self, count: int) -> None:
        self.calls.append(("on_overflow", count))

    def of(self, hook: str) -> list[Any]:
        """What one hook was called with: its argument, or a tuple of them where it has several."""
        return [call[1] if len(call) == 2 else call[1:] for call in self.calls if call[0] == hook]

    def names(self) -> list[str]:
        """The hooks in the order of their calls."""
        return [call[0] for call in self.calls]

    def forget(self) -> None:
        self.calls.clear()
        self.events.clear()


class Line:
    """A :class:`MessageParser` with a :class:`Recorder` behind it, connected.

    :meth:`send` takes terms, and forgets what earlier ones led to; every event is checked to be JSON-ready.

    Args:
        handler: another recorder.
        wrapper: the container around each message, a key of ``WRAPPERS``.
        limits: bounds for one message.
        calls: whether what is told of calls is recorded and returned, too.
    """

    def __init__(
        self,
        handler: Recorder | None = None,
        *,
        wrapper: str = "bare",
        limits: Limits = DEFAULT_LIMITS,
        calls: bool = False,
    ) -> None:
        self.told = handler or Recorder()
        self.told.channels_only = not calls
        self._wrap = WRAPPERS[wrapper]
        self.parser = MessageParser(self.told, limits=limits)
        self.parser.connection_made()
        self.told.forget()

    @property
    def state(self) -> Picture:
        return self.parser.state

    def send(self, *messages: Term) -> list[Event]:
        """Send messages, a frame each; the events that they led to. What hooks were called is in :attr:`told`."""
        self.told.forget()
        told: list[Event] = []
        for message in messages:
            told += self.parser.handle_message(encode(self._wrap(message)), received_at=1_775_001_600.5)
        for event in told:
            json.dumps(event.to_dict(), allow_nan=False)
        return [event for event in told if not (self.told.channels_only and isinstance(event, CallEvent))]

    def reconnect(self, *messages: Term) -> list[Event]:
        """End the connection, make another, and send messages on it."""
        self.parser.connection_lost()
        self.parser.connection_made()
        return self.send(*messages)

    def generic(self) -> list[tuple[str, Any, str]]:
        """``(element, key, event)`` of each call of ``on_info_event``."""
        return [(element, item.key, event) for element, item, event in self.told.of("on_info_event")]

    def synthetic(self) -> list[tuple[str, Any, str]]:
        """``(element, key, event)`` of each synthetic change."""
        events = self.told.events
        return [(e.element, e.item.key, e.event) for e in events if isinstance(e, InfoEvent) and e.synthetic]
