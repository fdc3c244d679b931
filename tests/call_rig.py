"""A simulated PBX of either generation, and a parser that hears it, for tests of calls; without a network."""

from __future__ import annotations

import json
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
__all__ = ["BEGIN", "Generation", "Heard", "Rig", "both", "who"]

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
        self.restart()
        pbx.listen(self._hear)

    def restart(self) -> None:
        """A program that knows nothing yet takes the place of this one."""
        self.heard = Heard()
        self.parser = MessageParser(self.heard)
        self.connect()

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
        tracker = self.parser._telling.calls
        assert tracker is not None
        assert not tracker._live
        assert not tracker._index
        assert not tracker._offers


def who(party: Party | None) -> object:
    return party and (party.user_id or party.number)
