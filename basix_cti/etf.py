"""Erlang external terms and Python values: ``decode`` and ``encode``.

Source: the chapter "External Term Format" of Erlang/OTP's ERTS user's guide. Standard library only, no I/O.

=================================  ==================================================================
Erlang                             Python
=================================  ==================================================================
integer                            ``int``
float                              ``float``
atom                               :class:`Atom` (a ``str``); ``true`` and ``false`` are ``bool``
binary                             ``bytes``
bit string (not whole bytes)       :class:`BitString`
tuple                              ``tuple``
list, also ``STRING_EXT``          ``list``
improper list                      :class:`ImproperList`
map                                ``dict``; :class:`ErlangMap` where Python could not tell the keys apart
pid, port, reference               :class:`Pid`, :class:`Port`, :class:`Reference`
``fun M:F/A``, other funs          :class:`Export`, :class:`Fun`
=================================  ==================================================================

``decode(encode(x)) == x`` for every ``x`` that ``decode`` gives.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from math import isfinite, nan
from typing import Any, TypeAlias

from .errors import DecodeError, EncodeError
from .limits import DEFAULT_LIMITS, Limits

__all__ = [
    "Atom",
    "BitString",
    "ErlangMap",
    "Export",
    "Fun",
    "ImproperList",
    "Pid",
    "Port",
    "Reference",
    "Term",
    "decode",
    "encode",
]

Term: TypeAlias = Any
"""Any value of the table above."""

TupleHook: TypeAlias = Callable[[tuple[Term, ...]], Term]

_VERSION = 131


class Atom(str):
    """An Erlang atom: a ``str`` that encodes as an atom, at most 255 characters long.

    It equals the ``str`` of the same name. The atoms ``true`` and ``false`` are Python's ``True`` and ``False``.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Atom({str(self)!r})"


@dataclass(frozen=True, slots=True)
class BitString:
    """A bit string whose length is not a multiple of eight (``BIT_BINARY_EXT``).

    Args:
        data: the bytes; the unused low bits of the last one are zero.
        last_bits: how many bits of the last byte count, 1 to 7, most significant first.
    """

    data: bytes
    last_bits: int


@dataclass(frozen=True, slots=True)
class ImproperList:
    """A list whose last tail is not the empty list: ``[a, b | c]`` is ``ImproperList((a, b), c)``."""

    items: tuple[Term, ...]
    tail: Term


@dataclass(frozen=True, slots=True)
class Pid:
    """A process identifier (``PID_EXT``, ``NEW_PID_EXT``)."""

    node: Atom
    id: int
    serial: int
    creation: int


@dataclass(frozen=True, slots=True)
class Port:
    """A port identifier (``PORT_EXT``, ``NEW_PORT_EXT``, ``V4_PORT_EXT``)."""

    node: Atom
    id: int
    creation: int


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference (``REFERENCE_EXT``, ``NEW_REFERENCE_EXT``, ``NEWER_REFERENCE_EXT``); ``ids`` in wire order."""

    node: Atom
    creation: int
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Export:
    """An external fun, ``fun module:function/arity`` (``EXPORT_EXT``)."""

    module: Atom
    function: Atom
    arity: int


@dataclass(frozen=True, slots=True)
class Fun:
    """An internal fun (``NEW_FUN_EXT``). It can be passed on, not called. ``uniq`` is 16 bytes."""

    module: Atom
    index: int
    uniq: bytes
    arity: int
    old_index: int
    old_uniq: int
    pid: Pid
    free_vars: tuple[Term, ...]


class ErlangMap:
    """A map whose keys Python's ``dict`` cannot hold apart: unhashable ones, or ``1``, ``1.0`` and ``true``.

    Keys are compared as Erlang's ``=:=`` does, so ``m[1]`` and ``m[1.0]`` differ. Equality ignores the order.
    It is not hashable.

    Args:
        pairs: the (key, value) pairs.

    Raises:
        ValueError: two keys are exactly equal, or hundreds of keys share one hash.
    """

    __slots__ = ("_pairs",)

    def __init__(self, pairs: list[tuple[Term, Term]]) -> None:
        keys = [_exact(key) for key, _ in pairs]
        _refuse_flood(keys)
        self._pairs: dict[object, tuple[Term, Term]] = dict(zip(keys, pairs, strict=True))
        if len(self._pairs) != len(pairs):
            raise ValueError("duplicate key in map")

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[Term]:
        return (key for key, _ in self._pairs.values())

    def __contains__(self, key: Term) -> bool:
        return _exact(key) in self._pairs

    def __getitem__(self, key: Term) -> Term:
        return self._pairs[_exact(key)][1]

    def items(self) -> list[tuple[Term, Term]]:
        """The (key, value) pairs, in the order of the wire."""
        return list(self._pairs.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ErlangMap) and _exact(self) == _exact(other)

    def __repr__(self) -> str:
        return f"ErlangMap({self.items()!r})"


def _exact(term: Term) -> object:
    """A hashable stand-in that is equal for two terms only where Erlang's ``=:=`` holds."""
    kind = type(term)
    if kind is tuple or kind is list:
        return kind, tuple([_exact(item) for item in term])
    if kind is dict:
        return ErlangMap, frozenset((_exact(key), _exact(value)) for key, value in term.items())
    if kind is ErlangMap:  # its keys' stand-ins are kept: to make them again at every level takes time without bound
        return kind, frozenset((key, _exact(value)) for key, (_, value) in term._pairs.items())
    if kind is float:
        return kind, struct.pack(">d", term)
    if is_dataclass(kind):  # ImproperList, Fun and bert.Regex may hold what is not hashable
        return kind, tuple([_exact(getattr(term, field.name)) for field in fields(kind)])
    return kind, term


_MAX_SAME_HASH = 256


def _refuse_flood(keys: list[Term]) -> None:
    """Refuse keys made to share a hash, as multiples of 2**61 - 1 do: a ``dict`` takes the square of their number.

    Raises:
        TypeError: a key is not hashable.
        ValueError: more than 256 keys share one hash.
    """
    if len(keys) > _MAX_SAME_HASH and max(Counter(map(hash, keys)).values()) > _MAX_SAME_HASH:
        raise ValueError(f"more than {_MAX_SAME_HASH} keys of a map share one hash")


def _mapping(pairs: list[tuple[Term, Term]]) -> dict[Term, Term] | ErlangMap:
    """The ``dict`` of these pairs, or the :class:`ErlangMap` where a ``dict`` could not tell the keys apart.

    Raises:
        ValueError: as :class:`ErlangMap`.
    """
    try:
        _refuse_flood([key for key, _ in pairs])
        plain = dict(pairs)
    except TypeError:  # an unhashable key
        return ErlangMap(pairs)
    return plain if len(plain) == len(pairs) else ErlangMap(pairs)


# --- decoding ---------------------------------------------------------------------------------------------------

_U16 = struct.Struct(">H").unpack_from
_U32 = struct.Struct(">I").unpack_from
_I32 = struct.Struct(">i").unpack_from
_U64 = struct.Struct(">Q").unpack_from
_F64 = struct.Struct(">d").unpack_from

# Erlang reads as far as the first NUL, and takes a comma for the point.
_FLOAT_TEXT = re.compile(rb"([+-]?[0-9]+)[.,]([0-9]+(?:[eE][+-]?[0-9]+)?)(?:\0.*)?", re.DOTALL)
_REFUSED = {
    82: "an atom cache reference, valid only inside Erlang's distribution protocol",
    117: "a fun in the form that Erlang dropped in OTP 23",
    121: "a node-local term, opaque by definition",
}
_MAX_ATOM_CHARS = 255
_MAX_REFERENCE_WORDS = 5
_MAX_ARITY = 0x7FFFFFFF
_ATOM_CACHE_SIZE = 4096
_atoms: dict[bytes, Atom | bool] = {}


def _fresh_atom(raw: bytes, encoding: str, offset: int, tag: int) -> Atom | bool:
    """The atom named by ``raw``, and into the cache with it where both encodings read it alike."""
    try:
        name = raw.decode(encoding)
    except UnicodeDecodeError:
        raise DecodeError("atom is not valid UTF-8", offset, tag) from None
    if len(name) > _MAX_ATOM_CHARS:
        raise DecodeError(f"atom of {len(name)} characters, Erlang allows {_MAX_ATOM_CHARS}", offset, tag)
    atom = _BOOLEANS.get(name)
    if atom is None:
        atom = Atom(name)
    if raw.isascii():
        if len(_atoms) >= _ATOM_CACHE_SIZE:
            _atoms.clear()
        _atoms[raw] = atom
    return atom


_BOOLEANS: dict[str, Atom | bool] = {"true": True, "false": False}


class _Decoder:
    """One pass over one buffer. ``pos`` is where the next term starts."""

    __slots__ = ("buf", "hook", "max_depth", "max_integer", "pos", "room", "size")

    def __init__(self, buf: bytes, pos: int, limits: Limits, hook: TupleHook | None) -> None:
        self.buf = buf
        self.pos = pos
        self.size = len(buf)
        self.room = limits.max_terms
        self.max_depth = limits.max_depth
        self.max_integer = limits.max_integer
        self.hook = hook

    def terms(self, count: int, depth: int) -> list[Term]:
        """The next ``count`` terms. Leaves are read in this loop: a call for each would double the time."""
        buf = self.buf
        size = self.size
        pos = self.pos
        if count > size - pos:
            raise DecodeError(f"{count} terms announced, {size - pos} bytes left", pos)
        if count and depth > self.max_depth:
            raise DecodeError(f"terms nested deeper than the limit of {self.max_depth}", pos)
        self.room -= count
        if self.room < 0:
            raise DecodeError("more terms than the limit allows", pos)
        atoms = _atoms
        out: list[Term] = []
        for _ in range(count):
            start = pos
            tag = buf[pos]
            if tag == 109:  # BINARY_EXT
                pos += 5 + _U32(buf, pos + 1)[0]
                if pos > size:
                    raise DecodeError("truncated binary", start, tag)
                out.append(buf[start + 5 : pos])
            elif tag == 119 or tag == 115:  # SMALL_ATOM_UTF8_EXT, SMALL_ATOM_EXT
                pos += 2 + buf[pos + 1]
                if pos > size:
                    raise DecodeError("truncated atom", start, tag)
                raw = buf[start + 2 : pos]
                atom = atoms.get(raw)
                if atom is None:
                    atom = _fresh_atom(raw, "utf-8" if tag == 119 else "latin-1", start, tag)
                out.append(atom)
            elif tag == 100 or tag == 118:  # ATOM_EXT, ATOM_UTF8_EXT
                pos += 3 + _U16(buf, pos + 1)[0]
                if pos > size:
                    raise DecodeError("truncated atom", start, tag)
                raw = buf[start + 3 : pos]
                atom = atoms.get(raw)
                if atom is None:
                    atom = _fresh_atom(raw, "utf-8" if tag == 118 else "latin-1", start, tag)
                out.append(atom)
            elif tag == 97:  # SMALL_INTEGER_EXT
                out.append(buf[pos + 1])
                pos += 2
            elif tag == 98:  # INTEGER_EXT
                out.append(_I32(buf, pos + 1)[0])
                pos += 5
            elif tag == 110 or tag == 111:  # SMALL_BIG_EXT, LARGE_BIG_EXT
                if tag == 110:
                    length = buf[pos + 1]
                    pos += 3
                else:
                    length = _U32(buf, pos + 1)[0]
                    pos += 6
                if length > self.max_integer:
                    raise DecodeError(f"integer of {length} bytes, the limit is {self.max_integer}", start, tag)
                negative = buf[pos - 1]
                pos += length
                if pos > size:
                    raise DecodeError("truncated integer", start, tag)
                number = int.from_bytes(buf[pos - length : pos], "little")
                out.append(-number if negative else number)
            elif tag == 107:  # STRING_EXT
                length = _U16(buf, pos + 1)[0]
                pos += 3 + length
                if pos > size:
                    raise DecodeError("truncated string", start, tag)
                self.room -= length
                if self.room < 0:
                    raise DecodeError("more terms than the limit allows", start, tag)
                out.append(list(buf[pos - length : pos]))
            elif tag == 106:  # NIL_EXT
                out.append([])
                pos += 1
            elif tag == 104 or tag == 105:  # SMALL_TUPLE_EXT, LARGE_TUPLE_EXT
                if tag == 104:
                    length = buf[pos + 1]
                    self.pos = pos + 2
                else:
                    length = _U32(buf, pos + 1)[0]
                    self.pos = pos + 5
                items = tuple(self.terms(length, depth + 1)) if length else ()
                pos = self.pos
                if self.hook is not None and items and items[0] == "bert":
                    out.append(self.hook(items))
                else:
                    out.append(items)
            elif tag == 70:  # NEW_FLOAT_EXT
                value = _F64(buf, pos + 1)[0]
                if not isfinite(value):
                    raise DecodeError("float is not finite", start, tag)
                out.append(value)
                pos += 9
            else:
                self.pos = pos + 1
                out.append(self.rarer(tag, start, depth))
                pos = self.pos
        self.pos = pos
        return out

    def rarer(self, tag: int, start: int, depth: int) -> Term:
        """The one term at ``start`` whose tag the loop above leaves to this place; ``pos`` is behind the tag."""
        if tag == 108:
            return self.list_(tag, start, depth)
        if tag == 116:
            return self.map_(tag, start, depth)
        if tag == 99:
            text = _FLOAT_TEXT.fullmatch(self.bytes_(31, start, tag))
            value = float(text[1] + b"." + text[2]) if text else nan
            if not isfinite(value):
                raise DecodeError("float text is not a finite number", start, tag)
            return value
        if tag == 77:
            length, last_bits = self.u32(), self.u8()
            if last_bits > 8 or (last_bits == 0) != (length == 0):
                raise DecodeError(f"{last_bits} bits in the last of {length} bytes", start, tag)
            data = self.bytes_(length, start, tag)
            if last_bits in (0, 8):
                return data
            return BitString(data[:-1] + bytes([data[-1] & (0xFF00 >> last_bits)]), last_bits)
        if tag == 88:
            return Pid(self.atom(start, tag), self.u32(), self.u32(), self.u32())
        if tag == 103:
            return Pid(self.atom(start, tag), self.u32(), self.u32(), self.u8())
        if tag == 89:
            return Port(self.atom(start, tag), self.u32(), self.u32())
        if tag == 102:
            return Port(self.atom(start, tag), self.u32(), self.u8())
        if tag == 120:
            return Port(self.atom(start, tag), self.u64(), self.u32())
        if tag == 101:
            node, word = self.atom(start, tag), self.u32()
            return Reference(node, self.u8(), (word,))
        if tag in (90, 114):
            words = self.u16()
            if words > _MAX_REFERENCE_WORDS:
                raise DecodeError(f"reference of {words} words, Erlang allows {_MAX_REFERENCE_WORDS}", start, tag)
            node = self.atom(start, tag)
            creation = self.u32() if tag == 90 else self.u8()
            return Reference(node, creation, tuple([self.u32() for _ in range(words)]))
        if tag == 113:
            module, function, arity = self.atom(start, tag), self.atom(start, tag), self.terms(1, depth + 1)[0]
            if type(arity) is not int or not 0 <= arity <= _MAX_ARITY:
                raise DecodeError("arity is not a small integer", start, tag)
            return Export(module, function, arity)
        if tag == 112:
            return self.fun(tag, start, depth)
        if tag in _REFUSED:
            raise DecodeError(f"refused: {_REFUSED[tag]}", start, tag)
        if tag == 80:
            raise DecodeError("a compressed term inside another term", start, tag)
        raise DecodeError("unknown tag", start, tag)

    def list_(self, tag: int, start: int, depth: int) -> Term:
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

    def map_(self, tag: int, start: int, depth: int) -> Term:
        length = self.u32()
        flat = self.terms(2 * length, depth + 1)
        try:
            return _mapping(list(zip(flat[::2], flat[1::2], strict=True)))
        except ValueError as error:
            raise DecodeError(str(error), start, tag) from None

    def fun(self, tag: int, start: int, depth: int) -> Fun:
        self.u32()  # the size in bytes; Erlang does not look at it either
        arity = self.u8()
        uniq = self.bytes_(16, start, tag)
        index, free = self.u32(), self.u32()
        module = self.atom(start, tag)
        old_index, old_uniq, pid = self.terms(3, depth + 1)
        if type(old_index) is not int or type(old_uniq) is not int or type(pid) is not Pid:
            raise DecodeError("fun without index, uniq and pid", start, tag)
        return Fun(module, index, uniq, arity, old_index, old_uniq, pid, tuple(self.terms(free, depth + 1)))

    def atom(self, start: int, tag: int) -> Atom:
        if self.buf[self.pos] not in (100, 115, 118, 119):
            raise DecodeError("an atom is missing", self.pos, tag)
        value = self.terms(1, 0)[0]
        return Atom(str(value).lower()) if type(value) is bool else value

    def bytes_(self, length: int, start: int, tag: int) -> bytes:
        end = self.pos + length
        if end > self.size:
            raise DecodeError("truncated", start, tag)
        data = self.buf[self.pos : end]
        self.pos = end
        return data

    def u8(self) -> int:
        self.pos += 1
        return self.buf[self.pos - 1]

    def u16(self) -> int:
        self.pos += 2
        value: int = _U16(self.buf, self.pos - 2)[0]
        return value

    def u32(self) -> int:
        self.pos += 4
        value: int = _U32(self.buf, self.pos - 4)[0]
        return value

    def u64(self) -> int:
        self.pos += 8
        value: int = _U64(self.buf, self.pos - 8)[0]
        return value


def decode(data: bytes | bytearray | memoryview, *, limits: Limits = DEFAULT_LIMITS) -> Term:
    """The Python value of one Erlang external term.

    Args:
        data: the whole encoding, version byte 131 first and nothing behind the term.
        limits: bounds that are checked before memory is taken.

    Returns:
        The value, by the table at the top of this module.

    Raises:
        DecodeError: the bytes are not exactly one valid term, or exceed a limit. Nothing else is raised for any
            content of ``data``.
    """
    return _decode(data, limits, None)


def _decode(data: bytes | bytearray | memoryview, limits: Limits, hook: TupleHook | None) -> Term:
    return _decode_counted(data, limits, hook)[0]


def _decode_counted(
    data: bytes | bytearray | memoryview, limits: Limits, hook: TupleHook | None
) -> tuple[Term, int, int]:
    """The value, the bytes of its encoding when inflated, and how many terms it holds."""
    size = memoryview(data).nbytes
    if size > limits.max_frame:
        raise DecodeError(f"{size} bytes, the limit is {limits.max_frame}")
    buf = bytes(data)
    if not buf:
        raise DecodeError("empty: a term starts with the version byte 131", 0)
    if buf[0] != _VERSION:
        raise DecodeError(f"version byte is {buf[0]}, not {_VERSION}", 0)
    pos = 1
    if buf[1:2] == b"P":
        buf = _inflate(buf, limits)
        pos = 0
    decoder = _Decoder(buf, pos, limits, hook)
    try:
        value = decoder.terms(1, 1)[0]
    except (IndexError, struct.error):
        raise DecodeError("truncated term", len(buf)) from None
    except RecursionError:
        raise DecodeError("terms nested deeper than the interpreter's stack allows", decoder.pos) from None
    if decoder.pos != decoder.size:
        raise DecodeError(f"{decoder.size - decoder.pos} bytes behind the term", decoder.pos)
    return value, decoder.size, limits.max_terms - decoder.room


def _inflate(buf: bytes, limits: Limits) -> bytes:
    """What a compressed term (tag 80: size in 4 bytes, then zlib's format) holds, without a version byte."""
    if len(buf) < 6:
        raise DecodeError("truncated", 1, 80)
    size = _U32(buf, 2)[0]
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


# --- encoding ---------------------------------------------------------------------------------------------------


def encode(term: Term, *, compressed: bool = False, latin1_atoms: bool = False) -> bytes:
    """The Erlang external term of a Python value, as ``term_to_binary`` writes it today.

    Args:
        term: a value of the table at the top of this module. A ``str`` that is no :class:`Atom` becomes a binary of
            its UTF-8 bytes; a list of 1 to 65,535 integers from 0 to 255 becomes a ``STRING_EXT``.
        compressed: compress (tag 80) where that makes it shorter.
        latin1_atoms: write atoms with tag 100, as releases up to OTP 25 do, where Latin-1 can hold them.

    Raises:
        EncodeError: a value has no term (None, for example: say ``Atom("undefined")``), an integer or atom is too
            large, a float is not finite, or values nest too deeply.
    """
    out = bytearray()
    try:
        _write(out, term, latin1_atoms)
    except RecursionError:
        raise EncodeError("values nest too deeply, or contain themselves") from None
    if compressed:
        packed = zlib.compress(out)
        if len(packed) + 5 < len(out):
            return b"\x83P" + len(out).to_bytes(4, "big") + packed
    return b"\x83" + bytes(out)


def _write(out: bytearray, term: Term, latin1: bool) -> None:
    kind = type(term)
    if kind is bytes:
        out += b"m" + _length(term)
        out += term
    elif kind is bool:
        _write_atom(out, "true" if term else "false", latin1)
    elif kind is int:
        _write_int(out, term)
    elif kind is tuple:
        out += b"h" + bytes([len(term)]) if len(term) < 256 else b"i" + _length(term)
        for item in term:
            _write(out, item, latin1)
    elif kind is list:
        _write_list(out, term, latin1)
    elif isinstance(term, Atom):
        _write_atom(out, term, latin1)
    elif isinstance(term, str):
        _write(out, _utf8(term), latin1)
    elif kind is float:
        if not isfinite(term):
            raise EncodeError(f"Erlang has no float for {term!r}")
        out += b"F" + struct.pack(">d", term)
    elif kind is dict or kind is ErlangMap:
        out += b"t" + _length(term)
        keys = set()
        for key, value in term.items():
            start = len(out)
            _write(out, key, latin1)
            keys.add(bytes(out[start:]))
            _write(out, value, latin1)
        if len(keys) < len(term):  # "a" and b"a", for one
            raise EncodeError("two keys of a map are the same term")
    else:
        _write_rarer(out, term, latin1)


def _write_rarer(out: bytearray, term: Term, latin1: bool) -> None:
    if isinstance(term, BitString):
        if not term.data or not 0 < term.last_bits < 8:
            raise EncodeError("a BitString has data and 1 to 7 bits in its last byte")
        if term.data[-1] & (0xFF >> term.last_bits):
            raise EncodeError("the unused bits of a BitString are zero")
        out += b"M" + _length(term.data) + bytes([term.last_bits]) + term.data
    elif isinstance(term, ImproperList):
        if not term.items or type(term.tail) is list:
            raise EncodeError("an ImproperList has items, and a tail that is no list")
        out += b"l" + _length(term.items)
        for item in (*term.items, term.tail):
            _write(out, item, latin1)
    elif isinstance(term, Pid):
        out += b"X"
        _write_atom(out, term.node, latin1)
        out += _unsigned(term.id, 4) + _unsigned(term.serial, 4) + _unsigned(term.creation, 4)
    elif isinstance(term, Port):
        wide = term.id > 0xFFFFFFF
        out += b"x" if wide else b"Y"
        _write_atom(out, term.node, latin1)
        out += _unsigned(term.id, 8 if wide else 4) + _unsigned(term.creation, 4)
    elif isinstance(term, Reference):
        if len(term.ids) > _MAX_REFERENCE_WORDS:
            raise EncodeError(f"a Reference has at most {_MAX_REFERENCE_WORDS} ids")
        out += b"Z" + _unsigned(len(term.ids), 2)
        _write_atom(out, term.node, latin1)
        out += _unsigned(term.creation, 4)
        for word in term.ids:
            out += _unsigned(word, 4)
    elif isinstance(term, Export):
        if type(term.arity) is not int or not 0 <= term.arity <= _MAX_ARITY:
            raise EncodeError(f"an Export's arity is an integer from 0 to {_MAX_ARITY}")
        out += b"q"
        _write_atom(out, term.module, latin1)
        _write_atom(out, term.function, latin1)
        _write_int(out, term.arity)
    elif isinstance(term, Fun):
        if type(term.old_index) is not int or type(term.old_uniq) is not int or type(term.pid) is not Pid:
            raise EncodeError("a Fun has integers old_index and old_uniq, and a Pid")
        body = bytearray(_unsigned(term.arity, 1) + term.uniq)
        body += _unsigned(term.index, 4) + _length(term.free_vars)
        _write_atom(body, term.module, latin1)
        for item in (term.old_index, term.old_uniq, term.pid, *term.free_vars):
            _write(body, item, latin1)
        if len(term.uniq) != 16:
            raise EncodeError("a Fun's uniq has 16 bytes")
        out += b"p" + _unsigned(len(body) + 4, 4) + body
    elif term is None:
        raise EncodeError("None has no Erlang term: use Atom('undefined'), or basix_cti.bert.encode")
    else:
        raise EncodeError(f"no Erlang term for a {type(term).__name__}")


def _write_int(out: bytearray, number: int) -> None:
    if 0 <= number <= 255:
        out += b"a" + bytes([number])
    elif -0x80000000 <= number <= 0x7FFFFFFF:
        out += b"b" + number.to_bytes(4, "big", signed=True)
    else:
        magnitude = abs(number)
        raw = magnitude.to_bytes((magnitude.bit_length() + 7) // 8, "little")
        out += b"n" + bytes([len(raw)]) if len(raw) < 256 else b"o" + _length(raw)
        out += b"\x01" if number < 0 else b"\x00"
        out += raw


def _write_list(out: bytearray, items: list[Term], latin1: bool) -> None:
    if not items:
        out += b"j"
        return
    if len(items) < 65536 and all(type(item) is int and 0 <= item <= 255 for item in items):
        out += b"k" + _unsigned(len(items), 2) + bytes(items)
        return
    out += b"l" + _length(items)
    for item in items:
        _write(out, item, latin1)
    out += b"j"


def _write_atom(out: bytearray, name: str, latin1: bool) -> None:
    if len(name) > _MAX_ATOM_CHARS:
        raise EncodeError(f"atom of {len(name)} characters, Erlang allows {_MAX_ATOM_CHARS}")
    if latin1:
        try:
            raw = name.encode("latin-1")
        except UnicodeEncodeError:
            pass
        else:
            out += b"d" + _unsigned(len(raw), 2) + raw
            return
    raw = _utf8(name)
    out += b"w" + bytes([len(raw)]) if len(raw) < 256 else b"v" + _unsigned(len(raw), 2)
    out += raw


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise EncodeError("text with a lone surrogate has no UTF-8") from None


def _length(sized: Any) -> bytes:
    return _unsigned(len(sized), 4)


def _unsigned(number: int, width: int) -> bytes:
    try:
        return number.to_bytes(width, "big")
    except OverflowError:
        raise EncodeError(f"{number} does not fit into {width} unsigned bytes") from None
