"""Changes to inputs: blind ones to bytes, and ones that keep terms and sessions readable."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

from basix_cti import etf
from basix_cti.errors import CTIError
from basix_cti.etf import Atom, ImproperList, Term

from .targets import frames, joined

__all__ = ["CHANGES", "change_bytes", "change_session", "change_term"]

_TAGS = bytes([70, 77, 80, 88, 89, 90, *range(97, 117), 118, 119, 120])
_NUMBERS = (0, 1, 2, 127, 128, 255)
_NAMES = (
    *("field_spec", "initial_info", "info_event", "system_msg", "msg", "initial_chan_info", "chan_info", "park_info"),
    *("unpark_info", "mwi_info", "channel", "channel_waiting", "parked_channel", "queued_channel", "user", "group"),
    *("group_member", "terminal", "domain", "added", "updated", "removed", "undefined", "bert", "nil", "dict", "time"),
    *("uuid", "state", "target", "other_info", "end_user", "mwi", "id", "last_event", "CHANNEL_HANGUP", "park"),
    *("calling", "user_id", "tags", "whoscall", "origination", "offer_timestamp", "hangup_timestamp"),
)
_TEXTS = (
    *("", "*", "****", "_MANY_:2|1*a*b|2*c*d", "_MANY_:x|", "_MANY_:99999999999999999999|1", "%", "%zz*%E5", "+*;;"),
    *('{"a":1}', "[[[[", "%7B%22a%22%3A1e999%7D", "1/2", "-1/9999999999999999999999", "recv_bye,NORMAL_CLEARING", ","),
)


def change_bytes(data: bytes, rng: random.Random) -> bytes:
    """A few blind changes: bytes changed, put in, taken out, doubled."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(changed) + 1)
        size = rng.choice((1, 1, 1, 2, 4, 9))
        kind = rng.randrange(6)
        if kind == 0:
            changed[at:at] = bytes(rng.choice(_TAGS) for _ in range(size))
        elif kind == 1:
            del changed[at : at + size]
        elif kind == 2:
            changed[at:at] = changed[at : at + size]
        elif at < len(changed):
            changed[at] = rng.choice((rng.randrange(256), rng.choice(_TAGS), rng.choice(_NUMBERS), changed[at] ^ 1))
    return bytes(changed)


def _leaf(rng: random.Random) -> Term:
    makers: tuple[Callable[[], Term], ...] = (
        lambda: Atom(rng.choice(_NAMES)),
        lambda: list(rng.choice(_NAMES).encode()),
        lambda: rng.choice(_NAMES).encode(),
        lambda: rng.choice(_TEXTS).encode(),
        lambda: list(rng.choice(_TEXTS).encode()),
        lambda: rng.choice((0, 1, -1, 255, 2**31, 2**53, 2**63, -(2**70), 1_700_000_000_000_000, 2**200)),
        lambda: rng.choice((0.0, -0.0, 1.5, 1e308, -1e-300)),
        lambda: (Atom("bert"), Atom("nil")),
        lambda: (Atom("bert"), Atom("time"), rng.choice((0, 2**80, -1)), 0, rng.choice((0, 10**9))),
        lambda: rng.choice((True, False, [], (), b"\xff\xfe", [0x110000], [-1], [256, 97])),
        lambda: ImproperList((1,), Atom("x")),
        lambda: {b"k": [1, (2,)]},
    )
    return rng.choice(makers)()


def change_term(term: Term, rng: random.Random) -> Term:
    """The term with one part of it changed."""
    inside = isinstance(term, tuple | list) and type(term) in (tuple, list) and len(term) > 0
    if not inside or rng.random() < 0.15:
        return rng.choice((_leaf(rng), [term], (term,), (term, term)))
    parts = list(term)
    at = rng.randrange(len(parts))
    kind = rng.randrange(8)
    if kind == 0:
        del parts[at]
    elif kind == 1:
        parts.insert(at, rng.choice(parts))
    elif kind == 2:
        parts[at] = rng.choice(parts)
    elif kind == 3:
        parts.append(_leaf(rng))
    else:
        parts[at] = change_term(parts[at], rng)
    return tuple(parts) if isinstance(term, tuple) else parts


def _changed_frame(frame: bytes, rng: random.Random) -> bytes:
    try:
        return etf.encode(change_term(etf.decode(frame), rng))
    except (CTIError, RecursionError):
        return change_bytes(frame, rng)


def change_etf(data: bytes, rng: random.Random) -> bytes:
    """A term with a part of it changed, or its bytes; compressed at times."""
    if rng.random() < 0.5:
        return change_bytes(data, rng)
    changed = _changed_frame(data, rng)
    if rng.random() < 0.1 and len(changed) > 1 and changed[1] != ord("P"):
        changed = b"\x83P" + (len(changed) - 1).to_bytes(4, "big") + zlib.compress(changed[1:])
    return changed


def change_session(data: bytes, rng: random.Random) -> bytes:
    """A session with a frame changed, left out, repeated, or in another place."""
    steps = list(frames(data))
    if not steps:
        return joined([etf.encode((Atom(rng.choice(_NAMES)), _leaf(rng)))])
    at = rng.randrange(len(steps))
    step = steps[at]
    kind = rng.randrange(10)
    if kind == 0:
        del steps[at]
    elif kind == 1:
        steps.insert(rng.randrange(len(steps) + 1), step)
    elif kind == 2:
        steps.insert(at, None)
    elif kind == 3:
        steps[at] = steps[other := rng.randrange(len(steps))]
        steps[other] = step
    elif step is None:
        steps[at] = etf.encode((Atom(rng.choice(_NAMES)), _leaf(rng)))
    elif kind == 4:
        steps[at] = change_bytes(step, rng)
    else:
        for _ in range(rng.randint(1, 3)):
            step = _changed_frame(step, rng)
        steps[at] = step
    return joined(step if step is None else step[:60_000] for step in steps)


CHANGES: dict[str, Callable[[bytes, random.Random], bytes]] = {"etf": change_etf, "session": change_session}
