"""A busy PBX, played as fast as possible: its calls are those of the simulator's own book.

The whole hour of 200 people and 5,000 calls is marked ``hour``, and runs with ``make hour``; some minutes of it are
part of the suite.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import pytest

from basix_cti import Call, CTIHandler, MessageParser, Party
from basix_cti.calls import OUTCOMES
from basix_cti.events import CallEvent, Event
from basix_cti.simulator import Played, Simulator, Traffic
from basix_cti.simulator.model import Change
from basix_cti.simulator.views import View
from basix_cti.simulator.wire import CurrentWire, FirstWire

BEGIN = 1_700_000_000_000_000
# In the first generation no message tells why a channel ended.
UNTOLD = {"busy": "missed", "abandoned": "missed", "failed": "missed"}


class Log(CTIHandler):
    """A call log, and what was told of each call on the way."""

    def __init__(self) -> None:
        self.ended: list[Call] = []
        self.told: dict[str, list[str]] = {}

    def on_event(self, event: Event) -> None:
        if isinstance(event, CallEvent):
            self.told.setdefault(event.call.id, []).append(event.kind)

    def on_call_ended(self, call: Call) -> None:
        self.ended.append(call)

    def on_error(self, error: BaseException) -> None:
        raise error


class Heard(NamedTuple):
    """What a PBX of either generation told."""

    log: Log
    parser: MessageParser


def play(
    seconds: float, generations: Iterable[type[CurrentWire] | type[FirstWire]]
) -> tuple[list[Played], list[Heard]]:
    """Play a busy PBX; its book, and what was heard of it."""
    now = 0.0
    sim = Simulator(users=200, groups=12, seed="busy hour", clock=lambda: BEGIN + round(now * 1_000_000))
    pbx = sim._pbx
    heard = []
    for generation in generations:
        wire, log = generation(pbx, sim._vocabulary), Log()
        parser = MessageParser(log)
        parser.connection_made()
        for frame in wire.opening(View(pbx)):
            parser.handle_message(frame)

        def hear(change: Change, wire: CurrentWire | FirstWire = wire, parser: MessageParser = parser) -> None:
            for frame in wire.messages(change):
                parser.handle_message(frame)

        pbx.listen(hear)
        heard.append(Heard(log, parser))
    traffic = Traffic(sim, calls_per_minute=5_000 / 60)
    while traffic.next_second < seconds:
        now = traffic.next_second
        traffic.step()
        sim.run_due()
        if traffic.actions % 100 == 0:
            alive = {call.uuid for call in sim.calls}
            for _, parser in heard:
                assert len(parser.calls) == len(alive)
                assert alive <= {leg.uuid for call in parser.calls for leg in call.legs if not leg.ended}
    sim.hang_up_all()
    return sim.book, heard


def name(party: Party | None) -> str | None:
    return None if party is None else party.user_name or party.number


def log_of(calls: list[Call]) -> dict[str, Played]:
    """The calls that were told, in the form of the book."""
    found = {}
    for call in calls:
        target, waited, talked, parked = call.target, call.wait_duration, call.talk_duration, call.park_duration
        assert call.outcome is not None
        assert waited is not None
        assert talked is not None
        assert parked is not None
        found[call.id] = Played(
            call.id,
            name(call.caller) or "",
            None if target is None else target.name or target.address,
            call.outcome,
            name(call.answered_by),
            waited,
            talked,
            parked,
            len(call.transfers),
        )
    return found


def check(book: list[Played], heard: Heard, *, first: bool) -> None:
    log, parser = heard
    assert len(log.ended) == len(book)
    told = log_of(log.ended)
    assert len(told) == len(book)
    for played in book:
        if first:
            played = played._replace(outcome=UNTOLD.get(played.outcome, played.outcome))
        assert told[played.uuid] == played
    for kinds in log.told.values():
        once = [kind for kind in kinds if kind not in ("parked", "transferred")]
        assert once in (["ringing", "answered", "ended"], ["ringing", "ended"], ["answered", "ended"], ["ended"])
        assert kinds[-1] == "ended"
    # Memory holds only what is alive, and a bounded remembrance of what was.
    assert parser.calls == []
    tracker = parser._telling.calls
    assert tracker is not None
    assert not tracker._live
    assert not tracker._index
    assert not tracker._offers
    assert len(tracker._past) <= 10_000


def test_some_busy_minutes() -> None:
    book, (current, first) = play(240, (CurrentWire, FirstWire))
    assert len(book) > 300
    assert {played.outcome for played in book} >= set(OUTCOMES) - {"failed"}
    check(book, current, first=False)
    check(book, first, first=True)


@pytest.mark.hour
@pytest.mark.timeout(600)
@pytest.mark.parametrize("generation", [CurrentWire, FirstWire], ids=["current", "first"])
def test_the_busy_hour(generation: type[CurrentWire] | type[FirstWire]) -> None:
    book, (heard,) = play(3600, [generation])
    assert len(book) > 4_900
    counts = Counter(played.outcome for played in book)
    assert set(counts) == set(OUTCOMES)
    check(book, heard, first=generation is FirstWire)
