"""From frames to events: both generations, three ways to write names, with and without the wrapper."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any, TypeVar

import pytest
from wire_samples import (
    BERT_NIL,
    CHAN_INFO_FIELDS,
    EMPTY_LISTS,
    FIELDS,
    NAMES,
    PARK_INFO_FIELDS,
    UNDEFINED,
    WRAPPERS,
    Name,
    atom,
    binary,
    chan_info,
    current_session,
    field_spec,
    first_session,
    info_event,
    initial_chan_info,
    initial_info,
    row,
    string,
    text,
)

from basix_cti import compiled
from basix_cti.elements import (
    Channel,
    Domain,
    Group,
    MessageWaiting,
    ParkedChannel,
    UnknownElement,
    User,
)
from basix_cti.errors import DecodeError
from basix_cti.etf import Atom, ImproperList, Term, encode
from basix_cti.events import Event, InfoEvent, InitialInfo, Msg, SystemMsg, UnknownMessage
from basix_cti.limits import Limits
from basix_cti.protocol import Protocol
from basix_cti.values import State

_E = TypeVar("_E", bound=Event)
AT = 1_775_001_600.25
LOGGER = "basix_cti.protocol"

by_name = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
by_wrapper = pytest.mark.parametrize("wrapper", WRAPPERS)


class Reader:
    """A protocol, and the wrapper around what it is given."""

    def __init__(self, wrapper: str = "bare", limits: Limits | None = None) -> None:
        self.protocol = Protocol() if limits is None else Protocol(limits)
        self._wrap = WRAPPERS[wrapper]

    def read(self, *messages: Term) -> Event | None:
        """The event of the last message."""
        event = None
        for message in messages:
            event = self.protocol.receive(encode(self._wrap(message)), AT)
        assert event is None or (event.received_at == AT and not event.synthetic)
        return event

    def expect(self, cls: type[_E], *messages: Term) -> _E:
        event = self.read(*messages)
        assert type(event) is cls
        return event


def is_plain_str(value: object) -> bool:
    return type(value) is str


class TestCurrentGeneration:
    @by_name
    @by_wrapper
    def test_initial_info(self, name: Name, wrapper: str) -> None:
        reader = Reader(wrapper)
        assert reader.read(field_spec("user", ["id", "name"], name)) is None
        event = reader.expect(InitialInfo, initial_info("user", (1, b"suzuki"), (2, text("鈴木")), name=name))
        assert event.items == [User(id=1, name="suzuki"), User(id=2, name="鈴木")]
        assert event.element == "user"
        assert event.generation == 2
        assert is_plain_str(event.element)

    @by_name
    @by_wrapper
    @pytest.mark.parametrize("empty", EMPTY_LISTS.values(), ids=EMPTY_LISTS)
    def test_an_empty_initial_info(self, name: Name, wrapper: str, empty: Term) -> None:
        message = (Atom("initial_info"), name("channel"), empty)
        event = Reader(wrapper).expect(InitialInfo, field_spec("channel", name=name), message)
        assert (event.element, event.items) == ("channel", [])

    def test_a_single_object_needs_no_list(self) -> None:
        message = (Atom("initial_info"), Atom("domain"), (1, b"example"))
        event = Reader().expect(InitialInfo, field_spec("domain", ["id", "name"]), message)
        assert event.items == [Domain(extra={"id": 1, "name": "example"})]

    @by_name
    @by_wrapper
    @pytest.mark.parametrize("what", ["added", "updated", "removed", "vanished"])
    def test_info_event(self, name: Name, wrapper: str, what: str) -> None:
        spec = field_spec("channel", ["uuid", "state"], name)
        values = (b"c1", (5, name("ringing")))
        event = Reader(wrapper).expect(InfoEvent, spec, info_event("channel", what, values, name))
        assert (event.element, event.event, event.generation) == ("channel", what, 2)
        assert event.item == Channel(uuid="c1", state=State(5, "ringing"))
        assert is_plain_str(event.element)
        assert is_plain_str(event.event)

    def test_names_of_a_spec_and_of_its_data_may_be_written_differently(self) -> None:
        reader = Reader()
        reader.read((Atom("field_spec"), string("user"), [string("id"), binary("name"), atom("mwi")]))
        event = reader.expect(InfoEvent, info_event("user", "updated", (1, b"s", b"1/0"), binary))
        assert event.item == User(id=1, name="s", mwi="1/0")

    @pytest.mark.parametrize("write", NAMES.values(), ids=NAMES)
    def test_the_kind_of_a_message_may_come_as_any_name(self, write: Name) -> None:
        reader = Reader()
        assert reader.read((write("field_spec"), write("user"), [write("id")])) is None
        assert reader.expect(InfoEvent, (write("info_event"), write("user"), (1,), write("added"))).item == User(id=1)

    def test_a_new_spec_in_mid_session_holds_from_then_on(self) -> None:
        reader = Reader()
        before = reader.expect(InfoEvent, field_spec("user", ["id", "name"]), info_event("user", "added", (1, b"s")))
        after = reader.expect(
            InfoEvent, field_spec("user", ["mwi", "id"]), info_event("user", "updated", (b"1/0", 1, b"more"))
        )
        assert before.item == User(id=1, name="s")
        assert after.item == User(id=1, mwi="1/0", extra={"field_3": "more"})

    def test_specs_of_elements_do_not_mix(self) -> None:
        reader = Reader()
        reader.read(field_spec("user", ["id", "name"]), field_spec("group", ["name", "id"]))
        assert reader.expect(InfoEvent, info_event("user", "added", (1, b"a"))).item == User(id=1, name="a")
        assert reader.expect(InfoEvent, info_event("group", "added", (b"b", 2))).item == Group(id=2, name="b")

    def test_specs_do_not_outlive_their_connection(self) -> None:
        reader = Reader()
        reader.read(field_spec("user", ["id"]))
        reader.protocol.new_connection()
        assert reader.expect(InfoEvent, info_event("user", "added", (1,))).item == User(extra={"field_1": 1})

    def test_data_before_its_spec_is_kept_and_logged_once(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING, LOGGER)
        reader = Reader()
        for uuid in (b"c1", b"c2"):
            event = reader.expect(InfoEvent, info_event("channel", "added", (uuid, 5)))
            assert event.item == Channel(extra={"field_1": uuid.decode(), "field_2": 5})
        assert len(caplog.records) == 1
        event = reader.expect(InfoEvent, field_spec("channel", ["uuid"]), info_event("channel", "added", (b"c3",)))
        assert event.item == Channel(uuid="c3")

    def test_an_unknown_element_keeps_all(self) -> None:
        reader = Reader()
        spec = (Atom("field_spec"), string("robot"), [Atom("id"), Atom("name"), Atom("arms")])
        event = reader.expect(InfoEvent, spec, info_event("robot", "added", (1, text("ロボ"), (b"l", b"r"))))
        assert event.element == "robot"
        assert event.item == UnknownElement(name="robot", extra={"id": 1, "name": "ロボ", "arms": ["l", "r"]})
        assert event.item.key == 1

    @pytest.mark.parametrize("fields", [[], BERT_NIL, ()], ids=["list", "bert nil", "tuple"])
    def test_a_spec_without_fields(self, fields: Term) -> None:
        reader = Reader()
        assert reader.read(field_spec("user", ["id"]), (Atom("field_spec"), Atom("user"), fields)) is None
        assert reader.expect(InfoEvent, info_event("user", "added", (1,))).item == User(extra={"field_1": 1})

    def test_a_field_without_a_name_is_known_by_its_place(self) -> None:
        spec = (Atom("field_spec"), Atom("user"), [Atom("id"), 5, (1,), Atom("name")])
        event = Reader().expect(InfoEvent, spec, info_event("user", "added", (1, b"a", b"b", b"c")))
        assert event.item == User(id=1, name="c", extra={"field_2": "a", "field_3": "b"})

    def test_a_spec_may_be_a_tuple(self) -> None:
        spec = (Atom("field_spec"), Atom("user"), (Atom("id"), Atom("name")))
        assert Reader().expect(InfoEvent, spec, info_event("user", "added", (1, b"a"))).item == User(id=1, name="a")

    def test_objects_of_a_wrong_form_are_left_out_and_logged_once(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING, LOGGER)
        event = Reader().expect(
            InitialInfo, field_spec("user", ["id"]), initial_info("user", (1,), b"x", [(2,)], UNDEFINED, (3,))
        )
        assert event.items == [User(id=1), User(id=3)]
        assert len(caplog.records) == 1

    def test_what_a_later_pbx_puts_behind_a_message_does_no_harm(self) -> None:
        reader = Reader()
        reader.read((*field_spec("user", ["id"]), b"more"))
        assert reader.expect(InitialInfo, (*initial_info("user", (1,)), b"more")).items == [User(id=1)]
        assert reader.expect(InfoEvent, (*info_event("user", "added", (1,)), b"more")).item == User(id=1)
        assert reader.expect(Msg, (Atom("msg"), b"text", b"more")).msg == "text"


class TestMessages:
    @by_wrapper
    @pytest.mark.parametrize(("kind", "cls"), [("system_msg", SystemMsg), ("msg", Msg)])
    @pytest.mark.parametrize(
        ("term", "msg"),
        [
            (Atom("logout"), "logout"),
            (Atom("connection_limit_reached"), "connection_limit_reached"),
            (Atom("undefined"), "undefined"),
            (True, "true"),
            (b"", ""),
            (b"connection_replaced", "connection_replaced"),
            (text("会議は15時からです"), "会議は15時からです"),
            (string("logout"), "logout"),
            (string("会議\u300015時\n"), "会議\u300015時\n"),
            ([0x4F1A, 0x8B70, 0x3000, 0x1F468, 0x200D, 0x1F469], "会議\u3000👨\u200d👩"),
            (b"a\xffb\x00", "a\\xffb\x00"),
        ],
    )
    def test_text_and_atoms_are_str(
        self, wrapper: str, kind: str, cls: type[SystemMsg | Msg], term: Term, msg: str
    ) -> None:
        event = Reader(wrapper).expect(cls, (Atom(kind), term))
        assert event.msg == msg
        assert is_plain_str(event.msg)

    @pytest.mark.parametrize(("kind", "cls"), [("system_msg", SystemMsg), ("msg", Msg)])
    @pytest.mark.parametrize(
        "term",
        [
            (Atom("auto_answer"), b"c1"),
            [],
            [1, 2, 3],
            [0x7F],
            [0x85],
            [b"a"],
            5,
            -1.5,
            {Atom("a"): b"b"},
            ImproperList((1,), 2),
        ],
        ids=repr,
    )
    def test_any_other_term_stays_what_it_is(self, kind: str, cls: type[SystemMsg | Msg], term: Term) -> None:
        event = Reader().expect(cls, (Atom(kind), term))
        assert event.msg == term
        assert type(event.msg) is type(term)

    def test_bert_is_read(self) -> None:
        assert Reader().expect(Msg, (Atom("msg"), BERT_NIL)).msg is None
        pairs = (Atom("bert"), Atom("dict"), [(b"a", 1)])
        assert Reader().expect(SystemMsg, (Atom("system_msg"), pairs)).msg == {b"a": 1}


class TestFirstGeneration:
    @by_name
    @by_wrapper
    def test_initial_chan_info(self, name: Name, wrapper: str) -> None:
        reader = Reader(wrapper)
        assert reader.read(field_spec("chan_info", name=name)) is None
        event = reader.expect(InitialInfo, initial_chan_info(row("chan_info", uuid=b"c1", user_name=b"s")))
        assert (event.element, event.generation) == ("channel", 1)
        assert event.items == [Channel(uuid="c1", user_name="s")]

    @by_wrapper
    @pytest.mark.parametrize("empty", EMPTY_LISTS.values(), ids=EMPTY_LISTS)
    def test_an_empty_initial_chan_info(self, wrapper: str, empty: Term) -> None:
        event = Reader(wrapper).expect(InitialInfo, field_spec("chan_info"), (Atom("initial_chan_info"), empty))
        assert (event.element, event.items, event.generation) == ("channel", [], 1)

    @by_name
    @by_wrapper
    def test_chan_info(self, name: Name, wrapper: str) -> None:
        message = chan_info(uuid=b"c1", state=(5, name("calling"), name("user"), 1, b"suzuki"), last_event=name("X"))
        event = Reader(wrapper).expect(InfoEvent, field_spec("chan_info", name=name), message)
        assert (event.element, event.generation) == ("channel", 1)
        data = {"target_type": "user", "target_id": 1, "target_name": "suzuki"}
        assert event.item == Channel(uuid="c1", state=State(5, "calling", data), last_event="X")

    @by_name
    @by_wrapper
    @pytest.mark.parametrize(("kind", "what"), [("park_info", "added"), ("unpark_info", "removed")])
    def test_parking(self, name: Name, wrapper: str, kind: str, what: str) -> None:
        spec = (Atom("field_spec"), name(kind), [Atom(each) for each in PARK_INFO_FIELDS])
        event = Reader(wrapper).expect(InfoEvent, spec, (Atom(kind), (b"c1", b"901", 7, b"suzuki")))
        assert (event.element, event.event, event.generation) == ("parked_channel", what, 1)
        extra = {"park_slot": "901", "parker_id": 7, "parker_name": "suzuki"}
        assert event.item == ParkedChannel(uuid="c1", extra=extra)

    @by_name
    @by_wrapper
    def test_voicemail(self, name: Name, wrapper: str) -> None:
        message = (Atom("mwi_info"), (name("group"), 21, text("サポート"), 2, 1))
        event = Reader(wrapper).expect(InfoEvent, field_spec("mwi_info", name=name), message)
        assert (event.element, event.event, event.generation) == ("group", "updated", 1)
        assert event.item == Group(id=21, name="サポート", mwi="2/1")
        assert event.mwi == MessageWaiting("group", 21, "サポート", 2, 1, "2/1")

    @pytest.mark.parametrize("value", [True, False, 7, 1.5])
    def test_mwi_info_with_a_name_that_is_no_text(self, value: Term) -> None:
        spec = field_spec("mwi_info", ["target_type", "target_id", "target_name"])
        event = Reader().expect(InfoEvent, spec, (Atom("mwi_info"), (value, 1, value)))
        assert event.mwi is not None
        assert event.mwi.target_type == event.mwi.target_name == str(value).lower()

    @pytest.mark.parametrize(
        ("fields", "values", "item"),
        [
            (["user_id", "mwi"], (1, b"2/1"), User(id=1, mwi="2/1")),
            (["user_id", "mwi"], (1, b""), User(id=1, mwi="")),
            (["user_id"], (1,), User(id=1)),
            (["target_id", "id"], (1, 99), User(id=1)),
            (["user_id", "new", "box"], (1, 3, b"x"), User(id=1, mwi="3/0", extra={"box": "x"})),
            (["group_id", "mwi"], (2, b"?"), Group(id=2, mwi="?")),
            (["target_id"], ({b"a": 1},), User(extra={"target_id": {"a": 1}})),
            ([], (Atom("user"), 1), User(extra={"field_1": "user", "field_2": 1})),
        ],
        ids=repr,
    )
    def test_the_fields_of_a_voicemail_are_what_the_spec_says(
        self, fields: list[str], values: tuple[Term, ...], item: User | Group
    ) -> None:
        event = Reader().expect(InfoEvent, field_spec("mwi_info", fields), (Atom("mwi_info"), values))
        assert event.item == item
        assert event.mwi is not None
        assert event.mwi.target_id == item.key

    def test_the_two_kinds_of_parking_have_specs_of_their_own(self) -> None:
        reader = Reader()
        reader.read(field_spec("park_info", ["slot", "uuid"]), field_spec("unpark_info", ["uuid"]))
        parked = reader.expect(InfoEvent, (Atom("park_info"), (901, b"c1")))
        left = reader.expect(InfoEvent, (Atom("unpark_info"), (b"c1",)))
        assert parked.item == ParkedChannel(uuid="c1", extra={"slot": 901})
        assert left.item == ParkedChannel(uuid="c1")

    def test_the_spec_of_channels_is_not_the_current_generations(self) -> None:
        reader = Reader()
        reader.read(field_spec("channel", ["state", "uuid"]), field_spec("chan_info", ["uuid"]))
        assert reader.expect(InfoEvent, (Atom("chan_info"), (b"c1",))).item == Channel(uuid="c1")
        assert reader.expect(InfoEvent, info_event("channel", "added", (UNDEFINED, b"c1"))).item == Channel(uuid="c1")

    def test_unknown_fields_are_kept(self) -> None:
        spec = field_spec("chan_info", [*CHAN_INFO_FIELDS, "future"])
        event = Reader().expect(InfoEvent, spec, (Atom("chan_info"), (*row("chan_info", uuid=b"c1"), b"x", b"y")))
        assert event.item == Channel(uuid="c1", extra={"future": "x", "field_19": "y"})

    def test_a_spec_of_an_unknown_kind_is_ignored(self) -> None:
        assert Reader().read((Atom("field_spec"), Atom("weather_info"), [Atom("rain")])) is None

    @by_wrapper
    def test_data_before_its_spec(self, wrapper: str) -> None:
        reader = Reader(wrapper)
        for kind in ("chan_info", "park_info", "unpark_info", "mwi_info"):
            event = reader.expect(InfoEvent, (Atom(kind), (b"c1",)))
            assert event.item.extra == {"field_1": "c1"}


class TestWrapper:
    def test_the_generations_may_even_mix(self) -> None:
        reader = Reader()
        reader.read(field_spec("chan_info", ["uuid"]), field_spec("channel", ["uuid"]))
        first = reader.expect(InfoEvent, ((Atom("chan_info"), (b"c1",)),))
        current = reader.expect(InfoEvent, info_event("channel", "added", (b"c2",)))
        assert (first.generation, current.generation) == (1, 2)

    def test_a_wrapper_in_a_wrapper(self) -> None:
        assert Reader("list").expect(Msg, ((Atom("msg"), b"x"),)).msg == "x"

    @pytest.mark.parametrize(
        ("session", "wrapper", "names"),
        [(first_session, wrapper, None) for wrapper in WRAPPERS]
        + [(current_session, wrapper, name) for wrapper in WRAPPERS for name in NAMES.values()],
    )
    def test_a_whole_session_has_no_unknown_message(self, session: Any, wrapper: str, names: Name | None) -> None:
        plain, reader = Reader(), Reader(wrapper)
        for written, reference in zip(session(names) if names else session(), session(), strict=True):
            event = reader.read(written)
            assert event == plain.read(reference)
            assert not isinstance(event, UnknownMessage)


KNOWN = ["field_spec", "initial_info", "info_event", "system_msg", "msg", "initial_chan_info", "chan_info"]
KNOWN += ["park_info", "unpark_info", "mwi_info"]
STRANGE: list[tuple[str | None, Term]] = [
    ("novelty", (Atom("novelty"), 1)),
    ("novelty", (Atom("novelty"),)),
    ("novelty", (string("novelty"), b"x")),
    (None, ()),
    (None, []),
    (None, 5),
    (None, b"channel"),
    (None, Atom("channel")),
    (None, (5, 6)),
    (None, ((1, 2), 3)),
    (None, [Atom("chan_info"), (b"c1",)]),
    (None, [(Atom("msg"), b"x"), (Atom("msg"), b"y")]),
    (None, {Atom("msg"): b"x"}),
    (None, ImproperList((Atom("msg"),), b"x")),
    *[(kind, (Atom(kind),)) for kind in KNOWN],
    ("field_spec", (Atom("field_spec"), Atom("user"))),
    ("field_spec", (Atom("field_spec"), Atom("user"), 5)),
    ("field_spec", (Atom("field_spec"), Atom("user"), b"id")),
    ("field_spec", (Atom("field_spec"), 5, [Atom("id")])),
    ("field_spec", (Atom("field_spec"), [], [Atom("id")])),
    ("initial_info", (Atom("initial_info"), Atom("user"))),
    ("initial_info", (Atom("initial_info"), 5, [])),
    ("initial_info", (Atom("initial_info"), Atom("user"), 5)),
    ("initial_info", (Atom("initial_info"), Atom("user"), b"x")),
    ("initial_info", (Atom("initial_info"), Atom("user"), Atom("all"))),
    ("initial_info", (Atom("initial_info"), Atom("user"), ImproperList(((1,),), (2,)))),
    ("info_event", (Atom("info_event"), Atom("user"), (1,))),
    ("info_event", (Atom("info_event"), Atom("user"), [1], Atom("added"))),
    ("info_event", (Atom("info_event"), Atom("user"), UNDEFINED, Atom("added"))),
    ("info_event", (Atom("info_event"), Atom("user"), (1,), 5)),
    ("info_event", (Atom("info_event"), Atom("user"), (1,), [])),
    ("info_event", (Atom("info_event"), (), (1,), Atom("added"))),
    ("initial_chan_info", (Atom("initial_chan_info"), 5)),
    ("chan_info", (Atom("chan_info"), b"x")),
    ("park_info", (Atom("park_info"), [])),
    ("unpark_info", (Atom("unpark_info"), 5)),
    ("mwi_info", (Atom("mwi_info"), [1])),
]


class TestStrangeMessages:
    @pytest.mark.parametrize(("kind", "term"), STRANGE, ids=repr)
    def test_it_is_told_as_unknown_and_logged_once(
        self, kind: str | None, term: Term, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING, LOGGER)
        reader = Reader()
        reader.read(*[field_spec(element) for element in FIELDS])
        for _ in range(3):
            event = reader.expect(UnknownMessage, term)
            assert (event.kind, event.term) == (kind, term)
            assert type(event.kind) is (str if kind else type(None))
        assert len(caplog.records) == 1

    @by_wrapper
    def test_the_wrapper_of_an_unknown_message_is_part_of_its_term(self, wrapper: str) -> None:
        message = (Atom("novelty"), 1)
        event = Reader(wrapper).expect(UnknownMessage, message)
        assert (event.kind, event.term) == ("novelty", WRAPPERS[wrapper](message))

    def test_a_strange_message_does_not_disturb_the_next(self) -> None:
        reader = Reader()
        reader.read(field_spec("user", ["id"]))
        for _, term in STRANGE:
            reader.read(term)
        assert reader.expect(InfoEvent, info_event("user", "added", (1,))).item == User(id=1)

    def test_the_log_has_a_bound(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING, LOGGER)
        reader = Reader()
        for number in range(1000):
            reader.read((f"kind{number}".encode() + b"x" * 500, number))
        assert 0 < len(caplog.records) <= 256
        assert all(len(record.getMessage()) < 300 for record in caplog.records)

    def test_the_log_does_not_tell_what_was_said(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        reader = Reader()
        reader.read((Atom("novelty"), b"0312345678"), (Atom("chan_info"), b"0312345678"))
        reader.read(info_event("channel", "added", (b"c1", b"0312345678")), (b"msg", b"0312345678"))
        assert caplog.records
        assert "0312345678" not in caplog.text


class TestFrames:
    @pytest.mark.parametrize("frame", [b"", b"\x83", b"\x82a\x01", b"\x83h\x02a\x01", b"\x83a\x01\x00", b"hello"])
    def test_a_frame_that_is_no_term_raises_and_loses_nothing(self, frame: bytes) -> None:
        reader = Reader()
        reader.read(field_spec("user", ["id"]))
        with pytest.raises(DecodeError):
            reader.protocol.receive(frame, AT)
        assert reader.expect(InfoEvent, info_event("user", "added", (1,))).item == User(id=1)

    def test_limits_hold(self) -> None:
        with pytest.raises(DecodeError):
            Reader(limits=Limits(max_frame=10)).read((Atom("msg"), b"0123456789"))

    def test_terms_nested_deeper_than_the_stack_are_an_error_of_decoding(self) -> None:
        deep: Term = 1
        for _ in range(700):
            deep = (deep,)
        reader = Reader(limits=Limits(max_depth=100_000))
        with nullcontext() if compiled else pytest.raises(DecodeError):
            reader.read(info_event("user", "added", (deep,)))
        assert reader.expect(Msg, (Atom("msg"), b"x")).msg == "x"

    @pytest.mark.parametrize("value", [1 << 100_000, (1 << 100_000,)], ids=["integer", "tuple"])
    def test_numbers_too_long_to_be_written_out(self, value: Term) -> None:
        reader = Reader(limits=Limits(max_integer=20_000))
        reader.read(field_spec("channel", ["uuid", "state"]), field_spec("mwi_info", ["mwi", "new"]))
        assert isinstance(reader.read(info_event("channel", "added", (value, (value, b"x")))), InfoEvent)
        assert reader.read((Atom("mwi_info"), (value, value))) is not None
        assert reader.read((Atom("mwi_info"), (UNDEFINED, value))) is not None

    @pytest.mark.parametrize("element", FIELDS)
    def test_a_compressed_message_and_latin_1_atoms_are_read(self, element: str) -> None:
        protocol = Protocol()
        protocol.receive(encode(field_spec(element), latin1_atoms=True), AT)
        items = [(b"x" * 200, 1)] * 20
        event = protocol.receive(encode((Atom("initial_info"), Atom(element), items), compressed=True), AT)
        assert isinstance(event, InitialInfo)
        assert len(event.items) == 20
