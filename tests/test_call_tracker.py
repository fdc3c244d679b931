"""The tracker of calls: legs in any order, odd sequences, the table of transitions, and what it keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from call_rig import BEGIN, Generation, Heard, Rig
from hypothesis import given, settings
from hypothesis import strategies as st

from basix_cti import Call, Channel, MessageParser, State
from basix_cti.call_tracker import PHASES, CallTracker
from basix_cti.elements import OtherInfo
from basix_cti.events import CallEvent, Connected, Event, InfoEvent, InitialInfo, Session
from basix_cti.simulator.model import Change
from basix_cti.simulator.wire import CurrentWire, FirstWire
from basix_cti.telling import Telling


class Story:
    """The messages of a call, by the channel that they are of."""

    def __init__(self, wire: Generation, play: Callable[[Rig], None]) -> None:
        self.rig = Rig(wire, users=6, groups=1)
        self.opening = list(self.rig.wire.opening(self.rig.view))
        self.messages: dict[str, list[list[bytes]]] = {}
        self.moments: dict[str, list[int]] = {}
        self.ends: dict[str, int] = {}  # which message of each tells its end
        self.rig.sim._pbx.listen(self._note)
        play(self.rig)
        assert self.rig.parser.calls == []
        self.calls = told(self.rig.heard)
        self.joins = len(self.calls) > 1

    def _note(self, change: Change) -> None:
        uuid = getattr(change.item, "uuid", None)
        if uuid is not None:
            self.messages.setdefault(uuid, []).append(list(self.rig.wire.messages(change)))
            self.moments.setdefault(uuid, []).append(self.rig.now)
            if getattr(change.item, "last_event", None) == "CHANNEL_HANGUP":
                self.ends.setdefault(uuid, len(self.messages[uuid]) - 1)

    def tell(self, order: list[str]) -> Heard:
        """Have a new parser hear the messages in this order."""
        heard = Heard()
        parser = MessageParser(heard)
        parser.connection_made()
        for frame in self.opening:
            parser.handle_message(frame)
        messages = {uuid: iter(each) for uuid, each in self.messages.items()}
        for uuid in order:
            for frame in next(messages[uuid]):
                parser.handle_message(frame)
        assert parser.calls == []
        tracker = parser._telling.calls
        assert tracker is not None
        assert tracker._index == {}
        return heard


@st.composite
def orders(draw: st.DrawFn, story: Story) -> list[str]:
    """The channels, each as often as it has messages: the order in which these come.

    Each channel's own order holds, and so does that of their first messages. Nor are all channels gone while another
    one is still to come: that would be the end of the call. Where there are two calls, which would end in the same way,
    only messages of the same moment change places.
    """
    place = dict.fromkeys(story.messages, 0)
    waiting = list(story.messages)
    started: list[str] = []
    order: list[str] = []
    while True:
        up = [uuid for uuid in started if place[uuid] <= story.ends[uuid]]
        left = {uuid: story.moments[uuid][place[uuid]] for uuid in place if place[uuid] < len(story.moments[uuid])}
        choices = [
            uuid
            for uuid in left
            if uuid in started
            if not (waiting and up == [uuid] and place[uuid] == story.ends[uuid])
        ] + waiting[:1]
        if story.joins:
            choices = [uuid for uuid in left if left[uuid] == min(left.values())]
        if not left:
            return order
        uuid = draw(st.sampled_from(choices))
        if uuid in waiting:
            waiting.remove(uuid)
            started.append(uuid)
        place[uuid] += 1
        order.append(uuid)


def told(heard: Heard) -> list[tuple[Any, ...]]:
    """What there is to know of each call at its end."""
    return sorted(
        (
            call.id,
            call.outcome,
            str(call.caller),
            None if call.answered_by is None else str(call.answered_by),
            None if call.target is None else (call.target.type, call.target.id),
            (call.wait_duration, call.talk_duration, call.park_duration, call.duration),
            [transfer.kind for transfer in call.transfers],
            call.joined,
            len(call.legs),
        )
        for kind, call in heard.hooks
        if kind == "ended"
    )


def check_empty(tracker: CallTracker) -> None:
    """Nothing is held of calls that have ended, but what they were called."""
    for table in (tracker.calls, tracker._live, tracker._index, tracker._offers, tracker._offer_of):
        assert not table


def check_order(kinds: list[str]) -> None:
    """Each hook once, but for parking and transfer, and in a sensible order."""
    counts = Counter(kinds)
    assert kinds[-1] == "ended"
    assert counts["ended"] == 1
    assert counts["ringing"] <= 1
    assert counts["answered"] <= 1
    assert "ringing" not in kinds[1:]


def answered(rig: Rig) -> None:
    call = rig.incoming()
    rig.wait(3)
    call.answer()
    rig.wait(5)
    call.hangup()


def ring_group(rig: Rig) -> None:
    call = rig.incoming("group1")
    rig.wait(3)
    call.answer()
    rig.wait(5)
    call.hangup(disposition="send_bye")


def pick_up(rig: Rig) -> None:
    call = rig.incoming()
    rig.wait(3)
    call.answer("user2")
    rig.wait(5)
    call.hangup()


def blind_transfer(rig: Rig) -> None:
    call = rig.incoming().answer()
    rig.wait(5)
    call.transfer("user2")
    rig.wait(2)
    call.answer()
    rig.wait(7)
    call.hangup()


def attended_transfer(rig: Rig) -> None:
    call = rig.incoming()
    rig.wait(1)
    call.answer()
    rig.wait(5)
    asked = rig.sim.call("user1", to="user3")
    rig.wait(2)
    asked.answer()
    rig.wait(2)
    call.put_through(asked)
    rig.wait(9)
    call.hangup()


def parked(rig: Rig) -> None:
    call = rig.incoming().answer()
    rig.wait(5)
    call.park(timeout=60)
    rig.wait(6)
    call.unpark("user2")
    rig.wait(7)
    call.hangup()


def given_up(rig: Rig) -> None:
    call = rig.incoming("group1")
    rig.wait(5)
    call.abandon()


def mailbox(rig: Rig) -> None:
    call = rig.incoming()
    rig.wait(5)
    call.voicemail()
    rig.wait(6)
    call.hangup()


STORIES = (answered, ring_group, pick_up, blind_transfer, attended_transfer, parked, given_up, mailbox)


@pytest.fixture(scope="module", params=STORIES)
def play(request: pytest.FixtureRequest) -> Callable[[Rig], None]:
    chosen: Callable[[Rig], None] = request.param
    return chosen


@pytest.fixture(scope="module", params=[CurrentWire, FirstWire], ids=["current", "first"])
def story(request: pytest.FixtureRequest, play: Callable[[Rig], None]) -> Story:
    return Story(request.param, play)


@settings(max_examples=40)
@given(data=st.data())
def test_legs_in_any_order(data: st.DataObject, story: Story) -> None:
    """Whatever the order in which the messages of several legs come, the calls are the same."""
    heard = story.tell(data.draw(orders(story)))
    assert told(heard) == story.calls
    for ended in {call.id for _, call in heard.hooks}:
        check_order([kind for kind, call in heard.hooks if call.id == ended])


# Odd sequences


UUIDS = ("a", "b", "c", "d", "e")
times = st.none() | st.integers(BEGIN, BEGIN + 20)
states = st.none() | st.builds(
    State,
    times,
    st.sampled_from((*PHASES, "never_heard_of", "")),
    st.sampled_from(
        (
            {},
            {"target_type": "user", "user_id": 1},
            {"target_type": "user", "user_id": 2},
            {"target_type": "group", "group_id": [1, 2]},
            {"target_type": ["odd"]},
            {"address": 7, "slot": 901},
            {"slot": 902, "parker_id": 1, "parker_name": None},
        )
    ),
)
infos = st.none() | st.builds(
    OtherInfo,
    st.sampled_from(("user", "end_user", None)),
    st.sampled_from(("inbound", "outbound", None)),
    st.sampled_from(("internal", "external")),
    st.sampled_from(("201", None)),
    times,
    user_id=st.sampled_from((1, None)),
)
channels = st.builds(
    Channel,
    uuid=st.sampled_from(UUIDS),
    direction=st.sampled_from(("inbound", "outbound", None)),
    peer_location=st.sampled_from(("internal", "external", None)),
    calling_number=st.sampled_from(("201", None)),
    offer_timestamp=times,
    answer_timestamp=times,
    hangup_timestamp=times,
    other_uuid=st.sampled_from((None, *UUIDS, "not seen")),
    user_id=st.sampled_from((1, 2, None)),
    state=states,
    origination=st.sampled_from((None, ("x",))),
    last_event=st.sampled_from(
        ("NEW_CHANNEL", "CHANNEL_ORIGINATE", "CHANNEL_BRIDGE", "CHANNEL_PARK", "CHANNEL_HANGUP")
    ),
    last_event_data=st.sampled_from((None, "recv_bye,NORMAL_CLEARING", "send_cancel,LOSE_RACE", "send_bye,PICKED_OFF")),
    other_info=infos,
    call_id=st.sampled_from((None, *UUIDS)),
)
events: st.SearchStrategy[Event] = st.builds(
    InfoEvent, st.just("channel"), channels, st.sampled_from(("added", "updated", "updated", "removed"))
) | st.builds(InitialInfo, st.just("channel"), st.lists(channels, max_size=4, unique_by=lambda channel: channel.uuid))


def tracking() -> tuple[Telling, CallTracker]:
    telling = Telling(track_calls=True)
    assert telling.calls is not None
    return telling, telling.calls


@settings(max_examples=200)
@given(sequence=st.lists(events, max_size=30))
def test_whatever_a_pbx_sends(sequence: list[Event]) -> None:
    """No sequence of messages breaks it, tells a hook twice or in the wrong order, or leaves something behind."""
    told: dict[str, list[str]] = {}
    ended: list[list[str]] = []
    telling, calls = tracking()
    for number, event in enumerate([*sequence, InitialInfo("channel", [])]):
        if isinstance(event, InitialInfo):
            list(telling.of(Connected(Session(number))))
        for each in telling.of(event):
            if isinstance(each, CallEvent):
                kinds = told.setdefault(each.call.id, [])
                kinds.append(each.kind)
                each.to_dict()
                if each.kind == "ended":
                    assert each.call.ended
                    assert all(leg.ended for leg in each.call.legs)
                    ended.append(told.pop(each.call.id))
        known = calls.calls
        assert len({call.id for call in known}) == len(known)
        up = telling.picture.channels
        held = {leg.uuid for call in known for leg in call.legs if not leg.ended}
        assert held <= set(up)
        for uuid in set(up) - held:  # it was for a channel that had ended, and its call is over
            assert up[uuid].other_uuid not in (None, uuid)
        for call in known:
            assert any(not leg.ended for leg in call.legs)
            call.to_dict()
    check_empty(calls)
    assert not told
    for kinds in ended:
        check_order(kinds)


class TestOddSequences:
    """By hand: what is told in another order than it happened, twice, or not at all."""

    def tell(self, *channels: Channel | Event) -> list[tuple[str, Call]]:
        telling, calls = tracking()
        told: list[tuple[str, Call]] = []
        for each in channels:
            event = InfoEvent("channel", each, "updated") if isinstance(each, Channel) else each
            told += [(each.kind, each.call) for each in telling.of(event) if isinstance(each, CallEvent)]
        self.calls = calls
        return told

    def kinds(self, *channels: Channel | Event) -> list[str]:
        return [kind for kind, _ in self.tell(*channels)]

    def test_hangups_before_the_bridge(self) -> None:
        """The station's end comes before the caller's bridge."""
        caller = leg("a", "inbound", "calling", 0)
        station = leg("b", "outbound", "ringing", 0, other="a", user_id=1)
        talks = replace(caller, state=State(BEGIN + 5, "bridged"), other_uuid="b")
        told = self.tell(
            caller,
            station,
            ends(station, 9, "send_bye,NORMAL_CLEARING", answer_timestamp=BEGIN + 5),
            talks,
            ends(talks, 9, "recv_bye,NORMAL_CLEARING"),
        )
        assert [kind for kind, _ in told] == ["ringing", "answered", "ended"]
        ended = told[-1][1]
        assert (ended.outcome, ended.talk_duration, ended.wait_duration) == ("answered", 4e-6, 5e-6)
        assert ended.answered_by is not None
        assert ended.answered_by.user_id == 1

    def test_a_leg_ahead_of_the_one_that_it_was_created_for(self) -> None:
        told = self.tell(leg("b", "outbound", "ringing", 1, other="a", user_id=1), leg("a", "inbound", "calling", 0))
        assert [(kind, call.id) for kind, call in told] == [("ringing", "a")]
        (call,) = self.calls.calls
        assert call.caller_leg is not None
        assert (call.id, call.caller_leg.uuid, len(call.legs)) == ("a", "a", 2)

    def test_a_station_that_is_told_after_its_caller_has_gone(self) -> None:
        caller = leg("a", "inbound", "calling", 0)
        station = leg("b", "outbound", "ringing", 1, other="a")
        gone = ends(caller, 1, "recv_cancel,ORIGINATOR_CANCEL")
        told = self.tell(caller, gone, station, ends(station, 2, "send_cancel,ORIGINATOR_CANCEL"))
        assert [(kind, call.outcome) for kind, call in told] == [("ringing", None), ("ended", "abandoned")]

    def test_a_caller_who_is_sent_back_to_the_same_user(self) -> None:
        """In the view of a user, where the caller's channel is not seen, these are two calls."""
        first = leg("b", "outbound", "ringing", 0, other="a", user_id=1)
        again = leg("c", "outbound", "ringing", 9, other="a", user_id=1)
        assert self.kinds(first, ends(first, 5, "send_bye,BLIND_TRANSFER"), again) == ["ringing", "ended", "ringing"]
        assert [call.caller_leg for call in self.calls.calls] == [None]

    def test_a_channel_that_names_itself(self) -> None:
        assert self.kinds(ends(leg("a", "inbound", "calling", 0, other="a"), 1, "recv_bye,X")) == ["ended"]

    def test_an_end_is_told_twice(self) -> None:
        caller = leg("a", "inbound", "calling", 0)
        gone = ends(caller, 1, "recv_cancel,ORIGINATOR_CANCEL")
        assert self.kinds(caller, gone, gone, InfoEvent("channel", gone, "removed")) == ["ringing", "ended"]

    def test_a_uuid_that_is_used_again(self) -> None:
        caller = leg("a", "inbound", "calling", 0)
        gone = ends(caller, 1, "recv_cancel,ORIGINATOR_CANCEL")
        again = InfoEvent("channel", replace(caller), "added")
        assert self.kinds(caller, gone, again, gone) == ["ringing", "ended", "ringing", "ended"]

    def test_a_call_by_its_call_id(self) -> None:
        """Two legs that name each other in no other way."""
        caller = leg("a", "inbound", "calling", 0, call_id="x")
        told = self.tell(caller, leg("b", "outbound", "ringing", 1, call_id="x"))
        assert [(kind, len(call.legs)) for kind, call in told] == [("ringing", 1)]
        assert [len(call.legs) for call in self.calls.calls] == [2]

    def test_a_pbx_that_sends_no_states(self) -> None:
        """Then the names of the last events have to do."""
        caller = Channel(uuid="a", direction="inbound", offer_timestamp=BEGIN, last_event="NEW_CHANNEL")
        rings = Channel(uuid="b", direction="outbound", other_uuid="a", last_event="CHANNEL_ORIGINATE")
        talks = replace(caller, last_event="CHANNEL_BRIDGE", other_uuid="b", answer_timestamp=BEGIN + 3)
        held = replace(talks, last_event="CHANNEL_PARK", other_uuid=None)
        told = self.tell(caller, rings, talks, held, replace(held, last_event="CHANNEL_HANGUP"))
        assert [kind for kind, _ in told] == ["ringing", "answered", "parked"]
        assert told[1][1].wait_duration == 3e-6


def leg(uuid: str, direction: str, state: str, at: int, other: str | None = None, **fields: Any) -> Channel:
    """A channel in its first state, so many microseconds after the beginning."""
    return Channel(
        uuid=uuid,
        direction=direction,
        offer_timestamp=BEGIN + at,
        state=State(BEGIN + at, state),
        other_uuid=other,
        last_event="NEW_CHANNEL",
        **fields,
    )


def ends(channel: Channel, at: int, how: str, **fields: Any) -> Channel:
    """Its end."""
    return replace(channel, last_event="CHANNEL_HANGUP", last_event_data=how, hangup_timestamp=BEGIN + at, **fields)


class TestMemory:
    def test_nothing_is_left_of_what_has_ended(self) -> None:
        """Of calls that have ended only their names are remembered, the latest 10,000."""
        telling, calls = tracking()
        for number in range(12_000):
            channel = leg(f"channel {number}", "inbound", "calling", number, call_id=f"call {number}")
            for each in (channel, ends(channel, number, "recv_cancel,ORIGINATOR_CANCEL")):
                assert list(telling.of(InfoEvent("channel", each, "updated")))
            check_empty(calls)
            assert len(calls._past) <= 10_000

    def test_a_call_that_rings_all_day(self) -> None:
        """It keeps its caller, who answered, and the latest of those that did not."""
        telling, calls = tracking()
        caller = leg("a", "inbound", "calling", 0)
        list(telling.of(InfoEvent("channel", caller, "added")))
        for number in range(500):
            station = leg(f"station {number}", "outbound", "ringing", number, other="a", user_id=number)
            for each in (station, ends(station, number, "send_cancel,NO_ANSWER")):
                list(telling.of(InfoEvent("channel", each, "updated")))
        (call,) = calls.calls
        assert call.legs[0].uuid == "a"
        assert call.legs[-1].uuid == "station 499"
        assert len(call.legs) == 100
        assert len(calls._index) == 100


class TestTransitions:
    """The table: from each state of a caller's channel to each other one."""

    STATES: tuple[tuple[str, str], ...] = (
        ("calling", "calling"),
        ("ringing", "ringing"),
        ("bridged", "talking"),
        ("conference", "conference"),
        ("park", "parked"),
        ("ivr", "menu"),
        ("voicemail", "voicemail"),
        ("system_operation", "service"),
    )
    RINGS, ANSWERS = {"calling", "ringing"}, {"talking", "conference", "service"}

    @pytest.mark.parametrize("first", STATES)
    @pytest.mark.parametrize("second", STATES)
    def test_from_each_to_each(self, first: tuple[str, str], second: tuple[str, str]) -> None:
        was, phase = first[1], second[1]
        expected = ["ringing"] if was in self.RINGS or was == "talking" else []
        if was in self.ANSWERS:
            expected.append("answered")
        if was == "parked":
            expected.append("parked")
        if was != phase:
            if phase in self.RINGS and not expected:
                expected.append("ringing")
            if phase in self.ANSWERS and "answered" not in expected:
                expected += ["ringing", "answered"] if phase == "talking" and not expected else ["answered"]
            if phase == "parked":
                expected.append("parked")
            if phase == "calling" and was in ("talking", "conference"):
                expected.append("transferred")
        telling, calls = tracking()
        told = []
        for name in (first[0], second[0]):
            state = State(BEGIN, name, {"target_type": "user", "user_id": 7, "slot": 1})
            event = InfoEvent("channel", Channel(uuid="a", direction="inbound", state=state), "updated")
            told += [each.kind for each in telling.of(event) if isinstance(each, CallEvent)]
        assert told == expected
        (call,) = calls.calls
        assert [span.phase for span in call.legs[0].spans] == ([was] if was == phase else [was, phase])
