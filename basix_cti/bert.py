"""BERT's conventions on top of Erlang external terms: the tagged tuples of http://bert-rpc.org/.

=============================  ==================================================
BERT                           Python
=============================  ==================================================
``{bert, nil}``                ``None``
``{bert, true}``               ``True``
``{bert, false}``              ``False``
``{bert, dict, KeysValues}``   ``dict`` (or :class:`~basix_cti.etf.ErlangMap`)
``{bert, time, M, S, U}``      aware :class:`datetime.datetime` in UTC
``{bert, regex, Src, Opts}``   :class:`Regex`
=============================  ==================================================

A ``bert`` tuple of another form, or a time that no ``datetime`` can hold, stays the tuple that it is.
A Basix PBX writes ``{bert, nil}`` also for an empty list; what it stands for is known only to the reader of the
message, who takes None for "empty" where a list is due.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

from . import decoder, etf
from .errors import EncodeError
from .limits import DEFAULT_LIMITS, Limits
from .terms import BERT, Atom, ErlangMap, Fun, ImproperList, Term, make_map

__all__ = ["Regex", "decode", "encode"]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Regex:
    """A regular expression as it was sent, not compiled: ``source`` is bytes, ``options`` a list of terms."""

    source: Term
    options: Term


def decode(data: bytes | bytearray | memoryview, *, limits: Limits = DEFAULT_LIMITS) -> Term:
    """The Python value of one BERT term.

    Args:
        data: the whole encoding, version byte 131 first.
        limits: bounds that are checked before memory is taken.

    Raises:
        DecodeError: as :func:`basix_cti.etf.decode`.
    """
    return decoder.decode_counted(data, limits, _from_bert)[0]


def decode_counted(data: bytes, limits: Limits) -> tuple[Term, int, int]:
    """As :func:`decode`; beside the value, the bytes of its encoding when inflated, and how many terms it holds."""
    return decoder.decode_counted(data, limits, _from_bert)


def encode(term: Term, *, compressed: bool = False, latin1_atoms: bool = False) -> bytes:
    """The BERT term of a Python value; a ``dict`` becomes ``{bert, dict, …}``, None ``{bert, nil}``.

    Raises:
        EncodeError: as :func:`basix_cti.etf.encode`.
    """
    try:
        tagged = _to_bert(term)
    except RecursionError:
        raise EncodeError("values nest too deeply, or contain themselves") from None
    return etf.encode(tagged, compressed=compressed, latin1_atoms=latin1_atoms)


def _from_bert(items: tuple[Term, ...]) -> Term:
    kind = items[1] if len(items) > 1 else None
    if len(items) == 2:
        if isinstance(kind, bool):
            return kind
        if kind == "nil":
            return None
    elif len(items) == 3 and kind == "dict":
        pairs = [] if items[2] is None else items[2]
        if type(pairs) is list and all(type(pair) is tuple and len(pair) == 2 for pair in pairs):
            try:
                return make_map(pairs)
            except ValueError:  # a key that is there twice
                return items
    elif len(items) == 5 and kind == "time" and all(type(part) is int for part in items[2:]):
        mega, seconds, micro = items[2:]
        try:
            return _EPOCH + timedelta(seconds=mega * 1_000_000 + seconds, microseconds=micro)
        except OverflowError:
            return items
    elif len(items) == 4 and kind == "regex":
        return Regex(items[2], items[3])
    return items


def _to_bert(term: Term) -> Term:
    kind = type(term)
    if term is None:
        return (BERT, Atom("nil"))
    if kind is bool:
        return (BERT, term)
    if kind is tuple:
        return tuple([_to_bert(item) for item in term])
    if kind is list:
        return [_to_bert(item) for item in term]
    if kind is dict or kind is ErlangMap:
        return (BERT, Atom("dict"), [(_to_bert(key), _to_bert(value)) for key, value in term.items()])
    if kind is ImproperList:
        return ImproperList(tuple([_to_bert(item) for item in term.items]), _to_bert(term.tail))
    if kind is Fun:
        return replace(term, free_vars=_to_bert(term.free_vars))
    if isinstance(term, datetime):
        if term.utcoffset() is None:
            raise EncodeError("a datetime without time zone has no BERT time")
        micros = (term - _EPOCH) // timedelta(microseconds=1)
        seconds, micro = divmod(micros, 1_000_000)
        return (BERT, Atom("time"), *divmod(seconds, 1_000_000), micro)
    if kind is Regex:
        return (BERT, Atom("regex"), _to_bert(term.source), _to_bert(term.options))
    return term
