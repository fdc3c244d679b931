"""Terms as text: as Erlang itself writes them, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from erlang_peer import ERLANG_MISSING, ErlangTerms
from hypothesis import given, settings
from hypothesis import strategies as st
from test_etf import VALUES, terms

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
from basix_cti.term_text import erlang_text, json_value

ASKED = settings(database=None, max_examples=60)
needs_erlang = pytest.mark.skipif(ERLANG_MISSING is not None, reason=str(ERLANG_MISSING))

SAMPLES: dict[str, Term] = {
    "{info_event,\"channel\",{<<\"a\">>,undefined},added}": (
        Atom("info_event"), list(b"channel"), (b"a", Atom("undefined")), Atom("added")
    ),
    "<<\"山田\"/utf8>>": "山田".encode(),
    "\"山田\"": [0x5C71, 0x7530],
    "<<255,0,1>>": b"\xff\x00\x01",
    "<<\"a\\n\\\"b\\\\\">>": b'a\n"b\\',
    "\"\\\"\\e\"": [34, 27],
    "[]": [],
    "<<>>": b"",
    "'Quoted atom'": Atom("Quoted atom"),
    "'it\\'s'": Atom("it's"),
    "''": Atom(""),
    "'end'": Atom("end"),
    "'山'": Atom("山"),
    "straße": Atom("straße"),
    "[97,7]": [97, 7],
    "[1,2|{}]": ImproperList((1, 2), ()),
    "#{a => 1}": {Atom("a"): 1},
    "#{}": {},
    "#{[] => 1}": ErlangMap([([], 1)]),
    "<<255,1:1>>": BitString(b"\xff\x80", 1),
    "0.1": 0.1,
    "-0.0": -0.0,
    "1.0e22": 1e22,
    "1.5": 1.5,
    "123456.789": 123456.789,
    "1.0e-10": 1e-10,
    "true": True,
    "-5": -5,
    "1795599170922956": 1795599170922956,
}  # fmt: skip


@pytest.fixture(scope="module")
def erlang() -> Iterator[ErlangTerms]:
    with ErlangTerms() as running:
        yield running


@pytest.mark.parametrize("text", SAMPLES)
def test_samples(text: str) -> None:
    assert erlang_text(SAMPLES[text]) == text


def test_what_cannot_be_read_back() -> None:
    pid = Pid(Atom("n@host"), 1, 2, 3)
    assert erlang_text(pid) == "<0.1.2>"
    assert erlang_text(Port(Atom("n@host"), 7, 3)) == "#Port<0.7>"
    assert erlang_text(Reference(Atom("n@host"), 3, (4, 5, 6))) == "#Ref<0.6.5.4>"
    assert erlang_text(Export(Atom("m"), Atom("F"), 2)) == "fun m:'F'/2"
    assert erlang_text(Fun(Atom("m"), 7, bytes(16), 2, 5, -2, pid, ())) == "#Fun<m.5.-2>"
    with pytest.raises(TypeError, match="NoneType is no Erlang term"):
        erlang_text(None)


def has(term: Term, kinds: tuple[type, ...], many: bool = False) -> bool:
    """Whether a term holds one of these kinds; or, with ``many``, a map of several keys."""
    if isinstance(term, kinds):
        return True
    if isinstance(term, dict | ErlangMap):
        if many and len(term) > 1:
            return True
        return any(has(key, kinds, many) or has(value, kinds, many) for key, value in term.items())
    if isinstance(term, list | tuple):
        return any(has(item, kinds, many) for item in term)
    if isinstance(term, ImproperList):
        return any(has(item, kinds, many) for item in (*term.items, term.tail))
    return False


OPAQUE = (Pid, Port, Reference, Export, Fun)


@needs_erlang
class TestErlang:
    @pytest.mark.parametrize("text", [text for text in SAMPLES if "e-10" not in text])
    def test_samples(self, text: str, erlang: ErlangTerms) -> None:
        assert erlang.pretty_text(encode(SAMPLES[text])) == text

    @ASKED
    @given(value=terms())
    def test_it_reads_the_same_term(self, erlang: ErlangTerms, value: Term) -> None:
        if has(value, OPAQUE):
            return
        data = encode(value)
        assert erlang.same(erlang.encode(erlang_text(decode(data))), data)

    @ASKED
    @given(value=terms())
    def test_it_writes_the_same_text(self, erlang: ErlangTerms, value: Term) -> None:
        if has(value, (*OPAQUE, float, BitString), many=True):  # releases of Erlang differ in these
            return
        assert erlang_text(decode(encode(value))) == erlang.pretty_text(encode(value))

    @ASKED
    @given(value=st.one_of(st.binary(), st.text().map(str.encode), st.text().map(lambda text: [*map(ord, text)])))
    def test_texts(self, erlang: ErlangTerms, value: Term) -> None:
        assert erlang_text(decode(encode(value))) == erlang.pretty_text(encode(value))

    @ASKED
    @given(value=st.floats(allow_nan=False, allow_infinity=False))
    def test_floats(self, erlang: ErlangTerms, value: float) -> None:
        assert erlang.encode(erlang_text(value)) == encode(value)


@pytest.mark.parametrize(
    ("term", "told"),
    [
        ((Atom("a"), b"b", list(b"c"), [1, 2]), ["a", "b", "c", [1, 2]]),
        (Atom("undefined"), None),
        ((Atom("bert"), Atom("nil")), None),
        (True, True),
        (1.5, 1.5),
        (2**70, 2**70),
        ("山田".encode(), "山田"),
        (b"\xff", {"base64": "/w=="}),
        ({b"a": 1, Atom("b"): []}, {"a": 1, "b": []}),
        ({1: 2}, [[1, 2]]),
        ({Atom("a"): 1, b"a": 2}, [["a", 1], ["a", 2]]),
        (ImproperList((1,), 2), {"list": [1], "tail": 2}),
        (Pid(Atom("n"), 1, 2, 3), {"erlang": "<0.1.2>"}),
        (BitString(b"\x80", 1), {"erlang": "<<1:1>>"}),
    ],
)
def test_json(term: Term, told: Any) -> None:
    assert json_value(term) == told


@given(st.one_of(terms(), st.sampled_from([value for _, value in VALUES.values()])))
@settings(max_examples=60)
def test_any_term_is_json(term: Term) -> None:
    told = json_value(term)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert "\n" not in erlang_text(term)
