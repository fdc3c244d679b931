"""BERT's tagged tuples: what becomes of them, and what stays a tuple."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import datetime, timedelta, timezone, tzinfo

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_etf import ATOMS, COUNTED, RUBBISH, fun_value, shape, terms, u16, u32

from basix_cti import bert, compiled, etf
from basix_cti.bert import Regex
from basix_cti.errors import DecodeError, EncodeError
from basix_cti.etf import Atom, BitString, ErlangMap, ImproperList, Term
from basix_cti.limits import DEFAULT_LIMITS, Limits

GENERATED = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])

BERT, NIL, DICT, TIME, REGEX = map(Atom, ("bert", "nil", "dict", "time", "regex"))
UTC = timezone.utc
FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def micros(when: datetime) -> int:
    return (when - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND


def read(term: Term) -> Term:
    """What `bert.decode` makes of a term that `etf.encode` wrote."""
    return bert.decode(etf.encode(term))


READ: dict[str, tuple[Term, Term]] = {
    "nil": ((BERT, NIL), None),
    "true": ((BERT, True), True),
    "false": ((BERT, False), False),
    "true without bert": (True, True),
    "nil without bert": (NIL, NIL),
    "undefined": (Atom("undefined"), Atom("undefined")),
    "empty dict": ((BERT, DICT, []), {}),
    "empty dict by nil": ((BERT, DICT, (BERT, NIL)), {}),
    "dict": ((BERT, DICT, [(Atom("a"), 1), (b"b", [2])]), {Atom("a"): 1, b"b": [2]}),
    "dict of one": ((BERT, DICT, [(1, (BERT, NIL))]), {1: None}),
    "dict with nil as key": ((BERT, DICT, [((BERT, NIL), 1)]), {None: 1}),
    "dict with a time as key": (
        (BERT, DICT, [((BERT, TIME, 0, 1, 2), 1)]),
        {datetime(1970, 1, 1, 0, 0, 1, 2, tzinfo=UTC): 1},
    ),
    "dict with a list as key": ((BERT, DICT, [([1], 2), (3, 4)]), ErlangMap([([1], 2), (3, 4)])),
    "dict with a dict as key": ((BERT, DICT, [((BERT, DICT, [(1, 2)]), 3)]), ErlangMap([({1: 2}, 3)])),
    "dict with a regex as key": (
        (BERT, DICT, [((BERT, REGEX, b"a", []), 1), ((BERT, REGEX, b"a", [1]), 2)]),
        ErlangMap([(Regex(b"a", []), 1), (Regex(b"a", [1]), 2)]),
    ),
    "dict with 1, 1.0 and true": (
        (BERT, DICT, [(1, 10), (1.0, 11), ((BERT, True), 12)]),
        ErlangMap([(1, 10), (1.0, 11), (True, 12)]),
    ),
    "map with a regex as key": ({(BERT, REGEX, b"a", b"b"): (BERT, NIL)}, {Regex(b"a", b"b"): None}),
    "map with a regex that is not hashable as key": (
        ErlangMap([((BERT, REGEX, b"a", []), 1), ((BERT, REGEX, (BERT, NIL), [1.0]), 2)]),
        ErlangMap([(Regex(b"a", []), 1), (Regex(None, [1.0]), 2)]),
    ),
    "map with 1 and 1.0 in regexes as keys": (
        ErlangMap([((BERT, REGEX, b"a", 1), 1), ((BERT, REGEX, b"a", 1.0), 2)]),
        ErlangMap([(Regex(b"a", 1), 1), (Regex(b"a", 1.0), 2)]),
    ),
    "epoch": ((BERT, TIME, 0, 0, 0), datetime(1970, 1, 1, tzinfo=UTC)),
    "time": ((BERT, TIME, 1700, 123, 456), datetime(2023, 11, 14, 22, 15, 23, 456, tzinfo=UTC)),
    "time before the epoch": (
        (BERT, TIME, -1, 999_999, 999_999),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ),
    "time all in seconds": ((BERT, TIME, 0, 1_700_000_000, 0), datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
    "time all in microseconds": ((BERT, TIME, 0, 0, 10**15), datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)),
    "last time": ((BERT, TIME, 0, 0, micros(LAST)), LAST),
    "first time": ((BERT, TIME, 0, 0, micros(FIRST)), FIRST),
    "regex": ((BERT, REGEX, b"^a+$", [Atom("caseless")]), Regex(b"^a+$", [Atom("caseless")])),
    "regex of anything": ((BERT, REGEX, (BERT, NIL), (BERT, True)), Regex(None, True)),
    "in a tuple": ((1, (BERT, NIL)), (1, None)),
    "in a list": ([(BERT, True), (BERT, NIL)], [True, None]),
    "in a map": ({(BERT, NIL): (BERT, DICT, [])}, {None: {}}),
    "in a tail": (ImproperList(((BERT, NIL),), (BERT, NIL)), ImproperList((None,), None)),
    "in a fun": (fun_value((BERT, NIL)), fun_value(None)),
    "in a dict": (
        (BERT, DICT, [(1, (BERT, DICT, [(2, (BERT, TIME, 0, 0, 0))]))]),
        {1: {2: datetime(1970, 1, 1, tzinfo=UTC)}},
    ),
    "in a regex": ((BERT, REGEX, [(BERT, NIL)], (BERT, DICT, [])), Regex([None], {})),
    "in an unknown": ((BERT, Atom("uuid"), (BERT, NIL)), (BERT, Atom("uuid"), None)),
    "initial info": (
        (Atom("initial_info"), list(b"channel"), (BERT, NIL)),
        (Atom("initial_info"), list(b"channel"), None),
    ),
}

KEPT: dict[str, Term] = {
    "bert alone": (BERT,),
    "empty tuple": (),
    "unknown kind": (BERT, Atom("uuid"), b"x"),
    "unknown kind alone": (BERT, Atom("undefined")),
    "kind in capitals": (BERT, Atom("Nil")),
    "binary nil": (BERT, b"nil"),
    "string nil": (BERT, list(b"nil")),
    "number": (BERT, 1),
    "nil and more": (BERT, NIL, 1),
    "true and more": (BERT, True, True),
    "other first": (Atom("tert"), NIL),
    "binary bert": (b"bert", NIL),
    "string bert": (list(b"bert"), NIL),
    "bert in capitals": (Atom("BERT"), NIL),
    "bert second": (NIL, BERT),
    "in a list": [BERT, NIL],
    "dict without pairs": (BERT, DICT),
    "dict and more": (BERT, DICT, [], []),
    "dict of an atom": (BERT, DICT, Atom("undefined")),
    "dict of a binary": (BERT, DICT, b"ab"),
    "dict of a map": (BERT, DICT, {1: 2}),
    "dict of a tuple": (BERT, DICT, ((1, 2),)),
    "dict of a string": (BERT, DICT, [1, 2]),
    "dict of an improper list": (BERT, DICT, ImproperList(((1, 2),), 3)),
    "dict of triples": (BERT, DICT, [(1, 2, 3)]),
    "dict of lists": (BERT, DICT, [[1, 256]]),
    "dict with one bad pair": (BERT, DICT, [(1, 2), (3,)]),
    "dict with equal keys": (BERT, DICT, [(1, 2), (1, 3)]),
    "dict with equal lists as keys": (BERT, DICT, [([], 2), ([], 3)]),
    "dict with keys of one hash": (BERT, DICT, [(number * (2**61 - 1), 0) for number in range(257)]),
    "time without microseconds": (BERT, TIME, 1, 2),
    "time and more": (BERT, TIME, 1, 2, 3, 4),
    "time of a float": (BERT, TIME, 1, 2, 3.0),
    "time of true": (BERT, TIME, True, 2, 3),
    "time of an atom": (BERT, TIME, 1, Atom("undefined"), 3),
    "time after the last": (BERT, TIME, 0, 0, micros(LAST) + 1),
    "time before the first": (BERT, TIME, 0, 0, micros(FIRST) - 1),
    "time far after the last": (BERT, TIME, 2**2000, 0, 0),
    "time far before the first": (BERT, TIME, 0, -(2**8191), 0),
    "time of too many microseconds": (BERT, TIME, 0, 0, 2**8191),
    "regex without options": (BERT, REGEX, b"a"),
    "regex and more": (BERT, REGEX, b"a", [], []),
}


class TestDecode:
    @pytest.mark.parametrize(("term", "value"), READ.values(), ids=READ)
    def test_becomes(self, term: Term, value: Term) -> None:
        assert shape(read(term)) == shape(value)

    @pytest.mark.parametrize("term", KEPT.values(), ids=KEPT)
    def test_stays(self, term: Term) -> None:
        assert shape(read(term)) == shape(term)

    @pytest.mark.parametrize("term", [*(term for term, _ in READ.values()), *KEPT.values()], ids=[*READ, *KEPT])
    def test_etf_takes_no_notice(self, term: Term) -> None:
        assert shape(etf.decode(etf.encode(term))) == shape(term)

    @pytest.mark.parametrize(
        "data",
        [
            b"h\x02d\x00\x04bertd\x00\x03nil",
            b"h\x02s\x04berts\x03nil",
            b"h\x02w\x04bertw\x03nil",
            b"i\x00\x00\x00\x02v\x00\x04bertv\x00\x03nil",
        ],
        ids=["100", "115", "119", "118 in a large tuple"],
    )
    def test_nil_by_bytes(self, data: bytes) -> None:
        assert bert.decode(b"\x83" + data) is None
        assert bert.decode(bytearray(b"\x83l\x00\x00\x00\x01" + data + b"j")) == [None]

    def test_order_of_a_dict(self) -> None:
        assert list(read((BERT, DICT, [(3, 0), (1, 0), (2, 0)]))) == [3, 1, 2]
        assert list(read((BERT, DICT, [(3, 0), ([], 0), (2, 0)]))) == [3, [], 2]

    def test_time_is_aware_and_in_utc(self) -> None:
        value = read((BERT, TIME, 1, 2, 3))
        assert type(value) is datetime
        assert value.tzinfo is UTC

    @pytest.mark.parametrize(
        "data", [b"", b"\x82j", b"\x83", b"\x83jj", b"\x83h\x02w\x04bertw\x03ni", b"\x83h\x02w\x04bertR\0"]
    )
    def test_errors_are_those_of_etf(self, data: bytes) -> None:
        with pytest.raises(DecodeError) as expected:
            etf.decode(data)
        with pytest.raises(DecodeError) as caught:
            bert.decode(data)
        assert caught.value.args == expected.value.args
        assert (caught.value.offset, caught.value.tag) == (expected.value.offset, expected.value.tag)

    @pytest.mark.parametrize(
        ("limits", "reason"),
        [
            (Limits(max_frame=30), "the limit is 30"),
            (Limits(max_depth=2), "limit of 2"),
            (Limits(max_terms=5), "more terms"),
            (Limits(max_integer=4), "the limit is 4"),
        ],
        ids=["frame", "depth", "terms", "integer"],
    )
    def test_limits(self, limits: Limits, reason: str) -> None:
        data = etf.encode((BERT, DICT, [(1, 2**40)]))
        assert bert.decode(data) == {1: 2**40}
        with pytest.raises(DecodeError, match=reason):
            bert.decode(data, limits=limits)

    def test_limit_of_inflation(self) -> None:
        data = bert.encode([None] * 100, compressed=True)
        assert bert.decode(data) == [None] * 100
        with pytest.raises(DecodeError, match="inflates to"):
            bert.decode(data, limits=Limits(max_inflated=100))

    @pytest.mark.parametrize("pair", [False, True], ids=["values", "keys"])
    def test_deep_dicts(self, pair: bool) -> None:
        """Each is three levels deep: tuple, list and pair."""
        levels = (DEFAULT_LIMITS.max_depth - 1) // 3
        opening = b"h\x03d\x00\x04bertd\x00\x04dictl\x00\x00\x00\x01h\x02" + (b"" if pair else b"a\x01")
        closing = (b"a\x01" if pair else b"") + b"j"
        value = bert.decode(b"\x83" + opening * levels + b"j" + closing * levels)
        for _ in range(levels):
            assert len(value) == 1
            ((key, inner),) = value.items()
            value = key if pair else inner
        assert value == []
        levels += 1
        with pytest.raises(DecodeError, match="limit of 128"):
            bert.decode(b"\x83" + opening * levels + b"j" + closing * levels)
        huge = Limits(max_depth=10**9)
        with pytest.raises(DecodeError, match="limit of 1000" if compiled else "interpreter's stack"):
            bert.decode(b"\x83" + opening * 5000 + b"j" + closing * 5000, limits=huge)

    @pytest.mark.parametrize("size", range(60))
    def test_truncated(self, size: int) -> None:
        whole = etf.encode((BERT, DICT, [((BERT, TIME, 1, 2, 3), (BERT, REGEX, b"a", [NIL, (BERT, NIL)]))]))
        assert len(whole) > 60
        with pytest.raises(DecodeError):
            bert.decode(whole[:size])


class TestDecodeCounted:
    @pytest.mark.parametrize(("body", "count"), COUNTED.values(), ids=COUNTED)
    def test_counts_what_the_limits_count(self, body: bytes, count: int) -> None:
        data = b"\x83" + body
        value, size, terms_held = bert.decode_counted(data, DEFAULT_LIMITS)
        assert shape(value) == shape(bert.decode(data))
        assert terms_held == count
        assert bert.decode_counted(data, Limits(max_terms=count))[1:] == (size, count)
        assert size == (len(zlib.decompress(data[6:])) if body.startswith(b"P") else len(data))

    def test_reads_bert(self) -> None:
        assert bert.decode_counted(etf.encode([(BERT, NIL)]), DEFAULT_LIMITS) == ([None], 20, 4)

    def test_has_limits(self) -> None:
        with pytest.raises(DecodeError, match="more terms"):
            bert.decode_counted(etf.encode([NIL]), Limits(max_terms=1))


class Nowhere(tzinfo):
    """A time zone that does not know its offset, so that its times are as good as naive."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        return None

    def dst(self, when: datetime | None) -> timedelta | None:
        return None

    def tzname(self, when: datetime | None) -> str | None:
        return None


class Moment(datetime):
    """A datetime of a class of its own."""


WRITTEN: dict[str, tuple[Term, Term]] = {
    "None": (None, (BERT, NIL)),
    "True": (True, (BERT, True)),
    "False": (False, (BERT, False)),
    "empty dict": ({}, (BERT, DICT, [])),
    "dict": ({Atom("a"): 1, b"b": None}, (BERT, DICT, [(Atom("a"), 1), (b"b", (BERT, NIL))])),
    "None as key": ({None: True}, (BERT, DICT, [((BERT, NIL), (BERT, True))])),
    "ErlangMap": (ErlangMap([([None], 1), (2, {})]), (BERT, DICT, [([(BERT, NIL)], 1), (2, (BERT, DICT, []))])),
    "epoch": (datetime(1970, 1, 1, tzinfo=UTC), (BERT, TIME, 0, 0, 0)),
    "time": (datetime(2023, 11, 14, 22, 15, 23, 456, tzinfo=UTC), (BERT, TIME, 1700, 123, 456)),
    "time elsewhere": (
        datetime(2023, 11, 15, 7, 15, 23, 456, tzinfo=timezone(timedelta(hours=9))),
        (BERT, TIME, 1700, 123, 456),
    ),
    "time of a class of its own": (Moment(1970, 1, 1, tzinfo=UTC), (BERT, TIME, 0, 0, 0)),
    "time before the epoch": (
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        (BERT, TIME, -1, 999_999, 999_999),
    ),
    "last time": (LAST, (BERT, TIME, 253_402, 300_799, 999_999)),
    "first time": (FIRST, (BERT, TIME, -62_136, 403_200, 0)),
    "regex": (Regex(b"a", [NIL, None]), (BERT, REGEX, b"a", [NIL, (BERT, NIL)])),
    "tuple": ((None, 1), ((BERT, NIL), 1)),
    "list": ([[None]], [[(BERT, NIL)]]),
    "improper list": (ImproperList((None,), True), ImproperList(((BERT, NIL),), (BERT, True))),
    "fun": (fun_value(None, {}), fun_value((BERT, NIL), (BERT, DICT, []))),
    "text": ("é", b"\xc3\xa9"),
    "atom": (Atom("a"), Atom("a")),
    "number": (1.5, 1.5),
    "bit string": (BitString(b"\x80", 1), BitString(b"\x80", 1)),
}


class TestEncode:
    @pytest.mark.parametrize(("value", "term"), WRITTEN.values(), ids=WRITTEN)
    def test_becomes(self, value: Term, term: Term) -> None:
        assert bert.encode(value) == etf.encode(term)

    @pytest.mark.parametrize(("value", "term"), WRITTEN.values(), ids=WRITTEN)
    def test_options(self, value: Term, term: Term) -> None:
        for compressed in (False, True):
            for latin1_atoms in (False, True):
                assert bert.encode([value] * 50, compressed=compressed, latin1_atoms=latin1_atoms) == etf.encode(
                    [term] * 50, compressed=compressed, latin1_atoms=latin1_atoms
                )

    def test_nil_by_bytes(self) -> None:
        assert bert.encode(None) == b"\x83h\x02w\x04bertw\x03nil"
        assert bert.encode(None, latin1_atoms=True) == b"\x83h\x02d\x00\x04bertd\x00\x03nil"

    @pytest.mark.parametrize(
        "when", [datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=Nowhere())], ids=["naive", "lost"]
    )
    def test_datetime_without_offset(self, when: datetime) -> None:
        for value in (when, [when], {when.year: when}):
            with pytest.raises(EncodeError, match="datetime without time zone"):
                bert.encode(value)

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (math.nan, "no float"),
            ({1}, "no Erlang term for a set"),
            ({None: [object()]}, "no Erlang term for a object"),
            (timedelta(1), "no Erlang term for a timedelta"),
            (Atom("a" * 256), "256 characters"),
            (ImproperList((), None), "ImproperList"),
            (ImproperList((1,), []), "ImproperList"),
        ],
        ids=["NaN", "set", "object", "timedelta", "atom", "no items", "list as tail"],
    )
    def test_errors_of_etf(self, value: Term, message: str) -> None:
        with pytest.raises(EncodeError, match=message):
            bert.encode(value)

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda inner: (inner,),
            lambda inner: [inner],
            lambda inner: {1: inner},
            lambda inner: ErlangMap([([], inner)]),
            lambda inner: ImproperList((inner,), 1),
            lambda inner: Regex(inner, []),
            lambda inner: fun_value(inner),
        ],
        ids=["tuple", "list", "dict", "ErlangMap", "improper list", "regex", "fun"],
    )
    def test_too_deep(self, wrap: Callable[[Term], Term]) -> None:
        value: Term = None
        for _ in range(20):
            value = wrap(value)
        assert shape(bert.decode(bert.encode(value))) == shape(value)
        for _ in range(5000):
            value = wrap(value)
        with pytest.raises(EncodeError, match="nest too deeply"):
            bert.encode(value)

    def test_in_itself(self) -> None:
        value: list[Term] = [None]
        value.append({1: value})
        with pytest.raises(EncodeError, match="contain themselves"):
            bert.encode(value)

    def test_leaves_the_value_alone(self) -> None:
        value = [None, {1: [True]}]
        bert.encode(value)
        assert value == [None, {1: [True]}]


class TestRegex:
    def test_is_a_value(self) -> None:
        assert Regex(b"a", ()) == Regex(b"a", ())
        assert hash(Regex(b"a", ())) == hash(Regex(b"a", ()))
        assert Regex(b"a", ()) != Regex(b"b", ())
        assert Regex(b"a", ()) != Regex(b"a", (1,))
        assert repr(Regex(b"a", [])) == "Regex(source=b'a', options=[])"
        for name in ("source", "options"):
            with pytest.raises(FrozenInstanceError):
                setattr(Regex(b"a", ()), name, None)
        assert not hasattr(Regex(b"a", ()), "__dict__")

    def test_is_told_apart_as_a_key(self) -> None:
        value = ErlangMap([(Regex(b"a", [1]), 1), (Regex(b"a", [1.0]), 2), (Regex(b"b", [1]), 3)])
        assert [value[Regex(b"a", [1])], value[Regex(b"a", [1.0])], value[Regex(b"b", [1])]] == [1, 2, 3]
        assert Regex(b"a", [True]) not in value


TIMES = st.datetimes(timezones=st.just(UTC)).map(lambda when: when.replace(fold=0))
OTHERS = st.one_of(
    st.none(),
    TIMES,
    st.builds(Regex, st.binary(), st.lists(st.none() | ATOMS, max_size=3)),
)


class TestGenerated:
    @GENERATED
    @given(terms(others=OTHERS))
    def test_decoding_reverses_encoding(self, value: Term) -> None:
        assume("Atom('bert')" not in shape(value))
        again = bert.decode(bert.encode(value))
        assert shape(again) == shape(value)
        assert again == value

    @GENERATED
    @given(st.datetimes(), st.integers(-1439, 1439))
    def test_times_of_all_zones(self, when: datetime, minutes: int) -> None:
        local = when.replace(tzinfo=timezone(timedelta(minutes=minutes)))
        assume(micros(FIRST) <= micros(local) <= micros(LAST))
        again = bert.decode(bert.encode(local))
        assert again == local
        assert again.tzinfo is UTC

    @GENERATED
    @given(st.integers(), st.integers(), st.integers())
    def test_times_by_parts(self, mega: int, seconds: int, micro: int) -> None:
        value = read((BERT, TIME, mega, seconds, micro))
        total = (mega * 1_000_000 + seconds) * 1_000_000 + micro
        if micros(FIRST) <= total <= micros(LAST):
            assert micros(value) == total
        else:
            assert value == (BERT, TIME, mega, seconds, micro)

    @GENERATED
    @given(
        st.lists(
            st.one_of(
                RUBBISH,
                st.sampled_from([b"h\x02", b"h\x03", b"h\x05", b"l" + u32(1), b"t" + u32(2), b"j", b"a\x01"]),
                st.sampled_from(["bert", "nil", "dict", "time", "regex", "true"]).map(
                    lambda name: b"d" + u16(len(name)) + name.encode()
                ),
            ),
            max_size=20,
        ).map(b"".join)
    )
    def test_any_bytes(self, data: bytes) -> None:
        """What etf refuses is refused; what it reads is read, but for a map whose keys are one term to BERT."""
        frame = b"\x83" + data
        try:
            etf.decode(frame)
        except DecodeError:
            with pytest.raises(DecodeError):
                bert.decode(frame)
            return
        try:
            value = bert.decode(frame)
        except DecodeError as error:
            assert_duplicate(error)
        else:
            bert.encode(value)


def assert_duplicate(error: DecodeError) -> None:
    assert error.reason == "duplicate key in map"
