"""Terms of the wire as text, numbers, states, targets, customers and counters."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_samples import NAMES, UNDEFINED, Name, string, text

from basix_cti.etf import Atom, BitString, ErlangMap, ImproperList, Pid, Term
from basix_cti.readers import (
    plain,
    read_end_user,
    read_integer,
    read_json,
    read_name,
    read_origination,
    read_other_info,
    read_scalar,
    read_state,
    read_tags,
    read_target,
    read_text,
)
from basix_cti.values import Customer, EndUser, Misfit, OtherInfo, State, Target, moment

TS = 1_775_001_600_123_456
MISSING = [None, Atom("undefined"), Atom("null"), Atom("nil")]
READERS = [
    read_end_user,
    read_integer,
    read_json,
    read_origination,
    read_other_info,
    read_scalar,
    read_state,
    read_tags,
    read_target,
    read_text,
]
TERMS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.binary(max_size=20)
    | st.sampled_from(["undefined", "nil", "ringing", "calling", "user", "int", "group", "park", "x"]).map(Atom)
    | st.sampled_from([b"_MANY_:2|a*b", b"1*2*3*4*5", b"%7B%7D", b"1e999", b"3/1", b"****"])
    | st.builds(BitString, st.just(b"\xa0"), st.just(3))
    | st.just(Pid(Atom("n@h"), 1, 2, 3)),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=8).map(tuple)
        | st.dictionaries(st.binary(max_size=3) | st.integers(), inner, max_size=3)
        | st.builds(lambda item, tail: ImproperList((item,), tail), inner, st.just(Atom("t")))
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@pytest.mark.parametrize("term", MISSING, ids=repr)
def test_a_missing_value_is_none(reader: Any, term: Term) -> None:
    assert reader(term) is None


@settings(deadline=None)
@given(TERMS)
def test_a_reader_gives_json_ready_data_or_says_that_the_term_does_not_fit(term: Term) -> None:
    for reader in READERS:
        try:
            value = reader(term)
        except Misfit:
            continue
        if isinstance(value, State | Target | OtherInfo | EndUser):
            value = value.to_dict()
        json.dumps(value, allow_nan=False)
        json.dumps(value, ensure_ascii=False).encode()


@settings(deadline=None)
@given(TERMS)
def test_plain_is_json_ready_for_any_term(term: Term) -> None:
    json.dumps(plain(term), allow_nan=False, ensure_ascii=False).encode()


class TestPlain:
    @pytest.mark.parametrize(
        ("term", "data"),
        [
            (b"abc", "abc"),
            (text("山田太郎"), "山田太郎"),
            (b"a\xff\xe5", "a\\xff\\xe5"),
            (Atom("external"), "external"),
            (Atom("undefined"), None),
            (None, None),
            (True, True),
            (1 << 100, 1 << 100),
            (-1.5, -1.5),
            ("text", "text"),
            ([97, 98], [97, 98]),
            ((1, b"a", (Atom("nil"),)), [1, "a", [None]]),
            ({b"a": (1,), Atom("b"): b"c"}, {"a": [1], "b": "c"}),
            ({1: b"a"}, [[1, "a"]]),
            ({b"a": 1, Atom("a"): 2}, [["a", 1], ["a", 2]]),
            (ErlangMap([(1, b"a"), (1.0, b"b")]), [[1, "a"], [1.0, "b"]]),
            (datetime(2026, 4, 1, tzinfo=timezone.utc), "2026-04-01T00:00:00+00:00"),
            (BitString(b"\xa0", 3), repr(BitString(b"\xa0", 3))),
        ],
    )
    def test_table(self, term: Term, data: object) -> None:
        assert plain(term) == data
        assert type(plain(term)) is type(data)


class TestName:
    @pytest.mark.parametrize("write", NAMES.values(), ids=NAMES)
    @pytest.mark.parametrize("name", ["channel", "added", "x", "チャンネル"])
    def test_the_three_ways_to_write_a_name_give_the_same_str(self, write: Name, name: str) -> None:
        assert read_name(write(name)) == name
        assert type(read_name(write(name))) is str

    def test_names_that_erlang_takes_for_booleans(self) -> None:
        assert (read_name(True), read_name(False)) == ("true", "false")

    def test_a_list_of_code_points_is_a_name(self) -> None:
        assert read_name([ord(char) for char in "日本"]) == "日本"

    @pytest.mark.parametrize(
        "term", [None, [], 1, 1.5, (), (b"channel",), [b"channel"], [-1], [0xD800], [1 << 40], [1 << 100], {}], ids=repr
    )
    def test_everything_else_is_no_name(self, term: Term) -> None:
        assert read_name(term) is None


class TestText:
    @pytest.mark.parametrize(
        ("term", "value"),
        [
            (b"", ""),
            ([], ""),
            (b"0312345678", "0312345678"),
            (text("山田太郎"), "山田太郎"),
            (string("山田太郎"), "山田太郎"),
            ([0x5C71, 0x7530], "山田"),
            ([0xE9], "é"),
            (b"caf\xe9", "caf\\xe9"),
            (b"\xe5\xb1", "\\xe5\\xb1"),
            (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
            (Atom("inbound"), "inbound"),
            (101, "101"),
            (-1, "-1"),
        ],
    )
    def test_table(self, term: Term, value: str) -> None:
        assert read_text(term) == value
        assert type(read_text(term)) is str

    @pytest.mark.parametrize(
        "term", [1.5, True, (), (b"a",), [b"a"], [0x110000], [-1], [0xDC00], {}, BitString(b"\xa0", 3)], ids=repr
    )
    def test_everything_else_does_not_fit(self, term: Term) -> None:
        with pytest.raises(Misfit):
            read_text(term)

    def test_a_number_too_long_for_python_to_write_out_does_not_fit(self) -> None:
        with pytest.raises(Misfit):
            read_text(1 << 100_000)


class TestScalarAndInteger:
    @pytest.mark.parametrize("term", [0, -1, 1 << 64, 1.5, True, False])
    def test_a_scalar_stays_what_it_is(self, term: Term) -> None:
        assert read_scalar(term) is term

    @pytest.mark.parametrize("write", NAMES.values(), ids=NAMES)
    def test_any_other_scalar_is_text(self, write: Name) -> None:
        assert read_scalar(write("available")) == "available"

    @pytest.mark.parametrize(
        ("term", "value"), [(TS, TS), (0, 0), (-5, -5), (b"1775", 1775), (b"9" * 20, int("9" * 20))]
    )
    def test_an_integer_may_come_as_digits(self, term: Term, value: int) -> None:
        assert read_integer(term) == value

    @pytest.mark.parametrize(
        "term", [True, 1.0, b"", b"-1", b"1.5", b"9" * 21, text("\uff11"), Atom("x"), [49], (1,)], ids=repr
    )
    def test_everything_else_is_no_integer(self, term: Term) -> None:
        with pytest.raises(Misfit):
            read_integer(term)


class TestJson:
    @pytest.mark.parametrize(
        ("term", "value"),
        [
            (b"", ""),
            (b"%7B%22name%22%3A%22%E5%B1%B1%E7%94%B0%22%2C%22spam%22%3Afalse%7D", {"name": "山田", "spam": False}),
            (b'{"a":[1,2.5,null]}', {"a": [1, 2.5, None]}),
            (b"%22+%2B%22", "++"),
            (b"not json", "not json"),
            (b"%7B", "%7B"),
            (b"NaN", "NaN"),
            (b"[-Infinity]", "[-Infinity]"),
            (b"1e999", "1e999"),
            (b"%5B-1e999%5D", "%5B-1e999%5D"),
            (b"1e5", 100000.0),
            (b'"%FF"', '"%FF"'),
            (b'"\\u5c71"', "山"),
            (b'"\\ud83d\\ude00"', "😀"),
        ],
    )
    def test_table(self, term: Term, value: object) -> None:
        assert read_json(term) == value

    @pytest.mark.parametrize("term", [b'"\\ud800"', b'{"\\uDFFF":1}', b'["\\u5c71\\ud83d"]'])
    def test_half_a_surrogate_pair_stays_text(self, term: bytes) -> None:
        assert ascii(read_json(term)) == ascii(term.decode())

    @pytest.mark.parametrize("opening", ["[", '{"a":'])
    def test_what_nests_too_deeply_stays_text(self, opening: str) -> None:
        closing = "]" if opening == "[" else "}"

        def nested(depth: int) -> str:
            return opening * depth + "1" + closing * depth

        deepest = nested(100)
        assert json.dumps(read_json(text(deepest)), separators=(",", ":")) == deepest
        for depth in (101, 900, 100_000):
            assert read_json(text(nested(depth))) == nested(depth)

    def test_what_is_wide_is_not_deep(self) -> None:
        assert read_json(b"[" + b"[]," * 999 + b"[]]") == [[]] * 1000

    def test_a_term_that_is_no_text_does_not_fit(self) -> None:
        with pytest.raises(Misfit):
            read_json((b"{}",))


class TestParts:
    @pytest.mark.parametrize(
        ("term", "parts"),
        [
            (b"", ()),
            ([], ()),
            (b"one", ("one",)),
            (b"api*%E6%8A%98%2A*", ("api", "折*", "")),
            (b"*", ("", "")),
            (b"a+b*%zz*%FF", ("a+b", "%zz", "\\xff")),
            (string("a*b"), ("a", "b")),
            ([b"a*b", Atom("undefined"), b"c"], ("a*b", "c")),
        ],
    )
    def test_origination(self, term: Term, parts: tuple[str, ...]) -> None:
        assert read_origination(term) == parts

    @pytest.mark.parametrize(
        ("term", "parts"),
        [
            (b"", ()),
            ([], ()),
            (b"a", ("a",)),
            (b"a;b", ("a", "b")),
            (b";a;;b;", ("a", "b")),
            (text("急ぎ;%3B"), ("急ぎ", "%3B")),
            (string("a;b"), ("a", "b")),
            ([b"a;b", Atom("c")], ("a;b", "c")),
        ],
    )
    def test_tags(self, term: Term, parts: tuple[str, ...]) -> None:
        assert read_tags(term) == parts

    @pytest.mark.parametrize("term", [1.5, (b"a",), [(b"a",)], {}], ids=repr)
    def test_everything_else_does_not_fit(self, term: Term) -> None:
        for reader in (read_tags, read_origination):
            with pytest.raises(Misfit):
                reader(term)


U = UNDEFINED
STATES: list[tuple[str, tuple[Term, ...], dict[str, Any]]] = [
    # both generations
    ("bridged", (), {}),
    ("ringing", (), {}),
    ("xml_ivr", (), {}),
    ("plivo", (), {}),
    ("bridged", (b"new",), {"args": ["new"]}),
    ("calling_external", (b"0312345678",), {"address": "0312345678"}),
    ("calling_siptermination", (b"sip:a@b",), {"url": "sip:a@b"}),
    ("checking_voicemail", (text("鈴木"),), {"target_name": "鈴木"}),
    ("conference", (7,), {"room_id": 7}),
    ("conference", (b"room",), {"room_id": "room"}),
    ("conference", (), {"room_id": None}),
    ("eavesdrop", (b"u2", Atom("listening")), {"uuid": "u2", "eavesdrop_state": "listening"}),
    ("eavesdrop", (b"u2",), {"uuid": "u2", "eavesdrop_state": None}),
    ("ivr", (12,), {"ivr_id": 12}),
    ("ivr", ((1, 2),), {"ivr_id": [1, 2]}),
    ("system_operation", (b"park",), {"operation": "park"}),
    ("voicemail", (Atom("user"), 1, b"suzuki"), {"target_type": "user", "target_id": 1, "target_name": "suzuki"}),
    ("voicemail", (U, U, U), {"target_type": None, "target_id": None, "target_name": None}),
    (
        "voicemail",
        (Atom("group"), 2, b"g", b"more", (1,)),
        {"target_type": "group", "target_id": 2, "target_name": "g", "args": ["more", [1]]},
    ),
    # parking: the current form and the first generation's
    ("park", (901, U, 7, b"suzuki"), {"slot": 901, "parker_id": 7, "parker_name": "suzuki"}),
    ("park", (b"901", b"ignored", 7, b"s", b"x"), {"slot": "901", "parker_id": 7, "parker_name": "s", "args": ["x"]}),
    ("park", (b"901",), {"slot": "901", "parker_id": None, "parker_name": None}),
    ("park", (), {"slot": None, "parker_id": None, "parker_name": None}),
    # calling, first generation
    ("calling", (Atom("user"), 1, b"suzuki"), {"target_type": "user", "target_id": 1, "target_name": "suzuki"}),
    ("calling", (Atom("group"), 21, U), {"target_type": "group", "target_id": 21, "target_name": None}),
    ("calling", (), {"target_type": None, "target_id": None, "target_name": None}),
    # calling, current generation
    (
        "calling",
        (Atom("int"), Atom("user"), (1,)),
        {"target_location": "int", "target_type": "user", "user_id": 1},
    ),
    (
        "calling",
        (Atom("int"), Atom("user"), (1, b"more")),
        {"target_location": "int", "target_type": "user", "user_id": 1, "args": ["more"]},
    ),
    (
        "calling",
        (Atom("int"), Atom("group"), (0, 21, U, U, 5)),
        {"target_location": "int", "target_type": "group", "group_type": 0, "group_id": 21, "group_queue_id": 5},
    ),
    (
        "calling",
        (Atom("int"), Atom("group"), (Atom("ring"), 21, b"a", b"b", 5, 6)),
        {
            "target_location": "int",
            "target_type": "group",
            "group_type": "ring",
            "group_id": 21,
            "group_queue_id": 5,
            "args": [6],
        },
    ),
    (
        "calling",
        (Atom("int"), Atom("group"), (Atom("ring"), 21)),
        {
            "target_location": "int",
            "target_type": "group",
            "group_type": "ring",
            "group_id": 21,
            "group_queue_id": None,
        },
    ),
    (
        "calling",
        (Atom("int"), Atom("group"), (Atom("hunt"), 21, U, U, U)),
        {"target_location": "int", "target_type": "group", "group_type": "hunt", "group_id": 21},
    ),
    (
        "calling",
        (Atom("int"), Atom("group"), (1, 21)),
        {"target_location": "int", "target_type": "group", "group_type": 1, "group_id": 21},
    ),
    (
        "calling",
        (Atom("ext"), Atom("pstn"), (b"0312345678",)),
        {"target_location": "ext", "target_type": "pstn", "address": "0312345678"},
    ),
    (
        "calling",
        (Atom("ext"), Atom("pstn"), b"0312345678"),
        {"target_location": "ext", "target_type": "pstn", "address": "0312345678"},
    ),
    (
        "calling",
        (Atom("ext"), Atom("bridged_endpoint"), (b"bob", b"example.com")),
        {"target_location": "ext", "target_type": "bridged_endpoint", "address": "bob@example.com"},
    ),
    (
        "calling",
        (Atom("ext"), Atom("bridged_endpoint"), (b"bob",)),
        {"target_location": "ext", "target_type": "bridged_endpoint", "args": ["bob"]},
    ),
    (
        "calling",
        (Atom("ext"), Atom("robot"), (1, (b"x",)), b"more"),
        {"target_location": "ext", "target_type": "robot", "args": [1, ["x"], "more"]},
    ),
    (
        "calling",
        (Atom("int"), Atom("user"), (1,), b"more"),
        {"target_location": "int", "target_type": "user", "user_id": 1, "args": ["more"]},
    ),
    ("calling", (Atom("int"), Atom("user")), {"target_location": "int", "target_type": "user", "user_id": None}),
    ("calling", (Atom("ext"),), {"target_location": "ext", "target_type": None}),
    (
        "calling",
        (Atom("int"), (Atom("user"),), (1,)),
        {"target_location": "int", "target_type": ["user"], "args": [1]},
    ),
    (
        "calling",
        (Atom("int"), {b"a": 1}, U),
        {"target_location": "int", "target_type": {"a": 1}, "args": [None]},
    ),
    # states of a later PBX
    ("teleported", (), {}),
    ("teleported", (b"mars", (1, Atom("undefined"))), {"args": ["mars", [1, None]]}),
    ("保留", (1,), {"args": [1]}),
]


class TestState:
    @pytest.mark.parametrize("write", NAMES.values(), ids=NAMES)
    @pytest.mark.parametrize(("name", "rest", "data"), STATES, ids=str)
    def test_table(self, name: str, rest: tuple[Term, ...], data: dict[str, Any], write: Name) -> None:
        state = read_state((TS, write(name), *rest))
        assert state is not None
        assert state.to_dict() == {"ts": TS, "name": name, "data": data}
        assert state.time == datetime(2026, 4, 1, 0, 0, 0, 123456, tzinfo=timezone.utc)
        json.dumps(state.to_dict(), allow_nan=False)

    def test_every_state_of_the_wire_document_is_in_the_table(self) -> None:
        documented = {
            "calling", "bridged", "xml_ivr", "ringing", "voicemail", "checking_voicemail", "calling_siptermination",
            "ivr", "system_operation", "conference", "park", "eavesdrop", "calling_external", "plivo",
        }  # fmt: skip
        assert documented <= {name for name, _, _ in STATES}

    @pytest.mark.parametrize("write", NAMES.values(), ids=NAMES)
    def test_the_location_that_tells_the_generations_apart_may_come_as_any_name(self, write: Name) -> None:
        state = read_state((TS, write("calling"), write("int"), write("group"), (write("ring"), 21, 0, 0, 5)))
        assert state is not None
        assert state.data["group_queue_id"] == 5
        assert state.data["target_location"] == "int"

    def test_the_address_of_an_endpoint_may_come_as_any_text(self) -> None:
        state = read_state((TS, Atom("calling"), Atom("ext"), Atom("bridged_endpoint"), (string("bob"), Atom("host"))))
        assert state is not None
        assert state.data["address"] == "bob@host"

    @pytest.mark.parametrize("ts", [UNDEFINED, None])
    def test_no_timestamp(self, ts: Term) -> None:
        assert read_state((ts, Atom("ringing"))) == State(None, "ringing")

    @pytest.mark.parametrize("write", NAMES.values(), ids=NAMES)
    def test_a_bare_name_is_a_state_without_a_time(self, write: Name) -> None:
        state = read_state(write("ringing"))
        assert state == State(None, "ringing", {})
        assert state.time is None

    @pytest.mark.parametrize(
        "term", [(), (TS,), (TS, 5), (TS, UNDEFINED, 1)[:1], (1.5, b"ringing"), (b"x", b"ringing"), 5, [TS, b"ringing"]]
    )
    def test_everything_else_does_not_fit(self, term: Term) -> None:
        with pytest.raises(Misfit):
            read_state(term)

    def test_two_states_do_not_share_their_data(self) -> None:
        one, other = State(1, "a"), State(1, "a")
        assert one.data is not other.data


class TestTarget:
    @pytest.mark.parametrize(
        ("term", "data"),
        [
            (
                (Atom("user"), 1, text("鈴木"), b"0501234567"),
                {"type": "user", "id": 1, "name": "鈴木", "address": "0501234567"},
            ),
            (
                (b"group", b"21", string("support"), UNDEFINED),
                {"type": "group", "id": "21", "name": "support", "address": None},
            ),
            ((Atom("user"),), {"type": "user", "id": None, "name": None, "address": None}),
            ((), {"type": None, "id": None, "name": None, "address": None}),
            (
                (Atom("user"), 1, b"s", b"101", b"more", (2,)),
                {"type": "user", "id": 1, "name": "s", "address": "101", "args": ["more", [2]]},
            ),
        ],
    )
    def test_table(self, term: Term, data: dict[str, Any]) -> None:
        target = read_target(term)
        assert target is not None
        assert target.to_dict() == data

    @pytest.mark.parametrize("term", [b"user", 1, [Atom("user"), 1], (Atom("user"), (1,)), ((1,), 1)], ids=repr)
    def test_everything_else_does_not_fit(self, term: Term) -> None:
        with pytest.raises(Misfit):
            read_target(term)


class TestOtherInfo:
    def test_of_a_user(self) -> None:
        term = (Atom("user"), 1, Atom("outbound"), Atom("internal"), b"101", TS, 21, b"%7B%22a%22%3A1%7D", b"more")
        info = read_other_info(term)
        assert info is not None
        assert info.to_dict() == {
            "type": "user",
            "direction": "outbound",
            "peer_location": "internal",
            "address": "101",
            "offer_timestamp": TS,
            "whoscall": {"a": 1},
            "user_id": 1,
            "group_id": 21,
            "args": ["more"],
        }
        assert info.offer_time == moment(TS)
        assert info.end_user is None

    @pytest.mark.parametrize(
        ("who", "end_user"),
        [
            (
                b"1*A*B*C*D",
                {
                    "count": 1,
                    "items": [{"id": "1", "name": "A", "organization": "B", "avatar": "C", "prefecture": "D"}],
                },
            ),
            (b"****", None),
            (UNDEFINED, None),
        ],
    )
    def test_of_a_customer(self, who: Term, end_user: object) -> None:
        info = read_other_info((Atom("end_user"), who, Atom("inbound"), Atom("external"), b"03", TS, UNDEFINED, U))
        assert info is not None
        assert info.to_dict() == {
            "type": "end_user",
            "direction": "inbound",
            "peer_location": "external",
            "address": "03",
            "offer_timestamp": TS,
            "whoscall": None,
            "end_user": end_user,
        }

    def test_short_and_empty_tuples(self) -> None:
        short = read_other_info((Atom("user"), 1))
        assert short == OtherInfo("user", user_id=1)
        assert short.offer_time is None
        assert read_other_info(()) == OtherInfo()

    @pytest.mark.parametrize("term", [b"user", [1], (Atom("user"), (1,)), (Atom("x"), 1.5), (1.5,)], ids=repr)
    def test_everything_else_does_not_fit(self, term: Term) -> None:
        with pytest.raises(Misfit):
            read_other_info(term)


class TestEndUser:
    @pytest.mark.parametrize(
        "term", [b"", b"*", b"***", b"****", b"*****", [], b"_MANY_:0|", b"_MANY_:0|****", b"_MANY_:"]
    )
    def test_nobody(self, term: Term) -> None:
        assert read_end_user(term) is None

    @pytest.mark.parametrize(
        ("term", "count", "customers"),
        [
            (b"1*A*B*C*D", 1, [("1", "A", "B", "C", "D")]),
            (b"1*A*B*C", 1, [("1", "A", "B", "C", None)]),
            (b"1", 1, [("1", None, None, None, None)]),
            (b"**B**", 1, [("", "", "B", "", "")]),
            (string("1*A*B*C*D"), 1, [("1", "A", "B", "C", "D")]),
            (b"1001*%E5%B1%B1%E7%94%B0+%E5%A4%AA%E9%83%8E*A%2AB+%26+C*x.png*%2B", 1,
             [("1001", "山田 太郎", "A*B & C", "x.png", "+")]),
            (text("1*山田*会社*a*東京"), 1, [("1", "山田", "会社", "a", "東京")]),
            (b"1*%FF*%zz*caf\xe9*", 1, [("1", "\\xff", "%zz", "caf\\xe9", "")]),
            (b"_MANY_:2|1*A*B*C*D|2*E*F*G*H", 2, [("1", "A", "B", "C", "D"), ("2", "E", "F", "G", "H")]),
            (b"_MANY_:40|1*A***|2*B***", 40, [("1", "A", "", "", ""), ("2", "B", "", "", "")]),
            (b"_MANY_:2|1*A%7CB***|****", 2, [("1", "A|B", "", "", "")]),
            (b"_MANY_:x|1*A***", 1, [("1", "A", "", "", "")]),
            (b"_MANY_:|1*A***", 1, [("1", "A", "", "", "")]),
            (b"_MANY_:-1|1*A***", 1, [("1", "A", "", "", "")]),
            (text("_MANY_:\uff12|1*A***"), 1, [("1", "A", "", "", "")]),
            (b"_MANY_:9999999999|1*A***", 1, [("1", "A", "", "", "")]),
            (b"_MANY_:3", 3, []),
        ],
    )  # fmt: skip
    def test_customers(self, term: Term, count: int, customers: list[tuple[str | None, ...]]) -> None:
        end_user = read_end_user(term)
        assert end_user is not None
        names = ("id", "name", "organization", "avatar", "prefecture")
        assert end_user.to_dict() == {
            "count": count,
            "items": [dict(zip(names, customer, strict=True)) for customer in customers],
        }

    def test_parts_of_a_later_pbx_are_kept(self) -> None:
        end_user = read_end_user(b"1*A*B*C*D*E+F*")
        assert end_user is not None
        assert end_user.items == (Customer("1", "A", "B", "C", "D", ("E F", "")),)
        assert end_user.to_dict()["items"][0]["args"] == ["E F", ""]

    def test_a_text_too_long_to_be_remembered_is_read_alike(self) -> None:
        name = "N" * 1000
        end_user = read_end_user(text(f"1*{name}***"))
        assert end_user is not None
        assert end_user.items[0].name == name

    @pytest.mark.parametrize("term", [1.5, (b"1*A",), [b"1*A"], {}], ids=repr)
    def test_everything_else_does_not_fit(self, term: Term) -> None:
        with pytest.raises(Misfit):
            read_end_user(term)
