"""What a holder writes into Redis for each event: the stream's entry, and the change of the picture. No I/O."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from ..elements import Channel, Key
from ..errors import ConnectionLost, CTIError, DecodeError
from ..events import Connected, Disconnected, Event, Failed, InfoEvent, InitialInfo, Msg, SystemMsg, UnknownMessage
from ..state import Picture
from ..statistics import Counters
from .codec import dump_box, dump_element, dump_key, dump_term, dumps
from .keys import FORMAT, Keys

__all__ = ["Publisher", "Write"]

Write: TypeAlias = "list[str | bytes]"
"""A Redis command, word by word."""

_ENDED = 1_000
_CHUNK = 2_000  # words of a command: Lua's unpack takes 8,000
_EVENT_BYTES = 256

# What the picture in Redis holds of an element: only what changed in this session, with "" for what was removed; that,
# after another element has emptied its table; its full state, as another element implies it; or as it was told.
PARTIAL, SUPERSEDED, IMPLIED, FULL = 0, 1, 2, 3


class _Group(NamedTuple):
    """What one event leads to: the position behind it, the commands, about their bytes, and when it was received."""

    sequence: int
    writes: list[Write]
    size: int
    received_at: float | None


class Publisher:
    """Takes the place of a dispatcher: turns each event into what is to be written, for one tenure.

    :meth:`offer_all` is called in the I/O thread; :meth:`take`, :meth:`taken` and :meth:`refused` in the holder's.

    Args:
        keys: where to write.
        epoch: the tenure's.
        ended: channels that ended before it, oldest first.
        length: about how many entries the stream keeps.
        max_bytes: how much may wait to be written.
        max_stream_bytes: about how many bytes the stream keeps.
        wake: called when something is there to be taken.
        counters: where to count.

    Attributes:
        newest: what has arrived.
        session: the number of the present session at the PBX; 0 while there is none.
        overflowed: True once more than ``max_bytes`` waited. The tenure is then of no use any more.
    """

    def __init__(
        self,
        keys: Keys,
        epoch: int,
        ended: Iterable[Key],
        *,
        length: int,
        max_bytes: int,
        max_stream_bytes: int = 128 * 1024 * 1024,
        wake: Callable[[], None],
        counters: Counters,
    ) -> None:
        self.newest = Picture()
        for key in ended:
            self.newest._remember_end(key)
        self.session = 0
        self.overflowed = False
        self._keys = keys
        self._epoch = epoch
        self._length = length
        self._max_bytes = max_bytes
        self._max_stream_bytes = max_stream_bytes
        self._entries: deque[tuple[int, int]] = deque()  # of this tenure in the stream: place and bytes of each
        self._stream_bytes = 0
        self._wake = wake
        self._counters = counters
        self._lock = threading.Lock()
        self._queue: deque[_Group] = deque()
        self._group: list[Write] = []
        self._bytes = 0
        self._sequence = 0
        self._told: dict[str, int] = {}

    # As a sink

    @property
    def waiting(self) -> int:
        """How many events wait to be written."""
        return len(self._queue)

    @property
    def waiting_bytes(self) -> int:
        """About how many bytes these lead to."""
        return self._bytes

    @property
    def delay(self) -> float:
        """Seconds that the oldest of them has waited; 0.0 if none waits."""
        try:
            received_at = self._queue[0].received_at
        except IndexError:
            return 0.0
        return 0.0 if received_at is None else max(0.0, time.time() - received_at)

    def trouble(self, patience: float) -> str | None:
        """None: what it writes into is looked after by the holder."""
        return None

    def offer(self, event: Event, size: int) -> None:
        """As :meth:`offer_all`, for one event."""
        self.offer_all([(event, size)])

    def offer_all(self, events: list[tuple[Event, int]]) -> None:
        """Take events from the wire, in order."""
        with self._lock:
            for event, _ in events:
                self._counters.told(event)
                self._take(event)
                self._close_group(event.received_at)
        self._wake()

    def start(self) -> None:
        """Nothing: there is no thread."""

    def close(self, reason: ConnectionLost) -> None:
        """Nothing: the I/O thread tells the end of its session."""

    def join(self, timeout: float) -> bool:
        """True: there is no thread."""
        return True

    def is_inside_hook(self) -> bool:
        """False: no hooks are called."""
        return False

    def copy(self) -> Picture:
        """A copy of ``newest``, which nobody changes any more. May be called from any thread."""
        with self._lock:
            return self.newest._copy()

    # For the holder

    def take(self, count: int, size: int) -> list[Write]:
        """What up to so many of the next events lead to, of about so many bytes, and the position behind them.

        All that one event leads to stays together: whoever joins gets both its entry and its change, or neither.
        """
        writes: list[Write] = []
        with self._lock:
            while self._queue and count > 0 and size > 0:
                group = self._queue.popleft()
                self._bytes -= group.size
                count -= 1
                size -= group.size
                writes += group.writes
                sequence = group.sequence
                if group.received_at is not None:
                    self._counters.waited(time.time() - group.received_at)
            if writes:
                writes.append(["HSET", self._keys.session, "epoch", str(self._epoch), "sequence", str(sequence)])
        return writes

    def taken(self, command: str) -> None:
        """Tell that a command is about to be carried out."""
        with self._lock:
            self._entry("k", c=command)
            self._close_group()

    def refused(self, command: str, why: str) -> None:
        """Tell that a command was not carried out, and will not be."""
        with self._lock:
            self._entry("x", c=command, d=why)
            self._close_group()

    # Inside, under the lock

    def _write(self, *words: str | bytes) -> None:
        self._group.append(list(words))

    def _close_group(self, received_at: float | None = None) -> None:
        writes, self._group = self._group, []
        size = sum(_EVENT_BYTES + sum(map(len, write)) for write in writes)
        self._bytes += size
        if self._bytes > self._max_bytes:
            self.overflowed = True
        if writes and not self.overflowed:
            self._queue.append(_Group(self._sequence, writes, size, received_at))

    def _entry(self, kind: str, received_at: float | None = None, **fields: str | bytes) -> None:
        self._sequence += 1
        words: Write = ["XADD", self._keys.events, "MAXLEN", "~", str(self._length), f"{self._epoch}-{self._sequence}"]
        words += ["k", kind]
        if received_at is not None:
            words += ["t", repr(received_at)]
        for name, value in fields.items():
            words += [name, value]
        self._write(*words)
        self._entries.append((self._sequence, sum(map(len, words))))
        self._stream_bytes += self._entries[-1][1]
        if self._stream_bytes > self._max_stream_bytes or len(self._entries) > self._length:
            self._trim()

    def _trim(self) -> None:
        """Full states can be long, and come again with each session: so the stream is bounded in bytes, too."""
        needed = self._stream_bytes > self._max_stream_bytes
        while self._entries and (self._stream_bytes > self._max_stream_bytes or len(self._entries) > self._length):
            self._stream_bytes -= self._entries.popleft()[1]
        if needed:
            first = self._entries[0][0] if self._entries else self._sequence + 1
            self._write("XTRIM", self._keys.events, "MINID", f"{self._epoch}-{first}")

    def _take(self, event: Event) -> None:
        at = event.received_at
        if isinstance(event, InfoEvent):
            self._changed(event)
        elif isinstance(event, InitialInfo):
            self._full(event)
        elif isinstance(event, SystemMsg):
            self._entry("s", at, d=dump_term(event.msg))
        elif isinstance(event, Msg):
            self._entry("m", at, d=dump_term(event.msg))
        elif isinstance(event, UnknownMessage):
            self._entry("u", at, n=dumps(event.kind), d=dump_term(event.term))
        elif isinstance(event, Connected):
            self.session = event.session.number
            self.newest._new_connection(self.session)
            for element in self._told:
                self._write("DEL", self._keys.picture(element))
            self._told.clear()
            session = {"number": self.session, "url": event.session.url or "", "tls": event.session.tls or ""}
            self._about(format=FORMAT, connected="1", session=dumps(session), elements="[]", error="")
            self._entry("c", at, d=dumps(session))
        elif isinstance(event, Disconnected):
            self.session = 0
            told = dumps(
                {
                    "kind": type(event.reason).__name__,
                    "message": str(event.reason),
                    "code": event.reason.code,
                    "reason": event.reason.reason,
                }
            )
            self._about(connected="", error=str(event.reason))
            self._entry("d", at, d=told)
        elif isinstance(event, Failed):
            self._fault(event)

    def _fault(self, event: Failed) -> None:
        error = event.error
        if isinstance(error, DecodeError):
            self._entry("b", event.received_at, d=dumps([error.reason, error.offset, error.tag]))
        elif isinstance(error, CTIError):
            self._about(error=str(error))
            self._entry("f", event.received_at, d=str(error))

    def _about(self, **fields: str) -> None:
        words: list[str | bytes] = ["HSET", self._keys.session, "epoch", str(self._epoch)]
        for name, value in fields.items():
            words += [name, value]
        self._write(*words)

    def _tell_elements(self) -> None:
        self._about(elements=dumps(list(self._told.items())))

    def _changed(self, event: InfoEvent) -> None:
        element, item, key = event.element, event.item, event.item.key
        fields: dict[str, str | bytes] = {"n": element, "e": event.event, "d": dump_element(item)}
        if event.generation != 2:
            fields["g"] = str(event.generation)
        if event.mwi is not None:
            fields["w"] = dump_box(event.mwi)
        self._entry("i", event.received_at, **fields)
        is_channel = element == "channel" and isinstance(item, Channel)
        had_ended = key is not None and is_channel and self.newest.has_ended(key)
        self.newest._put(event)
        if key is None:
            return
        if element not in self._told:
            self._told[element] = PARTIAL
            self._tell_elements()
        self._put(element, key, fields["d"] if event.item is item else None)
        if is_channel:
            has_ended = self.newest.has_ended(key)
            if has_ended != had_ended:
                self._ends([key], has_ended)
            freed = self.newest.get("parked_channel", key) is None
            if has_ended and freed and event.generation == 1 and "parked_channel" in self._told:
                self._put("parked_channel", key)

    def _put(self, element: str, key: Key, text: str | bytes | None = None) -> None:
        item = self.newest.get(element, key)
        hash_ = self._keys.picture(element)
        if item is not None:
            self._write("HSET", hash_, dump_key(key), dump_element(item) if text is None else text)
        elif self._told.get(element, PARTIAL) in (PARTIAL, SUPERSEDED):
            self._write("HSET", hash_, dump_key(key), "")
        else:
            self._write("HDEL", hash_, dump_key(key))

    def _ends(self, keys: Iterable[Key], ended: bool) -> None:
        for key in keys:
            if ended:
                self._write("ZADD", self._keys.ended, str(self._epoch + self._sequence), dump_key(key))
            else:
                self._write("ZREM", self._keys.ended, dump_key(key))
        if ended:
            self._write("ZREMRANGEBYRANK", self._keys.ended, "0", str(-_ENDED - 1))

    def _full(self, event: InitialInfo) -> None:
        texts: dict[int, str] = {id(item): dump_element(item) for item in event.items}
        fields: dict[str, str | bytes] = {"n": event.element, "d": f"[{','.join(texts.values())}]"}
        if event.generation != 2:
            fields["g"] = str(event.generation)
        self._entry("a", event.received_at, **fields)
        keys: set[Key] = set()
        if event.element == "channel":
            keys = {item.key for item in event.items if item.key is not None} | self.newest.items("channel").keys()
        before = {key for key in keys if self.newest.has_ended(key)}
        for element in self.newest._take_initial(event):
            current = self.newest.is_current(element)
            self._told[element] = FULL if element == event.element else IMPLIED if current else SUPERSEDED
            self._replace(element, texts)
        after = {key for key in keys if self.newest.has_ended(key)}
        self._ends(before - after, False)
        if after - before:
            self._ends(after - before, True)
        self._tell_elements()

    def _replace(self, element: str, texts: dict[int, str]) -> None:
        hash_ = self._keys.picture(element)
        self._write("DEL", hash_)
        words: list[str | bytes] = []
        for key, item in self.newest.items(element).items():
            words += [dump_key(key), texts.get(id(item)) or dump_element(item)]
            if len(words) >= _CHUNK:
                self._write("HSET", hash_, *words)
                words = []
        if words:
            self._write("HSET", hash_, *words)
