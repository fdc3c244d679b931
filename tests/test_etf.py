"""The codec by hand-built bytes, by mutilated ones and by generated terms; `test_etf_erlang` asks Erlang itself."""

from __future__ import annotations

import array
import copy
import pickle
import string
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from enum import IntEnum
from functools import partial
from operator import mul

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from basix_cti import compiled
from basix_cti.errors import CTIError, DecodeError, EncodeError
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
from basix_cti.limits import DEFAULT_LIMITS, Limits

HUGE = 2**62
UNBOUNDED = Limits(max_frame=HUGE, max_depth=HUGE, max_terms=HUGE, max_inflated=HUGE, max_integer=HUGE)

GENERATED = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
FEWER = settings(GENERATED, max_examples=60)


def shape(term: Term) -> str:
    """A text that is the same for two values only where also all types are, the sign of zero and a map's pairs."""
    kind = type(term).__name__
    if isinstance(term, dict | ErlangMap):
        pairs = sorted(f"{shape(key)}: {shape(value)}" for key, value in term.items())
        return f"{kind}({', '.join(pairs)})"
    if isinstance(term, list | tuple):
        if set(map(type, term)) == {int}:
            return f"{kind}{list(term)}"  # many times faster
        return f"{kind}({', '.join(map(shape, term))})"
    if is_dataclass(term):
        return f"{kind}({', '.join(shape(getattr(term, field.name)) for field in fields(term))})"
    if type(term) is float:
        return f"{kind}({term.hex()})"
    return f"{kind}({term!r})"


# --- terms byte by byte, without the version byte ----------------------------------------------------------------


def u16(number: int) -> bytes:
    return struct.pack(">H", number)


def u32(number: int) -> bytes:
    return struct.pack(">I", number)


def u64(number: int) -> bytes:
    return struct.pack(">Q", number)


def utf8(name: str) -> bytes:
    """SMALL_ATOM_UTF8_EXT."""
    raw = name.encode()
    return bytes([119, len(raw)]) + raw


def old_float(text: bytes) -> bytes:
    """FLOAT_EXT: text, filled up with NUL to 31 bytes."""
    return b"c" + text.ljust(31, b"\0")


def new_float(number: float) -> bytes:
    return b"F" + struct.pack(">d", number)


def packed(body: bytes, announced: int | None = None, *, level: int = 6) -> bytes:
    """A compressed term, which may lie about its size."""
    return b"P" + u32(len(body) if announced is None else announced) + zlib.compress(body, level)


NODE = utf8("n@host")
NODE_NAME = Atom("n@host")
PID = b"X" + NODE + u32(1) + u32(2) + u32(3)
PID_VALUE = Pid(NODE_NAME, 1, 2, 3)
UNIQ = bytes(range(16))


def fun(
    *,
    size: int | None = None,
    arity: int = 2,
    module: bytes = utf8("m"),
    old_index: bytes = b"a\x05",
    old_uniq: bytes = b"b\xff\xff\xff\xfe",
    pid: bytes = PID,
    announced: int | None = None,
    free: tuple[bytes, ...] = (),
) -> bytes:
    """NEW_FUN_EXT."""
    count = len(free) if announced is None else announced
    rest = bytes([arity]) + UNIQ + u32(7) + u32(count) + module + old_index + old_uniq + pid + b"".join(free)
    return b"p" + u32(len(rest) + 4 if size is None else size) + rest


def fun_value(*free: Term, arity: int = 2) -> Fun:
    return Fun(Atom("m"), 7, UNIQ, arity, 5, -2, PID_VALUE, free)


VALUES: dict[str, tuple[bytes, Term]] = {
    "70 zero": (b"F" + bytes(8), 0.0),
    "70 negative zero": (b"F\x80" + bytes(7), -0.0),
    "70 one and a half": (b"F\x3f\xf8" + bytes(6), 1.5),
    "70 largest": (b"F\x7f\xef\xff\xff\xff\xff\xff\xff", 1.7976931348623157e308),
    "70 smallest": (b"F" + bytes(7) + b"\x01", 5e-324),
    "77 one bit": (b"M" + u32(1) + b"\x01\x80", BitString(b"\x80", 1)),
    "77 seven bits": (b"M" + u32(1) + b"\x07\xfe", BitString(b"\xfe", 7)),
    "77 unused bits are cleared": (b"M" + u32(2) + b"\x03\xff\xff", BitString(b"\xff\xe0", 3)),
    "77 whole bytes": (b"M" + u32(2) + b"\x08ab", b"ab"),
    "77 no byte": (b"M" + u32(0) + b"\x00", b""),
    "80 stored": (packed(b"a\x07", level=0), 7),
    "80 deflated": (packed(b"m" + u32(1000) + bytes(1000)), bytes(1000)),
    "88 new pid": (PID, PID_VALUE),
    "88 largest": (b"X" + NODE + b"\xff" * 12, Pid(NODE_NAME, 2**32 - 1, 2**32 - 1, 2**32 - 1)),
    "89 new port": (b"Y" + NODE + u32(9) + u32(2**32 - 1), Port(NODE_NAME, 9, 2**32 - 1)),
    "89 largest": (b"Y" + NODE + b"\xff" * 8, Port(NODE_NAME, 2**32 - 1, 2**32 - 1)),
    "90 newer reference": (
        b"Z" + u16(3) + NODE + u32(2**32 - 1) + u32(1) + u32(2) + u32(2**32 - 1),
        Reference(NODE_NAME, 2**32 - 1, (1, 2, 2**32 - 1)),
    ),
    "90 no word": (b"Z" + u16(0) + NODE + u32(1), Reference(NODE_NAME, 1, ())),
    "90 five words": (b"Z" + u16(5) + NODE + u32(1) + u32(6) * 5, Reference(NODE_NAME, 1, (6,) * 5)),
    "97 zero": (b"a\x00", 0),
    "97 is unsigned": (b"a\x80", 128),
    "97 largest": (b"a\xff", 255),
    "98 zero": (b"b" + bytes(4), 0),
    "98 largest": (b"b\x7f\xff\xff\xff", 2**31 - 1),
    "98 smallest": (b"b\x80\x00\x00\x00", -(2**31)),
    "98 is signed": (b"b\xff\xff\xff\xff", -1),
    "98 byte order": (b"b\x01\x02\x03\x04", 0x01020304),
    "99 as Erlang prints": (old_float(b"1.00000000000000005551e-01"), 0.1),
    "99 negative": (old_float(b"-1.50000000000000000000e+03"), -1500.0),
    "99 without exponent": (old_float(b"12.25"), 12.25),
    "99 signs and capital": (old_float(b"+1.5E-2"), 0.015),
    "99 leading zeros": (old_float(b"001.5e002"), 150.0),
    "99 comma": (old_float(b"1,5"), 1.5),
    "99 ends at the first NUL": (old_float(b"1.5\0e9 and more\n"), 1.5),
    "99 no NUL": (b"c" + b"1.00000000000000000000000000000", 1.0),
    "99 underflow": (old_float(b"1.0e-400"), 0.0),
    "99 negative zero": (old_float(b"-0.0"), -0.0),
    "100 ascii": (b"d" + u16(3) + b"abc", Atom("abc")),
    "100 empty": (b"d" + u16(0), Atom("")),
    "100 is latin-1": (b"d" + u16(4) + b"caf\xe9", Atom("café")),
    "100 utf-8 bytes are latin-1 too": (b"d" + u16(2) + b"\xc3\xa9", Atom("Ã©")),
    "100 255 characters": (b"d" + u16(255) + b"\xff" * 255, Atom("ÿ" * 255)),
    "100 true": (b"d" + u16(4) + b"true", True),
    "100 false": (b"d" + u16(5) + b"false", False),
    "100 True is an atom": (b"d" + u16(4) + b"True", Atom("True")),
    "100 undefined is an atom": (b"d" + u16(9) + b"undefined", Atom("undefined")),
    "101 reference": (b"e" + NODE + u32(7) + b"\xff", Reference(NODE_NAME, 255, (7,))),
    "102 port": (b"f" + NODE + u32(7) + b"\xff", Port(NODE_NAME, 7, 255)),
    "103 pid": (b"g" + NODE + u32(7) + u32(8) + b"\xff", Pid(NODE_NAME, 7, 8, 255)),
    "104 empty": (b"h\x00", ()),
    "104 one": (b"h\x01a\x01", (1,)),
    "104 nested": (b"h\x02h\x00h\x01h\x00", ((), ((),))),
    "104 255 elements": (b"h\xff" + b"j" * 255, ([],) * 255),
    "105 empty": (b"i" + u32(0), ()),
    "105 one": (b"i" + u32(1) + b"a\x01", (1,)),
    "105 256 elements": (b"i" + u32(256) + b"a\x01" * 256, (1,) * 256),
    "106": (b"j", []),
    "107 text": (b"k" + u16(3) + b"abc", [97, 98, 99]),
    "107 small integers": (b"k" + u16(3) + b"\x00\x01\xff", [0, 1, 255]),
    "107 empty": (b"k" + u16(0), []),
    "108 proper": (b"l" + u32(2) + b"a\x01a\x02j", [1, 2]),
    "108 no element": (b"l" + u32(0) + b"j", []),
    "108 no element but a tail": (b"l" + u32(0) + b"a\x01", 1),
    "108 improper": (b"l" + u32(2) + b"a\x01a\x02a\x03", ImproperList((1, 2), 3)),
    "108 improper with a tuple": (b"l" + u32(1) + b"a\x01h\x00", ImproperList((1,), ())),
    "108 improper with a binary": (b"l" + u32(1) + b"a\x01m" + u32(0), ImproperList((1,), b"")),
    "108 tail is a list": (b"l" + u32(1) + b"a\x01l" + u32(1) + b"a\x02j", [1, 2]),
    "108 tail is a string": (b"l" + u32(1) + b"h\x00k" + u16(2) + b"ab", [(), 97, 98]),
    "108 tail is an empty list": (b"l" + u32(1) + b"a\x01l" + u32(0) + b"j", [1]),
    "108 tail is improper": (b"l" + u32(1) + b"a\x01l" + u32(1) + b"a\x02a\x03", ImproperList((1, 2), 3)),
    "108 nested": (b"l" + u32(2) + b"l" + u32(1) + b"jjjj", [[[]], []]),
    "109 empty": (b"m" + u32(0), b""),
    "109 any bytes": (b"m" + u32(256) + bytes(range(256)), bytes(range(256))),
    "110 no byte": (b"n\x00\x00", 0),
    "110 negative zero": (b"n\x01\x01\x00", 0),
    "110 one byte": (b"n\x01\x00\xff", 255),
    "110 negative": (b"n\x01\x01\xff", -255),
    "110 any sign byte but 0 is minus": (b"n\x01\x02\x05", -5),
    "110 leading zeros": (b"n\x03\x00\x01\x00\x00", 1),
    "110 byte order": (b"n\x05\x00\x01\x02\x03\x04\x05", 0x0504030201),
    "110 microseconds": (b"n\x07\x00" + (1_700_000_000_123_456).to_bytes(7, "little"), 1_700_000_000_123_456),
    "110 smallest of 64 bits": (b"n\x08\x01" + bytes(7) + b"\x80", -(2**63)),
    "110 255 bytes": (b"n\xff\x00" + b"\xff" * 255, 2**2040 - 1),
    "111 no byte": (b"o" + u32(0) + b"\x00", 0),
    "111 short": (b"o" + u32(1) + b"\x01\x05", -5),
    "111 256 bytes": (b"o" + u32(256) + b"\x00" + bytes(255) + b"\x01", 2**2040),
    "111 negative": (b"o" + u32(256) + b"\x01" + b"\xff" * 256, 1 - 2**2048),
    "112": (fun(), fun_value()),
    "112 free variables": (fun(arity=255, free=(b"a\x01", b"j")), fun_value(1, [], arity=255)),
    "112 size says nothing": (fun(size=0, free=(b"h\x00",)), fun_value(())),
    "113": (b"q" + utf8("m") + utf8("f") + b"a\x02", Export(Atom("m"), Atom("f"), 2)),
    "113 arity by other tags": (b"q" + utf8("m") + utf8("f") + b"n\x01\x00\x03", Export(Atom("m"), Atom("f"), 3)),
    "113 largest arity": (b"q" + utf8("m") + utf8("f") + b"b\x7f\xff\xff\xff", Export(Atom("m"), Atom("f"), 2**31 - 1)),
    "113 named true and false": (
        b"q" + utf8("true") + utf8("false") + b"a\x00",
        Export(Atom("true"), Atom("false"), 0),
    ),
    "114 one word": (b"r" + u16(1) + NODE + b"\x03" + u32(4), Reference(NODE_NAME, 3, (4,))),
    "114 three words": (b"r" + u16(3) + NODE + b"\x03" + u32(4) + u32(5) + u32(6), Reference(NODE_NAME, 3, (4, 5, 6))),
    "115 ascii": (b"s\x03abc", Atom("abc")),
    "115 empty": (b"s\x00", Atom("")),
    "115 is latin-1": (b"s\x04caf\xe9", Atom("café")),
    "115 longest": (b"s\xff" + b"\xe9" * 255, Atom("é" * 255)),
    "115 true": (b"s\x04true", True),
    "116 empty": (b"t" + u32(0), {}),
    "116 ordinary": (b"t" + u32(2) + utf8("a") + b"a\x01m" + u32(1) + b"aa\x02", {Atom("a"): 1, b"a": 2}),
    "116 list as value": (b"t" + u32(1) + b"a\x01j", {1: []}),
    "116 tuple as key": (b"t" + u32(1) + b"h\x01a\x01a\x02", {(1,): 2}),
    "116 list as key": (b"t" + u32(1) + b"ja\x01", ErlangMap([([], 1)])),
    "116 map as key": (b"t" + u32(1) + b"t" + u32(0) + b"a\x01", ErlangMap([({}, 1)])),
    "116 list inside a key": (b"t" + u32(1) + b"h\x01ja\x01", ErlangMap([(([],), 1)])),
    "116 improper list as key": (
        b"t" + u32(1) + b"l" + u32(1) + b"ja\x01a\x02",
        ErlangMap([(ImproperList(([],), 1), 2)]),
    ),
    "116 fun that holds a list as key": (b"t" + u32(1) + fun(free=(b"j",)) + b"a\x02", ErlangMap([(fun_value([]), 2)])),
    "116 two funs as keys": (
        b"t" + u32(2) + fun() + b"a\x01" + fun(old_index=b"a\x06") + b"a\x02",
        {fun_value(): 1, replace(fun_value(), old_index=6): 2},
    ),
    "116 two funs and a list as keys": (
        b"t" + u32(3) + fun() + b"a\x01" + fun(old_index=b"a\x06") + b"a\x02jj",
        ErlangMap([(fun_value(), 1), (replace(fun_value(), old_index=6), 2), ([], [])]),
    ),
    "116 1 and 1.0": (b"t" + u32(2) + b"a\x01a\x0a" + new_float(1.0) + b"a\x0b", ErlangMap([(1, 10), (1.0, 11)])),
    "116 1 and true": (b"t" + u32(2) + b"a\x01a\x0a" + utf8("true") + b"a\x0b", ErlangMap([(1, 10), (True, 11)])),
    "116 0, 0.0 and false": (
        b"t" + u32(3) + b"a\x00a\x0a" + new_float(0.0) + b"a\x0b" + utf8("false") + b"a\x0c",
        ErlangMap([(0, 10), (0.0, 11), (False, 12)]),
    ),
    "116 1 and 1.0 inside keys": (
        b"t" + u32(2) + b"h\x01a\x01a\x0ah\x01" + new_float(1.0) + b"a\x0b",
        ErlangMap([((1,), 10), ((1.0,), 11)]),
    ),
    "118 ascii": (b"v" + u16(3) + b"abc", Atom("abc")),
    "118 utf-8": (b"v" + u16(6) + "日本".encode(), Atom("日本")),
    "118 255 characters": (b"v" + u16(1020) + "😀".encode() * 255, Atom("😀" * 255)),
    "118 false": (b"v" + u16(5) + b"false", False),
    "119 ascii": (b"w\x03abc", Atom("abc")),
    "119 empty": (b"w\x00", Atom("")),
    "119 utf-8": (b"w\x05caf\xc3\xa9", Atom("café")),
    "119 NUL and noncharacter": (b"w\x04\x00\xef\xbf\xbf", Atom("\0\uffff")),
    "119 255 bytes": (b"w\xff" + b"a" * 255, Atom("a" * 255)),
    "119 true": (b"w\x04true", True),
    "119 false": (b"w\x05false", False),
    "120 port": (b"x" + NODE + u64(2**32) + u32(3), Port(NODE_NAME, 2**32, 3)),
    "120 largest": (b"x" + NODE + b"\xff" * 12, Port(NODE_NAME, 2**64 - 1, 2**32 - 1)),
    "120 small": (b"x" + NODE + u64(1) + u32(3), Port(NODE_NAME, 1, 3)),
    "node by tag 100": (b"g" + b"d" + u16(2) + b"\xe9@" + bytes(9), Pid(Atom("é@"), 0, 0, 0)),
    "node by tag 115": (b"g" + b"s\x02\xe9@" + bytes(9), Pid(Atom("é@"), 0, 0, 0)),
    "node by tag 118": (b"g" + b"v" + u16(3) + b"\xc3\xa9@" + bytes(9), Pid(Atom("é@"), 0, 0, 0)),
    "node named true": (b"X" + utf8("true") + bytes(12), Pid(Atom("true"), 0, 0, 0)),
    "a message": (
        b"h\x04"
        + (b"d" + u16(10) + b"info_event" + b"k" + u16(7) + b"channel")
        + (b"h\x03m" + u32(2) + b"id" + b"d" + u16(9) + b"undefined" + b"n\x07\x00" + bytes(6) + b"\x01")
        + (b"k" + u16(5) + b"added"),
        (Atom("info_event"), list(b"channel"), (b"id", Atom("undefined"), 2**48), list(b"added")),
    ),
}

SMALL = {name: body for name, (body, _) in VALUES.items() if len(body) < 120}
"""What is short enough to be cut and bent at every byte."""


class TestValues:
    @pytest.mark.parametrize(("body", "value"), VALUES.values(), ids=VALUES)
    def test_each_tag_decodes(self, body: bytes, value: Term) -> None:
        assert shape(decode(b"\x83" + body)) == shape(value)

    @pytest.mark.parametrize(("body", "value"), VALUES.values(), ids=VALUES)
    def test_the_same_in_company(self, body: bytes, value: Term) -> None:
        """No term reads further than its end, or not as far, and none depends on where it stands."""
        if body.startswith(b"P"):
            body = zlib.decompress(body[5:])
        company = b"h\x03" + body + body + b"a\x2a"
        for frame in (b"\x83" + company, b"\x83" + packed(company)):
            assert shape(decode(frame)) == shape((value, value, 42))

    @pytest.mark.parametrize(("body", "value"), VALUES.values(), ids=VALUES)
    def test_encoding_gives_it_back(self, body: bytes, value: Term) -> None:
        assert shape(decode(encode(value))) == shape(value)
        assert shape(decode(encode(value, latin1_atoms=True))) == shape(value)

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_any_buffer_is_taken(self, kind: Callable[[bytes], bytes | bytearray | memoryview]) -> None:
        value = decode(kind(b"\x83h\x02m" + u32(2) + b"ab" + utf8("c")))
        assert shape(value) == shape((b"ab", Atom("c")))

    def test_the_buffer_may_change_afterwards(self) -> None:
        data = bytearray(b"\x83m" + u32(2) + b"ab")
        value = decode(data)
        data[6:] = b"xyz"
        assert value == b"ab"

    @pytest.mark.parametrize("data", ["\x83j", None, 131, [131, 106]])
    def test_no_buffer_is_a_type_error(self, data: Term) -> None:
        with pytest.raises(TypeError):
            decode(data)

    def test_longest_string(self) -> None:
        assert decode(b"\x83k\xff\xff" + b"\x09" * 65535) == [9] * 65535

    def test_map_keeps_the_order_of_the_wire(self) -> None:
        assert list(decode(b"\x83t" + u32(3) + b"a\x03ja\x01ja\x02j")) == [3, 1, 2]
        assert list(decode(b"\x83t" + u32(3) + b"ja\x00a\x01ja\x02j")) == [[], 1, 2]

    @pytest.mark.parametrize("tags", [(115, 119), (119, 115)], ids=["latin-1 first", "utf-8 first"])
    def test_the_encoding_of_an_atom_is_that_of_its_tag(self, tags: tuple[int, int]) -> None:
        """Also for bytes that were seen before."""
        names = {115: Atom("Â¤"), 119: Atom("¤")}
        frame = b"\x83h\x04" + b"".join(bytes([tag, 2]) + b"\xc2\xa4" for tag in tags * 2)
        assert shape(decode(frame)) == shape(tuple(names[tag] for tag in tags * 2))

    def test_more_atoms_than_are_remembered(self) -> None:
        names = [f"many_{number}" for number in range(10_000)]
        frame = b"\x83l" + u32(len(names)) + b"".join(map(utf8, names)) + b"j"
        for _ in range(2):
            assert decode(frame) == names

    def test_distinct_atoms_do_not_pile_up(self) -> None:
        def frame(batch: int) -> bytes:
            return b"\x83l" + u32(500) + b"".join(utf8(f"{batch}_{number}".rjust(250)) for number in range(500)) + b"j"

        frames = map(frame, range(40))  # 20,000 atoms of 250 characters
        decode(frame(-1))
        tracemalloc.start()
        try:
            for data in frames:
                decode(data)
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert kept < 4_000_000


# --- what is refused ---------------------------------------------------------------------------------------------

EXPORT = b"q" + utf8("m") + utf8("f")

REFUSED: dict[str, tuple[bytes, str, int | None, int | None]] = {
    # data, part of the reason, offset, tag
    "nothing": (b"", "empty", 0, None),
    "version 130": (b"\x82j", "version byte is 130, not 131", 0, None),
    "version 132": (b"\x84j", "version byte is 132, not 131", 0, None),
    "no version": (b"a\x01", "version byte is 97, not 131", 0, None),
    "version alone": (b"\x83", "0 bytes left", 1, None),
    "version twice": (b"\x83\x83j", "unknown tag", 1, 131),
    "82 atom cache": (b"\x83R\x00", "atom cache", 1, 82),
    "82 inside": (b"\x83h\x02a\x01R\x00", "atom cache", 5, 82),
    "117 old fun": (b"\x83u" + u32(0) + PID + utf8("m") + b"a\x00a\x00", "OTP 23", 1, 117),
    "121 local": (b"\x83y" + u32(1) + b"j", "node-local", 1, 121),
    "unknown tag 0": (b"\x83\x00", "unknown tag", 1, 0),
    "unknown tag 255": (b"\x83h\x01\xff", "unknown tag", 3, 255),
    "behind an integer": (b"\x83a\x01a", "1 bytes behind the term", 3, None),
    "behind a list": (b"\x83jxyz", "3 bytes behind the term", 2, None),
    "truncated integer": (b"\x83b\x00\x00", "truncated", 1, 98),
    "truncated binary": (b"\x83h\x02jm" + u32(5) + b"abcd", "truncated binary", 4, 109),
    "truncated atom": (b"\x83w\x05true", "truncated atom", 1, 119),
    "truncated long atom": (b"\x83d" + u16(5) + b"true", "truncated atom", 1, 100),
    "truncated string": (b"\x83k" + u16(5) + b"true", "truncated string", 1, 107),
    "truncated big integer": (b"\x83n\x05\x00true", "truncated integer", 1, 110),
    "truncated float text": (b"\x83c1.5", "truncated", 1, 99),
    "more elements than bytes": (b"\x83h\x03jj", "3 terms announced, 2 bytes left", 3, None),
    "atom bytes 118": (b"\x83v" + u16(1) + b"\xff", "not valid UTF-8", 1, 118),
    "atom bytes 119": (b"\x83h\x01w\x01\xff", "not valid UTF-8", 3, 119),
    "atom overlong": (b"\x83w\x02\xc0\x80", "not valid UTF-8", 1, 119),
    "atom surrogate": (b"\x83w\x03\xed\xa0\x80", "not valid UTF-8", 1, 119),
    "atom beyond Unicode": (b"\x83w\x04\xf4\x90\x80\x80", "not valid UTF-8", 1, 119),
    "atom cut character": (b"\x83w\x01\xc3", "not valid UTF-8", 1, 119),
    "atom 100 too long": (b"\x83d" + u16(256) + b"a" * 256, "256 characters", 1, 100),
    "atom 118 too long": (b"\x83v" + u16(512) + b"\xc3\xa9" * 256, "256 characters", 1, 118),
    "NaN": (b"\x83F\x7f\xf8" + bytes(6), "not finite", 1, 70),
    "signalling NaN": (b"\x83F\x7f\xf0" + bytes(5) + b"\x01", "not finite", 1, 70),
    "infinity": (b"\x83F\x7f\xf0" + bytes(6), "not finite", 1, 70),
    "negative infinity": (b"\x83h\x01F\xff\xf0" + bytes(6), "not finite", 3, 70),
    "bits without bytes": (b"\x83M" + u32(0) + b"\x01", "1 bits in the last of 0 bytes", 1, 77),
    "bytes without bits": (b"\x83M" + u32(1) + b"\x00a", "0 bits in the last of 1 bytes", 1, 77),
    "nine bits": (b"\x83M" + u32(1) + b"\x09a", "9 bits in the last of 1 bytes", 1, 77),
    "reference of six words": (b"\x83Z" + u16(6) + NODE + u32(1) + u32(6) * 6, "6 words", 1, 90),
    "old reference of six words": (b"\x83r" + u16(6) + NODE + b"\x01" + u32(6) * 6, "6 words", 1, 114),
    "reference of 65535 words": (b"\x83Z" + u16(65535) + NODE, "65535 words", 1, 90),
    "node is a binary": (b"\x83X" + b"m" + u32(1) + b"n" + bytes(12), "an atom is missing", 2, 88),
    "node is a list": (b"\x83gj" + bytes(9), "an atom is missing", 2, 103),
    "node is no UTF-8": (b"\x83gw\x01\xff" + bytes(9), "not valid UTF-8", 2, 119),
    "module is an integer": (b"\x83qa\x01" + utf8("f") + b"a\x00", "an atom is missing", 2, 113),
    "function is a string": (b"\x83q" + utf8("m") + b"k\x00\x01fa\x00", "an atom is missing", 5, 113),
    "arity is negative": (b"\x83" + EXPORT + b"b\xff\xff\xff\xff", "arity", 1, 113),
    "arity has 32 bits": (b"\x83" + EXPORT + b"n\x04\x00" + b"\x00\x00\x00\x80", "arity", 1, 113),
    "arity is a float": (b"\x83" + EXPORT + new_float(1.0), "arity", 1, 113),
    "arity is true": (b"\x83" + EXPORT + utf8("true"), "arity", 1, 113),
    "fun's module": (b"\x83" + fun(module=b"j"), "an atom is missing", 31, 112),
    "fun's index": (b"\x83" + fun(old_index=new_float(0.0)), "fun without", 1, 112),
    "fun's index is true": (b"\x83" + fun(old_index=utf8("true")), "fun without", 1, 112),
    "fun's uniq": (b"\x83" + fun(old_uniq=b"j"), "fun without", 1, 112),
    "fun's pid": (b"\x83" + fun(pid=b"a\x01"), "fun without", 1, 112),
    "fun's variables": (b"\x83" + fun(announced=2, free=(b"j",)), "2 terms announced, 1 bytes left", 62, None),
    "equal keys": (b"\x83t" + u32(2) + b"a\x01ja\x01j", "duplicate key", 1, 116),
    "equal keys by other tags": (b"\x83h\x01t" + u32(2) + b"a\x01jb\x00\x00\x00\x01j", "duplicate key", 3, 116),
    "equal lists as keys": (b"\x83t" + u32(2) + b"jjjj", "duplicate key", 1, 116),
    "equal keys among unequal": (
        b"\x83t" + u32(3) + b"a\x01j" + new_float(1.0) + b"ja\x01j",
        "duplicate key",
        1,
        116,
    ),
    "equal maps as keys": (
        b"\x83t" + u32(2) + (b"t" + u32(2) + b"ja\x01a\x02j") + b"j" + (b"t" + u32(2) + b"a\x02jja\x01") + b"j",
        "duplicate key",
        1,
        116,
    ),
    "float text empty": (b"\x83" + old_float(b""), "not a finite number", 1, 99),
    "float text infinite": (b"\x83" + old_float(b"1.0e400"), "not a finite number", 1, 99),
    "compressed cut after the tag": (b"\x83P", "truncated", 1, 80),
    "compressed cut in the size": (b"\x83P\x00\x00\x00", "truncated", 1, 80),
    "compressed without data": (b"\x83P" + u32(1), "does not inflate", 2, 80),
    "compressed rubbish": (b"\x83P" + u32(1) + b"rubbish", "not valid zlib data", 6, 80),
    "compressed checksum": (b"\x83" + packed(b"j")[:-1] + b"\x00", "not valid zlib data", 6, 80),
    "compressed without checksum": (b"\x83" + packed(b"j")[:-4], "does not inflate", 2, 80),
    "compressed size too small": (b"\x83" + packed(b"a\x01", 1), "1 bytes announced", 2, 80),
    "compressed size too large": (b"\x83" + packed(b"a\x01", 3), "3 bytes announced", 2, 80),
    "compressed size zero": (b"\x83" + packed(b"j", 0), "0 bytes announced", 2, 80),
    "compressed nothing": (b"\x83" + packed(b""), "0 bytes left", 0, None),
    "compressed and more": (b"\x83" + packed(b"a\x01", level=0) + b"xy", "2 bytes behind the term", 19, None),
    "compressed, more inside": (b"\x83" + packed(b"a\x01xy"), "2 bytes behind the term", 2, None),
    "compressed, offset inside": (b"\x83" + packed(b"h\x02a\x01\xff"), "unknown tag", 4, 255),
    "compressed, truncated inside": (b"\x83" + packed(b"h\x01b\x00"), "truncated", 2, 98),
    "compressed twice": (b"\x83" + packed(packed(b"j")), "compressed term inside", 0, 80),
    "compressed version": (b"\x83" + packed(b"\x83j"), "unknown tag", 0, 131),
    "compressed inside": (b"\x83h\x01" + packed(b"j"), "compressed term inside", 3, 80),
}

NO_FLOATS = [
    *(b"1", b"1.", b".5", b"1e5", b"1.5e", b"1.5e+", b"1.5.5", b"1.5x", b"1.5 ", b" 1.5", b"--1.5", b"+-1.5"),
    *(b"nan", b"inf", b"-inf", b"1_0.5", b"0x1.8p1", b"1.5e1.5", b"1.5\n", b"\xd9\xa1.5", b"\x001.5", b"true"),
]


def outcome(data: bytes | bytearray | memoryview, limits: Limits = DEFAULT_LIMITS) -> Term | DecodeError:
    try:
        return decode(data, limits=limits)
    except DecodeError as error:
        return error


def refused(data: bytes | bytearray | memoryview, limits: Limits = DEFAULT_LIMITS) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode(data, limits=limits)
    return caught.value


class TestRefusals:
    @pytest.mark.parametrize(("data", "reason", "offset", "tag"), REFUSED.values(), ids=REFUSED)
    def test_says_what_and_where(self, data: bytes, reason: str, offset: int | None, tag: int | None) -> None:
        error = refused(data)
        assert reason in error.reason
        assert (error.offset, error.tag) == (offset, tag)
        assert error.__cause__ is None

    def test_message(self) -> None:
        with pytest.raises(DecodeError, match=r"^unknown tag at byte 3 \(tag 255\)$"):
            decode(b"\x83h\x01\xff")
        with pytest.raises(DecodeError, match=r"^3 bytes behind the term at byte 2$"):
            decode(b"\x83jxyz")
        with pytest.raises(DecodeError, match=r"^4 bytes, the limit is 3$"):
            decode(b"\x83jxy", limits=Limits(max_frame=3))

    def test_is_a_cti_error_and_a_value_error(self) -> None:
        assert issubclass(DecodeError, CTIError)
        assert issubclass(DecodeError, ValueError)
        assert issubclass(EncodeError, CTIError)
        assert issubclass(EncodeError, ValueError)

    @pytest.mark.parametrize(
        "error", [DecodeError("all"), DecodeError("where", 5), DecodeError("what", 5, 104), DecodeError("", 0, 0)]
    )
    def test_decode_error_survives_pickling(self, error: DecodeError) -> None:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            again = pickle.loads(pickle.dumps(error, protocol))
            assert type(again) is DecodeError
            assert (again.reason, again.offset, again.tag, str(again), again.args) == (
                *(error.reason, error.offset, error.tag, str(error), error.args),
            )

    @pytest.mark.parametrize("text", NO_FLOATS)
    def test_no_float_text(self, text: bytes) -> None:
        error = refused(b"\x83" + old_float(text))
        assert (error.offset, error.tag) == (1, 99)

    def test_exactly_these_tags_are_known(self) -> None:
        """Every other one is refused by its number, at its place."""
        known = {70, 77, 80, 88, 89, 90, *range(97, 117), 118, 119, 120}
        offsets = {}
        for tag in range(256):
            error = refused(bytes([131, tag]) + bytes(40))
            if error.tag == tag and ("unknown" in error.reason or "refused" in error.reason):
                offsets[tag] = error.offset
        assert offsets == dict.fromkeys(set(range(256)) - known, 1)

    @pytest.mark.parametrize("body", SMALL.values(), ids=SMALL)
    def test_truncated_at_every_offset(self, body: bytes) -> None:
        whole = b"\x83" + body
        for size in range(len(whole)):
            offset = refused(whole[:size]).offset
            assert offset is not None
            assert 0 <= offset <= size
            refused(b"\x83" + packed(whole[1:size], level=0))

    @pytest.mark.parametrize("body", SMALL.values(), ids=SMALL)
    def test_anything_behind_the_term(self, body: bytes) -> None:
        for behind in (b"\0", b"j", b"\x83j", b"behind"):
            error = refused(b"\x83" + body + behind)
            assert error.reason == f"{len(behind)} bytes behind the term"
            assert (error.offset, error.tag) == (1 + len(body), None)

    @pytest.mark.parametrize("body", SMALL.values(), ids=SMALL)
    def test_one_byte_changed_at_every_offset(self, body: bytes) -> None:
        """A value, which can be encoded, or a DecodeError, and nothing else."""
        data = bytearray(b"\x83" + body)
        telling = range(256) if len(body) < 40 else [*range(4), *range(69, 132), 254, 255]
        for offset, original in enumerate(data):
            for byte in telling:
                data[offset] = byte
                value = outcome(data)
                if byte % 5 == offset % 5 and not isinstance(value, DecodeError):
                    settled = encode(value)
                    assert encode(decode(settled)) == settled
            data[offset] = original


# --- limits ------------------------------------------------------------------------------------------------------


def nested(opening: bytes, closing: bytes, levels: int) -> bytes:
    return b"\x83" + opening * levels + b"h\x00" + closing * levels


NESTS: dict[str, tuple[bytes, bytes]] = {
    "tuple": (b"h\x01", b""),
    "large tuple": (b"i" + u32(1), b""),
    "list": (b"l" + u32(1), b"j"),
    "tail": (b"l" + u32(1) + b"h\x00", b""),
    "empty list's tail": (b"l" + u32(0), b""),
    "map value": (b"t" + u32(1) + b"a\x01", b""),
    "map key": (b"t" + u32(1), b"a\x01"),
    "free variable": (fun(announced=1), b""),
    "fun's index": (fun()[:33], b"a\x00" + PID),
    "arity": (EXPORT, b""),
}

COUNTED: dict[str, tuple[bytes, int]] = {
    "integer": (b"a\x01", 1),
    "empty tuple": (b"h\x00", 1),
    "tuple": (b"h\x03jjj", 4),
    "large tuple": (b"i" + u32(3) + b"jjj", 4),
    "list": (b"l" + u32(3) + b"jjjj", 4),
    "improper list": (b"l" + u32(3) + b"jjja\x01", 5),
    "empty string": (b"k" + u16(0), 1),
    "string": (b"k" + u16(100) + bytes(100), 101),
    "string in a tuple": (b"h\x01k" + u16(2) + bytes(2), 4),
    "empty map": (b"t" + u32(0), 1),
    "map": (b"t" + u32(3) + b"a\x01ja\x02ja\x03j", 7),
    "pid and its node": (PID, 2),
    "export": (EXPORT + b"a\x01", 4),
    "fun": (fun(free=(b"j", b"j")), 8),
    "compressed": (packed(b"h\x03jjj"), 4),
    "binary is one": (b"m" + u32(1000) + bytes(1000), 1),
}


def peak(action: Callable[[], object]) -> int:
    """The most bytes that Python's allocator had to give for an action."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def seconds(action: Callable[[], object]) -> float:
    """The processor time that an action takes, which other processes do not add to."""
    before = time.process_time()
    action()
    return time.process_time() - before


class TestLimits:
    def test_frame(self) -> None:
        data = b"\x83m" + u32(94) + bytes(94)
        assert decode(data, limits=Limits(max_frame=100)) == bytes(94)
        error = refused(data, Limits(max_frame=99))
        assert (error.reason, error.offset, error.tag) == ("100 bytes, the limit is 99", None, None)

    def test_frame_by_default(self) -> None:
        size = 16 * 1024 * 1024
        data = b"\x83m" + u32(size - 6) + bytes(size - 6)
        assert len(decode(data)) == size - 6
        assert refused(data + b"\0").reason == f"{size + 1} bytes, the limit is {size}"

    def test_frame_is_counted_in_bytes(self) -> None:
        data = memoryview(array.array("I", bytes(400)))
        assert "400 bytes" in refused(data, Limits(max_frame=399)).reason

    def test_frame_comes_before_all_else(self) -> None:
        assert "limit" in refused(b"rubbish", Limits(max_frame=6)).reason
        assert "version" in refused(b"rubbish", Limits(max_frame=7)).reason

    def test_frame_is_that_of_the_compressed_bytes(self) -> None:
        data = b"\x83" + packed(b"m" + u32(1000) + bytes(1000))
        assert decode(data, limits=Limits(max_frame=len(data))) == bytes(1000)

    @pytest.mark.parametrize(("opening", "closing"), NESTS.values(), ids=NESTS)
    def test_depth(self, opening: bytes, closing: bytes) -> None:
        """An empty tuple in nine holders has depth ten."""
        data = nested(opening, closing, 9)
        for limit in (*range(1, 10), 10, 11):
            error = outcome(data, Limits(max_depth=limit))
            too_deep = isinstance(error, DecodeError) and f"deeper than the limit of {limit}" in error.reason
            assert too_deep == (limit < 10)

    def test_depth_is_told_at_the_first_term_too_deep(self) -> None:
        error = refused(nested(b"h\x01", b"", 3), Limits(max_depth=3))
        assert error.reason == "terms nested deeper than the limit of 3"
        assert (error.offset, error.tag) == (7, None)

    @pytest.mark.parametrize(("opening", "closing"), [NESTS["tuple"], NESTS["list"]], ids=["tuple", "list"])
    def test_depth_by_default(self, opening: bytes, closing: bytes) -> None:
        decode(nested(opening, closing, 127))
        assert "limit of 128" in refused(nested(opening, closing, 128)).reason

    def test_depth_counts_inside_a_compressed_term(self) -> None:
        data = b"\x83" + packed(b"h\x01j")
        assert decode(data, limits=Limits(max_depth=2)) == ([],)
        assert "limit of 1" in refused(data, Limits(max_depth=1)).reason

    @pytest.mark.parametrize(
        "name",
        [
            *("70 zero", "77 one bit", "80 stored", "88 new pid", "89 new port", "90 five words", "97 zero"),
            *("98 zero", "99 comma", "100 true", "101 reference", "102 port", "103 pid", "104 empty", "105 empty"),
            *("106", "107 text", "108 no element", "109 empty", "110 negative", "111 short", "114 three words"),
            *("115 true", "116 empty", "118 ascii", "119 ascii", "120 port"),
        ],
    )
    def test_what_holds_no_other_term_has_depth_one(self, name: str) -> None:
        body, value = VALUES[name]
        assert shape(decode(b"\x83" + body, limits=Limits(max_depth=1))) == shape(value)

    @pytest.mark.parametrize(("body", "count"), COUNTED.values(), ids=COUNTED)
    def test_terms(self, body: bytes, count: int) -> None:
        decode(b"\x83" + body, limits=Limits(max_terms=count))
        if count > 1:
            assert "more terms than the limit" in refused(b"\x83" + body, Limits(max_terms=count - 1)).reason

    def test_terms_by_default(self) -> None:
        strings = b"".join(b"k" + u16(49_999) + bytes(49_999) for _ in range(20))  # a million terms
        decode(b"\x83l" + u32(19) + strings[:-50_002] + b"j")
        assert "more terms" in refused(b"\x83l" + u32(20) + strings + b"j").reason
        last = b"k" + u16(49_998) + bytes(49_998)
        assert len(decode(b"\x83l" + u32(20) + strings[:-50_002] + last + b"j")) == 20

    def test_inflated(self) -> None:
        data = b"\x83" + packed(b"m" + u32(95) + bytes(95))
        assert decode(data, limits=Limits(max_inflated=100)) == bytes(95)
        error = refused(data, Limits(max_inflated=99))
        assert (error.reason, error.offset, error.tag) == ("inflates to 100 bytes, the limit is 99", 2, 80)

    def test_inflated_by_default(self) -> None:
        size = 16 * 1024 * 1024
        assert len(decode(b"\x83" + packed(b"m" + u32(size - 5) + bytes(size - 5), level=1))) == size - 5
        assert "inflates to" in refused(b"\x83" + packed(b"j", size + 1)).reason

    @pytest.mark.parametrize("sign", [b"\x00", b"\x01"], ids=["positive", "negative"])
    @pytest.mark.parametrize("length", [1, 200, 255, 256, 1000])
    def test_integer(self, length: int, sign: bytes) -> None:
        heads = {111: b"o" + u32(length)}
        if length < 256:
            heads[110] = bytes([110, length])
        for tag, head in heads.items():
            data = b"\x83h\x01" + head + sign + b"\xff" * length
            (number,) = decode(data, limits=Limits(max_integer=length))
            assert abs(number) == 256**length - 1
            if length > 1:
                error = refused(data, Limits(max_integer=length - 1))
                assert error.reason == f"integer of {length} bytes, the limit is {length - 1}"
                assert (error.offset, error.tag) == (3, tag)

    def test_integer_by_default(self) -> None:
        assert decode(b"\x83o" + u32(1024) + b"\0" + b"\xff" * 1024) == 2**8192 - 1
        assert "1025 bytes" in refused(b"\x83o" + u32(1025) + b"\0" + b"\xff" * 1025).reason

    def test_a_limit_holds_for_its_call_alone(self) -> None:
        refused(b"\x83h\x01j", Limits(max_depth=1))
        assert decode(b"\x83h\x01j") == ([],)


LIES: dict[str, bytes] = {
    "atom": b"d\xff\xff",
    "bits": b"M\xff\xff\xff\xff\x07",
    "large tuple": b"i\xff\xff\xff\xff",
    "string": b"k\xff\xff",
    "list": b"l\xff\xff\xff\xff",
    "binary": b"m\xff\xff\xff\xff",
    "integer": b"o\xff\xff\xff\xff\x00",
    "fun": fun(size=0xFFFFFFFF, announced=0xFFFFFFFF),
    "fun's reference": fun(pid=b"Z\xff\xff" + NODE),
    "map": b"t\xff\xff\xff\xff",
    "map of 2 GiB": b"t\x80\x00\x00\x00",
    "reference": b"Z\xff\xff" + NODE,
    "old reference": b"r\xff\xff" + NODE,
    "utf-8 atom": b"v\xff\xff",
    "compressed": b"P\xff\xff\xff\xff",
    "compressed within the limit": packed(b"j", 16 * 1024 * 1024),
}


class TestAttacks:
    """Little data that asks for much memory, time or stack."""

    @pytest.mark.parametrize("levels", [1, 3])
    @pytest.mark.parametrize("body", LIES.values(), ids=LIES)
    def test_lying_length(self, body: bytes, levels: int) -> None:
        opening = b"" if body.startswith(b"P") else b"h\x01" * levels
        for rest in (b"", b"j", bytes(1000)):
            for limits in (DEFAULT_LIMITS, UNBOUNDED):
                data = b"\x83" + opening + body + rest
                assert peak(partial(refused, data, limits)) < 200_000

    def test_bomb_that_tells_its_size(self) -> None:
        bomb = b"\x83" + packed(b"l" + u32(50_000_000) + b"j" * 50_000_000, level=1)
        assert "inflates to 50000005 bytes" in refused(bomb).reason
        assert peak(partial(refused, bomb)) < 200_000

    def test_bomb_that_lies_about_its_size(self) -> None:
        """Not one byte more is inflated than the size that was announced, and one."""
        data = b"\x83" + packed(bytes(64 * 1024 * 1024), 1000, level=1)
        assert "1000 bytes announced" in refused(data).reason
        assert peak(partial(refused, data)) < 600_000

    def test_bomb_of_terms(self) -> None:
        data = b"\x83" + packed(b"l" + u32(10_000_000) + b"j" * 10_000_001, level=1)
        assert "more terms" in refused(data).reason
        assert peak(partial(refused, data)) < 25_000_000

    def test_bomb_of_strings(self) -> None:
        data = b"\x83" + packed(b"l" + u32(100) + (b"k" + u16(65535) + bytes(65535)) * 100 + b"j", level=1)
        assert "more terms" in refused(data).reason

    @pytest.mark.parametrize(("opening", "closing"), NESTS.values(), ids=NESTS)
    def test_deeper_than_the_stack(self, opening: bytes, closing: bytes) -> None:
        error = refused(nested(opening, closing, 20_000), UNBOUNDED)
        assert ("limit of 1000" if compiled else "interpreter's stack") in error.reason
        assert error.__cause__ is None
        assert decode(b"\x83h\x01j") == ([],)

    @pytest.mark.parametrize("levels", range(100, 1000, 100))
    def test_key_deeper_than_the_stack(self, levels: int) -> None:
        """Comparing keys needs more stack than reading them does."""
        data = b"\x83t" + u32(1) + b"h\x01" * levels + b"ja\x01"
        value = outcome(data, UNBOUNDED)
        if isinstance(value, DecodeError):
            assert "interpreter's stack" in value.reason
        else:
            assert len(value) == 1

    def test_maps_as_keys_of_maps(self) -> None:
        """Reading them takes time in proportion to their bytes, not to their depth as well."""
        inmost = b"l" + u32(100_000) + b"j" * 100_001
        data = b"\x83" + (b"t" + u32(1)) * 120 + inmost + b"a\x01" * 120
        assert seconds(partial(decode, data)) < 4

    @pytest.mark.parametrize("unhashable", [False, True], ids=["dict", "ErlangMap"])
    def test_keys_that_share_a_hash(self, unhashable: bool) -> None:
        keys = [b"n\x0a\x00" + (number * (2**61 - 1)).to_bytes(10, "little") for number in range(1, 30_001)]
        if unhashable:
            keys[0] = b"j"
        data = b"\x83t" + u32(len(keys)) + b"".join(key + b"j" for key in keys)
        assert seconds(partial(refused, data)) < 4
        error = refused(data)
        assert error.reason == "more than 256 keys of a map share one hash"
        assert (error.offset, error.tag) == (1, 116)

    def test_up_to_256_keys_may_share_a_hash(self) -> None:
        keys = [b"n\x0a\x00" + (number * (2**61 - 1)).to_bytes(10, "little") for number in range(1, 258)]
        other = [b"b" + u32(number) for number in range(1000, 2000)]
        for held in (keys[:256], keys[:256] + other):
            value = decode(b"\x83t" + u32(len(held)) + b"".join(key + b"j" for key in held))
            assert len(value) == len(held)
        held = keys + other
        refused(b"\x83t" + u32(len(held)) + b"".join(key + b"j" for key in held))


# --- the types of values -----------------------------------------------------------------------------------------

SMALL_TYPES: dict[str, tuple[Term, str]] = {
    "Atom": (Atom("ok"), "Atom('ok')"),
    "BitString": (BitString(b"\xe0", 3), "BitString(data=b'\\xe0', last_bits=3)"),
    "ImproperList": (ImproperList((1, 2), 3), "ImproperList(items=(1, 2), tail=3)"),
    "Pid": (PID_VALUE, "Pid(node=Atom('n@host'), id=1, serial=2, creation=3)"),
    "Port": (Port(NODE_NAME, 1, 2), "Port(node=Atom('n@host'), id=1, creation=2)"),
    "Reference": (Reference(NODE_NAME, 1, (2, 3)), "Reference(node=Atom('n@host'), creation=1, ids=(2, 3))"),
    "Export": (Export(Atom("m"), Atom("f"), 2), "Export(module=Atom('m'), function=Atom('f'), arity=2)"),
    "Fun": (
        fun_value(1),
        f"Fun(module=Atom('m'), index=7, uniq={UNIQ!r}, "
        "arity=2, old_index=5, old_uniq=-2, pid=Pid(node=Atom('n@host'), id=1, serial=2, creation=3), free_vars=(1,))",
    ),
    "ErlangMap": (ErlangMap([(1, 2), ([], Atom("a"))]), "ErlangMap([(1, 2), ([], Atom('a'))])"),
}


class TestTypes:
    @pytest.mark.parametrize(("value", "text"), SMALL_TYPES.values(), ids=SMALL_TYPES)
    def test_repr_is_the_expression(self, value: Term, text: str) -> None:
        assert repr(value) == text
        assert shape(eval(text)) == shape(value)

    @pytest.mark.parametrize(("value", "text"), SMALL_TYPES.values(), ids=SMALL_TYPES)
    def test_copies_are_equal(self, value: Term, text: str) -> None:
        copies = [pickle.loads(pickle.dumps(value, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
        for again in (*copies, copy.copy(value), copy.deepcopy(value)):
            assert again == value
            assert shape(again) == shape(value)

    @pytest.mark.parametrize("name", [name for name in SMALL_TYPES if name not in ("Atom", "ErlangMap")])
    def test_fields_make_equality_and_hash(self, name: str) -> None:
        value = SMALL_TYPES[name][0]
        parts = [getattr(value, field.name) for field in fields(value)]
        twin = type(value)(*parts)
        assert value == twin
        assert hash(value) == hash(twin)
        for field in fields(value):
            other = replace(value, **{field.name: "other"})
            assert value != other
            assert hash(value) != hash(other)
        assert value != tuple(parts)

    @pytest.mark.parametrize("name", [name for name in SMALL_TYPES if name not in ("Atom", "ErlangMap")])
    def test_is_frozen_and_small(self, name: str) -> None:
        value = SMALL_TYPES[name][0]
        for field in fields(value):
            with pytest.raises(FrozenInstanceError):
                setattr(value, field.name, None)
        assert not hasattr(value, "__dict__")

    def test_types_of_equal_fields_differ(self) -> None:
        values: list[object] = [Port(NODE_NAME, 1, 2), Export(NODE_NAME, Atom("1"), 2), Pid(NODE_NAME, 1, 0, 2)]
        assert len(set(values)) == 3
        assert len({Port(NODE_NAME, 1, 2), replace(Port(NODE_NAME, 0, 2), id=1)}) == 1

    def test_atom_is_the_text_of_its_name(self) -> None:
        atom = Atom("ok")
        assert isinstance(atom, str)
        assert atom == "ok"
        assert hash(atom) == hash("ok")
        assert {"ok": 1}[atom] == 1
        assert atom != Atom("OK")
        assert type(str(atom)) is str
        assert f"{atom}" == "ok"
        assert type(atom + "") is str
        assert not hasattr(atom, "__dict__")

    def test_map_reads_like_a_dict(self) -> None:
        value = ErlangMap([(1, "int"), (1.0, "float"), (True, "bool"), ([1], "list"), ({2: 3}, "map")])
        assert len(value) == 5
        assert [value[1], value[1.0], value[True], value[[1]], value[{2: 3}]] == ["int", "float", "bool", "list", "map"]
        assert [shape(key) for key in value] == [shape(key) for key in (1, 1.0, True, [1], {2: 3})]
        assert value.items()[1] == (1.0, "float")
        assert [1] in value
        assert 1 in value
        assert [1.0] not in value
        assert (1,) not in value
        assert Atom("true") not in value

    @pytest.mark.parametrize("key", [2, 0.0, False, [], [1.0], {2: 3.0}, Atom("1"), None])
    def test_map_knows_no_other_key(self, key: Term) -> None:
        value = ErlangMap([(1, 1), (1.0, 2), ([1], 3), ({2: 3}, 4), (0, 5), (-0.0, 6)])
        assert key not in value
        with pytest.raises(KeyError):
            value[key]

    def test_map_finds_a_map_as_key_in_either_form_and_any_order(self) -> None:
        value = ErlangMap([({1: 2, 3: [4]}, "found")])
        assert value[{3: [4], 1: 2}] == "found"
        assert value[ErlangMap([(3, [4]), (1, 2)])] == "found"
        assert ErlangMap([(ErlangMap([([], 2), (3, 4)]), 5)])[ErlangMap([(3, 4), ([], 2)])] == 5

    def test_map_tells_funs_apart_by_all_their_fields(self) -> None:
        """As a ``dict`` does."""
        funs = [fun_value([]), fun_value([1]), fun_value([1.0]), replace(fun_value([]), pid=Pid(NODE_NAME, 9, 9, 9))]
        value = ErlangMap([(key, number) for number, key in enumerate(funs)])
        assert [value[key] for key in copy.deepcopy(funs)] == [0, 1, 2, 3]
        assert fun_value([True]) not in value

    def test_map_equality(self) -> None:
        value = ErlangMap([(1, [2]), ([], ErlangMap([({}, 3)]))])
        assert value == ErlangMap([([], ErlangMap([({}, 3)])), (1, [2])])
        assert value != ErlangMap([(1, [2])])
        assert value != ErlangMap([(1, [2.0]), ([], ErlangMap([({}, 3)]))])
        assert value != ErlangMap([(1.0, [2]), ([], ErlangMap([({}, 3)]))])
        assert value != ErlangMap([(1, (2,)), ([], ErlangMap([({}, 3)]))])
        assert ErlangMap([(1, 2)]) != {1: 2}
        assert ErlangMap([(0.0, 1)]) != ErlangMap([(-0.0, 1)])
        assert ErlangMap([(1, {2: 3})]) == ErlangMap([(1, ErlangMap([(2, 3)]))])

    def test_map_is_not_hashable(self) -> None:
        with pytest.raises(TypeError, match="unhashable"):
            hash(ErlangMap([]))

    @pytest.mark.parametrize("key", [1, 1.5, b"", [], (1, [2]), {1: [2]}, ImproperList(([],), 1), PID_VALUE])
    def test_map_refuses_equal_keys(self, key: Term) -> None:
        with pytest.raises(ValueError, match="duplicate key"):
            ErlangMap([(key, 1), ("other", 2), (copy.deepcopy(key), 3)])

    def test_map_refuses_a_flood_of_keys_with_one_hash(self) -> None:
        with pytest.raises(ValueError, match="share one hash"):
            ErlangMap([(number * (2**61 - 1), 0) for number in range(257)])


# --- encoding ----------------------------------------------------------------------------------------------------


class Text(str):
    """A string of a class of its own."""


class Number(IntEnum):
    ONE = 1


def changed(value: Term, **fields: Term) -> Term:
    """As `replace`, for values that its types would not let pass."""
    return replace(value, **fields)


ENCODED: dict[str, tuple[Term, bytes]] = {
    "0": (0, b"a\x00"),
    "255": (255, b"a\xff"),
    "256": (256, b"b\x00\x00\x01\x00"),
    "-1": (-1, b"b\xff\xff\xff\xff"),
    "2**31 - 1": (2**31 - 1, b"b\x7f\xff\xff\xff"),
    "2**31": (2**31, b"n\x04\x00\x00\x00\x00\x80"),
    "-2**31": (-(2**31), b"b\x80\x00\x00\x00"),
    "-2**31 - 1": (-(2**31) - 1, b"n\x04\x01\x01\x00\x00\x80"),
    "2**40 - 1": (2**40 - 1, b"n\x05\x00\xff\xff\xff\xff\xff"),
    "2**40": (2**40, b"n\x06\x00\x00\x00\x00\x00\x00\x01"),
    "2**2040 - 1": (2**2040 - 1, b"n\xff\x00" + b"\xff" * 255),
    "2**2040": (2**2040, b"o" + u32(256) + b"\x00" + bytes(255) + b"\x01"),
    "-2**2040": (-(2**2040), b"o" + u32(256) + b"\x01" + bytes(255) + b"\x01"),
    "1.5": (1.5, b"F\x3f\xf8" + bytes(6)),
    "-0.0": (-0.0, b"F\x80" + bytes(7)),
    "True": (True, b"w\x04true"),
    "False": (False, b"w\x05false"),
    "atom": (Atom("ok"), b"w\x02ok"),
    "empty atom": (Atom(""), b"w\x00"),
    "atom in utf-8": (Atom("é日"), b"w\x05\xc3\xa9\xe6\x97\xa5"),
    "atom of 255 bytes": (Atom("a" * 255), b"w\xff" + b"a" * 255),
    "atom of 256 bytes": (Atom("é" * 128), b"v\x01\x00" + b"\xc3\xa9" * 128),
    "atom of 255 characters": (Atom("😀" * 255), b"v" + u16(1020) + "😀".encode() * 255),
    "text": ("é日", b"m" + u32(5) + b"\xc3\xa9\xe6\x97\xa5"),
    "text of a class of its own": (Text("a"), b"m" + u32(1) + b"a"),
    "empty text": ("", b"m" + u32(0)),
    "text true": ("true", b"m" + u32(4) + b"true"),
    "binary": (b"\x00\xff", b"m" + u32(2) + b"\x00\xff"),
    "()": ((), b"h\x00"),
    "255 elements": ((1,) * 255, b"h\xff" + b"a\x01" * 255),
    "256 elements": ((1,) * 256, b"i" + u32(256) + b"a\x01" * 256),
    "[]": ([], b"j"),
    "[0, 255]": ([0, 255], b"k" + u16(2) + b"\x00\xff"),
    "[256]": ([256], b"l" + u32(1) + b"b" + u32(256) + b"j"),
    "[-1]": ([-1], b"l" + u32(1) + b"b\xff\xff\xff\xffj"),
    "[1, True]": ([1, True], b"l" + u32(2) + b"a\x01w\x04truej"),
    "[1.0]": ([1.0], b"l" + u32(1) + new_float(1.0) + b"j"),
    "[1, []]": ([1, []], b"l" + u32(2) + b"a\x01jj"),
    "65535 bytes in a list": ([7] * 65535, b"k\xff\xff" + b"\x07" * 65535),
    "65536 bytes in a list": ([7] * 65536, b"l" + u32(65536) + b"a\x07" * 65536 + b"j"),
    "improper list": (ImproperList((1, 2), Atom("x")), b"l" + u32(2) + b"a\x01a\x02w\x01x"),
    "improper tail": (ImproperList((1,), ImproperList((2,), 3)), b"l" + u32(1) + b"a\x01l" + u32(1) + b"a\x02a\x03"),
    "bit string": (BitString(b"a\xe0", 3), b"M" + u32(2) + b"\x03a\xe0"),
    "seven bits": (BitString(b"\xfe", 7), b"M" + u32(1) + b"\x07\xfe"),
    "pid": (PID_VALUE, PID),
    "port": (Port(NODE_NAME, 1, 2), b"Y" + NODE + u32(1) + u32(2)),
    "port of 28 bits": (Port(NODE_NAME, 2**28 - 1, 2), b"Y" + NODE + u32(2**28 - 1) + u32(2)),
    "port of 29 bits": (Port(NODE_NAME, 2**28, 2), b"x" + NODE + u64(2**28) + u32(2)),
    "port of 64 bits": (Port(NODE_NAME, 2**64 - 1, 2), b"x" + NODE + u64(2**64 - 1) + u32(2)),
    "reference": (Reference(NODE_NAME, 1, (2, 3)), b"Z" + u16(2) + NODE + u32(1) + u32(2) + u32(3)),
    "export": (Export(Atom("m"), Atom("f"), 256), EXPORT + b"b" + u32(256)),
    "fun": (fun_value(), fun()),
    "fun with variables": (fun_value([], 1), fun(free=(b"j", b"a\x01"))),
    "dict": ({Atom("a"): 1, (2,): []}, b"t" + u32(2) + b"w\x01aa\x01h\x01a\x02j"),
    "empty dict": ({}, b"t" + u32(0)),
    "ErlangMap": (ErlangMap([([], 1), (2, [])]), b"t" + u32(2) + b"ja\x01a\x02j"),
    "node given as str": (changed(PID_VALUE, node="n@host"), PID),
}

LATIN1: dict[str, tuple[Term, bytes]] = {
    "atom": (Atom("ok"), b"d\x00\x02ok"),
    "latin-1 atom": (Atom("é"), b"d\x00\x01\xe9"),
    "atom of 255 characters": (Atom("ÿ" * 255), b"d\x00\xff" + b"\xff" * 255),
    "other atom": (Atom("é日"), b"w\x05\xc3\xa9\xe6\x97\xa5"),
    "other long atom": (Atom("日" * 86), b"v\x01\x02" + "日".encode() * 86),
    "True": (True, b"d\x00\x04true"),
    "text stays utf-8": ("é", b"m" + u32(2) + b"\xc3\xa9"),
    "tuple": ((Atom("a"),), b"h\x01d\x00\x01a"),
    "list": ([Atom("a")], b"l" + u32(1) + b"d\x00\x01aj"),
    "improper list": (ImproperList((Atom("a"),), Atom("b")), b"l" + u32(1) + b"d\x00\x01ad\x00\x01b"),
    "map": ({Atom("a"): Atom("b")}, b"t" + u32(1) + b"d\x00\x01ad\x00\x01b"),
    "pid": (Pid(Atom("n"), 1, 2, 3), b"Xd\x00\x01n" + u32(1) + u32(2) + u32(3)),
    "port": (Port(Atom("n"), 1, 2), b"Yd\x00\x01n" + u32(1) + u32(2)),
    "reference": (Reference(Atom("n"), 1, (2,)), b"Z\x00\x01d\x00\x01n" + u32(1) + u32(2)),
    "export": (Export(Atom("m"), Atom("f"), 1), b"qd\x00\x01md\x00\x01fa\x01"),
    "fun": (
        replace(fun_value(Atom("a")), pid=Pid(Atom("n"), 1, 2, 3)),
        fun(module=b"d\x00\x01m", pid=b"Xd\x00\x01n" + u32(1) + u32(2) + u32(3), free=(b"d\x00\x01a",)),
    ),
}


def endless(kind: str) -> Term:
    """A value that contains itself."""
    inner: list[Term] = []
    value: Term = {"list": inner, "tuple": (inner,), "dict": {1: inner}, "tail": ImproperList((inner,), 1)}[kind]
    inner.append(value)
    return value


NO_TERMS: dict[str, tuple[Term, str]] = {
    "None": (None, r"Atom\('undefined'\)"),
    "NaN": (float("nan"), "no float for nan"),
    "infinity": (float("inf"), "no float for inf"),
    "negative infinity": (float("-inf"), "no float for -inf"),
    "atom of 256 characters": (Atom("a" * 256), "256 characters"),
    "text with a lone surrogate": ("a\ud800", "lone surrogate"),
    "atom with a lone surrogate": (Atom("\udfff"), "lone surrogate"),
    "set": ({1}, "no Erlang term for a set"),
    "bytearray": (bytearray(b"a"), "no Erlang term for a bytearray"),
    "complex": (1j, "no Erlang term for a complex"),
    "class": (int, "no Erlang term for a type"),
    "member of an enumeration": (Number.ONE, "no Erlang term for a Number"),
    "bit string without data": (BitString(b"", 1), "BitString"),
    "bit string of no bit": (BitString(b"a", 0), "BitString"),
    "bit string of eight bits": (BitString(b"a", 8), "BitString"),
    "bit string of -1 bits": (BitString(b"a", -1), "BitString"),
    "bit string with bits to spare": (BitString(b"\xe1", 3), "unused bits"),
    "improper list without items": (ImproperList((), 1), "ImproperList"),
    "improper list with a list as tail": (ImproperList((1,), [2]), "ImproperList"),
    "pid's id of 33 bits": (Pid(NODE_NAME, 2**32, 0, 0), "4294967296 does not fit into 4"),
    "pid's negative serial": (Pid(NODE_NAME, 0, -1, 0), "-1 does not fit into 4"),
    "pid's creation of 33 bits": (Pid(NODE_NAME, 0, 0, 2**32), "does not fit into 4"),
    "pid's node of 256 characters": (Pid(Atom("n" * 256), 0, 0, 0), "256 characters"),
    "port's id of 65 bits": (Port(NODE_NAME, 2**64, 0), "does not fit into 8"),
    "port's negative id": (Port(NODE_NAME, -1, 0), "does not fit into 4"),
    "port's creation of 33 bits": (Port(NODE_NAME, 0, 2**32), "does not fit into 4"),
    "reference of six words": (Reference(NODE_NAME, 0, (0,) * 6), "at most 5"),
    "reference's word of 33 bits": (Reference(NODE_NAME, 0, (0, 2**32)), "does not fit into 4"),
    "reference's negative creation": (Reference(NODE_NAME, -1, (0,)), "does not fit into 4"),
    "negative arity": (Export(Atom("m"), Atom("f"), -1), "arity"),
    "arity of 32 bits": (Export(Atom("m"), Atom("f"), 2**31), "arity"),
    "arity True": (Export(Atom("m"), Atom("f"), True), "arity"),
    "fun's arity of 9 bits": (fun_value(arity=256), "does not fit into 1"),
    "fun's short uniq": (replace(fun_value(), uniq=bytes(15)), "16 bytes"),
    "fun's long uniq": (replace(fun_value(), uniq=bytes(17)), "16 bytes"),
    "fun's index of 33 bits": (replace(fun_value(), index=2**32), "does not fit into 4"),
    "fun's old index": (replace(fun_value(), old_index=True), "old_index"),
    "fun's old uniq": (changed(fun_value(), old_uniq=1.0), "old_uniq"),
    "fun's pid": (changed(fun_value(), pid=NODE_NAME), "Pid"),
    "fun's variable": (fun_value(None), "None"),
    "text and binary as keys": ({"a": 1, b"a": 2}, "two keys"),
    "True and true as keys": ({True: 1, Atom("true"): 2}, "two keys"),
    "keys inside keys": (ErlangMap([(("a", []), 1), ((b"a", []), 2)]), "two keys"),
    "list in itself": (endless("list"), "contain themselves"),
    "tuple in itself": (endless("tuple"), "contain themselves"),
    "dict in itself": (endless("dict"), "contain themselves"),
    "improper list in itself": (endless("tail"), "contain themselves"),
}


class TestEncode:
    @pytest.mark.parametrize(("value", "body"), ENCODED.values(), ids=ENCODED)
    def test_bytes(self, value: Term, body: bytes) -> None:
        data = encode(value)
        assert data == b"\x83" + body
        assert type(data) is bytes

    @pytest.mark.parametrize(("value", "body"), LATIN1.values(), ids=LATIN1)
    def test_latin1_atoms(self, value: Term, body: bytes) -> None:
        assert encode(value, latin1_atoms=True) == b"\x83" + body

    @pytest.mark.parametrize(("value", "message"), NO_TERMS.values(), ids=NO_TERMS)
    def test_what_has_no_term(self, value: Term, message: str) -> None:
        for latin1_atoms in (False, True):
            with pytest.raises(EncodeError, match=message) as caught:
                encode(value, latin1_atoms=latin1_atoms)
            assert caught.value.__cause__ is None

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda inner: (1, inner),
            lambda inner: [1, inner],
            lambda inner: {1: inner},
            lambda inner: {inner: 1},
            lambda inner: ImproperList((inner,), 1),
            lambda inner: ImproperList((1,), inner),
            lambda inner: ErlangMap([([], 1), (inner, 2)]),
        ],
        ids=["tuple", "list", "value", "key", "item", "tail", "ErlangMap"],
    )
    def test_what_has_no_term_inside_what_has(self, wrap: Callable[[Term], Term]) -> None:
        with pytest.raises(EncodeError, match="None"):
            encode(wrap(None))

    def test_an_error_leaves_nothing_behind(self) -> None:
        with pytest.raises(EncodeError):
            encode([1, None])
        assert encode([1]) == b"\x83k\x00\x01\x01"

    def test_nesting(self) -> None:
        value: Term = 1
        for _ in range(127):
            value = [value, {1: (value,)}] if value == 1 else [value]
        assert shape(decode(encode(value), limits=Limits(max_depth=200))) == shape(value)
        for _ in range(5000):
            value = (value,)
        with pytest.raises(EncodeError, match="nest too deeply"):
            encode(value)

    def test_compressed(self) -> None:
        value = [bytes(1000), Atom("é")]
        plain = encode(value)
        data = encode(value, compressed=True)
        assert data[:6] == b"\x83P" + u32(len(plain) - 1)
        assert zlib.decompress(data[6:]) == plain[1:]
        assert len(data) < 100
        assert type(data) is bytes

    @pytest.mark.parametrize("size", range(40))
    def test_compressed_only_where_that_is_shorter(self, size: int) -> None:
        value = b"a" * size
        plain = encode(value)
        data = encode(value, compressed=True)
        shorter = 1 + 5 + len(zlib.compress(plain[1:]))
        assert len(data) == min(len(plain), shorter)
        assert (data == plain) == (shorter >= len(plain))

    def test_options_together(self) -> None:
        value = [Atom("é")] * 100
        data = encode(value, compressed=True, latin1_atoms=True)
        assert zlib.decompress(data[6:]) == b"l" + u32(100) + b"d\x00\x01\xe9" * 100 + b"j"


# --- generated terms ---------------------------------------------------------------------------------------------

NAMES = st.one_of(
    st.text(string.ascii_lowercase + "_é", max_size=8),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=255),
    st.sampled_from(["undefined", "nil"]),
    st.builds(mul, st.sampled_from("aé日"), st.integers(253, 255)),
)
ATOMS = NAMES.filter(lambda name: name not in ("true", "false")).map(Atom)
NODES = st.from_regex(r"[a-z]{1,8}@[a-zé]{1,8}", fullmatch=True).map(Atom)
WORDS = st.integers(0, 2**32 - 1)
NOTHING_ELSE: st.SearchStrategy[Term] = st.nothing()
PIDS = st.builds(Pid, NODES, WORDS, WORDS, WORDS)


def edge(bits: int, step: int, sign: int) -> int:
    return sign * ((1 << bits) + step)


def cut_bits(data: bytes, last_bits: int) -> BitString:
    return BitString(data[:-1] + bytes([data[-1] & (0xFF00 >> last_bits)]), last_bits)


def improper(items: list[Term], tail: Term) -> ImproperList:
    return ImproperList(tuple(items), (tail,) if isinstance(tail, list | ImproperList) else tail)


def as_map(drawn: list[tuple[Term, Term]]) -> Term:
    pairs = list({shape(pair[0]): pair for pair in drawn}.values())
    try:
        plain = dict(pairs)
    except TypeError:
        return ErlangMap(pairs)
    return plain if len(plain) == len(pairs) else ErlangMap(pairs)


def made_unique(value: Fun) -> Fun:
    """Erlang knows code by module, index and the old uniq alone, and takes funs of the same code for equal."""
    return replace(value, old_uniq=zlib.crc32(repr(value).encode()) - 2**31)


def terms(*, negative_zero: bool = True, others: st.SearchStrategy[Term] = NOTHING_ELSE) -> st.SearchStrategy[Term]:
    """Terms of every kind that `decode` gives, and of others."""
    floats = st.floats(allow_nan=False, allow_infinity=False)
    leaves = st.one_of(
        st.integers(),
        st.builds(
            edge, st.sampled_from([7, 8, 31, 32, 63, 64, 2040, 8191]), st.integers(-1, 1), st.sampled_from([1, -1])
        ),
        floats if negative_zero else floats.map(lambda number: number + 0.0),
        st.booleans(),
        ATOMS,
        st.binary(),
        st.builds(cut_bits, st.binary(min_size=1), st.integers(1, 7)),
        PIDS,
        st.builds(Port, NODES, st.integers(0, 2**64 - 1), WORDS),
        st.builds(Reference, NODES, WORDS, st.lists(WORDS, min_size=1, max_size=5).map(tuple)),
        st.builds(Export, ATOMS, ATOMS, st.integers(0, 2**31 - 1)),
        st.lists(st.integers(0, 255)),
        others,
    )

    def holders(inner: st.SearchStrategy[Term]) -> st.SearchStrategy[Term]:
        lists = st.lists(inner, max_size=6)
        signed = st.integers(-(2**31), 2**31 - 1)
        uniq = st.binary(min_size=16, max_size=16)
        funs = st.builds(Fun, ATOMS, WORDS, uniq, st.integers(0, 255), signed, st.just(0), PIDS, lists.map(tuple)).map(
            made_unique
        )
        return st.one_of(
            lists,
            lists.map(tuple),
            st.builds(improper, st.lists(inner, min_size=1, max_size=4), inner),
            st.lists(st.tuples(inner, inner), max_size=5).map(as_map),
            funs,
        )

    return st.recursive(leaves, holders, max_leaves=12)


RUBBISH = st.lists(
    st.one_of(
        st.sampled_from(sorted(SMALL)).map(SMALL.__getitem__),
        st.sampled_from([70, 77, 80, 82, 88, 89, 90, *range(97, 122)]).map(lambda tag: bytes([tag])),
        st.binary(max_size=4),
        st.sampled_from([u32(0), u32(1), u32(2), u32(2**32 - 1), u16(1), b"h\x02", b"l" + u32(2), b"t" + u32(1)]),
    ),
    max_size=12,
).map(b"".join)


class TestGenerated:
    @GENERATED
    @given(terms())
    def test_decoding_reverses_encoding(self, value: Term) -> None:
        again = decode(encode(value))
        assert shape(again) == shape(value)
        assert again == value

    @FEWER
    @given(terms())
    def test_options_change_nothing_but_bytes(self, value: Term) -> None:
        for compressed in (False, True):
            for latin1_atoms in (False, True):
                data = encode(value, compressed=compressed, latin1_atoms=latin1_atoms)
                assert shape(decode(data)) == shape(value)

    @GENERATED
    @given(st.dictionaries(st.integers() | ATOMS | st.binary(), st.integers()))
    def test_maps_keep_their_order(self, value: dict[Term, int]) -> None:
        assert list(decode(encode(value)).items()) == list(value.items())

    @GENERATED
    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_text_becomes_a_binary(self, text: str) -> None:
        assert decode(encode(text)) == text.encode()

    @GENERATED
    @given(
        st.one_of(st.binary(), st.binary().map(lambda data: b"\x83" + data), RUBBISH.map(lambda data: b"\x83" + data))
    )
    @example(b"\x83t" + u32(1) + b"t" + u32(1) + b"jjj")
    def test_any_bytes(self, data: bytes) -> None:
        """A DecodeError, or a value whose encoding is settled."""
        value = outcome(data)
        if isinstance(value, DecodeError):
            assert str(value).startswith(value.reason)
        else:
            settled = encode(value)
            assert shape(decode(settled)) == shape(value)
            assert encode(decode(settled)) == settled

    @GENERATED
    @given(RUBBISH)
    def test_any_bytes_compressed(self, data: bytes) -> None:
        """The same value, or a refusal at the same place."""
        plain, inflated = outcome(b"\x83" + data), outcome(b"\x83" + packed(data))
        if data.startswith(b"P"):
            assert isinstance(inflated, DecodeError)
        elif isinstance(plain, DecodeError):
            assert isinstance(inflated, DecodeError)
            assert (plain.reason, plain.tag) == (inflated.reason, inflated.tag)
            assert (plain.offset, inflated.offset) == (plain.offset, (plain.offset or 0) - 1)
        else:
            assert shape(inflated) == shape(plain)

    @FEWER
    @given(terms(), st.data())
    def test_a_part_of_a_term_is_none(self, value: Term, data: st.DataObject) -> None:
        whole = encode(value)
        refused(whole[: data.draw(st.integers(0, len(whole) - 1))])
