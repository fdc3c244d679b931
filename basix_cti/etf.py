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

import struct
import zlib
from math import isfinite
from typing import Any

from .decoder import MAX_ARITY, MAX_ATOM_CHARS, MAX_REFERENCE_WORDS, decode_counted
from .errors import EncodeError
from .limits import DEFAULT_LIMITS, Limits
from .terms import Atom, BitString, ErlangMap, Export, Fun, ImproperList, Pid, Port, Reference, Term

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
    return decode_counted(data, limits, None)[0]


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
        if len(term.ids) > MAX_REFERENCE_WORDS:
            raise EncodeError(f"a Reference has at most {MAX_REFERENCE_WORDS} ids")
        out += b"Z" + _unsigned(len(term.ids), 2)
        _write_atom(out, term.node, latin1)
        out += _unsigned(term.creation, 4)
        for word in term.ids:
            out += _unsigned(word, 4)
    elif isinstance(term, Export):
        if type(term.arity) is not int or not 0 <= term.arity <= MAX_ARITY:
            raise EncodeError(f"an Export's arity is an integer from 0 to {MAX_ARITY}")
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
    if len(name) > MAX_ATOM_CHARS:
        raise EncodeError(f"atom of {len(name)} characters, Erlang allows {MAX_ATOM_CHARS}")
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
