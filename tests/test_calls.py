"""Calls from channels: scenarios of the simulated PBX in both generations, rules by hand, and random interleavings."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from basix_cti import Call, CTIHandler, MessageParser, Party
from basix_cti.events import CallEvent, Event
from basix_cti.simulator import Simulator
from basix_cti.simulator.calls import Call as SimCall
from basix_cti.simulator.model import Change
from basix_cti.simulator.views import View
from basix_cti.simulator.wire import CurrentWire, FirstWire

BEGIN = 1_700_000_000_000_000
Generation = type[CurrentWire] | type[FirstWire]
both = pytest.mark.parametrize("wire", [CurrentWire, FirstWire], ids=["current", "first"])


class Heard(CTIHandler):
    """What is told of calls."""

    def __init__(self) -> None:
        self.told: list[CallEvent] = []
        self.hooks: list[tuple[str, Call]] = []

    def on_event(self, event: Event) -> None:
        if isinstance(event, CallEvent):
            self.told.append(event)
            json.dumps(event.to_dict(), allow_nan=False)

    def on_error(self, error: BaseException) -> None:
        raise error

    def on_call_ringing(self, call: Call) -> None:
        self.hooks.append(("ringing", call))

    def on_call_answered(self, call: Call) -> None:
        self.hooks.append(("answered", call))

    def on_call_parked(self, call: Call) -> None:
        self.hooks.append(("parked", call))

    def on_call_transferred(self, call: Call) -> None:
        self.hooks.append(("transferred", call))

    def on_call_ended(self, call: Call) -> None:
        self.hooks.append(("ended", call))

    def kinds(self) -> list[str]:
        """What was told since the last time."""
        kinds = [kind for kind, _ in self.hooks]
        assert [(event.kind, event.call) for event in self.told] == self.hooks
        self.told.clear()
        self.hooks.clear()
        return kinds


class Rig:
    """A simulated PBX, and a parser that hears all of it, or what one user sees; without a network."""

    def __init__(self, wire: Generation = CurrentWire, user: str | None = None, **options: Any) -> None:
        self.now = BEGIN
        self.sim = Simulator(clock=lambda: self.now, **options)
        pbx = self.sim._pbx
        self.wire = wire(pbx, self.sim._vocabulary)
        self.view = View(pbx, None if user is None else self.sim._board.user(user).id)
        self.heard = Heard()
        self.parser = MessageParser(self.heard)
        self.deaf = False
        self.connect()
        pbx.listen(self._hear)

    def connect(self) -> None:
        self.deaf = False
        self.parser.connection_made()
        for frame in self.wire.opening(self.view):
            self.parser.handle_message(frame)

    def disconnect(self) -> None:
        self.deaf = True
        self.parser.connection_lost()

    def _hear(self, change: Change) -> None:
        if not self.deaf:
            for seen in self.view.changes(change):
                for frame in self.wire.messages(seen):
                    self.parser.handle_message(frame)

    def wait(self, seconds: float) -> None:
        self.now += round(seconds * 1_000_000)
        self.sim.run_due()

    def label(self, name: str) -> str:
        return self.sim._board.user(name).label

    @property
    def last(self) -> Call:
        return self.heard.hooks[-1][1]

    def incoming(self, to: str = "user1") -> SimCall:
        return self.sim.call("0312341234", to=to)

    def check_empty(self) -> None:
        """Nothing is left of the calls but that they were."""
        assert self.parser.calls == []
        tracker = self.parser._calls
        assert not tracker._live
        assert not tracker._index
        assert not tracker._offers


def who(party: Party | None) -> object:
    return party and (party.user_id or party.number)


class TestScenarios:
    @both
    def test_an_incoming_call(self, wire: Generation) -> None:
        rig = Rig(wire)
        customer = rig.sim.customers[0]
        call = rig.sim.call(customer.number, to="user1")
        (known,) = rig.parser.calls
        assert (known.state, known.direction, known.ended, known.outcome) == ("ringing", "inbound", False, None)
        assert (known.id, known.caller.number) == (call.uuid, customer.number)
        rig.wait(7)
        assert known.wait_time(rig.now / 1e6) == 7
        call.answer()
        rig.wait(20)
        (talking,) = rig.parser.calls
        assert (talking.state, talking.wait_duration, talking.talk_duration) == ("talking", 7, None)
        assert talking.talk_time(rig.now / 1e6) == 20
        assert known.state == "ringing"  # what a hook got does not change
        call.hangup()
        ended = rig.last
        assert rig.heard.kinds() == ["ringing", "answered", "ended"]
        assert ended.target is not None
        assert (ended.target.type, ended.target.name) == ("user", "user1")
        assert who(ended.answered_by) == rig.sim.users[0].id
        assert (ended.outcome, ended.state) == ("answered", "ended")
        assert (ended.wait_duration, ended.talk_duration, ended.park_duration, ended.duration) == (7, 20, 0, 27)
        assert (ended.uncertain, ended.partial, ended.joined, ended.transfers) == (False, False, None, ())
        if wire is CurrentWire:
            assert ended.customer is not None
            assert (ended.customer.name, str(ended.caller)) == (customer.name, customer.name)
            assert str(ended.answered_by) == rig.label("user1")
            assert (ended.hangup_disposition, ended.hangup_cause) == ("recv_bye", "NORMAL_CLEARING")
        rig.check_empty()

    @pytest.mark.parametrize(
        ("act", "outcome"),
        [
            (lambda call: call.busy(), "busy"),
            (lambda call: call.no_answer(), "missed"),
            (lambda call: call.abandon(), "abandoned"),
            (lambda call: call.hangup("UNALLOCATED_NUMBER", "send_refuse"), "failed"),
            (lambda call: call.voicemail().hangup(), "voicemail"),
            (lambda call: call.conference().hangup(), "answered"),
            (lambda call: call.ivr().hangup(), "abandoned"),
            (lambda call: call.ivr().hangup(disposition="send_bye"), "missed"),
        ],
    )
    @both
    def test_outcomes(self, act: Callable[[SimCall], SimCall], outcome: str, wire: Generation) -> None:
        rig = Rig(wire)
        act(rig.incoming())
        told = outcome if wire is CurrentWire or outcome in ("voicemail", "answered") else "missed"
        assert rig.last.outcome == told
        assert rig.heard.kinds() == ["ringing", *(["answered"] if outcome == "answered" else []), "ended"]
        rig.check_empty()
