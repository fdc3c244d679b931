"""From bytes to terms: the one decoder, which may be compiled by mypyc.

Source: the chapter "External Term Format" of Erlang/OTP's ERTS user's guide. See :mod:`basix_cti.etf` for what comes
out. It is written to be fast as plain Python and faster compiled: leaves are read in the loop of their container, and
offsets are ``i64``, which means a machine word to the compiler and nothing to Python.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from math import isfinite, nan
from typing import TYPE_CHECKING, Final, TypeAlias

from .errors import DecodeError
from .limits import Limits
from .terms import BERT, UNDEFINED, Atom, BitString, Export, Fun, ImproperList, Pid, Port, Reference, Term, make_map

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["COMPILED", "MAX_ARITY", "MAX_ATOM_CHARS", "MAX_REFERENCE_WORDS", "TupleHook", "decode_counted"]

TupleHook: TypeAlias = Callable[[tuple[Term, ...]], Term]
"""What makes a value of a tuple whose first element is the atom ``bert``."""

MAX_ATOM_CHARS: Final = 255
MAX_REFERENCE_WORDS: Final = 5
MAX_ARITY: Final = 0x7FFFFFFF

#: True where this module, and so the others of its kind, were compiled.
COMPILED: Final = not __file__.endswith((".py", ".pyc"))

_VERSION: Final = 131
_from_bytes: Final = int.from_bytes
_U32: Final = struct.Struct(">I").unpack_from
_I32: Final = struct.Struct(">i").unpack_from
_F64: Final = struct.Struct(">d").unpack_from

# Erlang reads as far as the first NUL, and takes a comma for the point.
_FLOAT_TEXT: Final = re.compile(rb"([+-]?[0-9]+)[.,]([0-9]+(?:[eE][+-]?[0-9]+)?)(?:\0.*)?", re.DOTALL)
_REFUSED: Final = {
    82: "an atom cache reference, valid only inside Erlang's distribution protocol",
    117: "a fun in the form that Erlang dropped in OTP 23",
    121: "a node-local term, opaque by definition",
}

_TRUNCATED: Final = {
    100: "truncated atom",
    107: "truncated string",
    109: "truncated binary",
    110: "truncated integer",
    115: "truncated atom",
    119: "truncated atom",
}

# Compiled code has no recursion limit of its own, and would end the process instead.
_DEEPEST: Final = 1000
# A machine word is all that the counters have.
_UNBOUNDED: Final = 1 << 62

_ATOM_CACHE_SIZE: Final = 4096
# By their whole encoding, tag and length included: what is found here needs no further look. The first of them are
# always the same objects, so that a reader may ask ``is UNDEFINED``.
_FIXED_ATOMS: Final[dict[bytes, Atom | bool]] = {
    head + bytes([len(name)]) + name: atom
    for name, atom in ((b"undefined", UNDEFINED), (b"bert", BERT), (b"true", True), (b"false", False))
    for head in (b"\x64\x00", b"\x73", b"\x76\x00", b"\x77")
}
_atoms: Final[dict[bytes, Atom | bool]] = dict(_FIXED_ATOMS)


def _fresh_atom(encoded: bytes, head: i64, offset: int) -> Atom:
    """The atom that is encoded so, and into the cache with it.

    Args:
        encoded: tag, length and name, where the name may be cut off by the end of the data.
        head: how many bytes are before the name.
        offset: where that is.
    """
    tag = encoded[0]
    raw = encoded[head:]
    length = len(raw)
    if head == 2:
        if length != encoded[1]:
            raise DecodeError("truncated atom", offset, tag)
    else:
        told = encoded[1] << 8 | encoded[2]
        if tag == 100 and told > MAX_ATOM_CHARS:
            raise DecodeError(f"atom of {told} characters, Erlang allows {MAX_ATOM_CHARS}", offset, tag)
        if length != told:
            raise DecodeError("truncated atom", offset, tag)
    try:
        name = raw.decode("latin-1" if tag == 100 or tag == 115 else "utf-8")
    except UnicodeDecodeError:
        raise DecodeError("atom is not valid UTF-8", offset, tag) from None
    if length > MAX_ATOM_CHARS and len(name) > MAX_ATOM_CHARS:
        raise DecodeError(f"atom of {len(name)} characters, Erlang allows {MAX_ATOM_CHARS}", offset, tag)
    if len(_atoms) >= _ATOM_CACHE_SIZE:
        _atoms.clear()
        _atoms.update(_FIXED_ATOMS)
    atom = _atoms[encoded] = Atom(name)
    return atom


class _Decoder:
    """One pass over one buffer. ``pos`` is where the next term starts."""

    __slots__ = ("buf", "counted", "hook", "max_depth", "max_integer", "pos", "room", "size")

    def __init__(self, buf: bytes, pos: i64, limits: Limits, hook: TupleHook | None) -> None:
        self.buf = buf
        self.pos: i64 = pos
        self.size: i64 = len(buf)
        # A conditional costs half of what min() does.
        self.room: i64 = limits.max_terms if limits.max_terms < _UNBOUNDED else _UNBOUNDED
        self.max_depth: i64 = limits.max_depth if limits.max_depth < _DEEPEST else _DEEPEST
        self.max_integer: i64 = limits.max_integer if limits.max_integer < _UNBOUNDED else _UNBOUNDED
        self.counted: i64 = self.room
        self.hook = hook

    def terms(self, count: i64, depth: i64) -> list[Term]:
        """The next ``count`` terms. Leaves are read in this loop: a call for each would double the time.

        Whether a leaf is whole is not asked leaf by leaf. One that is not leads behind the end, where the next byte is
        missed.
        """
        buf = self.buf
        size: i64 = self.size
        pos: i64 = self.pos
        start: i64 = pos
        length: i64
        tag: i64 = 0
        if count > size - pos:
            raise DecodeError(f"{count} terms announced, {size - pos} bytes left", pos)
        if depth > self.max_depth and count:
            raise DecodeError(f"terms nested deeper than the limit of {self.max_depth}", pos)
        room: i64 = self.room - count
        if room < 0:
            raise DecodeError("more terms than the limit allows", pos)
        self.room = room
        atoms = _atoms
        out: list[Term] = []
        try:
            for _ in range(count):
                tag = buf[pos]
                start = pos
                if tag == 100:  # ATOM_EXT
                    pos += 3 + buf[pos + 2]
                    encoded = buf[start:pos]
                    try:
                        out.append(atoms[encoded])
                    except KeyError:
                        out.append(_fresh_atom(encoded, 3, start))
                elif tag == 109:  # BINARY_EXT
                    if COMPILED:  # a byte is an instruction then, and a call is dear; else the other way round
                        length = buf[pos + 4]
                        if buf[pos + 3] or buf[pos + 2] or buf[pos + 1]:
                            length += buf[pos + 1] << 24 | buf[pos + 2] << 16 | buf[pos + 3] << 8
                    else:
                        length = _U32(buf, pos + 1)[0]
                    pos += 5 + length
                    out.append(buf[start + 5 : pos])
                elif tag == 97:  # SMALL_INTEGER_EXT
                    out.append(buf[pos + 1])
                    pos += 2
                elif tag == 104:  # SMALL_TUPLE_EXT
                    self.pos = pos + 2
                    items = tuple(self.terms(buf[pos + 1], depth + 1))
                    pos = self.pos
                    if items and items[0] is BERT and self.hook is not None:
                        out.append(self.hook(items))
                    else:
                        out.append(items)
                elif tag == 119 or tag == 115:  # SMALL_ATOM_UTF8_EXT, SMALL_ATOM_EXT
                    pos += 2 + buf[pos + 1]
                    encoded = buf[start:pos]
                    try:
                        out.append(atoms[encoded])
                    except KeyError:
                        out.append(_fresh_atom(encoded, 2, start))
                elif tag == 110:  # SMALL_BIG_EXT
                    length = buf[pos + 1]
                    if length > self.max_integer:
                        raise DecodeError(f"integer of {length} bytes, the limit is {self.max_integer}", start, tag)
                    pos += 3 + length
                    number = _from_bytes(buf[start + 3 : pos], "little")
                    out.append(-number if buf[start + 2] else number)
                elif tag == 107:  # STRING_EXT
                    length = buf[pos + 1] << 8 | buf[pos + 2]
                    pos += 3 + length
                    room = self.room - length
                    if room < 0:
                        raise DecodeError("more terms than the limit allows", start, tag)
                    self.room = room
                    out.append(list(buf[start + 3 : pos]))
                elif tag == 98:  # INTEGER_EXT
                    out.append(_I32(buf, pos + 1)[0])
                    pos += 5
                elif tag == 106:  # NIL_EXT
                    out.append([])
                    pos += 1
                else:
                    self.pos = pos + 1
                    out.append(self.rarer(tag, start, depth))
                    pos = self.pos
        except (IndexError, struct.error):
            raise DecodeError(_TRUNCATED.get(int(tag), "truncated"), start, tag) from None
        if pos > size:
            raise DecodeError(_TRUNCATED.get(int(tag), "truncated"), start, tag)
        self.pos = pos
        return out

    def tuple_(self, length: i64, depth: i64) -> Term:
        """The tuple of the next ``length`` terms, or what the hook makes of it."""
        items = tuple(self.terms(length, depth + 1))
        if items and items[0] is BERT and self.hook is not None:
            return self.hook(items)
        return items

    def integer(self, length: i64, start: i64, tag: i64) -> int:
        """The integer of ``length`` bytes at ``pos``, its sign before them."""
        if length > self.max_integer:
            raise DecodeError(f"integer of {length} bytes, the limit is {self.max_integer}", start, tag)
        pos: i64 = self.pos
        if length > self.size - pos:
            raise DecodeError("truncated integer", start, tag)
        number = _from_bytes(self.buf[pos : pos + length], "little")
        self.pos = pos + length
        return -number if self.buf[pos - 1] else number

    def rarer(self, tag: i64, start: i64, depth: i64) -> Term:
        """The one term at ``start`` whose tag the loop above leaves to this place; ``pos`` is behind the tag."""
        length: i64
        if tag == 108:
            return self.list_(depth)
        if tag == 116:
            return self.map_(tag, start, depth)
        if tag == 105:
            return self.tuple_(self.u32(), depth)
        if tag == 111:
            length = self.u32()
            self.pos += 1
            return self.integer(length, start, tag)
        if tag == 118:
            length = self.u16()
            self.pos += length
            encoded = self.buf[start : self.pos]
            atom = _atoms.get(encoded)
            return _fresh_atom(encoded, 3, start) if atom is None else atom
        if tag == 70:
            self.pos += 8
            value = _F64(self.buf, self.pos - 8)[0]
            if not isfinite(value):
                raise DecodeError("float is not finite", start, tag)
            return value
        if tag == 99:
            text = _FLOAT_TEXT.fullmatch(self.bytes_(31, start, tag))
            value = float(text[1] + b"." + text[2]) if text else nan
            if not isfinite(value):
                raise DecodeError("float text is not a finite number", start, tag)
            return value
        if tag == 77:
            length = self.u32()
            last_bits = self.u8()
            if last_bits > 8 or (last_bits == 0) != (length == 0):
                raise DecodeError(f"{last_bits} bits in the last of {length} bytes", start, tag)
            data = self.bytes_(length, start, tag)
            if last_bits in (0, 8):
                return data
            return BitString(data[:-1] + bytes([data[-1] & (0xFF00 >> last_bits) & 0xFF]), last_bits)
        if tag == 88:
            return Pid(self.atom(tag), self.u32(), self.u32(), self.u32())
        if tag == 103:
            return Pid(self.atom(tag), self.u32(), self.u32(), self.u8())
        if tag == 89:
            return Port(self.atom(tag), self.u32(), self.u32())
        if tag == 102:
            return Port(self.atom(tag), self.u32(), self.u8())
        if tag == 120:
            return Port(self.atom(tag), _from_bytes(self.bytes_(8, start, tag), "big"), self.u32())
        if tag == 101:
            node, word = self.atom(tag), self.u32()
            return Reference(node, self.u8(), (word,))
        if tag == 90 or tag == 114:
            words = self.u16()
            if words > MAX_REFERENCE_WORDS:
                raise DecodeError(f"reference of {words} words, Erlang allows {MAX_REFERENCE_WORDS}", start, tag)
            node = self.atom(tag)
            creation = self.u32() if tag == 90 else self.u8()
            return Reference(node, creation, tuple([self.u32() for _ in range(words)]))
        if tag == 113:
            module, function, arity = self.atom(tag), self.atom(tag), self.terms(1, depth + 1)[0]
            if type(arity) is not int or not 0 <= arity <= MAX_ARITY:
                raise DecodeError("arity is not a small integer", start, tag)
            return Export(module, function, arity)
        if tag == 112:
            return self.fun(tag, start, depth)
        refused = _REFUSED.get(int(tag))
        if refused is not None:
            raise DecodeError(f"refused: {refused}", start, tag)
        if tag == 80:
            raise DecodeError("a compressed term inside another term", start, tag)
        raise DecodeError("unknown tag", start, tag)

    def list_(self, depth: i64) -> Term:
        items = self.terms(self.u32(), depth + 1)
        if self.pos < self.size and self.buf[self.pos] == 106:
            self.pos += 1
            return items
        tail = self.terms(1, depth + 1)[0]
        if type(tail) is list:
            return items + tail
        if not items:
            return tail
        if type(tail) is ImproperList:
            return ImproperList((*items, *tail.items), tail.tail)
        return ImproperList(tuple(items), tail)

    def map_(self, tag: i64, start: i64, depth: i64) -> Term:
        flat = self.terms(2 * self.u32(), depth + 1)
        try:
            return make_map(list(zip(flat[::2], flat[1::2], strict=True)))
        except ValueError as error:
            raise DecodeError(str(error), start, tag) from None

    def fun(self, tag: i64, start: i64, depth: i64) -> Fun:
        self.u32()  # the size in bytes; Erlang does not look at it either
        arity = self.u8()
        uniq = self.bytes_(16, start, tag)
        index, free = self.u32(), self.u32()
        module = self.atom(tag)
        old_index, old_uniq, pid = self.terms(3, depth + 1)
        if type(old_index) is not int or type(old_uniq) is not int or type(pid) is not Pid:
            raise DecodeError("fun without index, uniq and pid", start, tag)
        return Fun(module, index, uniq, arity, old_index, old_uniq, pid, tuple(self.terms(free, depth + 1)))

    def atom(self, tag: i64) -> Atom:
        """The atom at ``pos``, where nothing else may stand; ``tag`` is that of the term that it is part of."""
        if self.buf[self.pos] not in (100, 115, 118, 119):
            raise DecodeError("an atom is missing", self.pos, tag)
        value = self.terms(1, 0)[0]
        return Atom(str(value).lower()) if type(value) is bool else value

    def bytes_(self, length: i64, start: i64, tag: i64) -> bytes:
        end: i64 = self.pos + length
        if end > self.size:
            raise DecodeError("truncated", start, tag)
        data = self.buf[self.pos : end]
        self.pos = end
        return data

    def u8(self) -> i64:
        self.pos += 1
        return self.buf[self.pos - 1]

    def u16(self) -> i64:
        self.pos += 2
        return self.buf[self.pos - 2] << 8 | self.buf[self.pos - 1]

    def u32(self) -> i64:
        high: i64 = self.u16()
        return high << 16 | self.u16()


def decode_counted(
    data: bytes | bytearray | memoryview, limits: Limits, hook: TupleHook | None
) -> tuple[Term, int, int]:
    """As :func:`basix_cti.etf.decode`; beside the value, the bytes of its encoding when inflated, and how many terms.

    Args:
        data, limits: as there.
        hook: what is made of a tuple that starts with the atom ``bert``; None to leave it a tuple.
    """
    size = len(data) if type(data) is bytes else memoryview(data).nbytes
    if size > limits.max_frame:
        raise DecodeError(f"{size} bytes, the limit is {limits.max_frame}")
    buf = bytes(data)
    if not buf:
        raise DecodeError("empty: a term starts with the version byte 131", 0)
    if buf[0] != _VERSION:
        raise DecodeError(f"version byte is {buf[0]}, not {_VERSION}", 0)
    pos = 1
    if size > 1 and buf[1] == 80:
        buf = _inflate(buf, limits)
        pos = 0
    decoder = _Decoder(buf, pos, limits, hook)
    try:
        value = decoder.terms(1, 1)[0]
    except RecursionError:
        raise DecodeError("terms nested deeper than the interpreter's stack allows", decoder.pos) from None
    if decoder.pos != decoder.size:
        raise DecodeError(f"{decoder.size - decoder.pos} bytes behind the term", decoder.pos)
    return value, decoder.size, decoder.counted - decoder.room


def _inflate(buf: bytes, limits: Limits) -> bytes:
    """What a compressed term (tag 80: size in 4 bytes, then zlib's format) holds, without a version byte."""
    if len(buf) < 6:
        raise DecodeError("truncated", 1, 80)
    size = _from_bytes(buf[2:6], "big")
    if size > limits.max_inflated:
        raise DecodeError(f"inflates to {size} bytes, the limit is {limits.max_inflated}", 2, 80)
    inflater = zlib.decompressobj()
    try:
        # One byte more than announced shows a term that lies about its size.
        data = inflater.decompress(memoryview(buf)[6:], size + 1)
    except zlib.error:
        raise DecodeError("not valid zlib data", 6, 80) from None
    if len(data) != size or not inflater.eof:
        raise DecodeError(f"does not inflate to the {size} bytes announced", 2, 80)
    if inflater.unused_data:
        raise DecodeError(f"{len(inflater.unused_data)} bytes behind the term", len(buf) - len(inflater.unused_data))
    return data
