"""What is fuzzed, and what must hold whatever the bytes are. Needs no fuzzer."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from basix_cti import CTIHandler, MessageParser, bert, etf
from basix_cti.elements import Channel
from basix_cti.errors import DecodeError
from basix_cti.events import CallEvent, Event, InfoEvent, InitialInfo
from basix_cti.limits import Limits

__all__ = ["CORPUS", "LIMITS", "OUT", "TARGETS", "Found", "frames", "joined", "run_etf", "run_session"]

CORPUS = Path(__file__).parent / "corpus"
OUT = Path(__file__).parent.parent / ".fuzz"

# Small enough that an input cannot take long, and that the limits are met, too.
LIMITS = Limits(max_frame=65_536, max_depth=32, max_terms=10_000, max_inflated=65_536, max_integer=64)
# What a user may ask for, and does not get.
_DEEP = Limits(max_depth=10**9, max_integer=10**9, max_inflated=2**20)

_ANEW = b"\xff\xff"


class Found(AssertionError):
    """What must hold does not."""


def _hold(condition: bool, what: str) -> None:
    if not condition:
        raise Found(what)


def run_etf(data: bytes) -> None:
    """Decode a term: it raises DecodeError and nothing else, and what it gives can be written and read again."""
    for limits in (_DEEP, LIMITS):
        try:
            bert.decode(data, limits=limits)
        except DecodeError as error:
            _check(error, len(data))
        try:
            term = etf.decode(data, limits=limits)
        except DecodeError as error:
            _check(error, len(data))
            continue
        if limits is LIMITS:
            again = etf.decode(etf.encode(term))
            # By its text, because -0.0 is not 0.0, True is not 1, and a text is no atom.
            _hold(repr(again) == repr(term), f"{term!r} comes back as {again!r}")


def _check(error: DecodeError, size: int) -> None:
    """A compressed term has offsets of its own, as far as it may inflate."""
    _hold(error.offset is None or 0 <= error.offset <= max(size, _DEEP.max_inflated), f"offset {error.offset}")
    _hold("\n" not in str(error), f"several lines: {error}")


def frames(data: bytes) -> Iterator[bytes | None]:
    """An input as the steps of a session: a frame, or None for a connection that ends and another that begins.

    Each frame is preceded by its length in two bytes; the length 65,535 stands for such a change.
    """
    offset = 0
    while offset + 2 <= len(data):
        head = data[offset : offset + 2]
        offset += 2
        if head == _ANEW:
            yield None
            continue
        (size,) = struct.unpack("!H", head)
        yield data[offset : offset + size]
        offset += size


def joined(steps: Iterable[bytes | None]) -> bytes:
    """The input for such steps."""
    return b"".join(_ANEW if step is None else struct.pack("!H", len(step)) + step for step in steps)


class _Watcher(CTIHandler):
    """Looks at everything that it is told, as the code of users might.

    What hooks raise is caught and told to ``on_error``: so what is wrong is kept, to be raised by who reads it.
    """

    def __init__(self) -> None:
        self.wrong: BaseException | None = None
        self.ended: set[str] = set()

    def on_event(self, event: Event) -> None:
        repr(event)
        if isinstance(event, InfoEvent):
            _look_at(event.item)
        elif isinstance(event, InitialInfo):
            for item in event.items:
                _look_at(item)
        elif isinstance(event, CallEvent):
            _look_at(event.call)

    def on_chan_info(self, channel: Channel) -> None:
        if channel.uuid is None:
            return
        if channel.is_hung_up:
            _hold(channel.uuid not in self.ended, f"{channel.uuid} has ended twice")
            self.ended.add(channel.uuid)
        else:
            self.ended.discard(channel.uuid)

    def on_initial_chan_info(self, channels: list[Channel]) -> None:
        self.ended -= {channel.uuid for channel in channels if channel.uuid is not None}

    def on_error(self, error: BaseException) -> None:
        if not isinstance(error, DecodeError) and self.wrong is None:
            self.wrong = error


def _look_at(item: Any) -> None:
    """Read every attribute and property, and the values in them."""
    repr(item)
    for name in dir(type(item)):
        if not name.startswith("_"):
            value = getattr(item, name)
            if not callable(value):
                repr(value)


def run_session(data: bytes, limits: Limits = LIMITS) -> None:
    """Tell a parser a session: nothing is raised, a frame that is none is told as a DecodeError, no end comes twice."""
    watcher = _Watcher()
    parser = MessageParser(watcher, limits=limits)
    parser.connection_made()
    for step in frames(data):
        if step is None:
            parser.connection_lost()
            parser.connection_made()
        else:
            parser.handle_message(step, 1.0)
        if watcher.wrong is not None:
            raise watcher.wrong
    picture = parser.state
    for element in picture.elements():
        for key, item in picture.items(element).items():
            _hold(picture.get(element, key) is item, f"{element} {key!r} is listed, and not found")
    repr((picture.parked, picture.domain, parser.calls))
    both = watcher.ended & picture.channels.keys()
    _hold(not both, f"in the picture, and ended: {both}")


TARGETS: dict[str, Callable[[bytes], None]] = {"etf": run_etf, "session": run_session}
