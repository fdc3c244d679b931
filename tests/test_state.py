"""The live picture: channels' lives, parking, voicemail, gaps between connections, and what was dropped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_samples import (
    BERT_NIL,
    EMPTY_LISTS,
    UNDEFINED,
    Line,
    Recorder,
    field_spec,
    info_event,
    initial_info,
)

from basix_cti.elements import (
    Channel,
    ChannelWaiting,
    Domain,
    Element,
    Group,
    GroupMember,
    MessageWaiting,
    ParkedChannel,
    ParkInfo,
    QueuedChannel,
    Terminal,
    UnknownElement,
    User,
)
from basix_cti.etf import Atom, Term, encode
from basix_cti.events import CallEvent, Connected, Event, InfoEvent, InitialInfo, Msg, Session
from basix_cti.parser import MessageParser
from basix_cti.state import Picture, Tracker
from basix_cti.values import State

HANGUP = b"CHANNEL_HANGUP"
SPEC = ("uuid", "calling_number", "state", "last_event", "last_event_data")
RINGING = (5, Atom("ringing"))


def park(slot: Term = 901, name: bytes = b"suzuki") -> Term:
    """A state; in the first generation only the slot is sent."""
    return (5, Atom("park"), slot, UNDEFINED, 7, name)


@dataclass(frozen=True)
class Generation:
    """How a PBX of one generation tells of channels."""

    number: int
    spec_name: str
    write_initial: Callable[[list[Term]], Term]
    write_event: Callable[[str, Term], Term]

    def spec(self) -> Term:
        return field_spec(self.spec_name, SPEC)

    def initial(self, *rows: Term) -> Term:
        return self.write_initial(list(rows))

    def event(self, what: str, values: Term) -> Term:
        """A change; the first generation has no word for what it is."""
        return self.write_event(what, values)

    def line(self, *rows: Term, told: Recorder | None = None) -> Line:
        """A connection on which these channels were told as the present state."""
        line = Line(told)
        line.send(self.spec(), self.initial(*rows))
        line.told.forget()
        return line


FIRST = Generation(
    1,
    "chan_info",
    lambda rows: (Atom("initial_chan_info"), rows),
    lambda what, values: (Atom("chan_info"), values),
)
CURRENT = Generation(
    2,
    "channel",
    lambda rows: (Atom("initial_info"), Atom("channel"), rows),
    lambda what, values: info_event("channel", what, values),
)
both = pytest.mark.parametrize("pbx", [FIRST, CURRENT], ids=["first", "current"])


def leg(uuid: Term, number: Term = UNDEFINED, state: Term = RINGING, last: Term = b"NEW_CHANNEL") -> tuple[Term, ...]:
    return (uuid, number, state, last, UNDEFINED)


def ended(uuid: Term, number: Term = UNDEFINED, data: Term = b"recv_bye,NORMAL_CLEARING") -> tuple[Term, ...]:
    return (uuid, number, RINGING, HANGUP, data)


def ends(line: Line) -> list[Any]:
    """The uuids of all channels whose end was told."""
    return [channel.uuid for channel in line.told.of("on_chan_info") if channel.is_hung_up]


class Watcher(Recorder):
    """Records, in each hook, which channels the picture has, and what is parked."""

    def __init__(self) -> None:
        super().__init__()
        self.parser: MessageParser | None = None
        self.seen: list[tuple[str, dict[Any, Any], dict[str, ParkInfo]]] = []

    def look(self, hook: str) -> None:
        assert self.parser is not None
        numbers = {uuid: item.calling_number for uuid, item in self.parser.state.channels.items()}
        self.seen.append((hook, numbers, self.parser.state.parked))

    def on_event(self, event: Event) -> None:
        super().on_event(event)
        if self.parser is not None and not isinstance(event, Connected | CallEvent):
            self.look(f"on_event {getattr(event, 'event', '')}".strip())

    def on_chan_info(self, channel: Channel) -> None:
        super().on_chan_info(channel)
        self.look(f"on_chan_info {channel.uuid}")

    def on_park_info(self, park: ParkInfo) -> None:
        super().on_park_info(park)
        self.look("on_park_info")

    def on_unpark_info(self, park: ParkInfo) -> None:
        super().on_unpark_info(park)
        self.look("on_unpark_info")


def watched(pbx: Generation, *rows: Term) -> tuple[Line, Watcher]:
    watcher = Watcher()
    line = pbx.line(*rows, told=watcher)
    watcher.parser = line.parser
    return line, watcher


class TestLife:
    @both
    def test_a_call_from_the_first_to_the_last_event(self, pbx: Generation) -> None:
        line = pbx.line()
        line.send(pbx.event("added", leg(b"c1", b"03")))
        assert line.told.names() == ["on_info_event", "on_chan_info"]
        assert line.generic() == [("channel", "c1", "added")]
        assert line.state.channels == {"c1": line.told.of("on_chan_info")[0]}

        line.send(pbx.event("updated", leg(b"c1", b"04")))
        assert line.told.names() == ["on_info_event", "on_chan_info"]
        assert line.generic() == [("channel", "c1", "updated")]
        assert line.state.channels["c1"].calling_number == "04"
        assert not line.state.has_ended("c1")

        line.send(pbx.event("updated", ended(b"c1", b"04")))
        assert line.told.names() == ["on_info_event", "on_chan_info"]
        assert line.generic() == [("channel", "c1", "removed" if pbx is FIRST else "updated")]
        assert ends(line) == ["c1"]
        assert line.told.of("on_chan_info")[0].hangup_cause == "NORMAL_CLEARING"
        assert line.state.channels == {}
        assert line.state.has_ended("c1")

    @both
    @pytest.mark.parametrize("what", ["updated", "removed", "vanished"])
    @pytest.mark.parametrize("values", [leg(b"c1"), ended(b"c1"), (b"c1",)], ids=["alive", "hung up", "short"])
    def test_what_comes_after_the_end_says_nothing_new(
        self, pbx: Generation, what: str, values: tuple[Term, ...]
    ) -> None:
        line = pbx.line(leg(b"c1"), leg(b"c2"))
        line.send(pbx.event("updated", ended(b"c1")))
        for _ in range(2):
            line.send(pbx.event(what, values))
            assert line.told.names() == ["on_info_event"]
            assert list(line.state.channels) == ["c2"]
            (event,) = line.told.events
            assert isinstance(event, InfoEvent)
            assert not event.news
            if pbx is FIRST:
                assert event.event == ("removed" if values[-1] == b"recv_bye,NORMAL_CLEARING" else "updated")

    @both
    def test_it_still_says_nothing_new_on_the_next_connection(self, pbx: Generation) -> None:
        line = pbx.line(leg(b"c1"))
        line.send(pbx.event("updated", ended(b"c1")))
        line.reconnect(pbx.spec(), pbx.event("updated", leg(b"c1")), pbx.initial(), pbx.event("updated", leg(b"c1")))
        assert line.told.names() == ["on_info_event", "on_initial_info", "on_initial_chan_info", "on_info_event"]
        assert line.state.channels == {}

    def test_removed_without_a_hangup_is_the_end(self) -> None:
        line = CURRENT.line(leg(b"c1", b"03"))
        line.send(info_event("channel", "removed", leg(b"c1", UNDEFINED)))
        (channel,) = line.told.of("on_chan_info")
        assert channel.is_hung_up
        assert (channel.hangup_cause, channel.calling_number) == (None, "03")
        assert line.generic() == [("channel", "c1", "removed")]
        assert line.state.channels == {}
        line.send(info_event("channel", "removed", leg(b"c1")), info_event("channel", "updated", ended(b"c1")))
        assert line.told.of("on_chan_info") == []

    def test_removed_may_carry_the_hangup_itself(self) -> None:
        line = CURRENT.line(leg(b"c1"))
        line.send(info_event("channel", "removed", ended(b"c1")))
        assert ends(line) == ["c1"]
        assert line.told.of("on_chan_info")[0].hangup_cause == "NORMAL_CLEARING"

    def test_what_is_last_known_of_a_channel_is_told_with_its_end(self) -> None:
        line = CURRENT.line((b"c1", b"03", RINGING, b"CHANNEL_ANSWER", b"data"))
        line.send(info_event("channel", "removed", (b"c1",)))
        (channel,) = line.told.of("on_chan_info")
        assert channel == Channel("c1", calling_number="03", state=State(5, "ringing"), last_event="CHANNEL_HANGUP")

    @both
    def test_a_channel_that_is_first_seen_at_its_end(self, pbx: Generation) -> None:
        line = pbx.line()
        line.send(pbx.event("updated", ended(b"c1")), pbx.event("removed", ended(b"c1")))
        assert ends(line) == ["c1"]
        assert line.state.channels == {}

    def test_removed_of_a_channel_never_seen(self) -> None:
        line = CURRENT.line()
        line.send(info_event("channel", "removed", leg(b"c1")), info_event("channel", "removed", leg(b"c1")))
        assert ends(line) == ["c1"]
        assert len(line.generic()) == 2

    def test_added_after_the_end_is_a_new_life(self) -> None:
        line = CURRENT.line(leg(b"c1"))
        line.send(info_event("channel", "removed", leg(b"c1")), info_event("channel", "added", leg(b"c1")))
        assert list(line.state.channels) == ["c1"]
        assert not line.state.has_ended("c1")
        line.send(info_event("channel", "updated", ended(b"c1")))
        assert ends(line) == ["c1"]

    @both
    def test_added_with_a_hangup_after_the_end_is_none(self, pbx: Generation) -> None:
        line = pbx.line(leg(b"c1"))
        line.send(pbx.event("updated", ended(b"c1")), pbx.event("added", ended(b"c1")))
        assert ends(line) == ["c1"]
        assert line.state.channels == {}

    @both
    def test_a_channel_without_uuid_is_told_but_not_kept(self, pbx: Generation) -> None:
        line = pbx.line((UNDEFINED, b"01"), ended(UNDEFINED))
        line.send(pbx.event("updated", (UNDEFINED, b"03")), pbx.event("updated", ended(UNDEFINED)))
        assert [channel.calling_number for channel in line.told.of("on_chan_info")] == ["03", None]
        assert line.state.channels == {}
        line.send(pbx.initial((UNDEFINED, b"01"), ended(UNDEFINED)))
        assert line.told.of("on_initial_chan_info") == [[Channel(calling_number="01")]]

    @both
    def test_the_picture_is_changed_just_before_the_hooks_run(self, pbx: Generation) -> None:
        line, watcher = watched(pbx, leg(b"c1", b"1"))
        line.send(pbx.event("added", leg(b"c2", b"2")))
        line.send(pbx.event("updated", leg(b"c1", b"3")))
        line.send(pbx.event("updated", ended(b"c1")))
        pictures = [{"c1": "1", "c2": "2"}, {"c1": "3", "c2": "2"}, {"c2": "2"}]
        assert [numbers for _, numbers, _ in watcher.seen] == [each for each in pictures for _ in range(2)]

    def test_the_latest_10_000_ends_are_remembered(self) -> None:
        tracker = Tracker()
        for number in range(10_001):
            event = InfoEvent("channel", Channel(uuid=str(number)), "removed")
            assert list(tracker.track(event)) == [event]
        assert not tracker.picture.has_ended("0")
        assert tracker.picture.has_ended("1")
        assert tracker.picture.has_ended("10000")

    def test_an_end_that_is_listed_again_is_remembered_anew(self) -> None:
        picture = Picture()
        for number in range(10_000):
            picture._put(InfoEvent("channel", Channel(uuid=str(number)), "removed"))
        picture._take_initial(InitialInfo("channel", [Channel(uuid="0", last_event="CHANNEL_HANGUP")]))
        picture._put(InfoEvent("channel", Channel(uuid="new"), "removed"))
        assert (picture.has_ended("0"), picture.has_ended("1")) == (True, False)

    def test_a_late_message_does_not_make_an_end_younger_than_it_is(self) -> None:
        picture = Picture()
        for number in range(10_000):
            picture._put(InfoEvent("channel", Channel(uuid=str(number)), "removed"))
        assert not picture._put(InfoEvent("channel", Channel(uuid="0"), "removed"))
        picture._put(InfoEvent("channel", Channel(uuid="new"), "removed"))
        assert not picture.has_ended("0")


class TestElements:
    ITEMS: Sequence[tuple[str, tuple[str, ...], tuple[Term, ...], Element, str]] = (
        ("channel", ("uuid",), (b"c1",), Channel(uuid="c1"), "channels"),
        ("channel_waiting", ("uuid",), (b"c1",), ChannelWaiting(uuid="c1"), "channels_waiting"),
        ("queued_channel", ("uuid",), (b"c1",), QueuedChannel(uuid="c1"), "queued_channels"),
        ("parked_channel", ("uuid",), (b"c1",), ParkedChannel(uuid="c1"), "parked_channels"),
        ("user", ("id",), (1,), User(id=1), "users"),
        ("group", ("id",), (1,), Group(id=1), "groups"),
        ("group_member", ("user_id", "group_id"), (1, 2), GroupMember(user_id=1, group_id=2), "group_members"),
        ("terminal", ("id",), (1,), Terminal(id=1), "terminals"),
        ("domain", ("name",), (b"d",), Domain(extra={"name": "d"}), "domain"),
        ("robot", ("id",), (1,), UnknownElement(name="robot", extra={"id": 1}), ""),
    )

    @pytest.mark.parametrize(("element", "fields", "values", "item", "name"), ITEMS, ids=[each[0] for each in ITEMS])
    def test_every_element_has_its_place(
        self, element: str, fields: tuple[str, ...], values: tuple[Term, ...], item: Element, name: str
    ) -> None:
        line = Line()
        line.send(field_spec(element, fields), initial_info(element, values))
        assert line.state.items(element) == {item.key: item}
        assert line.state.elements() == [element]
        assert item.key is not None
        assert line.state.get(element, item.key) == item
        assert line.state.get(element, "nobody") is None
        assert line.state.is_current(element)
        if name:
            told = getattr(line.state, name)
            assert told == (item if element == "domain" else {item.key: item})
        line.send(info_event(element, "removed", values))
        assert line.generic() == [(element, item.key, "removed")]
        assert line.state.items(element) == {}

    def test_an_empty_picture(self) -> None:
        picture = Picture()
        assert picture.elements() == []
        assert picture.domain is None
        assert not picture.is_current()
        assert not picture.has_ended("c1")
        assert (picture.channels, picture.parked, picture.items("robot")) == ({}, {}, {})
        assert repr(picture) == "<Picture empty>"

    def test_what_is_read_from_the_picture_does_not_change(self) -> None:
        line = CURRENT.line(leg(b"c1"))
        before = line.state.channels
        line.send(info_event("channel", "added", leg(b"c2")), info_event("channel", "removed", leg(b"c1")))
        assert list(before) == ["c1"]
        before.clear()
        assert list(line.state.channels) == ["c2"]

    def test_repr_counts_and_tells_no_more(self) -> None:
        line = CURRENT.line(leg(b"c1", b"0312345678"))
        assert repr(line.state) == "<Picture channel: 1>"

    @pytest.mark.parametrize("what", ["updated", "reborn"])
    def test_any_word_but_removed_puts_the_object_in(self, what: str) -> None:
        line = Line()
        line.send(field_spec("robot", ["id"]), info_event("robot", what, (1,)))
        assert line.generic() == [("robot", 1, what)]
        assert list(line.state.items("robot")) == [1]

    def test_an_object_without_a_key_is_told_but_not_kept(self) -> None:
        line = Line()
        line.send(field_spec("robot", ["arms"]), initial_info("robot", (2,)), info_event("robot", "added", (2,)))
        assert line.told.of("on_initial_info") == [("robot", [UnknownElement(name="robot", extra={"arms": 2})])]
        assert line.generic() == [("robot", None, "added")]
        assert line.state.items("robot") == {}

    def test_one_message_makes_one_generic_call(self) -> None:
        line = Line()
        line.send(field_spec("channel_waiting", ["uuid", "state"]), field_spec("user", ["id", "mwi"]))
        for message in (
            info_event("channel_waiting", "added", (b"c1", park())),
            info_event("channel_waiting", "removed", (b"c1", park())),
            info_event("user", "added", (1, b"1/0")),
            info_event("user", "removed", (1, b"1/0")),
        ):
            line.send(message)
            assert line.told.names().count("on_info_event") == 1
            assert len(line.told.events) == 1


class TestResync:
    @both
    def test_the_first_state_is_told_as_a_whole(self, pbx: Generation) -> None:
        line = Line()
        line.send(pbx.spec(), pbx.initial(leg(b"c1"), ended(b"c0"), leg(b"c2")))
        assert line.told.names() == ["on_initial_info", "on_initial_chan_info"]
        ((element, items),) = line.told.of("on_initial_info")
        assert element == "channel"
        assert [item.uuid for item in items] == ["c1", "c0", "c2"]
        assert [[item.uuid for item in channels] for channels in line.told.of("on_initial_chan_info")] == [["c1", "c2"]]
        assert list(line.state.channels) == ["c1", "c2"]
        assert line.state.has_ended("c0")

    @both
    def test_a_gap(self, pbx: Generation) -> None:
        line = pbx.line(leg(b"gone"), leg(b"same", b"1"), leg(b"changed", b"1"))
        events = line.reconnect(pbx.spec(), pbx.initial(leg(b"new"), leg(b"same", b"1"), leg(b"changed", b"2")))
        assert line.synthetic() == [
            ("channel", "gone", "removed"),
            ("channel", "new", "added"),
            ("channel", "changed", "updated"),
        ]
        assert line.told.names() == ["on_info_event", "on_chan_info"] * 3 + ["on_initial_info", "on_initial_chan_info"]
        gone, new, changed = line.told.of("on_chan_info")
        assert (gone.uuid, gone.last_event, gone.hangup_cause) == ("gone", "CHANNEL_HANGUP", None)
        assert not new.is_hung_up
        assert changed.calling_number == "2"
        assert {event.received_at for event in events} == {1_775_001_600.5}
        assert [event.synthetic for event in events] == [True, True, True, False]
        assert list(line.state.channels) == ["new", "same", "changed"]

    @both
    def test_nothing_happened(self, pbx: Generation) -> None:
        line = pbx.line(leg(b"c1"), leg(b"c2"))
        line.reconnect(pbx.spec(), pbx.initial(leg(b"c2"), leg(b"c1")))
        assert line.told.names() == ["on_initial_info", "on_initial_chan_info"]

    @both
    @pytest.mark.parametrize("empty", EMPTY_LISTS.values(), ids=EMPTY_LISTS)
    def test_everything_is_gone(self, pbx: Generation, empty: Term) -> None:
        line = pbx.line(leg(b"c1"), leg(b"c2"))
        line.reconnect(pbx.spec(), (*pbx.initial()[:-1], empty))
        assert ends(line) == ["c1", "c2"]
        assert line.state.channels == {}

    @both
    def test_an_end_in_the_gap_is_told_once(self, pbx: Generation) -> None:
        line = pbx.line(leg(b"c1"))
        line.reconnect(
            pbx.spec(), pbx.initial(), pbx.event("updated", ended(b"c1")), pbx.event("removed", ended(b"c1"))
        )
        assert ends(line) == ["c1"]
        line.reconnect(pbx.spec(), pbx.initial())
        assert ends(line) == []

    @both
    def test_a_hung_up_channel_that_is_still_listed_is_told_with_its_cause(self, pbx: Generation) -> None:
        line = pbx.line(leg(b"c1", b"03"))
        line.reconnect(pbx.spec(), pbx.initial(ended(b"c1", b"04")), pbx.event("removed", ended(b"c1")))
        assert ends(line) == ["c1"]
        (channel,) = line.told.of("on_chan_info")
        assert (channel.hangup_cause, channel.calling_number) == ("NORMAL_CLEARING", "04")
        assert line.told.of("on_initial_chan_info") == [[]]
        assert line.state.channels == {}

    @both
    def test_a_hung_up_channel_that_is_listed_for_the_first_time_is_not_told(self, pbx: Generation) -> None:
        line = pbx.line()
        line.reconnect(pbx.spec(), pbx.initial(ended(b"c1")), pbx.event("removed", ended(b"c1")))
        assert line.told.of("on_chan_info") == []
        assert line.told.of("on_initial_chan_info") == [[]]
        assert line.state.has_ended("c1")

    @both
    def test_a_hung_up_channel_that_is_listed_again_and_again(self, pbx: Generation) -> None:
        line = pbx.line(leg(b"c1"))
        line.send(pbx.event("updated", ended(b"c1")))
        for _ in range(2):
            line.reconnect(pbx.spec(), pbx.initial(ended(b"c1")))
            assert line.told.of("on_chan_info") == []

    @both
    def test_a_channel_listed_as_alive_after_its_end_is_alive(self, pbx: Generation) -> None:
        line = pbx.line(leg(b"c1"))
        line.send(pbx.event("updated", ended(b"c1")))
        line.reconnect(pbx.spec(), pbx.initial(leg(b"c1")))
        assert line.synthetic() == [("channel", "c1", "added")]
        line.send(pbx.event("updated", ended(b"c1")))
        assert ends(line) == ["c1"]

    @both
    def test_the_picture_changes_event_by_event(self, pbx: Generation) -> None:
        line, watcher = watched(pbx, leg(b"a", b"1"), leg(b"b", b"1"))
        watcher.seen.clear()
        line.reconnect(pbx.spec(), pbx.initial(leg(b"b", b"2"), leg(b"c", b"2")))
        seen = [(hook, numbers) for hook, numbers, _ in watcher.seen if hook.startswith("on_chan_info")]
        assert seen == [
            ("on_chan_info a", {"b": "1"}),
            ("on_chan_info b", {"b": "2"}),
            ("on_chan_info c", {"b": "2", "c": "2"}),
        ]

    @both
    def test_between_connections_the_picture_stays(self, pbx: Generation) -> None:
        line = pbx.line(leg(b"c1"))
        assert line.state.is_current()
        line.parser.connection_lost()
        assert list(line.state.channels) == ["c1"]
        line.parser.connection_made()
        assert list(line.state.channels) == ["c1"]
        assert not line.state.is_current()
        line.send(pbx.spec(), pbx.initial())
        assert line.state.is_current()
        assert not line.state.is_current("user")

    @both
    def test_a_second_full_state_on_the_same_connection_is_compared_too(self, pbx: Generation) -> None:
        line = pbx.line(leg(b"c1"), leg(b"c2"))
        line.send(pbx.event("updated", leg(b"c2", b"1")), pbx.initial(leg(b"c2", b"2"), leg(b"c3")))
        assert line.synthetic() == [
            ("channel", "c1", "removed"),
            ("channel", "c2", "updated"),
            ("channel", "c3", "added"),
        ]
        assert list(line.state.channels) == ["c2", "c3"]

    @both
    def test_a_uuid_listed_twice(self, pbx: Generation) -> None:
        line = pbx.line()
        line.reconnect(pbx.spec(), pbx.initial(leg(b"c1", b"1"), leg(b"c1", b"2")))
        assert line.synthetic() == [("channel", "c1", "added")]
        assert line.state.channels["c1"].calling_number == "2"

    @pytest.mark.parametrize(
        ("element", "before", "after", "changes"),
        [
            (
                "user",
                [(1, b"a"), (2, b"b"), (3, b"c")],
                [(2, b"B"), (3, b"c"), (4, b"d")],
                "removed 1, updated 2, added 4",
            ),
            ("group", [(1, b"a")], [], "removed 1"),
            ("terminal", [], [(1, b"a")], "added 1"),
            ("robot", [(1, b"a")], [(1, b"b")], "updated 1"),
        ],
    )
    def test_all_elements_are_compared(self, element: str, before: list[Term], after: list[Term], changes: str) -> None:
        line = Line()
        line.send(field_spec(element, ["id", "name"]), initial_info(element, *before))
        assert line.synthetic() == []
        line.reconnect(field_spec(element, ["id", "name"]), initial_info(element, *after))
        told = [f"{event} {key}" for name, key, event in line.synthetic() if name == element]
        assert told == changes.split(", ")
        assert line.told.names() == ["on_info_event"] * len(told) + ["on_initial_info"]
        assert list(line.state.items(element)) == [key for key, _ in after]

    def test_an_element_that_is_not_told_again_stays(self) -> None:
        line = Line()
        line.send(field_spec("robot", ["id"]), initial_info("robot", (1,)))
        line.reconnect(CURRENT.spec(), CURRENT.initial())
        assert list(line.state.items("robot")) == [1]
        assert not line.state.is_current("robot")

    def test_the_generation_may_change_from_one_connection_to_the_next(self) -> None:
        line = FIRST.line(leg(b"c1"), leg(b"c2"))
        line.reconnect(CURRENT.spec(), CURRENT.initial(leg(b"c2"), leg(b"c3")))
        assert line.synthetic() == [("channel", "c1", "removed"), ("channel", "c3", "added")]
        line.reconnect(FIRST.spec(), FIRST.initial(leg(b"c2")))
        assert ends(line) == ["c3"]


class TestBeforeTheFullState:
    """Changes may come on a new connection before the full state does; they are then at least as new as it."""

    @both
    @pytest.mark.parametrize("connections", [1, 2])
    @pytest.mark.parametrize(
        ("early", "state", "numbers"),
        [
            (leg(b"c1", b"new"), leg(b"c1", b"old"), {"c1": "new"}),
            (leg(b"c1", b"new"), None, {"c1": "new"}),
            (ended(b"c1"), leg(b"c1", b"old"), {}),
            (ended(b"c1"), None, {}),
            (ended(b"c1"), ended(b"c1"), {}),
            (leg(b"c1", b"new"), ended(b"c1"), {}),
        ],
    )
    def test_table(
        self,
        pbx: Generation,
        connections: int,
        early: tuple[Term, ...],
        state: tuple[Term, ...] | None,
        numbers: dict[str, str],
    ) -> None:
        line = pbx.line(leg(b"c1", b"older")) if connections == 2 else Line()
        listed = [] if state is None else [state]
        events = line.reconnect(pbx.spec(), pbx.event("updated", early), pbx.initial(*listed))
        assert {uuid: channel.calling_number for uuid, channel in line.state.channels.items()} == numbers
        assert ends(line) == ([] if numbers else ["c1"])
        assert [channel.uuid for channel in line.told.of("on_initial_chan_info")[0]] == list(numbers)
        assert sum(not event.synthetic for event in events) == 2
        line.send(pbx.event("updated", ended(b"c1")), pbx.event("removed", ended(b"c1")))
        assert ends(line) == (["c1"] if numbers else [])
        assert line.state.channels == {}

    @both
    def test_a_channel_that_was_told_on_a_connection_without_a_full_state_gets_its_end(self, pbx: Generation) -> None:
        line = Line()
        line.send(pbx.spec(), pbx.event("added", leg(b"c1")), pbx.event("added", leg(b"c2", b"1")))
        line.reconnect(pbx.spec(), pbx.initial(leg(b"c2", b"2"), leg(b"c3")))
        assert line.synthetic() == [("channel", "c1", "removed"), ("channel", "c2", "updated")]
        assert ends(line) == ["c1"]
        assert [item.uuid for item in line.told.of("on_initial_chan_info")[0]] == ["c2", "c3"]

    def test_users(self) -> None:
        line = Line()
        line.send(field_spec("user", ["id", "name"]))
        line.send(info_event("user", "updated", (1, b"new")), info_event("user", "removed", (2, b"x")))
        line.send(initial_info("user", (1, b"old"), (2, b"old"), (3, b"old")))
        assert {key: user.name for key, user in line.state.users.items()} == {1: "new", 3: "old"}
        assert line.synthetic() == []

    def test_what_came_before_the_full_state_does_not_outlive_it(self) -> None:
        line = Line()
        line.send(CURRENT.spec(), CURRENT.event("added", leg(b"c1")), CURRENT.initial(leg(b"c1")), CURRENT.initial())
        assert ends(line) == ["c1"]


def parks(line: Line) -> list[tuple[str, Any, Any]]:
    """``(hook, uuid, slot)`` of the calls of the two parking hooks, in order."""
    return [
        (call[0].removesuffix("_info"), call[1].uuid, call[1].slot)
        for call in line.told.calls
        if call[0] in ("on_park_info", "on_unpark_info")
    ]


def waiting_line(*elements: str) -> Line:
    """A current connection with a channel c1, on which nothing is parked."""
    line = Line()
    line.send(CURRENT.spec(), CURRENT.initial(leg(b"c1")))
    for element in elements:
        line.send(field_spec(element, ["uuid", "state"]), initial_info(element))
    line.told.forget()
    return line


QUEUED = (5, Atom("system_operation"), b"queue")


class TestParkingCurrent:
    @pytest.mark.parametrize("element", ["channel_waiting", "parked_channel"])
    def test_in_and_out(self, element: str) -> None:
        line = waiting_line(element)
        line.send(info_event(element, "added", (b"c1", park())))
        assert line.told.of("on_park_info") == [ParkInfo("c1", 901, 7, "suzuki")]
        assert line.told.names() == ["on_info_event", "on_park_info"]
        assert line.state.parked == {"c1": ParkInfo("c1", 901, 7, "suzuki")}
        line.send(info_event(element, "updated", (b"c1", park())))
        assert parks(line) == []
        line.send(info_event(element, "removed", (b"c1", park())))
        assert line.told.of("on_unpark_info") == [ParkInfo("c1", 901, 7, "suzuki")]
        assert line.told.names() == ["on_info_event", "on_unpark_info"]
        assert line.state.parked == {}

    @pytest.mark.parametrize(
        ("states", "told"),
        [
            ("P", "park 901"),
            ("Q", ""),
            ("QP", "park 901"),
            ("QPQ", "park 901, unpark 901"),
            ("PQP", "park 901, unpark 901, park 901"),
            ("PP", "park 901"),
            ("PO", "park 901, park 902"),
            ("POQ", "park 901, park 902, unpark 902"),
            ("QPQx", "park 901, unpark 901"),
            ("Px", "park 901, unpark 901"),
            ("Qx", ""),
            ("QX", ""),
            ("PY", "park 901, unpark 901"),
            ("X", "unpark 901"),
            ("x", ""),
            ("PxPx", "park 901, unpark 901, park 901, unpark 901"),
            ("Pxx", "park 901, unpark 901"),
            ("PH", "park 901, unpark 901"),
            ("PHx", "park 901, unpark 901"),
            ("Pxh", "park 901, unpark 901"),
            ("Phx", "park 901, unpark 901"),
            ("PhX", "park 901, unpark 901"),
            ("PhPx", "park 901, unpark 901"),
            ("hP", ""),
            ("hX", ""),
        ],
    )
    def test_a_channel_that_waits(self, states: str, told: str) -> None:
        """P: parked in 901, O: in 902, Q: in a queue; removed x: no state, X: parked, Y: queued; h: channel hangs up,
        H: hung up, as told by the waiting element."""
        line = waiting_line()
        line.send(field_spec("channel_waiting", ["uuid", "state", "last_event"]), initial_info("channel_waiting"))
        values = {"P": park(), "O": park(902), "Q": QUEUED, "x": UNDEFINED, "X": park(), "Y": QUEUED, "H": park()}
        seen = []
        for letter in states:
            if letter == "h":
                line.send(CURRENT.event("updated", ended(b"c1")))
            else:
                last = HANGUP if letter == "H" else UNDEFINED
                what = "removed" if letter in "xXY" else "updated"
                line.send(info_event("channel_waiting", what, (b"c1", values[letter], last)))
            seen += [f"{hook.removeprefix('on_')} {slot}" for hook, _, slot in parks(line)]
            if seen:
                assert ("c1" in line.state.parked) is (seen[-1].startswith("park"))
        assert ", ".join(seen) == told

    def test_what_only_one_of_two_messages_tells_is_told_together(self) -> None:
        line = waiting_line("channel_waiting")
        line.send(info_event("channel_waiting", "added", (b"c1", park(901, b"suzuki"))))
        line.send(info_event("channel_waiting", "removed", (b"c1", (5, Atom("park"), UNDEFINED, UNDEFINED, 8))))
        assert line.told.of("on_unpark_info") == [ParkInfo("c1", 901, 8, "suzuki")]

    def test_what_is_told_last_counts(self) -> None:
        line = waiting_line("channel_waiting")
        line.send(info_event("channel_waiting", "added", (b"c1", park(901, b"suzuki"))))
        line.send(info_event("channel_waiting", "removed", (b"c1", park(902, b"tanaka"))))
        assert line.told.of("on_unpark_info") == [ParkInfo("c1", 902, 7, "tanaka")]

    def test_a_waiting_channel_without_uuid_is_not_parked(self) -> None:
        line = waiting_line("channel_waiting")
        line.send(info_event("channel_waiting", "added", (UNDEFINED, park())))
        assert line.told.names() == ["on_info_event"]

    def test_the_slot_0_is_a_slot(self) -> None:
        line = waiting_line("channel_waiting")
        line.send(info_event("channel_waiting", "added", (b"c1", park(0))))
        line.send(info_event("channel_waiting", "updated", (b"c1", park(0))))
        assert parks(line) == []
        line.send(info_event("channel_waiting", "removed", (b"c1", park(UNDEFINED))))
        assert parks(line) == [("on_unpark", "c1", 0)]

    def test_hanging_up_is_leaving_the_slot(self) -> None:
        watcher = Watcher()
        line = Line(watcher)
        line.send(CURRENT.spec(), CURRENT.initial(leg(b"c1")), field_spec("channel_waiting", ["uuid", "state"]))
        line.send(initial_info("channel_waiting", (b"c1", park()), (b"c2", park(902))))
        watcher.parser = line.parser
        line.send(CURRENT.event("updated", ended(b"c1")))
        assert line.told.names() == ["on_info_event", "on_chan_info", "on_unpark_info"]
        assert {hook: list(parked) for hook, _, parked in watcher.seen} == {
            "on_event updated": ["c2"],
            "on_chan_info c1": ["c2"],
            "on_unpark_info": ["c2"],
        }
        line.send(CURRENT.event("removed", ended(b"c1")), info_event("channel_waiting", "removed", (b"c1", park())))
        assert parks(line) == []

    def test_a_queued_channel_is_not_parked(self) -> None:
        line = waiting_line("queued_channel")
        line.send(info_event("queued_channel", "added", (b"c1", park())))
        assert parks(line) == []
        assert line.state.parked == {}

    def test_the_channels_own_state_does_not_park_it(self) -> None:
        line = waiting_line("channel_waiting")
        line.send(CURRENT.event("updated", leg(b"c1", state=park())))
        assert parks(line) == []
        assert line.state.parked == {}

    @pytest.mark.parametrize("order", [("channel_waiting", "parked_channel"), ("parked_channel", "channel_waiting")])
    @pytest.mark.parametrize("leaving", [0, 1])
    def test_both_elements_at_once(self, order: tuple[str, str], leaving: int) -> None:
        line = waiting_line(*order)
        line.send(*[info_event(element, "added", (b"c1", park())) for element in order])
        assert parks(line) == [("on_park", "c1", 901)]
        assert list(line.state.parked) == ["c1"]
        first, second = order[leaving], order[1 - leaving]
        line.send(info_event(first, "removed", (b"c1", park())), info_event(second, "updated", (b"c1", park())))
        assert parks(line) == []
        assert list(line.state.parked) == ["c1"]
        line.send(info_event(second, "removed", (b"c1", park())))
        assert parks(line) == [("on_unpark", "c1", 901)]
        assert line.state.parked == {}

    def test_both_elements_at_once_and_a_hangup(self) -> None:
        line = waiting_line("channel_waiting", "parked_channel")
        for element in ("channel_waiting", "parked_channel"):
            line.send(info_event(element, "added", (b"c1", park())))
        line.send(CURRENT.event("updated", ended(b"c1")))
        assert parks(line) == [("on_unpark", "c1", 901)]
        for element in ("channel_waiting", "parked_channel"):
            line.send(info_event(element, "updated", (b"c1", park())), info_event(element, "removed", (b"c1", park())))
            assert parks(line) == []

    def test_both_elements_at_once_over_a_gap(self) -> None:
        line = waiting_line("channel_waiting", "parked_channel")
        for element in ("channel_waiting", "parked_channel"):
            line.send(info_event(element, "added", (b"c1", park())))
        line.reconnect(CURRENT.spec(), CURRENT.initial(leg(b"c1")))
        for element in ("channel_waiting", "parked_channel"):
            line.send(field_spec(element, ["uuid", "state"]), initial_info(element, (b"c1", park())))
            assert parks(line) == []
            assert list(line.state.items(element)) == ["c1"]
        assert list(line.state.parked) == ["c1"]

    @pytest.mark.parametrize("element", ["channel_waiting", "parked_channel"])
    def test_a_gap(self, element: str) -> None:
        line = waiting_line(element)
        spec = field_spec(element, ["uuid", "state"])
        line.send(initial_info(element, (b"gone", park(1)), (b"same", park(2)), (b"moved", park(3))))
        line.reconnect(spec, initial_info(element, (b"same", park(2)), (b"moved", park(4)), (b"new", park(5))))
        assert parks(line) == [("on_unpark", "gone", 1), ("on_park", "moved", 4), ("on_park", "new", 5)]
        assert list(line.state.parked) == ["same", "moved", "new"]
        line.reconnect(spec, (Atom("initial_info"), Atom(element), BERT_NIL))
        assert parks(line) == [("on_unpark", "same", 2), ("on_unpark", "moved", 4), ("on_unpark", "new", 5)]

    @pytest.mark.parametrize("channel_first", [True, False])
    def test_a_parked_channel_that_ended_in_the_gap_leaves_its_slot_once(self, channel_first: bool) -> None:
        line = waiting_line("channel_waiting")
        line.send(info_event("channel_waiting", "added", (b"c1", park())))
        messages = [CURRENT.initial(), initial_info("channel_waiting")]
        line.reconnect(CURRENT.spec(), *(messages if channel_first else messages[::-1]))
        assert parks(line) == [("on_unpark", "c1", 901)]
        assert ends(line) == ["c1"]

    @pytest.mark.parametrize("element", ["channel_waiting", "parked_channel"])
    def test_the_first_state_calls_no_parking_hook_but_is_remembered(self, element: str) -> None:
        line = waiting_line()
        line.send(field_spec(element, ["uuid", "state"]), initial_info(element, (b"c1", park())))
        assert line.told.names() == ["on_initial_info"]
        line.send(info_event(element, "updated", (b"c1", park())))
        assert parks(line) == []
        line.send(CURRENT.event("updated", ended(b"c1")))
        assert parks(line) == [("on_unpark", "c1", 901)]

    def test_what_is_left_of_an_ended_channel_is_not_parked(self) -> None:
        line = waiting_line()
        line.send(CURRENT.event("removed", leg(b"c1")), field_spec("channel_waiting", ["uuid", "state"]))
        line.send(initial_info("channel_waiting", (b"c1", park())))
        assert line.state.parked == {}
        line.send(info_event("channel_waiting", "removed", (b"c1", park())))
        assert parks(line) == []


class TestUpgrade:
    """A PBX may send the older elements on one connection, and the newer one on the next."""

    WAITING = field_spec("channel_waiting", ["uuid", "state"])

    def old(self) -> Line:
        line = waiting_line("queued_channel", "parked_channel")
        line.send(CURRENT.initial(leg(b"c1"), leg(b"c2"), leg(b"q1")))
        line.send(info_event("queued_channel", "added", (b"q1", QUEUED)))
        line.send(info_event("parked_channel", "added", (b"c1", park(901))))
        line.send(info_event("parked_channel", "added", (b"c2", park(902))))
        return line

    def test_who_is_still_parked_is_not_told_again(self) -> None:
        line = self.old()
        line.reconnect(self.WAITING, initial_info("channel_waiting", (b"c1", park(901)), (b"q1", QUEUED)))
        assert parks(line) == [("on_unpark", "c2", 902)]
        assert list(line.state.parked) == ["c1"]
        assert (line.state.queued_channels, line.state.parked_channels) == ({}, {})
        assert line.state.is_current("channel_waiting")
        assert not line.state.is_current("parked_channel")
        assert list(line.state.channels_waiting) == ["c1", "q1"]
        line.send(info_event("channel_waiting", "removed", (b"c1", park(901))))
        assert parks(line) == [("on_unpark", "c1", 901)]

    def test_who_was_parked_meanwhile_is_told(self) -> None:
        line = self.old()
        rows = [(b"c1", park(901)), (b"c2", park(904)), (b"c3", park(903))]
        line.reconnect(self.WAITING, initial_info("channel_waiting", *rows))
        assert parks(line) == [("on_park", "c2", 904), ("on_park", "c3", 903)]
        assert ("queued_channel", "q1", "removed") in line.synthetic()

    def test_it_is_compared_only_once(self) -> None:
        line = self.old()
        state = initial_info("channel_waiting", (b"c1", park(901)))
        line.reconnect(self.WAITING, state)
        line.reconnect(self.WAITING, state)
        assert line.told.names() == ["on_initial_info"]

    def test_what_is_sent_on_the_new_connection_too_is_not_superseded(self) -> None:
        line = self.old()
        line.reconnect(field_spec("parked_channel", ["uuid", "state"]), self.WAITING)
        line.send(info_event("parked_channel", "updated", (b"c1", park(901))))
        line.send(initial_info("channel_waiting", (b"c1", park(901))))
        assert list(line.state.parked_channels) == ["c1", "c2"]
        assert line.state.queued_channels == {}
        assert parks(line) == []

    def test_back_to_the_older_elements(self) -> None:
        line = waiting_line("channel_waiting")
        line.send(info_event("channel_waiting", "added", (b"c1", park(901))))
        line.reconnect(field_spec("parked_channel", ["uuid", "state"]))
        line.send(initial_info("parked_channel", (b"c1", park(901))))
        assert parks(line) == []
        assert line.state.channels_waiting == {}
        assert list(line.state.parked) == ["c1"]

    def test_from_the_first_generation(self) -> None:
        line = FIRST.line(leg(b"c1", state=park()), leg(b"c2", state=park(902)))
        line.reconnect(CURRENT.spec(), CURRENT.initial(leg(b"c1"), leg(b"c2")), self.WAITING)
        line.send(initial_info("channel_waiting", (b"c1", park())))
        assert parks(line) == [("on_unpark", "c2", 902)]
        assert line.state.parked_channels == {}

    def test_from_the_first_generation_to_parked_channel(self) -> None:
        line = FIRST.line(leg(b"c1", state=park()), leg(b"c2", state=park(902)))
        line.reconnect(CURRENT.spec(), CURRENT.initial(leg(b"c1"), leg(b"c2")))
        line.send(field_spec("parked_channel", ["uuid", "state"]), initial_info("parked_channel", (b"c1", park())))
        assert parks(line) == [("on_unpark", "c2", 902)]


def park_info(kind: str, uuid: bytes, slot: Term = 901) -> Term:
    return (Atom(kind), (uuid, slot, 7, b"suzuki"))


PARK_SPECS = [
    field_spec(kind, ["uuid", "park_slot", "parker_id", "parker_name"]) for kind in ("park_info", "unpark_info")
]


class TestParkingFirst:
    def line(self, *rows: Term) -> Line:
        line = Line()
        line.send(FIRST.spec(), *PARK_SPECS, FIRST.initial(*rows))
        return line

    def test_in_and_out(self) -> None:
        line = self.line(leg(b"c1"))
        line.send(park_info("park_info", b"c1"))
        assert line.told.names() == ["on_info_event", "on_park_info"]
        assert line.generic() == [("parked_channel", "c1", "added")]
        assert line.told.of("on_park_info") == [ParkInfo("c1", 901, 7, "suzuki")]
        assert line.state.parked == {"c1": ParkInfo("c1", 901, 7, "suzuki")}
        line.send((Atom("unpark_info"), (b"c1",)))
        assert line.told.names() == ["on_info_event", "on_unpark_info"]
        assert line.told.of("on_unpark_info") == [ParkInfo("c1", 901, 7, "suzuki")]
        assert line.state.parked == {}

    def test_each_message_of_the_pbx_is_told(self) -> None:
        line = self.line(leg(b"c1"))
        line.send(park_info("park_info", b"c1"), park_info("park_info", b"c1"))
        assert parks(line) == [("on_park", "c1", 901)] * 2

    @pytest.mark.parametrize(("values", "slot"), [((b"c1", 901, 7, b"suzuki"), 901), ((b"c1",), None)])
    def test_unpark_of_what_was_never_parked(self, values: Term, slot: int | None) -> None:
        line = self.line()
        line.send((Atom("unpark_info"), values))
        assert parks(line) == [("on_unpark", "c1", slot)]

    def test_a_spec_without_uuid(self) -> None:
        line = Line()
        line.send(*[field_spec(kind, ["call", "slot"]) for kind in ("park_info", "unpark_info")])
        line.send((Atom("park_info"), (b"c1", 901)), (Atom("unpark_info"), (b"c1", 901)))
        assert parks(line) == [("on_park", None, 901), ("on_unpark", None, 901)]
        assert line.generic() == [("parked_channel", None, "added"), ("parked_channel", None, "removed")]
        assert line.state.parked == {}

    @pytest.mark.parametrize("late", [None, "unpark_info", "park_info"])
    def test_hanging_up_is_leaving_the_slot(self, late: str | None) -> None:
        line = self.line(leg(b"c1"))
        line.send(park_info("park_info", b"c1"), FIRST.event("", ended(b"c1")))
        assert parks(line) == [("on_park", "c1", 901), ("on_unpark", "c1", 901)]
        assert (line.state.parked, line.state.parked_channels) == ({}, {})
        if late:
            line.send(park_info(late, b"c1"))
            assert line.told.names() == ["on_info_event"]
            assert (line.state.parked, line.state.parked_channels) == ({}, {})

    def test_a_slot_left_before_the_hangup_is_left_once(self) -> None:
        line = self.line(leg(b"c1"))
        line.send(park_info("park_info", b"c1"), park_info("unpark_info", b"c1"), FIRST.event("", ended(b"c1")))
        assert parks(line) == [("on_park", "c1", 901), ("on_unpark", "c1", 901)]

    def test_the_first_state_tells_what_is_parked_by_the_channels_states(self) -> None:
        line = self.line(leg(b"c1", state=(5, Atom("park"), b"901")), leg(b"c2"))
        assert parks(line) == []
        assert line.state.parked == {"c1": ParkInfo("c1", "901")}
        assert line.state.is_current("parked_channel")
        line.send((Atom("unpark_info"), (b"c1",)))
        assert line.told.of("on_unpark_info") == [ParkInfo("c1", "901")]

    def test_a_parked_channel_known_from_its_state_alone_leaves_its_slot_by_hanging_up(self) -> None:
        line = self.line(leg(b"c1", state=(5, Atom("park"), b"901")))
        line.send(FIRST.event("", ended(b"c1")))
        assert line.told.of("on_unpark_info") == [ParkInfo("c1", "901")]
        assert line.state.parked == {}

    def test_a_gap(self) -> None:
        line = self.line(leg(b"gone"), leg(b"left"), leg(b"same"), leg(b"moved"), leg(b"new"))
        for uuid in (b"gone", b"left", b"same", b"moved"):
            line.send(park_info("park_info", uuid, 901 if uuid != b"moved" else 902))
        line.reconnect(
            FIRST.spec(),
            *PARK_SPECS,
            FIRST.initial(
                leg(b"left"),
                leg(b"same", state=park(901)),
                leg(b"moved", state=park(903)),
                leg(b"new", state=park(904)),
            ),
        )
        assert sorted(parks(line)) == [
            ("on_park", "moved", 903),
            ("on_park", "new", 904),
            ("on_unpark", "gone", 901),
            ("on_unpark", "left", 901),
        ]
        assert ends(line) == ["gone"]
        assert {uuid: info.slot for uuid, info in line.state.parked.items()} == {"same": 901, "moved": 903, "new": 904}
        assert line.state.parked["same"].parker_name == "suzuki"
        line.send(FIRST.event("", ended(b"new")))
        assert parks(line) == [("on_unpark", "new", 904)]

    def test_a_parked_channel_that_is_listed_as_hung_up(self) -> None:
        line = self.line(leg(b"c1"))
        line.send(park_info("park_info", b"c1"))
        line.reconnect(FIRST.spec(), *PARK_SPECS, FIRST.initial((b"c1", UNDEFINED, park(), HANGUP, UNDEFINED)))
        assert parks(line) == [("on_unpark", "c1", 901)]
        assert line.state.parked == {}

    @pytest.mark.parametrize("connections", [1, 2])
    def test_parking_that_is_told_before_the_full_state_is_newer(self, connections: int) -> None:
        line = self.line(leg(b"in"), leg(b"out", state=park(902))) if connections == 2 else Line()
        line.reconnect(FIRST.spec(), *PARK_SPECS)
        line.send(park_info("park_info", b"in"), park_info("unpark_info", b"out", 902))
        assert parks(line) == [("on_park", "in", 901), ("on_unpark", "out", 902)]
        line.send(FIRST.initial(leg(b"in"), leg(b"out", state=park(902))))
        assert parks(line) == []
        assert list(line.state.parked) == ["in"]

    def test_no_trace_of_a_parking_is_left(self) -> None:
        """A connection may last for months: what is over must not take memory."""
        line = self.line(leg(b"c1"))
        for _ in range(3):
            line.send(park_info("park_info", b"c1"), park_info("unpark_info", b"c1"))
        assert line.state._touched == {}


def mwis(line: Line) -> list[tuple[Any, Any, Any, Any]]:
    return [(mwi.target_type, mwi.target_id, mwi.new_messages, mwi.text) for mwi in line.told.of("on_mwi_info")]


class TestVoicemailCurrent:
    @pytest.mark.parametrize("element", ["user", "group"])
    @pytest.mark.parametrize(
        ("before", "after", "told"),
        [
            (b"", b"1/0", (1, "1/0")),
            (b"1/0", b"0/1", (0, "0/1")),
            (b"1/0", b"", (0, "")),
            (b"1/0", UNDEFINED, (0, "")),
            (b"many", b"more", (None, "more")),
            (b"1/0", b"1/0", None),
            (b"", UNDEFINED, None),
            (UNDEFINED, b"", None),
        ],
    )
    @pytest.mark.parametrize("gap", [False, True])
    def test_a_change(
        self, element: str, before: Term, after: Term, told: tuple[int | None, str] | None, gap: bool
    ) -> None:
        line = Line()
        spec = field_spec(element, ["id", "name", "mwi"])
        line.send(spec, initial_info(element, (1, b"s", before)))
        assert line.told.names() == ["on_initial_info"]
        if gap:
            line.reconnect(spec, initial_info(element, (1, b"s", after)))
        else:
            line.send(info_event(element, "updated", (1, b"s", after)))
            assert line.told.names()[0] == "on_info_event"
        assert mwis(line) == ([] if told is None else [(element, 1, *told)])
        if told is not None:
            assert line.told.of("on_mwi_info")[0].target_name == "s"

    def test_other_changes_are_none(self) -> None:
        line = Line()
        line.send(field_spec("user", ["id", "name", "mwi"]), initial_info("user", (1, b"s", b"1/0")))
        line.send(info_event("user", "updated", (1, b"t", b"1/0")), info_event("user", "removed", (1, b"t", b"2/0")))
        assert mwis(line) == []

    def test_somebody_new_with_messages(self) -> None:
        line = Line()
        line.send(field_spec("user", ["id", "mwi"]), initial_info("user"))
        line.send(info_event("user", "added", (1, b"2/0")), info_event("user", "added", (2, b"")))
        assert mwis(line) == [("user", 1, 2, "2/0")]

    def test_what_has_no_mailbox(self) -> None:
        line = Line()
        for element in ("terminal", "robot"):
            line.send(field_spec(element, ["id", "mwi"]), info_event(element, "added", (1, b"2/0")))
            assert line.told.names() == ["on_info_event"]


class TestVoicemailFirst:
    SPEC = field_spec("mwi_info", ["target_type", "target_id", "target_name", "mwi"])

    def test_each_message_is_told(self) -> None:
        line = Line()
        line.send(self.SPEC)
        for _ in range(2):
            line.send((Atom("mwi_info"), (Atom("user"), 1, b"s", b"2/1")))
            assert line.told.names() == ["on_info_event", "on_mwi_info"]
            assert line.told.of("on_mwi_info") == [MessageWaiting("user", 1, "s", 2, 1, "2/1")]
            assert line.generic() == [("user", 1, "updated")]
        assert line.state.users == {1: User(id=1, name="s", mwi="2/1")}

    def test_what_a_message_does_not_tell_is_kept_from_before(self) -> None:
        line = Line()
        line.send(self.SPEC, (Atom("mwi_info"), (Atom("user"), 1, b"s", b"2/1")))
        line.send((Atom("mwi_info"), (Atom("user"), 1, UNDEFINED, b"3/1")))
        assert line.told.of("on_info_event") == [("user", User(id=1, name="s", mwi="3/1"), "updated")]
        line.send((Atom("mwi_info"), (Atom("user"), 1)))
        assert line.state.users == {1: User(id=1, name="s", mwi="3/1")}
        line.send((Atom("mwi_info"), (Atom("user"), 1, UNDEFINED, b"")))
        assert line.state.users == {1: User(id=1, name="s", mwi="")}

    def test_groups_have_boxes_too(self) -> None:
        line = Line()
        line.send(self.SPEC, (Atom("mwi_info"), (Atom("group"), 1, b"g", b"2/1")))
        assert (list(line.state.groups), line.state.users) == ([1], {})

    def test_further_fields_are_kept_also_when_the_text_changes(self) -> None:
        line = Line()
        line.send(field_spec("mwi_info", ["user_id", "mwi", "box"]))
        for text in (b"1/0", b"2/0"):
            line.send((Atom("mwi_info"), (1, text, 5)))
            (mwi,) = line.told.of("on_mwi_info")
            assert (mwi.text, mwi.extra) == (text.decode(), {"box": 5})

    def test_no_id_at_all(self) -> None:
        line = Line()
        line.send(self.SPEC, (Atom("mwi_info"), (UNDEFINED, {b"a": 1}, UNDEFINED, b"2/1")))
        assert mwis(line) == [("user", None, 2, "2/1")]
        assert line.state.users == {}


def copied(events: Sequence[Event]) -> Picture:
    """What a second picture makes of events, as the client's I/O thread keeps one."""
    newest = Picture()
    for event in events:
        if isinstance(event, InfoEvent):
            newest._put(event)
        elif isinstance(event, InitialInfo):
            newest._take_initial(event)
        elif isinstance(event, Connected):
            newest._new_connection(event.session.number)
    return newest


def chan(uuid: str, what: str = "updated", **values: Any) -> InfoEvent:
    return InfoEvent("channel", Channel(uuid=uuid, **values), what)


def hung(uuid: str) -> InfoEvent:
    return chan(uuid, last_event="CHANNEL_HANGUP")


def state_of(*items: Element) -> InitialInfo:
    return InitialInfo(items[0].element if items else "channel", list(items))


class Overflowing:
    """A tracker that is told the first events, and catches up with the rest, which were dropped."""

    def __init__(self, told: list[Event], dropped: list[Event]) -> None:
        newest = copied([*told, *dropped])
        self.tracker = Tracker()
        for event in told:
            list(self.tracker.track(event))
        missed = {event.element for event in dropped if isinstance(event, InitialInfo)}
        self.newest = newest._copy()
        self.events = list(self.tracker.catch_up(newest, missed, 9.0))

    def changes(self) -> list[tuple[str, Any, str]]:
        return [(event.element, event.item.key, event.event) for event in self.events if isinstance(event, InfoEvent)]


class TestCatchUp:
    def test_what_was_missed_is_told(self) -> None:
        told = [state_of(Channel("gone"), Channel("same"), Channel("changed"))]
        dropped = [
            hung("gone"),
            chan("changed", user_id=5),
            chan("new", "added"),
            chan("short", "added"),
            hung("short"),
        ]
        caught = Overflowing(list(told), list(dropped))
        assert caught.changes() == [
            ("channel", "gone", "removed"),
            ("channel", "changed", "updated"),
            ("channel", "new", "added"),
        ]
        assert len(caught.events) == 3
        assert all(event.synthetic and event.received_at == 9.0 for event in caught.events)
        gone = caught.events[0]
        assert isinstance(gone, InfoEvent)
        assert isinstance(gone.item, Channel)
        assert gone.item.is_hung_up
        assert caught.tracker.picture.channels == caught.newest.channels
        assert caught.tracker.picture.has_ended("short")

    def test_what_comes_afterwards_of_an_end_that_was_missed_says_nothing_new(self) -> None:
        caught = Overflowing([state_of(Channel("c1"))], [hung("c1")])
        (late,) = caught.tracker.track(chan("c1", "removed"))
        assert isinstance(late, InfoEvent)
        assert not late.news

    def test_a_full_state_that_was_missed_is_told_as_a_whole(self) -> None:
        connected = Connected(Session(1))
        caught = Overflowing([connected], [state_of(Channel("c1"), Channel("c2", last_event="CHANNEL_HANGUP"))])
        (event,) = caught.events
        assert isinstance(event, InitialInfo)
        assert (event.element, event.synthetic, event.received_at) == ("channel", True, 9.0)
        assert event.items == event.channels == [Channel("c1")]
        assert caught.tracker.picture.is_current()
        assert caught.tracker.picture.has_ended("c2")

    def test_a_gap_whose_full_state_was_missed(self) -> None:
        told = [state_of(Channel("c1"), Channel("c2")), Connected(Session(2))]
        caught = Overflowing(list(told), [state_of(Channel("c2"), Channel("c3"))])
        assert caught.changes() == [("channel", "c1", "removed"), ("channel", "c3", "added")]
        assert isinstance(caught.events[-1], InitialInfo)
        assert caught.tracker.picture.is_current()

    def test_what_was_told_before_a_full_state_that_was_missed_gets_its_end(self) -> None:
        told = [chan("c1", "added"), chan("c2", "added")]
        caught = Overflowing(list(told), [state_of(Channel("c1"), Channel("c3")), hung("c1")])
        assert caught.changes() == [("channel", "c1", "removed")]
        (event,) = caught.events[1:]
        assert isinstance(event, InitialInfo)
        assert {channel.uuid for channel in event.channels} == {"c2", "c3"}

    def test_a_channel_listed_as_alive_after_its_end_gets_another_end(self) -> None:
        told = [state_of(Channel("c1")), hung("c1"), Connected(Session(2))]
        caught = Overflowing(list(told), [state_of(Channel("c1"))])
        assert caught.changes() == [("channel", "c1", "added")]
        (event,) = caught.tracker.track(hung("c1"))
        assert isinstance(event, InfoEvent)
        assert event.news

    def test_what_was_dropped_is_still_newer_than_the_full_state_that_follows(self) -> None:
        caught = Overflowing([Connected(Session(1))], [chan("c1", user_id=5), chan("c2", "added"), hung("c2")])
        list(caught.tracker.track(state_of(Channel("c1", user_id=4), Channel("c2"), Channel("c3"))))
        assert caught.tracker.picture.channels == {"c1": Channel("c1", user_id=5), "c3": Channel("c3")}

    def test_after_it_the_next_full_state_is_compared(self) -> None:
        caught = Overflowing([], [state_of(Channel("c1"))])
        list(caught.tracker.track(Connected(Session(2))))
        events = list(caught.tracker.track(state_of(Channel("c2"))))
        assert [event.event for event in events if isinstance(event, InfoEvent)] == ["removed", "added"]

    def test_other_elements_parking_and_voicemail(self) -> None:
        parked = State(5, "park", {"slot": 901})
        told: list[Event] = [
            InitialInfo("user", [User(id=1, mwi=""), User(id=2)]),
            InitialInfo("channel_waiting", [ChannelWaiting("out", state=parked)]),
        ]
        dropped: list[Event] = [
            InfoEvent("user", User(id=1, mwi="1/0"), "updated"),
            InfoEvent("user", User(id=2), "removed"),
            InfoEvent("channel_waiting", ChannelWaiting("out"), "removed"),
            InfoEvent("channel_waiting", ChannelWaiting("in", state=parked), "added"),
        ]
        caught = Overflowing(told, dropped)
        events = [event for event in caught.events if isinstance(event, InfoEvent)]
        assert [event.mwi.text for event in events if event.mwi] == ["1/0"]
        assert [event.park.uuid for event in events if event.park] == ["in"]
        assert [event.unpark.uuid for event in events if event.unpark] == ["out"]
        assert caught.changes() == [
            ("user", 2, "removed"),
            ("user", 1, "updated"),
            ("channel_waiting", "out", "removed"),
            ("channel_waiting", "in", "added"),
        ]

    def test_a_parked_channel_that_ended_meanwhile_leaves_its_slot_once(self) -> None:
        parked = Channel("c1", state=State(5, "park", {"slot": 901}))
        first = InitialInfo("channel", [parked], 1)
        gone = InfoEvent("channel", Channel("c1", last_event="CHANNEL_HANGUP"), "", 1)
        caught = Overflowing([first], [gone])
        events = [event for event in caught.events if isinstance(event, InfoEvent)]
        assert [event.unpark.slot for event in events if event.unpark] == [901]
        assert caught.tracker.picture.parked == {}

    def test_the_copy_does_not_follow_the_original(self) -> None:
        original = copied([state_of(Channel("c1")), hung("c0"), Connected(Session(2)), chan("c2", "added")])
        copy = original._copy()
        original._put(hung("c1"))
        original._put(chan("c3", "added"))
        original._take_initial(state_of())
        assert list(copy.channels) == ["c1", "c2"]
        assert (copy.has_ended("c0"), copy.has_ended("c1"), copy.is_current()) == (True, False, False)
        assert original._copy().is_current()
        copy._take_initial(state_of())
        assert list(copy.channels) == ["c2"]

    def test_other_events_pass_through(self) -> None:
        event = Msg("x")
        assert list(Tracker().track(event)) == [event]


# --- properties -------------------------------------------------------------------------------------------------

UUIDS = ("a", "b", "c", "d")


@dataclass
class Server:
    """A PBX that is simple enough to be right: which channels there are, with how many changes."""

    pbx: Generation
    alive: dict[str, int] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    used: int = 0

    def new(self, place: int) -> tuple[str, Term]:
        self.used += 1
        uuid = f"{UUIDS[place % 4]}{self.used}"
        self.alive[uuid] = 0
        return uuid, self.pbx.event("added", self.row(uuid))

    def change(self, uuid: str) -> Term:
        self.alive[uuid] += 1
        return self.pbx.event("updated", self.row(uuid))

    def end(self, uuid: str, how: int) -> list[Term]:
        number = str(self.alive.pop(uuid)).encode()
        self.ended.append(uuid)
        raw = uuid.encode()
        hangup = self.pbx.event("updated", ended(raw, number))
        late = self.pbx.event("updated", leg(raw, b"late"))
        if self.pbx is FIRST:
            return [[hangup], [hangup, hangup], [hangup, late], [hangup, late, hangup]][how % 4]
        removed = self.pbx.event("removed", leg(raw, number))
        return [[hangup, removed], [removed], [removed, hangup, removed], [hangup, late, removed, late]][how % 4]

    def row(self, uuid: str) -> Term:
        return leg(uuid.encode(), str(self.alive[uuid]).encode())

    def rows(self, with_ended: bool) -> list[Term]:
        """The full state."""
        rows = [self.row(uuid) for uuid in self.alive]
        return [*rows, *[ended(uuid.encode()) for uuid in self.ended]] if with_ended else rows

    def pick(self, place: int) -> str | None:
        return list(self.alive)[place % len(self.alive)] if self.alive else None

    def step(self, action: str, place: int, how: int) -> list[Term]:
        """Let something happen; how it is told."""
        uuid = self.pick(place)
        if action == "new" or uuid is None:
            return [self.new(place)[1]]
        return [self.change(uuid)] if action == "change" else self.end(uuid, how)


STEPS = st.lists(st.tuples(st.sampled_from(["new", "change", "end"]), st.integers(0, 7), st.integers(0, 3)), max_size=8)


@dataclass
class Connection:
    """What happens around one connection, in this order.

    Attributes:
        gap: unseen, before it.
        early: told on it, before the full state.
        behind: contained in the full state, but told only after it; the full state is then newer than what was told.
        late: told after all that.
        stale: the full state is that from before ``early``, and older than what was told.
        lists_ended: the full state lists the channels that ended lately, as hung up.
        cut: the connection ends before the full state comes.
    """

    gap: list[tuple[str, int, int]] = field(default_factory=list)
    early: list[tuple[str, int, int]] = field(default_factory=list)
    behind: list[tuple[str, int, int]] = field(default_factory=list)
    late: list[tuple[str, int, int]] = field(default_factory=list)
    stale: bool = False
    lists_ended: bool = False
    cut: bool = False


FLAGS = (st.booleans(), st.booleans(), st.sampled_from([False, False, True]))
CONNECTIONS = st.lists(st.builds(Connection, STEPS, STEPS, STEPS, STEPS, *FLAGS), max_size=4)


class Judge(Recorder):
    """Follows what a user of the hooks would believe to be there, and when the PBX said so."""

    def __init__(self) -> None:
        super().__init__()
        self.lives: dict[str, list[str]] = {}

    def on_initial_chan_info(self, channels: list[Channel]) -> None:
        super().on_initial_chan_info(channels)
        for channel in channels:
            self.lives.setdefault(str(channel.uuid), []).append("listed")

    def on_chan_info(self, channel: Channel) -> None:
        super().on_chan_info(channel)
        self.lives.setdefault(str(channel.uuid), []).append("end" if channel.is_hung_up else "there")


def told_of(server: Server, steps: list[tuple[str, int, int]]) -> list[Term]:
    return [message for action, place, how in steps for message in server.step(action, place, how)]


@both
@settings(deadline=None, max_examples=80)
@given(connections=CONNECTIONS)
def test_the_picture_is_what_there_is_and_each_channel_told_has_one_end(
    pbx: Generation, connections: list[Connection]
) -> None:
    server = Server(pbx)
    judge = Judge()
    line = Line(judge)

    def numbers() -> dict[str, int]:
        return {uuid: int(item.calling_number or 0) for uuid, item in line.state.channels.items()}

    for connection in [*connections, Connection()]:
        line.parser.connection_lost()
        told_of(server, connection.gap)
        line.parser.connection_made()
        rows = server.rows(connection.lists_ended)
        line.send(pbx.spec(), *told_of(server, connection.early))
        if connection.cut:
            continue
        behind = told_of(server, connection.behind)
        if not connection.stale:
            rows = server.rows(connection.lists_ended)
        events = line.send(pbx.initial(*rows))
        assert sum(not event.synthetic for event in events) == 1
        (channels,) = line.told.of("on_initial_chan_info")
        assert {channel.uuid for channel in channels} == set(line.state.channels)
        if not behind:
            assert numbers() == server.alive
        line.send(*behind)
        assert numbers() == server.alive
        for step in connection.late:
            for message in server.step(*step):
                line.send(message)
                assert len(line.told.of("on_info_event")) == 1
            assert numbers() == server.alive
        server.ended.clear()
    for uuid, life in judge.lives.items():
        assert life.count("end") == (uuid not in server.alive), (uuid, life)
        assert "end" not in life[:-1], (uuid, life)
    assert set(server.alive) <= judge.lives.keys()


@settings(deadline=None, max_examples=80)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["P", "O", "Q", "x", "h", "gap", "gap x"]), st.sampled_from("ab")), max_size=25
    )
)
def test_parked_and_left_take_turns_and_the_picture_agrees(steps: list[tuple[str, str]]) -> None:
    """P, O: parked in one of two slots; Q: in a queue; x: waits no more; h: hangs up; gap: a reconnection, in which
    all waiting ends (x) or stays."""
    line = waiting_line("channel_waiting")
    states = {"P": park(901), "O": park(902), "Q": QUEUED}
    alive: dict[str, str] = {}
    waiting: dict[str, Term] = {}
    believed: dict[str, Any] = {}
    count = 0
    for step, name in steps:
        if name not in alive and not step.startswith("gap"):
            count += 1
            alive[name] = f"{name}{count}"
            line.send(CURRENT.event("added", leg(alive[name].encode())))
        uuid = alive.get(name, "")
        messages: list[Term] = []
        if step in states:
            waiting[uuid] = states[step]
            messages.append(info_event("channel_waiting", "updated", (uuid.encode(), states[step])))
        elif step == "x":
            state = waiting.pop(uuid, QUEUED)
            messages.append(info_event("channel_waiting", "removed", (uuid.encode(), state)))
        elif step == "h":
            del alive[name]
            messages.append(CURRENT.event("updated", ended(uuid.encode())))
            state = waiting.pop(uuid, None)
            if state is not None:
                messages.append(info_event("channel_waiting", "removed", (uuid.encode(), state)))
        else:
            if step == "gap x":
                waiting.clear()
            line.reconnect(CURRENT.spec(), field_spec("channel_waiting", ["uuid", "state"]))
            messages.append(CURRENT.initial(*[leg(uuid.encode()) for uuid in alive.values()]))
            messages.append(initial_info("channel_waiting", *[(key.encode(), state) for key, state in waiting.items()]))
        line.send(*messages)
        for hook, key, slot in parks(line):
            if hook == "on_park":
                assert believed.get(key) != slot
                believed[key] = slot
            else:
                assert believed.pop(key) == slot
        expected = {key: state[2] for key, state in waiting.items() if state is not QUEUED}
        assert believed == expected
        assert {key: info.slot for key, info in line.state.parked.items()} == expected


@both
@settings(deadline=None, max_examples=60)
@given(steps=STEPS, dropped=STEPS, cut=st.booleans())
def test_after_an_overflow_the_picture_is_what_there_is(
    pbx: Generation, steps: list[tuple[str, int, int]], dropped: list[tuple[str, int, int]], cut: bool
) -> None:
    server = Server(pbx)
    source = Line()
    source.send(pbx.spec())

    def events(messages: list[Term]) -> list[Event]:
        protocol = source.parser._protocol
        read = [protocol.receive(encode(message), 1.0) for message in messages]
        return [event for event in read if event is not None]

    start = events([pbx.initial()])
    told = events(told_of(server, steps))
    lost = events(told_of(server, dropped))
    known = {event.item.key for event in told if isinstance(event, InfoEvent)}
    caught = Overflowing([*([] if cut else start), *told], [*(start if cut else []), *lost])
    assert {
        uuid: int(item.calling_number or 0) for uuid, item in caught.tracker.picture.channels.items()
    } == server.alive
    told_ends = [event.item.key for event in caught.events if isinstance(event, InfoEvent) and event.event == "removed"]
    assert len(set(told_ends)) == len(told_ends)
    assert set(told_ends) <= known
    alive_before = {event.item.key for event in told if isinstance(event, InfoEvent) and event.news} - {
        event.item.key for event in told if isinstance(event, InfoEvent) and is_end(event)
    }
    assert set(told_ends) == {key for key in alive_before if key not in server.alive}


def is_end(event: InfoEvent) -> bool:
    return isinstance(event.item, Channel) and event.item.is_hung_up
