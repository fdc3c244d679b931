"""The Python values of Erlang terms that Python itself has no type for; :mod:`basix_cti.etf` offers them all."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeAlias

__all__ = [
    "BERT",
    "UNDEFINED",
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
    "make_map",
]

Term: TypeAlias = Any
"""Any value of the table above."""


class Atom(str):
    """An Erlang atom: a ``str`` that encodes as an atom, at most 255 characters long.

    It equals the ``str`` of the same name. The atoms ``true`` and ``false`` are Python's ``True`` and ``False``.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Atom({str(self)!r})"


#: Erlang's word for a missing value.
UNDEFINED = Atom("undefined")
BERT = Atom("bert")


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


def make_map(pairs: list[tuple[Term, Term]]) -> dict[Term, Term] | ErlangMap:
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
