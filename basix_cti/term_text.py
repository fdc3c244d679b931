"""Terms as text for people and programs: in Erlang's own syntax, and as JSON.

``erlang_text`` writes what ``io_lib:format("~0tp", [Term])`` writes in an Erlang that prints Unicode (``erl +pc
unicode``): lists and binaries that are printable text as text. Source: the chapter on ``io`` of OTP's stdlib manual,
and OTP's own output, which the tests compare with. Nothing is lost but for pids, ports, references and funs.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterable

from .etf import Atom, BitString, ErlangMap, Export, Fun, ImproperList, Pid, Port, Reference, Term
from .values import Json

__all__ = ["erlang_text", "json_value"]

_RESERVED = (
    *("after", "and", "andalso", "band", "begin", "bnot", "bor", "bsl", "bsr", "bxor", "case", "catch", "cond", "div"),
    *("else", "end", "fun", "if", "let", "maybe", "not", "of", "or", "orelse", "receive", "rem", "try", "when", "xor"),
)
_PLAIN_ATOM = re.compile("[a-z\xdf-\xf6\xf8-\xff][A-Za-z0-9_@\xc0-\xd6\xd8-\xf6\xf8-\xff]*")
_PRINTABLE = re.compile("[\b-\r\x1b -~\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")
_ESCAPES = {8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 27: "\\e", 127: "\\d", 92: "\\\\"}


def erlang_text(term: Term) -> str:
    """A term in Erlang's syntax, on one line.

    Args:
        term: what :func:`basix_cti.etf.decode` gives; a ``str`` that is no atom is written as a binary.
    """
    return "".join(_erlang(term))


def _erlang(term: Term) -> Iterable[str]:
    kind = type(term)
    if kind is Atom:
        yield _atom(term)
    elif kind is bool:
        yield "true" if term else "false"
    elif kind is int:
        yield str(term)
    elif kind is bytes:
        yield _binary(term)
    elif kind is str:
        yield _binary(term.encode("utf-8", "surrogatepass"))
    elif kind is tuple:
        yield "{"
        yield from _joined(term)
        yield "}"
    elif kind is list:
        text = _printable(term)
        if text is not None:
            yield _quoted(text, '"')
        else:
            yield "["
            yield from _joined(term)
            yield "]"
    elif kind is float:
        yield _float(term)
    elif kind is dict or kind is ErlangMap:
        yield "#{"
        for number, (key, value) in enumerate(term.items()):
            yield "," if number else ""
            yield from _erlang(key)
            yield " => "
            yield from _erlang(value)
        yield "}"
    elif kind is ImproperList:
        yield "["
        yield from _joined(term.items)
        yield "|"
        yield from _erlang(term.tail)
        yield "]"
    elif kind is BitString:
        last = f"{term.data[-1] >> 8 - term.last_bits}:{term.last_bits}"
        yield f"<<{','.join([*map(str, term.data[:-1]), last])}>>"
    else:
        yield _opaque(term)


def _joined(terms: Iterable[Term]) -> Iterable[str]:
    for number, term in enumerate(terms):
        if number:
            yield ","
        yield from _erlang(term)


def _opaque(term: Term) -> str:
    """What Erlang itself writes in a form that cannot be read back."""
    if isinstance(term, Pid):
        return f"<0.{term.id}.{term.serial}>"
    if isinstance(term, Port):
        return f"#Port<0.{term.id}>"
    if isinstance(term, Reference):
        return f"#Ref<0.{'.'.join(map(str, reversed(term.ids)))}>"
    if isinstance(term, Export):
        return f"fun {_atom(term.module)}:{_atom(term.function)}/{term.arity}"
    if isinstance(term, Fun):
        return f"#Fun<{_atom(term.module)}.{term.old_index}.{term.old_uniq}>"
    raise TypeError(f"{type(term).__name__} is no Erlang term")


def _atom(atom: str) -> str:
    plain = _PLAIN_ATOM.fullmatch(atom) is not None and atom not in _RESERVED
    return str(atom) if plain else _quoted(atom, "'")


def _quoted(text: str, quote: str) -> str:
    return f"{quote}{''.join(_escaped(char, quote) for char in text)}{quote}"


def _escaped(char: str, quote: str) -> str:
    code = ord(char)
    if char == quote:
        return f"\\{quote}"
    if 32 <= code < 127 and code != 92:
        return char
    return _ESCAPES.get(code) or (f"\\{code:03o}" if code < 160 else char)


def _printable(items: list[Term]) -> str | None:
    """The text that a list of integers is, if it is one that can be printed."""
    if not items or not all(type(item) is int and 8 <= item <= 0x10FFFF for item in items):
        return None
    text = "".join(map(chr, items))
    return text if _PRINTABLE.fullmatch(text) else None


def _binary(data: bytes) -> str:
    try:
        text, ending = data.decode("utf-8"), "" if data.isascii() else "/utf8"
    except UnicodeDecodeError:
        text, ending = data.decode("latin-1"), ""
    if data and _PRINTABLE.fullmatch(text):
        return f"<<{_quoted(text, chr(34))}{ending}>>"
    return f"<<{','.join(map(str, data))}>>"


def _float(number: float) -> str:
    """The shortest text that is read as the same number, as Erlang sets its point."""
    sign = "-" if struct.pack(">d", number)[0] & 0x80 else ""
    number = abs(number)
    if number == 0.0:
        return f"{sign}0.0"
    mantissa, _, exponent = f"{number!r}e0".partition("e")
    whole, _, fraction = mantissa.partition(".")
    power = int(exponent.removesuffix("e0")) + len(whole)
    digits = (whole + fraction).lstrip("0")
    power -= len(whole + fraction) - len(digits)
    digits = digits.rstrip("0") or "0"
    scientific = f"{digits[0]}.{digits[1:] or '0'}e{power - 1}"
    if number >= 2.0**53:
        return sign + scientific
    if power <= 0:
        plain = f"0.{'0' * -power}{digits}"
    elif power >= len(digits):
        plain = f"{digits}{'0' * (power - len(digits))}.0"
    else:
        plain = f"{digits[:power]}.{digits[power:]}"
    return sign + (plain if len(plain) <= len(scientific) else scientific)


def json_value(term: Term) -> Json:
    """A term as JSON can hold it: for reading and for ``jq``, not for making a term of it again.

    ===========================================  ===============================================================
    Erlang                                       JSON
    ===========================================  ===============================================================
    integer, float, ``true``, ``false``          the same
    ``undefined``, ``null``, ``{bert,nil}``      ``null``
    other atom; binary of UTF-8; printable list  string
    other binary                                 ``{"base64": "…"}``
    tuple, other list                            array
    improper list                                ``{"list": […], "tail": …}``
    map                                          object if all keys are text, otherwise an array of pairs
    all else                                     ``{"erlang": "…"}``, the text of :func:`erlang_text`
    ===========================================  ===============================================================
    """
    kind = type(term)
    if kind is bool or kind is int or kind is float:
        number: Json = term
        return number
    if kind is Atom:
        return None if term in ("undefined", "null") else str(term)
    if kind is bytes:
        try:
            return str(term, "utf-8")
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(term).decode("ascii")}
    if kind is tuple or kind is list:
        if term == (Atom("bert"), Atom("nil")):
            return None
        text = _printable(term) if kind is list else None
        return [json_value(item) for item in term] if text is None else text
    if kind is dict or kind is ErlangMap:
        pairs = [(json_value(key), json_value(value)) for key, value in term.items()]
        if all(isinstance(key, str) for key, _ in pairs) and len({str(key) for key, _ in pairs}) == len(pairs):
            return {str(key): value for key, value in pairs}
        return [[key, value] for key, value in pairs]
    if kind is ImproperList:
        return {"list": [json_value(item) for item in term.items], "tail": json_value(term.tail)}
    return {"erlang": erlang_text(term)}
