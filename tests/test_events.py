"""Events: what each is made of, and that all can be written as JSON."""

from __future__ import annotations

import dataclasses
import inspect
import json
from datetime import datetime, timezone
from typing import Any

import pytest

from basix_cti import Call, Leg, events
from basix_cti.elements import Channel, MessageWaiting, ParkInfo, User
from basix_cti.errors import ConnectionClosed, ConnectionLost, DecodeError
from basix_cti.etf import Atom, Pid
from basix_cti.events import (
    CallEvent,
    Connected,
    Disconnected,
    Event,
    Failed,
    InfoEvent,
    InitialInfo,
    Msg,
    Overflowed,
    Session,
    SystemMsg,
    UnknownMessage,
)

AT = 1_775_001_600.5
SESSION = Session(2, "wss://pbx.example/basix/api/ws_cti", "192.0.2.1:443", "TLSv1.3", AT)
USER = User(id=1, name="suzuki", mwi="1/0", label="鈴木")
CHANNEL = Channel(uuid="c1", last_event="CHANNEL_HANGUP")
CALL = Call("c1", (Leg(CHANNEL),))

SAMPLES: list[tuple[Event, dict[str, Any]]] = [
    (
        InitialInfo("user", [USER]),
        {"type": "initial_info", "element": "user", "items": [USER.to_dict()]},
    ),
    (
        InitialInfo("channel", [CHANNEL], 1, []),
        {"type": "initial_info", "element": "channel", "items": [CHANNEL.to_dict()]},
    ),
    (CallEvent("parked", CALL), {"type": "call", "kind": "parked", "call": CALL.to_dict()}),
    (
        InfoEvent("channel", CHANNEL, "removed", 1, news=False),
        {
            "type": "info_event",
            "element": "channel",
            "event": "removed",
            "item": CHANNEL.to_dict(),
            "news": False,
            "park": None,
            "unpark": None,
            "mwi": None,
        },
    ),
    (
        InfoEvent(
            "user",
            USER,
            "updated",
            park=ParkInfo("c1", 901, 7, "s"),
            unpark=ParkInfo("c2", "902"),
            mwi=MessageWaiting("user", 1, "suzuki", 1, 0, "1/0", {"more": [1]}),
        ),
        {
            "type": "info_event",
            "element": "user",
            "event": "updated",
            "item": USER.to_dict(),
            "news": True,
            "park": {"uuid": "c1", "slot": 901, "parker_id": 7, "parker_name": "s"},
            "unpark": {"uuid": "c2", "slot": "902", "parker_id": None, "parker_name": None},
            "mwi": {
                "target_type": "user",
                "target_id": 1,
                "target_name": "suzuki",
                "new_messages": 1,
                "saved_messages": 0,
                "text": "1/0",
                "more": [1],
            },
        },
    ),
    (SystemMsg("logout"), {"type": "system_msg", "msg": "logout"}),
    (SystemMsg((Atom("auto_answer"), b"c1")), {"type": "system_msg", "msg": ["auto_answer", "c1"]}),
    (Msg("会議"), {"type": "msg", "msg": "会議"}),
    (Msg({b"a": None}), {"type": "msg", "msg": {"a": None}}),
    (
        UnknownMessage("novelty", (Atom("novelty"), Pid(Atom("n@h"), 1, 2, 3))),
        {"type": "unknown", "kind": "novelty", "term": ["novelty", repr(Pid(Atom("n@h"), 1, 2, 3))]},
    ),
    (UnknownMessage(None, 5), {"type": "unknown", "kind": None, "term": 5}),
    (
        Connected(SESSION),
        {
            "type": "connected",
            "session": {
                "number": 2,
                "url": "wss://pbx.example/basix/api/ws_cti",
                "peer": "192.0.2.1:443",
                "tls": "TLSv1.3",
                "connected_at": AT,
            },
        },
    ),
    (
        Disconnected(ConnectionClosed("the PBX went away", 1001, "bye")),
        {"type": "disconnected", "reason": "bye", "code": 1001, "kind": "ConnectionClosed"},
    ),
    (
        Disconnected(ConnectionLost("the connection has ended")),
        {"type": "disconnected", "reason": "the connection has ended", "code": None, "kind": "ConnectionLost"},
    ),
    (Overflowed(17), {"type": "overflowed", "count": 17}),
    (
        Failed(DecodeError("truncated", 4, 109)),
        {"type": "error", "error": "truncated at byte 4 (tag 109)", "kind": "DecodeError"},
    ),
]
CLASSES = [cls for _, cls in inspect.getmembers(events, inspect.isclass) if issubclass(cls, Event) and cls is not Event]


@pytest.mark.parametrize(("event", "content"), SAMPLES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("synthetic", [False, True])
def test_to_dict(event: Event, content: dict[str, Any], synthetic: bool) -> None:
    told = dataclasses.replace(event, received_at=AT, synthetic=synthetic).to_dict()
    assert told == {"received_at": "2026-04-01T00:00:00.500+00:00", "synthetic": synthetic, **content}
    json.dumps(told, allow_nan=False, ensure_ascii=False).encode()


def test_every_event_class_is_in_the_table_above() -> None:
    assert {type(event) for event, _ in SAMPLES} == set(CLASSES)


def test_names_are_distinct() -> None:
    names = [cls.NAME for cls in CLASSES]
    assert len(set(names)) == len(names)
    assert all(names)


def test_every_event_class_is_public() -> None:
    assert {cls.__name__ for cls in CLASSES} <= set(events.__all__)


@pytest.mark.parametrize("event", [event for event, _ in SAMPLES], ids=lambda event: type(event).__name__)
def test_events_have_slots(event: Event) -> None:
    assert not hasattr(event, "__dict__")
    assert not hasattr(SESSION, "__dict__")


def test_received_time_is_aware() -> None:
    assert Msg("x", received_at=AT).received_time == datetime(2026, 4, 1, 0, 0, 0, 500_000, tzinfo=timezone.utc)


def test_defaults() -> None:
    event = InfoEvent("channel", CHANNEL, "updated")
    assert (event.received_at, event.synthetic, event.generation, event.news) == (0.0, False, 2, True)
    assert (event.park, event.unpark, event.mwi) == (None, None, None)
    assert InitialInfo("channel", []).generation == 2
    assert InitialInfo("channel", []).channels is not InitialInfo("channel", []).channels


def test_a_session_defaults_to_one_that_says_little() -> None:
    assert Session(1).to_dict() == {"number": 1, "url": None, "peer": None, "tls": None, "connected_at": 0.0}
