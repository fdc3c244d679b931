"""The decoder beside real Erlang: what one takes the other has to take, and as the same term."""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Callable

from erlang_peer import ErlangTerms

from basix_cti import etf
from basix_cti.errors import DecodeError

from .mutate import change_etf
from .targets import CORPUS

__all__ = ["askable", "compare", "run"]

# 73 and 75 are tags that Erlang keeps for itself, and a malformed fun (112) may end the emulator of OTP 25. So nothing
# that has such a byte is shown to it, though it need not be a tag.
_NOT_ASKED = frozenset((73, 75, 112))

# What is refused here, and not by Erlang: bytes behind a term, limits, and arities of more than 31 bits.
_REFUSED_HERE = ("behind the term", "the limit is", "deeper than the limit", "more terms than the limit", "arity is")


def _inflated(data: bytes) -> bytes:
    """The bytes in which tags may stand, whether they were compressed or not."""
    if data[1:2] != b"P":
        return data
    try:
        return zlib.decompressobj().decompress(data[6:], 1 << 20)
    except zlib.error:
        return b""


def askable(data: bytes) -> bool:
    """Whether Erlang can be asked what these bytes are."""
    return _NOT_ASKED.isdisjoint(_inflated(data))


def _has_identifier(term: etf.Term) -> bool:
    if isinstance(term, tuple | list):
        return any(map(_has_identifier, term))
    if isinstance(term, etf.ImproperList):
        return _has_identifier((term.items, term.tail))
    if isinstance(term, dict | etf.ErlangMap):
        return any(_has_identifier(pair) for pair in term.items())
    return isinstance(term, etf.Pid | etf.Port | etf.Reference)


def compare(data: bytes, erlang: ErlangTerms) -> str | None:
    """What the two see differently; None where they agree, or where ``docs/terms.rst`` says that they do not."""
    theirs = erlang.recode(data)
    try:
        mine = etf.decode(data)
    except DecodeError as error:
        documented = any(words in error.reason for words in _REFUSED_HERE)
        return None if theirs is None or documented else f"Erlang takes it; here: {error}"
    if theirs is None:
        return None if _has_identifier(mine) else f"Erlang refuses it; here it is {mine!r:.200}"
    if not erlang.same(data, etf.encode(mine)):
        return f"another term than Erlang's; here it is {mine!r:.200}"
    return None


def run(seconds: float, seed: int, found: Callable[[bytes, str], None]) -> tuple[int, int]:
    """Compare the corpus, then changed terms, for so long.

    Args:
        seconds: how long.
        seed: of the changes.
        found: is told each difference.

    Returns:
        How many inputs were compared, and how many of them both took.
    """
    rng = random.Random(seed)
    seeds = [path.read_bytes() for path in sorted((CORPUS / "etf").iterdir()) if not path.name.startswith("deep")]
    inputs = list(seeds)
    end = time.monotonic() + seconds
    compared = taken = 0
    with ErlangTerms() as erlang:
        while inputs or time.monotonic() < end:
            data = inputs.pop() if inputs else change_etf(rng.choice(seeds), rng)
            if not askable(data):
                continue
            compared += 1
            difference = compare(data, erlang)
            if difference is not None:
                found(data, difference)
            elif _is_term(data):
                taken += 1
                if len(data) < 300 and rng.random() < 0.1:
                    seeds.append(data)  # so that changes add up
    return compared, taken


def _is_term(data: bytes) -> bool:
    try:
        etf.decode(data)
    except DecodeError:
        return False
    return True
