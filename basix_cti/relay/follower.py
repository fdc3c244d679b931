"""``RelayThread``: the I/O thread of a ``RelayClient``, which follows what a relay writes into Redis."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from ..base_thread import ClientThread, Timing
from ..commands import Command
from ..elements import Element, ParkInfo
from ..errors import (
    ConnectError,
    ConnectionClosed,
    ConnectionLimitReached,
    ConnectionLost,
    ConnectionReplaced,
    DecodeError,
    NotConnected,
    PingTimeout,
    ProtocolError,
    SendTimeout,
    Stopped,
)
from ..events import Event, Failed, InfoEvent, InitialInfo, Msg, Session, SystemMsg, UnknownMessage
from ..sink import Sink, Snapshot
from ..state import Picture
from ..statistics import Counters
from ..waiting import Interrupted, wait_for
from .codec import dumps, load_box, load_element, load_key, load_term
from .keys import FORMAT, JOIN, PUSH, Keys
from .link import Address, RedisLink
from .publisher import FULL, IMPLIED, PARTIAL

__all__ = ["RelayThread"]

logger = logging.getLogger(__name__)

_COUNT = 500
_MAX_COMMANDS = 1_000
_BLOCK = 1.0
_MEMORY = 4  # what an event takes in memory, for each byte that it was read from
_LOST: dict[str, type[ConnectionLost]] = {
    cls.__name__: cls
    for cls in (
        ConnectionClosed,
        ConnectionLimitReached,
        PingTimeout,
        ProtocolError,
        SendTimeout,
    )
}


class _Entry(NamedTuple):
    """An entry of the stream."""

    sequence: int
    fields: dict[bytes, bytes]

    @property
    def kind(self) -> bytes:
        return self.fields.get(b"k", b"")

    @property
    def received_at(self) -> float:
        return float(self.fields.get(b"t", 0.0))

    def text(self, name: bytes) -> str:
        return self.fields[name].decode()


class Follower:
    """A place in the stream of one holder's tenure, with the connection to Redis that it is read by.

    Attributes:
        epoch: the tenure's.
        ends_in: seconds after which its lease ends, if its holder does not renew it.
        sequence: of the latest entry that was read.
        about: the session at the PBX that is up at this place; None for none.
        snapshot: the picture at this place, as Redis has it; None where there is none to take.
        entries: read, and not yet told.
        broken: why nothing more can be read; None while more can.
    """

    def __init__(self, redis: RedisLink, commands: RedisLink, keys: Keys, newest: Picture) -> None:
        self._redis = redis
        self._commands = commands
        self._keys = keys
        self.epoch = 0
        self.ends_in = 0.0
        self.sequence = 0
        self.about: dict[str, Any] | None = None
        self.snapshot: Snapshot | None = None
        self.entries: deque[_Entry] = deque()
        self.broken: ConnectionLost | None = None
        self.why_not = ""
        self.pbx_lost = False
        self._join(newest)

    @property
    def last_received(self) -> float:
        """When Redis answered last, by the monotonic clock in seconds."""
        return self._redis.last_received

    @property
    def peer(self) -> str:
        """The Redis, for people to read."""
        return self._redis.peer

    def abandon(self) -> None:
        """At the end of a session: close, unless only the holder's connection to the PBX has ended."""
        if not self.pbx_lost or self.broken is not None:
            self.close()

    def close(self) -> None:
        """Close both connections."""
        self._redis.close()
        self._commands.close()

    # Joining

    def _join(self, newest: Picture) -> None:
        """Take picture and position, in one script, so that nothing lies between them."""
        keys = self._keys
        found = self._redis.run(JOIN, [keys.lease, keys.session, keys.ended], [keys.pictures])
        if not found:
            raise ConnectError(
                f"no relay is at work in {self.peer}; start basix-cti relay, with the same --relay-name, or wait for "
                "the other one to take over"
            )
        try:
            self._read_picture(found, newest)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConnectError(
                f"what the relay has written into {self.peer} cannot be read ({type(error).__name__}: {error}); is it "
                "of another release?"
            ) from None

    def _read_picture(self, found: list[Any], newest: Picture) -> None:
        self.epoch = int(found[0].split(b" ")[0])
        self.ends_in = found[1] / 1000
        if len(found) == 2:
            return
        session = _pairs(found[2])
        if session.get(b"format", FORMAT.encode()) != FORMAT.encode():
            raise ValueError(f"format {session[b'format'].decode()}")
        self.sequence = int(session.get(b"sequence", b"0"))
        self.why_not = session.get(b"error", b"").decode()
        if session.get(b"connected") == b"1":
            self.about = dict(json.loads(session[b"session"]))
            self.snapshot = _snapshot(session, found[3], [_pairs(picture) for picture in found[4]], newest)

    # Reading

    def read(self, thread: RelayThread, timeout: float) -> None:
        """Wait for entries, or for anything else that wakes the thread, and take in what has come.

        Raises:
            ConnectError: Redis failed.
        """
        redis = self._redis
        if not redis.waiting:
            place = f"{self.epoch}-{self.sequence}"
            block = int(_BLOCK * 1000)
            redis.ask("XREAD", "COUNT", _COUNT, "BLOCK", block, "STREAMS", self._keys.events, place, block=_BLOCK)
        left = redis.due - time.monotonic()
        if wait_for(thread.waker, redis, False, min(timeout, max(0.0, left))):
            streams = redis.answer()
            if streams:
                self._take(streams[0][1])
            else:
                self._look_at_lease()
        elif left <= 0:
            raise ConnectError(f"Redis at {self.peer}: no answer within {thread.redis_timeout:g} s")
        else:
            thread.waker.drain()

    def _take(self, found: list[Any]) -> None:
        for name, fields in found:
            epoch, _, sequence = name.partition(b"-")
            if int(epoch) != self.epoch:
                self.broken = ConnectionLost("another relay has taken over; what it knows follows")
                return
            if int(sequence) != self.sequence + 1:
                missed = int(sequence) - self.sequence - 1
                self.broken = ConnectionLost(
                    f"this client fell behind, and {missed} messages are no longer in the stream; what they changed "
                    "follows"
                )
                return
            self.sequence += 1
            self.entries.append(_Entry(self.sequence, _pairs(fields)))

    def _look_at_lease(self) -> None:
        """When nothing comes: is it because nobody sends?"""
        lease = self._redis.call("GET", self._keys.lease)
        if lease is None:
            self.broken = ConnectionLost("the relay is gone; another one takes over, if there is one")
        elif int(lease.split(b" ")[0]) != self.epoch:
            self.broken = ConnectionLost("another relay has taken over; what it knows follows")

    # Writing

    def push(self, name: str, text: str) -> str | None:
        """Give a command to the holder; why it was not taken, or None if it was.

        Raises:
            ConnectError: Redis failed; whether the holder gets it is not known.
        """
        if not self._commands.is_open:
            self._commands.open()
        about = self.about or {}
        command = dumps({"id": name, "epoch": self.epoch, "session": about.get("number"), "text": text})
        keys = [self._keys.lease, self._keys.commands(self.epoch)]
        taken = self._commands.run(PUSH, keys, [self.epoch, command, _MAX_COMMANDS])
        return {1: None, 0: "another relay has taken over"}.get(taken, "too many commands wait for the relay")


def _pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _snapshot(
    session: dict[bytes, bytes], ended: list[bytes], pictures: list[dict[bytes, bytes]], newest: Picture
) -> Snapshot:
    """What Redis has, over what this client knows: of an element whose full state did not come yet, only changes."""
    picture = newest._copy()
    picture._touched = {}
    full = set()
    confirmed = set()
    channels = picture._tables.setdefault("channel", {})
    for key in map(load_key, ended):
        channels.pop(key, None)
        picture._remember_end(key)
    for (element, told), found in zip(json.loads(session[b"elements"]), pictures, strict=True):
        table = picture._tables.get(element, {}) if told == PARTIAL else {}
        touched = set()
        for name, text in found.items():
            key = load_key(name)
            touched.add(key)
            if text:
                item = load_element(element, text)
                table[key] = _better(item, newest.get(element, key)) if told == IMPLIED else item
            else:
                table.pop(key, None)
        picture._tables[element] = table
        if told == FULL:
            full.add(element)
        if told in (FULL, IMPLIED):
            confirmed.add(element)
        else:
            picture._touched[element] = touched
    picture._confirmed = confirmed
    for key in picture._tables["channel"]:
        picture._ended.pop(key, None)
    return Snapshot(picture, full, received_at=time.time(), joining=True)


def _better(item: Element, known: Element | None) -> Element:
    """Of two parked channels in one slot, that which tells who parked it, as the first generation does but once."""
    now, before = ParkInfo.of(item), None if known is None else ParkInfo.of(known)
    same = now is not None and before is not None and now.slot == before.slot
    return known if known is not None and same and not item.extra else item


class RelayThread(ClientThread[Follower]):
    """The thread whose sessions are those of a relay's holder, seen through Redis.

    Args:
        address: the Redis.
        keys: the relay's.
        timing, sink, numbers, changed, former, counters, name: as for :class:`~basix_cti.base_thread.ClientThread`.
    """

    def __init__(
        self,
        address: Address,
        keys: Keys,
        timing: Timing,
        sink: Sink,
        numbers: Callable[[], int],
        changed: Callable[[], None],
        former: ClientThread[Any] | None,
        *,
        counters: Counters,
        name: str,
    ) -> None:
        super().__init__(
            address.shown,
            timing,
            sink,
            numbers,
            changed,
            former,
            return_when_replaced=False,
            stop_on_auth_error=False,
            counters=counters,
            name=name,
        )
        self._address = address
        self._keys = keys
        self._name = name
        self._follower: Follower | None = None
        self._position = (0, 0)
        self._doubted = (0, 0.0)  # an epoch that is older than what was told, and how long its lease lasts by itself
        self._pushed: dict[str, Command] = {}

    @property
    def waker(self) -> Any:
        """Wakes this thread."""
        return self._waker

    @property
    def redis_timeout(self) -> float:
        """How long Redis may take for an answer, in seconds."""
        return self._address.timeout

    def _run(self) -> None:
        try:
            super()._run()
        finally:
            if self._follower is not None:
                self._follower.close()

    # A session's begin and end

    def _connect(self) -> Follower:
        follower = self._follower
        if follower is None or follower.broken is not None:
            follower = self._follower = self._joined()
        try:
            while follower.about is None:
                self._await_session(follower)
        except BaseException:
            follower.close()
            self._follower = None
            raise
        return follower

    def _joined(self) -> Follower:
        redis = RedisLink(self._address, self._waker, self._name)
        redis.open()
        try:
            follower = Follower(redis, RedisLink(self._address, self._waker, self._name), self._keys, self._sink.newest)
            if (follower.epoch, follower.sequence) < self._position and not self._is_alive(follower):
                # What is there is older than what was told: Redis has lost data, which a holder is about to notice.
                raise ConnectError(f"Redis at {redis.peer} has lost data; a relay writes it anew within seconds")
        except BaseException:
            redis.close()
            raise
        self._position = (follower.epoch, follower.sequence)
        return follower

    def _is_alive(self, follower: Follower) -> bool:
        """True if somebody has renewed the lease of an old epoch.

        Then it is not one that Redis has brought back, but that of a holder whose clock is behind that of the one
        before, of whom Redis has lost all trace.
        """
        now = time.monotonic()
        epoch, until = self._doubted
        if epoch != follower.epoch:
            self._doubted = (follower.epoch, now + follower.ends_in + _BLOCK)
            return False
        return now > until

    def _await_session(self, follower: Follower) -> None:
        """While the holder has no connection to the PBX: wait until it tells one, and why it has none."""
        if follower.why_not:
            self._failed(ConnectError(f"the relay has no connection to the PBX: {follower.why_not}"))
            follower.why_not = ""
        while follower.entries:
            entry = follower.entries.popleft()
            self._position = (follower.epoch, entry.sequence)
            if entry.kind == b"c":
                follower.about = dict(json.loads(entry.fields[b"d"]))
                follower.pbx_lost = False
                return
            if entry.kind == b"f":
                self._failed(ConnectError(f"the relay has no connection to the PBX: {entry.text(b'd')}"))
        if follower.broken is not None:
            raise ConnectError(str(follower.broken))
        if self._waker.stopping:
            raise Interrupted
        self._due = time.monotonic() + _BLOCK + self.redis_timeout
        follower.read(self, _BLOCK)

    def _session_on(self, link: Follower, number: int, now: float) -> Session:
        about = link.about or {}
        return Session(number, about.get("url") or None, link.peer, about.get("tls") or None, now)

    def _begin(self, session: Session, now: float) -> None:
        self._pushed.clear()

    def _finish(self, link: Follower, lost: ConnectionLost, now: float) -> None:
        self._pushed.clear()
        link.about = None
        if not link.pbx_lost or link.broken is not None:
            link.close()
            self._follower = None

    def _back_off(self, failures: int, slow: bool) -> None:
        if self._follower is None:  # otherwise, what comes next comes in the stream
            super()._back_off(failures, slow)

    # A session

    def _pump(self, link: Follower) -> ConnectionLost:
        try:
            snapshot, link.snapshot = link.snapshot, None
            if snapshot is not None:
                snapshot.picture._session = self.session
                self._tell(snapshot)
            return self._follow(link)
        except ConnectError as error:
            link.broken = ConnectionLost(str(error))
        except Interrupted:
            link.broken = Stopped("stopped by stop() on this side", 1000)
        return link.broken

    def _follow(self, link: Follower) -> ConnectionLost:
        while True:
            lost = self._tell_entries(link)
            if lost is not None:
                return lost
            if self._waker.stopping:
                raise Interrupted
            if link.broken is not None:
                return link.broken
            self._push_commands(link)
            now = time.monotonic()
            self._expire_commands(now)
            self._due = now + _BLOCK + self.redis_timeout
            link.read(self, self._until_next())

    def _until_next(self) -> float:
        if not self._watched:
            return _BLOCK
        return min(_BLOCK, max(0.0, self._watched[0].until - time.monotonic()))

    def _tell_entries(self, link: Follower) -> ConnectionLost | None:
        """Hand over what the entries tell; why the session has ended, if one of them says so."""
        batch: list[tuple[Event, int]] = []
        lost = None
        while link.entries and lost is None:
            entry = link.entries.popleft()
            if entry.kind == b"d":
                lost = _reason(json.loads(entry.fields[b"d"]))
                link.pbx_lost = True
            elif entry.kind in (b"k", b"x"):
                self._answered(entry)
            else:
                size = sum(map(len, entry.fields.values()))
                self._counters.messages += 1
                self._counters.received_bytes += size
                event = _event(entry)
                if event is not None:
                    batch.append((event, _MEMORY * size or 1))
            self._position = (link.epoch, entry.sequence)
        self._hand_over(batch)
        return lost

    # Commands

    def _push_commands(self, link: Follower) -> None:
        while self._submitted:
            command = self._submitted.popleft()
            name = uuid.uuid4().hex
            self._pushed[name] = command
            why = link.push(name, command.text)
            if why is not None:
                self._refuse(command, why)
        if len(self._pushed) > len(self._watched):
            watched = {id(each.command) for each in self._watched}
            self._pushed = {name: each for name, each in self._pushed.items() if id(each) in watched}

    def _answered(self, entry: _Entry) -> None:
        command = self._pushed.get(entry.text(b"c"))
        if command is None:
            return
        if entry.kind == b"k":
            command.sent = True
        else:
            self._refuse(command, entry.text(b"d"))

    def _refuse(self, command: Command, why: str) -> None:
        with self._lock:
            self._watched = [each for each in self._watched if each.command is not command]
        command._fail(NotConnected(f"{command.name} of {command.uuid} was not sent: {why}"))


def _reason(told: dict[str, Any]) -> ConnectionLost:
    cls = _LOST.get(told["kind"], ConnectionLost)
    if told["kind"] == ConnectionReplaced.__name__:  # the relay's matter; this client goes on
        cls = ConnectionLost
    return cls(f"the relay's connection to the PBX has ended: {told['message']}", told["code"], told["reason"])


def _event(entry: _Entry) -> Event | None:
    """What an entry tells; None for one of a kind that a later release writes."""
    kind, fields, at = entry.kind, entry.fields, entry.received_at
    try:
        if kind == b"i":
            event = InfoEvent(
                entry.text(b"n"),
                load_element(entry.text(b"n"), fields[b"d"]),
                entry.text(b"e"),
                int(fields.get(b"g", 2)),
                received_at=at,
            )
            if b"w" in fields:
                event.mwi = load_box(fields[b"w"])
            return event
        if kind == b"a":
            element = entry.text(b"n")
            items: list[Element] = [load_element(element, item) for item in json.loads(fields[b"d"])]
            return InitialInfo(element, items, int(fields.get(b"g", 2)), received_at=at)
        if kind == b"s":
            return SystemMsg(load_term(fields[b"d"]), received_at=at)
        if kind == b"m":
            return Msg(load_term(fields[b"d"]), received_at=at)
        if kind == b"u":
            return UnknownMessage(json.loads(fields[b"n"]), load_term(fields[b"d"]), received_at=at)
        if kind == b"b":
            return Failed(DecodeError(*json.loads(fields[b"d"])), received_at=at)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        logger.warning("entry %d of the relay cannot be read: %s", entry.sequence, error)
        return Failed(DecodeError(f"entry {entry.sequence} of the relay cannot be read: {error}"), received_at=at)
    return None
