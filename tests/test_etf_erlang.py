"""The codec against Erlang's own: what it writes is read, and what is written is read by it, bytes and all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from erlang_peer import ERLANG_MISSING, ErlangTerms
from hypothesis import HealthCheck, given, settings
from test_etf import (
    NO_FLOATS,
    NODE,
    NODE_NAME,
    REFUSED,
    SMALL,
    VALUES,
    nested,
    old_float,
    outcome,
    packed,
    shape,
    terms,
    u16,
    u32,
    utf8,
)

from basix_cti.errors import DecodeError
from basix_cti.etf import (
    Atom,
    BitString,
    ErlangMap,
    Export,
    Fun,
    ImproperList,
    Pid,
    Port,
    Reference,
    Term,
    decode,
    encode,
)

pytestmark = pytest.mark.skipif(ERLANG_MISSING is not None, reason=str(ERLANG_MISSING))

ASKED = settings(deadline=None, database=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

OLDEST = "[{minor_version,0}]"
OLD = "[{minor_version,1}]"
NEW = "[{minor_version,2}]"


@pytest.fixture(scope="module")
def erlang() -> Iterator[ErlangTerms]:
    with ErlangTerms() as running:
        yield running


WRITTEN: dict[str, tuple[int, Term]] = {
    # what Erlang evaluates: the tag of minor version 2, the value
    "0": (97, 0),
    "255": (97, 255),
    "256": (98, 256),
    "-1": (98, -1),
    "16#7fffffff": (98, 2**31 - 1),
    "-16#80000000": (98, -(2**31)),
    "16#80000000": (110, 2**31),
    "-16#80000001": (110, -(2**31) - 1),
    "1 bsl 59": (110, 2**59),
    "-(1 bsl 63)": (110, -(2**63)),
    "1 bsl 64": (110, 2**64),
    "1700000000123456": (110, 1_700_000_000_123_456),
    "(1 bsl 2040) - 1": (110, 2**2040 - 1),
    "1 bsl 2040": (111, 2**2040),
    "-(1 bsl 8191)": (111, -(2**8191)),
    "0.0": (70, 0.0),
    "-0.0": (70, -0.0),
    "0.1": (70, 0.1),
    "-1.5e-7": (70, -1.5e-7),
    "1.7976931348623157e308": (70, 1.7976931348623157e308),
    "5.0e-324": (70, 5e-324),
    "true": (119, True),
    "false": (119, False),
    "undefined": (119, Atom("undefined")),
    "''": (119, Atom("")),
    "café": (119, Atom("café")),
    "'日本'": (119, Atom("日本")),
    "list_to_atom(lists:duplicate(255, $a))": (119, Atom("a" * 255)),
    "list_to_atom(lists:duplicate(127, $é))": (119, Atom("é" * 127)),
    "list_to_atom(lists:duplicate(128, $é))": (118, Atom("é" * 128)),
    "list_to_atom(lists:duplicate(255, 16#1f600))": (118, Atom("😀" * 255)),
    "<<>>": (109, b""),
    '<<"caf\\x{e9}", 0, 255>>': (109, b"caf\xe9\x00\xff"),
    '<<"山田"/utf8>>': (109, "山田".encode()),
    "<<1:1>>": (77, BitString(b"\x80", 1)),
    "<<255, 127:7>>": (77, BitString(b"\xff\xfe", 7)),
    "{}": (104, ()),
    "{a, {b, []}}": (104, (Atom("a"), (Atom("b"), []))),
    "erlang:make_tuple(255, 1)": (104, (1,) * 255),
    "erlang:make_tuple(256, 1)": (105, (1,) * 256),
    "[]": (106, []),
    '"channel"': (107, list(b"channel")),
    "[0, 255]": (107, [0, 255]),
    "lists:duplicate(65535, 7)": (107, [7] * 65535),
    "lists:duplicate(65536, 7)": (108, [7] * 65536),
    "[256]": (108, [256]),
    "[-1, 1]": (108, [-1, 1]),
    "[1.0, a, [], [[]]]": (108, [1.0, Atom("a"), [], [[]]]),
    "[a | b]": (108, ImproperList((Atom("a"),), Atom("b"))),
    "[1, 2 | 3]": (108, ImproperList((1, 2), 3)),
    "[1 | {2}]": (108, ImproperList((1,), (2,))),
    "#{}": (116, {}),
    "#{a => [2.5]}": (116, {Atom("a"): [2.5]}),
    "#{[] => 1}": (116, ErlangMap([([], 1)])),
    "#{#{} => #{}}": (116, ErlangMap([({}, {})])),
    "#{{1, [2]} => 3}": (116, ErlangMap([((1, [2]), 3)])),
    "fun lists:map/2": (113, Export(Atom("lists"), Atom("map"), 2)),
    '{info_event, "user", {1, undefined, <<"a">>, \'x@y\'}, "added"}': (
        104,
        (Atom("info_event"), list(b"user"), (1, Atom("undefined"), b"a", Atom("x@y")), list(b"added")),
    ),
}


class TestErlangWrites:
    @pytest.mark.parametrize("expr", WRITTEN)
    def test_is_read(self, erlang: ErlangTerms, expr: str) -> None:
        for options in (OLDEST, OLD, NEW, "[compressed]", "[{compressed,9},{minor_version,1}]"):
            assert shape(decode(erlang.encode(expr, options))) == shape(WRITTEN[expr][1])

    @pytest.mark.parametrize("expr", WRITTEN)
    def test_is_what_is_written_here(self, erlang: ErlangTerms, expr: str) -> None:
        tag, value = WRITTEN[expr]
        new = erlang.encode(expr, NEW)
        assert new[1] == tag
        assert encode(value) == new
        assert encode(value, latin1_atoms=True) == erlang.encode(expr, OLD)

    def test_old_tags(self, erlang: ErlangTerms) -> None:
        assert erlang.encode("1.5", OLDEST)[1] == 99
        assert erlang.encode("café", OLD)[1] == 100
        assert erlang.encode("'日本'", OLD)[1] == 119

    def test_floats_as_text(self, erlang: ErlangTerms) -> None:
        floats = [0.1, 1 / 3, 1e22, 123456789.123, 2.0**-1074, 2.0**1023, -1e-300, 0.0, 4.35, 9007199254740993.0]
        patterns = [int.from_bytes(encode(number)[2:], "big") for number in floats]
        frame = erlang.encode(f"[begin <<F:64/float>> = <<I:64>>, F end || I <- {patterns}]", OLDEST)
        assert frame[6::32][: len(floats)] == b"c" * len(floats)
        assert shape(decode(frame)) == shape(floats)

    @pytest.mark.parametrize("options", [OLD, NEW, "[compressed]"])
    def test_maps(self, erlang: ErlangTerms, options: str) -> None:
        """Whose order is Erlang's own affair."""
        frame = erlang.encode("#{1 => a, 1.0 => b, true => c, {x} => d, [y] => e, <<>> => #{z => #{}}}", options)
        value = decode(frame)
        pairs: list[tuple[Term, Term]] = [
            (1, Atom("a")),
            (1.0, Atom("b")),
            (True, Atom("c")),
            ((Atom("x"),), Atom("d")),
            ([Atom("y")], Atom("e")),
            (b"", {Atom("z"): {}}),
        ]
        assert shape(value) == shape(ErlangMap(pairs))
        assert erlang.same(frame, encode(ErlangMap(pairs))) is True

    def test_large_map(self, erlang: ErlangTerms) -> None:
        value = decode(erlang.encode("maps:from_list([{N, integer_to_binary(N)} || N <- lists:seq(1, 1000)])"))
        assert value == {number: str(number).encode() for number in range(1, 1001)}

    @pytest.mark.parametrize(
        ("expr", "kind"),
        [
            ("self()", Pid),
            ("make_ref()", Reference),
            ("erlang:alias()", Reference),
            ("hd(erlang:ports())", Port),
            ("fun(X) -> X end", Fun),
            ("lists:foldl(fun(N, F) -> fun(X) -> F(X + N) end end, fun(X) -> X end, [1, 2])", Fun),
        ],
        ids=["pid", "reference", "alias", "port", "fun", "fun in a fun"],
    )
    def test_what_only_erlang_can_make(self, erlang: ErlangTerms, expr: str, kind: type) -> None:
        frame = erlang.encode(f"T = {expr}, {{T, term_to_binary(T, {OLD}), term_to_binary(T, {NEW})}}", NEW)
        value, old, new = decode(frame)
        assert type(value) is kind
        assert value == decode(old) == decode(new)
        assert encode(value) == new
        assert encode(value, latin1_atoms=True) == old

    def test_identifiers_have_the_fields_that_erlang_shows(self, erlang: ErlangTerms) -> None:
        pid, shown = decode(erlang.encode("{self(), pid_to_list(self())}"))
        assert bytes(shown).decode() == f"<0.{pid.id}.{pid.serial}>"
        port, shown = decode(erlang.encode("P = hd(erlang:ports()), {P, port_to_list(P)}"))
        assert bytes(shown).decode() == f"#Port<0.{port.id}>"
        reference, shown = decode(erlang.encode("R = make_ref(), {R, ref_to_list(R)}"))
        assert bytes(shown).decode() == "#Ref<0." + ".".join(map(str, reversed(reference.ids))) + ">"
        assert pid.node == port.node == reference.node == Atom("nonode@nohost")

    def test_fun_has_the_fields_that_erlang_shows(self, erlang: ErlangTerms) -> None:
        expr = "F = fun(X, Y) -> X + Y end, {F, [element(2, erlang:fun_info(F, K)) || K <- [module, arity, env, pid]]}"
        value, (module, arity, env, pid) = decode(erlang.encode(expr))
        assert (value.module, value.arity, list(value.free_vars), value.pid) == (module, arity, env, pid)

    @pytest.mark.parametrize("expr", ["<<0:8000>>", "lists:duplicate(1000, 0.5)", "lists:seq(1, 5)", "<<1, 2, 3>>"])
    def test_compresses_the_same(self, erlang: ErlangTerms, expr: str) -> None:
        frame = erlang.encode(expr, "[compressed,{minor_version,2}]")
        mine = encode(decode(frame), compressed=True)
        assert mine[1] == frame[1]
        assert erlang.same(frame, mine) is True


# Erlang 25 reads behind the end of these, so that its answer hangs on what happens to lie there.
UNSETTLED = {"90 no word", "99 no NUL"}

# The identifiers of old releases had fewer bits, which Erlang checks; here they are read as they come.
WIDE = {"101 reference", "102 port", "103 pid"}

# Erlang takes these funs for equal, because their code is, and refuses the map.
ALIKE = {"116 two funs as keys", "116 two funs and a list as keys"}


class TestErlangReads:
    @pytest.mark.parametrize("name", [name for name in VALUES if name not in UNSETTLED | WIDE | ALIKE])
    def test_every_form_of_every_tag(self, erlang: ErlangTerms, name: str) -> None:
        body, value = VALUES[name]
        frame = b"\x83" + body
        again = erlang.recode(frame)
        assert again is not None
        assert shape(decode(again)) == shape(value)
        assert erlang.same(frame, encode(value)) is True
        assert erlang.same(frame, encode(value, latin1_atoms=True, compressed=True)) is True
        if not isinstance(value, dict | ErlangMap):
            assert again == encode(value)

    @pytest.mark.parametrize(
        ("body", "value"),
        [
            (b"e" + NODE + u32(2**18 - 1) + b"\x03", Reference(NODE_NAME, 3, (2**18 - 1,))),
            (
                b"r" + u16(3) + NODE + b"\x03" + u32(1) + u32(2**32 - 1) * 2,
                Reference(NODE_NAME, 3, (1, *[2**32 - 1] * 2)),
            ),
            (b"f" + NODE + u32(2**28 - 1) + b"\x03", Port(NODE_NAME, 2**28 - 1, 3)),
            (b"g" + NODE + u32(2**15 - 1) + u32(2**13 - 1) + b"\x03", Pid(NODE_NAME, 2**15 - 1, 2**13 - 1, 3)),
        ],
        ids=["101", "114", "102", "103"],
    )
    def test_old_identifiers(self, erlang: ErlangTerms, body: bytes, value: Term) -> None:
        frame = b"\x83" + body
        assert shape(decode(frame)) == shape(value)
        assert erlang.recode(frame) == encode(value)

    @pytest.mark.parametrize("node", ["d\x00\x02é@", "s\x02é@"], ids=["100", "115"])
    def test_old_atoms_inside_identifiers(self, erlang: ErlangTerms, node: str) -> None:
        frame = b"\x83g" + node.encode("latin-1") + bytes(9)
        assert erlang.recode(frame) == encode(Pid(Atom("é@"), 0, 0, 0)) == encode(decode(frame))

    # A fun that is none ends Erlang 25 itself; what lies behind a term, and such an arity, it does not mind.
    @pytest.mark.parametrize(
        "name",
        [
            name
            for name, (_, reason, _, _) in REFUSED.items()
            if "behind the term" not in reason and not name.startswith("fun's") and name != "arity has 32 bits"
        ],
    )
    def test_refuses_what_is_refused_here(self, erlang: ErlangTerms, name: str) -> None:
        assert erlang.decode_text(REFUSED[name][0]) is None

    @pytest.mark.parametrize("text", NO_FLOATS)
    def test_refuses_the_same_float_text(self, erlang: ErlangTerms, text: bytes) -> None:
        assert erlang.decode_text(b"\x83" + old_float(text)) is None

    @pytest.mark.parametrize(
        ("data", "text"),
        [
            (b"\x83a\x01a\x02", "1"),
            (b"\x83" + packed(b"a\x01") + b"xyz", "1"),
            (b"\x83" + packed(b"a\x01xyz"), "1"),
            (nested(b"h\x01", b"", 128), "{" * 129 + "}" * 129),
            (b"\x83o" + u32(1025) + b"\0" + bytes(1024) + b"\x01", str(2**8192)),
            (b"\x83q" + utf8("m") + utf8("f") + b"n\x04\x00\x00\x00\x00\x80", "fun m:f/2147483648"),
        ],
        ids=["behind", "behind compressed", "inside compressed", "depth", "integer", "arity"],
    )
    def test_takes_what_is_refused_here(self, erlang: ErlangTerms, data: bytes, text: str) -> None:
        """This is all: anything behind the term, and what exceeds a limit."""
        assert isinstance(outcome(data), DecodeError)
        assert erlang.decode_text(data) == text

    @pytest.mark.parametrize(
        "name",
        [
            name
            for name in SMALL
            if name not in UNSETTLED and not name.startswith(("80", "101", "102", "103", "112", "114", "node by"))
            if "fun" not in name
        ],
    )
    def test_agrees_on_every_changed_byte(self, erlang: ErlangTerms, name: str) -> None:
        """Which bytes are a term, and which term it is."""
        # Not the tags that Erlang keeps for itself, nor those that the comments above are about.
        avoided = {73, 75, 80, 101, 102, 103, 112, 114}
        original = b"\x83" + SMALL[name]
        for offset, byte in enumerate(original):
            for other in {0, 1, 97, 104, 106, 107, 255, byte ^ 1, byte ^ 128} - avoided - {byte}:
                data = original[:offset] + bytes([other]) + original[offset + 1 :]
                mine, theirs = outcome(data), erlang.recode(data)
                if theirs is None:
                    assert isinstance(mine, DecodeError), data
                elif isinstance(mine, DecodeError):
                    assert "behind the term" in mine.reason or "arity" in mine.reason, data
                else:
                    assert shape(decode(theirs)) == shape(mine), data


def sorted_by_nobody(term: Term) -> bool:
    """Whether no map in a term has an order, so that its bytes are settled."""
    if isinstance(term, dict | ErlangMap):
        return len(term) < 2 and all(sorted_by_nobody(part) for pair in term.items() for part in pair)
    if isinstance(term, list | tuple):
        return all(map(sorted_by_nobody, term))
    if isinstance(term, ImproperList):
        return sorted_by_nobody((term.items, term.tail))
    return not isinstance(term, Fun) or sorted_by_nobody(term.free_vars)


class TestGenerated:
    @ASKED
    @given(value=terms(negative_zero=False))
    def test_terms_come_back_from_erlang(self, erlang: ErlangTerms, value: Term) -> None:
        frame = encode(value)
        again = erlang.recode(frame)
        assert again is not None
        assert shape(decode(again)) == shape(value)
        assert erlang.same(again, frame) is True
        if sorted_by_nobody(value):
            assert again == frame

    @ASKED
    @given(value=terms(negative_zero=False))
    def test_options_make_the_same_term(self, erlang: ErlangTerms, value: Term) -> None:
        frame = encode(value)
        for compressed, latin1_atoms in ((True, False), (False, True), (True, True)):
            assert erlang.same(frame, encode(value, compressed=compressed, latin1_atoms=latin1_atoms)) is True
