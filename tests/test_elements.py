"""From tuples and field specs to typed objects, and what these tell about themselves."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_samples import CHANNEL_FIELDS, FIELDS, UNDEFINED, row, string, text

from basix_cti import elements
from basix_cti.builder import FieldPlan
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
    filled_from,
    message_waiting_of,
)
from basix_cti.etf import Atom, Term
from basix_cti.values import Customer, EndUser, OtherInfo, State, Target, moment

TS = 1_775_001_600_123_456
CLASSES: dict[str, type[Element]] = {
    "channel": Channel,
    "channel_waiting": ChannelWaiting,
    "queued_channel": QueuedChannel,
    "parked_channel": ParkedChannel,
    "user": User,
    "group": Group,
    "group_member": GroupMember,
    "terminal": Terminal,
    "domain": Domain,
}
VALUE_CLASSES = (Customer, EndUser, MessageWaiting, OtherInfo, ParkInfo, State, Target)
FULL_CHANNEL = row(
    "channel",
    uuid=b"c1",
    direction=Atom("inbound"),
    peer_location=Atom("external"),
    calling_name=text("山田太郎"),
    calling_number=b"0312345678",
    called_number=b"0501234567",
    offer_timestamp=TS,
    answer_timestamp=TS + 5_000_000,
    hangup_timestamp=TS + 65_000_000,
    other_uuid=b"c2",
    user_id=1,
    state=(TS, Atom("park"), 901, UNDEFINED, 7, b"suzuki"),
    group_id=21,
    target=(Atom("group"), 21, b"support", b"0501234567"),
    origination=b"api*%23",
    end_user=b"1001*Yamada*Co*1.png*Tokyo",
    tags=b"a;b",
    last_bridged_user_id=2,
    last_event=b"CHANNEL_HANGUP",
    last_event_data=b"recv_bye,NORMAL_CLEARING",
    other_info=(Atom("user"), 1, Atom("outbound"), Atom("internal"), b"101", TS, 21, UNDEFINED),
    call_id=b"c1@carrier",
    whoscall=b"%7B%22a%22%3A1%7D",
)


def build(element: str, values: Any, names: Sequence[str] | None = None) -> Element:
    return FieldPlan(element, FIELDS[element] if names is None else names).build(values)


def channel(**fields: Any) -> Channel:
    return Channel(uuid="c1", **fields)


class TestClasses:
    @pytest.mark.parametrize(("element", "cls"), CLASSES.items(), ids=CLASSES)
    def test_an_element_has_its_class(self, element: str, cls: type[Element]) -> None:
        item = build(element, ())
        assert type(item) is cls
        assert item.element == element

    @pytest.mark.parametrize("element", sorted(CLASSES.keys() - {"domain"}))
    def test_fields_are_named_exactly_as_on_the_wire(self, element: str) -> None:
        declared = {field.name for field in dataclasses.fields(CLASSES[element])} - {"extra"}
        first_generation = {"user_name", "group_name"} if element in ("channel", "channel_waiting") else set()
        assert declared == set(FIELDS[element]) | first_generation

    def test_the_first_generations_channel_fields_are_declared(self) -> None:
        assert set(FIELDS["chan_info"]) <= {field.name for field in dataclasses.fields(Channel)}

    @pytest.mark.parametrize("cls", [*CLASSES.values(), UnknownElement, *VALUE_CLASSES])
    def test_objects_have_slots(self, cls: type) -> None:
        item: object = object.__new__(cls)
        assert not hasattr(item, "__dict__")
        with pytest.raises(AttributeError):
            object.__setattr__(item, "misspelled", 1)

    def test_two_objects_do_not_share_extra(self) -> None:
        assert Channel().extra is not Channel().extra

    @pytest.mark.parametrize(
        ("item", "key"),
        [
            (Channel(uuid="c1"), "c1"),
            (ChannelWaiting(uuid="c1"), "c1"),
            (QueuedChannel(uuid="c1"), "c1"),
            (ParkedChannel(uuid="c1"), "c1"),
            (Channel(), None),
            (QueuedChannel(), None),
            (User(id=1), 1),
            (User(id=0), 0),
            (User(), None),
            (Group(id="21"), "21"),
            (Terminal(id=31), 31),
            (GroupMember(id=5, user_id=1, group_id=2), 5),
            (GroupMember(id=0, user_id=1, group_id=2), 0),
            (GroupMember(user_id=1, group_id=2), (1, 2)),
            (GroupMember(user_id=1), (1, None)),
            (GroupMember(group_id=2), (None, 2)),
            (GroupMember(), None),
            (Domain(), "domain"),
            (UnknownElement(name="x", extra={"id": 1, "uuid": "u"}), "u"),
            (UnknownElement(name="x", extra={"id": 1}), 1),
            (UnknownElement(name="x", extra={"id": [1]}), None),
            (UnknownElement(name="x", extra={"id": {"a": 1}}), None),
            (UnknownElement(name="x", extra={"uuid": None}), None),
            (UnknownElement(name="x"), None),
        ],
        ids=repr,
    )
    def test_key(self, item: Element, key: object) -> None:
        assert item.key == key

    def test_the_public_names_exist(self) -> None:
        for name in elements.__all__:
            assert hasattr(elements, name)


class TestFieldPlan:
    def test_a_full_channel(self) -> None:
        item = build("channel", FULL_CHANNEL)
        assert isinstance(item, Channel)
        assert item.extra == {}
        assert item.calling_name == "山田太郎"
        assert item.state == State(TS, "park", {"slot": 901, "parker_id": 7, "parker_name": "suzuki"})
        assert item.target == Target("group", 21, "support", "0501234567")
        assert item.end_user == EndUser(1, (Customer("1001", "Yamada", "Co", "1.png", "Tokyo"),))
        assert item.other_info == OtherInfo("user", "outbound", "internal", "101", TS, None, 1, 21)
        assert (item.tags, item.origination) == (("a", "b"), ("api", "#"))

    def test_to_dict_of_a_full_channel(self) -> None:
        assert build("channel", FULL_CHANNEL).to_dict() == {
            "uuid": "c1",
            "direction": "inbound",
            "peer_location": "external",
            "calling_name": "山田太郎",
            "calling_number": "0312345678",
            "called_number": "0501234567",
            "offer_timestamp": TS,
            "answer_timestamp": TS + 5_000_000,
            "hangup_timestamp": TS + 65_000_000,
            "other_uuid": "c2",
            "user_id": 1,
            "user_name": None,
            "state": {"ts": TS, "name": "park", "data": {"slot": 901, "parker_id": 7, "parker_name": "suzuki"}},
            "group_id": 21,
            "group_name": None,
            "target": {"type": "group", "id": 21, "name": "support", "address": "0501234567"},
            "origination": ["api", "#"],
            "end_user": {
                "count": 1,
                "items": [
                    {
                        "id": "1001",
                        "name": "Yamada",
                        "organization": "Co",
                        "avatar": "1.png",
                        "prefecture": "Tokyo",
                    }
                ],
            },
            "tags": ["a", "b"],
            "last_bridged_user_id": 2,
            "last_event": "CHANNEL_HANGUP",
            "last_event_data": "recv_bye,NORMAL_CLEARING",
            "other_info": {
                "type": "user",
                "direction": "outbound",
                "peer_location": "internal",
                "address": "101",
                "offer_timestamp": TS,
                "whoscall": None,
                "user_id": 1,
                "group_id": 21,
            },
            "call_id": "c1@carrier",
            "whoscall": {"a": 1},
        }

    @pytest.mark.parametrize("element", sorted(CLASSES))
    def test_what_is_undefined_is_null(self, element: str) -> None:
        names = FIELDS[element]
        item = build(element, (UNDEFINED,) * len(names))
        assert all(value is None for value in item.to_dict().values())
        assert set(item.to_dict()) >= set(names)

    def test_order_is_that_of_the_spec(self) -> None:
        pairs = list(zip(CHANNEL_FIELDS, FULL_CHANNEL, strict=True))[::-1]
        assert build("channel", tuple(value for _, value in pairs), [name for name, _ in pairs]) == build(
            "channel", FULL_CHANNEL
        )

    @pytest.mark.parametrize("length", range(len(CHANNEL_FIELDS) + 1))
    def test_a_shorter_tuple_keeps_what_it_carries(self, length: int) -> None:
        short, full = build("channel", FULL_CHANNEL[:length]), build("channel", FULL_CHANNEL)
        for position, name in enumerate(CHANNEL_FIELDS):
            assert getattr(short, name) == (getattr(full, name) if position < length else None)
        assert short.extra == {}

    def test_a_longer_tuple_keeps_what_stands_behind_the_spec(self) -> None:
        item = build("channel", (*FULL_CHANNEL, text("新"), (1, UNDEFINED)))
        assert item.extra == {"field_24": "新", "field_25": [1, None]}
        assert item.to_dict()["field_24"] == "新"
        assert item.to_dict()["uuid"] == "c1"

    def test_without_a_spec_all_is_kept_by_position(self) -> None:
        item = build("channel", (b"c1", 5), [])
        assert isinstance(item, Channel)
        assert (item.uuid, item.extra) == (None, {"field_1": "c1", "field_2": 5})

    def test_unknown_fields_are_kept_under_their_names(self) -> None:
        item = build("user", (1, (b"a", [Atom("b")]), UNDEFINED), ["id", "future", "gone"])
        assert item.extra == {"future": ["a", ["b"]], "gone": None}
        assert item.to_dict()["future"] == ["a", ["b"]]

    @pytest.mark.parametrize("name", ["extra", "element", "key", "ELEMENT", "READERS", "to_dict", "self", "__class__"])
    @pytest.mark.parametrize("element", ["channel", "user", "domain", "novelty"])
    def test_a_field_may_have_the_name_of_something_else_in_python(self, element: str, name: str) -> None:
        item = build(element, (b"value",), [name])
        assert item.extra == {name: "value"}
        assert item.to_dict()[name] == "value"
        assert item.element == element

    def test_an_unknown_element_may_have_a_field_called_name(self) -> None:
        item = build("novelty", (7, b"x"), ["id", "name"])
        assert isinstance(item, UnknownElement)
        assert (item.element, item.key, item.to_dict()) == ("novelty", 7, {"id": 7, "name": "x"})

    def test_a_name_that_stands_in_the_spec_twice_keeps_both_values(self) -> None:
        item = build("user", (1, b"first", b"second", b"third"), ["id", "name", "name", "name"])
        assert isinstance(item, User)
        assert (item.name, item.extra) == ("first", {"field_3": "second", "field_4": "third"})

    def test_an_unknown_name_that_stands_in_the_spec_twice_keeps_both_values(self) -> None:
        assert build("user", (b"a", b"b"), ["future", "future"]).extra == {"future": "a", "field_2": "b"}

    @pytest.mark.parametrize(
        ("element", "field", "value", "kept"),
        [
            ("channel", "uuid", (b"c1",), ["c1"]),
            ("channel", "offer_timestamp", 1.5, 1.5),
            ("channel", "offer_timestamp", b"soon", "soon"),
            ("channel", "offer_timestamp", [49, 50], [49, 50]),
            ("channel", "offer_timestamp", True, True),
            ("channel", "state", 5, 5),
            ("channel", "state", (TS,), [TS]),
            ("channel", "state", [TS, b"ringing"], [TS, "ringing"]),
            ("channel", "target", b"user", "user"),
            ("channel", "target", [b"user"], ["user"]),
            ("channel", "end_user", 1.5, 1.5),
            ("channel", "tags", (b"a",), ["a"]),
            ("channel", "other_info", [b"user", 1], ["user", 1]),
            ("channel", "whoscall", {b"a": 1}, {"a": 1}),
            ("channel", "calling_name", {b"a": 1}, {"a": 1}),
            ("channel", "user_id", (1,), [1]),
            ("user", "id", {b"a": 1}, {"a": 1}),
            ("user", "mwi", (3, 1), [3, 1]),
            ("user", "followme", [b"090", b"080"], ["090", "080"]),
            ("group", "name", 1.5, 1.5),
            ("queued_channel", "state", 5, 5),
        ],
    )
    def test_a_value_of_the_wrong_type_is_kept_under_its_name(
        self, element: str, field: str, value: Term, kept: object
    ) -> None:
        item = build(element, row(element, **{field: value}))
        assert getattr(item, field) is None
        assert item.extra == {field: kept}
        assert item.to_dict()[field] == kept

    def test_ids_keep_their_type(self) -> None:
        for sent, kept in [(1, 1), (b"1", "1"), (string("ab"), "ab"), (Atom("a"), "a"), (1.5, 1.5)]:
            item = build("user", (sent,), ["id"])
            assert isinstance(item, User)
            assert (item.id, type(item.id)) == (kept, type(kept))

    def test_invalid_utf_8_does_not_lose_the_event(self) -> None:
        item = build("channel", (b"c1", b"caf\xe9 \xe5\xb1\xb1"), ["uuid", "calling_name"])
        assert isinstance(item, Channel)
        assert item.calling_name == "caf\\xe9 山"

    @settings(deadline=None)
    @given(
        st.sampled_from([*CLASSES, "novelty"]),
        st.lists(st.sampled_from(["id", "uuid", "name", "state", "mwi", "end_user", "future", "extra"]), max_size=6),
        st.lists(st.integers(1, 99) | st.binary(max_size=4).map(lambda raw: b"x" + raw.hex().encode()), max_size=9),
    )
    def test_no_value_is_ever_lost(self, element: str, names: list[str], values: list[Term]) -> None:
        item = build(element, tuple(values), names)
        dumped = json.dumps(item.to_dict(), allow_nan=False)
        for value in values:
            assert (value.decode() if isinstance(value, bytes) else str(value)) in dumped


class TestChannel:
    @pytest.mark.parametrize("timestamp", [None, 0, 1 << 70])
    def test_times_that_are_none(self, timestamp: int | None) -> None:
        item = channel(offer_timestamp=timestamp, answer_timestamp=timestamp, hangup_timestamp=timestamp)
        assert (item.offer_time, item.answer_time, item.hangup_time) == (None, None, None)

    def test_times(self) -> None:
        item = channel(offer_timestamp=TS, answer_timestamp=TS + 1, hangup_timestamp=TS + 2)
        assert (item.offer_time, item.answer_time, item.hangup_time) == (moment(TS), moment(TS + 1), moment(TS + 2))

    @pytest.mark.parametrize(
        ("offer", "answer", "hangup", "wait", "talk", "whole"),
        [
            (None, None, None, None, None, None),
            (TS, None, None, None, None, None),
            (TS, TS + 2_500_000, None, 2.5, None, None),
            (TS, TS + 2_500_000, TS + 10_000_000, 2.5, 7.5, 10.0),
            (TS, None, TS + 4_000_000, 4.0, None, 4.0),
            (TS, 0, TS + 4_000_000, 4.0, None, 4.0),
            (0, TS, TS + 1_000_000, None, 1.0, None),
            (None, TS, TS + 1_000_000, None, 1.0, None),
            (1, 1 << 8000, 1 << 8001, None, None, None),
        ],
    )
    def test_durations(
        self,
        offer: int | None,
        answer: int | None,
        hangup: int | None,
        wait: float | None,
        talk: float | None,
        whole: float | None,
    ) -> None:
        item = channel(offer_timestamp=offer, answer_timestamp=answer, hangup_timestamp=hangup)
        assert (item.wait_duration, item.talk_duration, item.duration) == (wait, talk, whole)

    @pytest.mark.parametrize(
        ("data", "disposition", "cause"),
        [
            ("recv_bye,NORMAL_CLEARING", "recv_bye", "NORMAL_CLEARING"),
            (" send_cancel , LOSE_RACE ", "send_cancel", "LOSE_RACE"),
            ("recv_refuse,USER_BUSY,more", "recv_refuse", "USER_BUSY,more"),
            ("recv_bye", "recv_bye", None),
            ("recv_bye,", "recv_bye", None),
            (",NORMAL_CLEARING", None, "NORMAL_CLEARING"),
            ("NO_ANSWER", None, "NO_ANSWER"),
            ("NEW,NO_ANSWER", "NEW", "NO_ANSWER"),
            ("", None, None),
            (None, None, None),
        ],
    )
    def test_hangup(self, data: str | None, disposition: str | None, cause: str | None) -> None:
        ended = channel(last_event="CHANNEL_HANGUP", last_event_data=data)
        assert ended.is_hung_up
        assert (ended.hangup_disposition, ended.hangup_cause) == (disposition, cause)
        alive = channel(last_event="CHANNEL_ANSWER", last_event_data=data)
        assert not alive.is_hung_up
        assert (alive.hangup_disposition, alive.hangup_cause) == (None, None)

    def test_as_hung_up_keeps_what_is_known_and_invents_no_cause(self) -> None:
        item = channel(
            calling_number="03", last_event="CHANNEL_BRIDGE", last_event_data="x,Y", extra={"future": 1}, user_id=7
        )
        ended = item.as_hung_up()
        assert ended.is_hung_up
        assert (ended.hangup_disposition, ended.hangup_cause, ended.hangup_time) == (None, None, None)
        assert (ended.calling_number, ended.user_id, ended.extra) == ("03", 7, {"future": 1})
        assert not item.is_hung_up

    def test_a_waiting_channel_stays_one(self) -> None:
        assert type(ChannelWaiting(uuid="c1").as_hung_up()) is ChannelWaiting


class TestAvatar:
    def test_of_a_user(self) -> None:
        assert User(avatar="1.png").avatar_url("https://pbx") == "https://pbx/basix/avatars/users/1.png"
        assert User(avatar="1.png").avatar_url("https://pbx", flat=True) == "https://pbx/basix/avatars/1.png"
        assert User(avatar="https://cdn/x").avatar_url("https://pbx") == "https://cdn/x"
        assert User().avatar_url("https://pbx/") == "https://pbx/static/icons/user.png"

    def test_of_a_customer(self) -> None:
        assert Customer(avatar="1.png").avatar_url("https://pbx") == "https://pbx/basix/avatars/end_users/1.png"
        assert Customer().avatar_url("https://pbx") == "https://pbx/static/icons/end_user.png"


class TestFilledFrom:
    def test_only_what_lacks_is_taken(self) -> None:
        older = User(id=1, name="old", mwi="1/0", label="L", extra={"a": 1, "b": 1})
        newer = User(id=1, mwi="", presence=False, extra={"b": 2})
        assert filled_from(newer, older) == User(
            id=1, name="old", mwi="", label="L", presence=False, extra={"a": 1, "b": 2}
        )
        assert older == User(id=1, name="old", mwi="1/0", label="L", extra={"a": 1, "b": 1})

    @pytest.mark.parametrize("older", [None, Group(id=1, name="x"), UnknownElement(name="user", extra={"id": 1})])
    def test_nothing_is_taken_from_something_else(self, older: Element | None) -> None:
        item = User(id=1)
        assert filled_from(item, older) is item


PARK = State(TS, "park", {"slot": 901, "parker_id": 7, "parker_name": "suzuki"})
FIRST_PARK = State(TS, "park", {"slot": "901", "parker_id": None, "parker_name": None})
QUEUE = State(TS, "system_operation", {"operation": "queue"})


class TestParkInfo:
    @pytest.mark.parametrize(
        ("item", "info"),
        [
            (ChannelWaiting(uuid="c1", state=PARK), ParkInfo("c1", 901, 7, "suzuki")),
            (ChannelWaiting(uuid="c1", state=PARK, user_id=9, user_name="x"), ParkInfo("c1", 901, 7, "suzuki")),
            (ChannelWaiting(uuid="c1", state=FIRST_PARK, user_id=9), ParkInfo("c1", "901")),
            (ChannelWaiting(uuid="c1", state=QUEUE), None),
            (ChannelWaiting(uuid="c1"), None),
            (ChannelWaiting(uuid="c1", state=PARK, last_event="CHANNEL_HANGUP"), None),
            (Channel(uuid="c1", state=FIRST_PARK), ParkInfo("c1", "901")),
            (Channel(uuid="c1", state=QUEUE), None),
            (QueuedChannel(uuid="c1", state=QUEUE), None),
            (ParkedChannel(uuid="c1", state=PARK), ParkInfo("c1", 901, 7, "suzuki")),
            (ParkedChannel(uuid="c1"), ParkInfo("c1")),
            (ParkedChannel(uuid="c1", extra={"slot": 5, "park_slot": 6}), ParkInfo("c1", 5)),
            (ParkedChannel(uuid="c1", extra={"slot": None, "park_slot": 6}), ParkInfo("c1", 6)),
            (ParkedChannel(uuid="c1", extra={"park_slot": list(b"901")}), ParkInfo("c1", "901")),
            (ParkedChannel(uuid="c1", extra={"park_slot": ["x"]}), ParkInfo("c1")),
            (ParkedChannel(uuid="c1", extra={"park_slot": {"x": 1}}), ParkInfo("c1")),
            (ParkedChannel(uuid="c1", extra={"user_id": 7, "user_name": "s"}), ParkInfo("c1", None, 7, "s")),
            (ParkedChannel(uuid="c1", extra={"parker_id": 8, "user_id": 7}), ParkInfo("c1", None, 8)),
            (ParkedChannel(uuid="c1", extra={"parker_name": 8}), ParkInfo("c1", None, None, "8")),
            (ParkedChannel(uuid="c1", state=FIRST_PARK, extra={"parker_id": 8}), ParkInfo("c1", "901", 8)),
            (User(id=1), None),
            (UnknownElement(name="x", extra={"slot": 1}), None),
        ],
        ids=repr,
    )
    def test_table(self, item: Element, info: ParkInfo | None) -> None:
        assert ParkInfo.of(item) == info

    def test_a_name_that_is_a_number_too_long_to_write_out(self) -> None:
        assert ParkInfo.of(ParkedChannel(uuid="c1", extra={"parker_name": 10**5000})) == ParkInfo("c1")

    def test_to_dict(self) -> None:
        assert ParkInfo("c1", 901, 7, "suzuki").to_dict() == {
            "uuid": "c1",
            "slot": 901,
            "parker_id": 7,
            "parker_name": "suzuki",
        }


def mwi_info(**fields: Any) -> MessageWaiting:
    return message_waiting_of(UnknownElement(name="mwi_info", extra=fields))


class TestMessageWaiting:
    @pytest.mark.parametrize(
        ("item", "mwi"),
        [
            (User(id=1, name="s", mwi="3/1"), MessageWaiting("user", 1, "s", 3, 1, "3/1")),
            (User(id=1, name="s", mwi=""), MessageWaiting("user", 1, "s", 0, 0, "")),
            (User(id=1), MessageWaiting("user", 1, None, 0, 0, "")),
            (Group(id="g", name="n", mwi="many"), MessageWaiting("group", "g", "n", None, None, "many")),
            (Group(id=2, mwi="4"), MessageWaiting("group", 2, None, 4, None, "4")),
        ],
    )
    def test_of_the_current_generation(self, item: User | Group, mwi: MessageWaiting) -> None:
        assert MessageWaiting.of(item) == mwi

    @pytest.mark.parametrize(
        ("fields", "mwi"),
        [
            (
                {"target_type": "user", "target_id": 1, "target_name": "s", "new_messages": 2, "saved_messages": 1},
                MessageWaiting("user", 1, "s", 2, 1, "2/1"),
            ),
            ({"type": "group", "id": 2, "name": "g", "new": 1}, MessageWaiting("group", 2, "g", 1, None, "1/0")),
            ({"user_id": 1, "user_name": "s", "mwi": "2/1"}, MessageWaiting("user", 1, "s", 2, 1, "2/1")),
            ({"group_id": 2, "group_name": "g", "text": ""}, MessageWaiting("group", 2, "g", 0, 0, "")),
            (
                {"group_id": 2, "user_id": None, "mwi": "1/0"},
                MessageWaiting("group", 2, None, 1, 0, "1/0", {"user_id": None}),
            ),
            (
                {"group_id": 2, "user_id": 1, "mwi": "1/0"},
                MessageWaiting("user", 1, None, 1, 0, "1/0", {"group_id": 2}),
            ),
            ({"new_messages": "2", "saved_messages": "x"}, MessageWaiting("user", None, None, 2, None, "2/x")),
            ({"saved": 2}, MessageWaiting("user", None, None, None, 2, "0/2")),
            ({"new": 0, "saved": 0}, MessageWaiting("user", None, None, 0, 0, "0/0")),
            ({"new": 5, "text": "five"}, MessageWaiting("user", None, None, 5, None, "five")),
            ({"mwi": 3}, MessageWaiting("user", None, None, 3, None, "3")),
            ({}, MessageWaiting("user", None, None, None, None, "")),
            (
                {"field_1": "user", "field_2": 1},
                MessageWaiting("user", None, None, None, None, "", {"field_1": "user", "field_2": 1}),
            ),
            (
                {"target_id": 1, "id": 99, "text": "1/0", "mwi": "x", "future": [1]},
                MessageWaiting("user", 1, None, 1, 0, "1/0", {"id": 99, "mwi": "x", "future": [1]}),
            ),
            ({"target_id": None, "id": 99}, MessageWaiting("user", 99, None, None, None, "")),
            (
                {"target_id": {"a": 1}, "id": 99},
                MessageWaiting("user", 99, None, None, None, "", {"target_id": {"a": 1}}),
            ),
            ({"target_name": list(b"suzuki")}, MessageWaiting("user", None, "suzuki", None, None, "")),
            ({"target_name": ["x"]}, MessageWaiting("user", None, None, None, None, "", {"target_name": ["x"]})),
            ({"future": None}, MessageWaiting("user", None, None, None, None, "", {"future": None})),
        ],
    )
    def test_of_the_first_generation(self, fields: dict[str, Any], mwi: MessageWaiting) -> None:
        assert mwi_info(**fields) == mwi

    def test_no_field_is_lost(self) -> None:
        told = mwi_info(target_type=None, type="user", target_id=["x"], id=1, text="1/0", more="kept").to_dict()
        assert told == {
            "target_type": "user",
            "target_id": ["x"],
            "target_name": None,
            "new_messages": 1,
            "saved_messages": 0,
            "text": "1/0",
            "more": "kept",
        }
