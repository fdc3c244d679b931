"""What a client knows that joins a relay, at each moment of stories that are made up: by way of a real Redis."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, cast

import pytest
from redis_rig import RedisServer, needs_redis

from basix_cti.elements import (
    Channel,
    ChannelWaiting,
    Element,
    ParkedChannel,
    QueuedChannel,
    State,
    Terminal,
    UnknownElement,
    User,
)
from basix_cti.errors import ConnectionLost
from basix_cti.events import ADDED, REMOVED, UPDATED, Connected, Disconnected, Event, InfoEvent, InitialInfo, Session
from basix_cti.relay.follower import Follower
from basix_cti.relay.keys import ACQUIRE, Keys
from basix_cti.relay.link import Address, RedisLink
from basix_cti.relay.publisher import Publisher
from basix_cti.state import Picture, Tracker
from basix_cti.statistics import Counters
from basix_cti.waiting import Waker

pytestmark = needs_redis

KEYS = Keys("join")
ELEMENTS: dict[str, Callable[[str, random.Random], Element]] = {
    "channel": lambda key, rng: Channel(uuid=key, calling_number=str(rng.randrange(5)), state=State(1, "ringing")),
    "channel_waiting": lambda key, rng: ChannelWaiting(uuid=key, state=State(1, "park", {"slot": rng.randrange(5)})),
    "queued_channel": lambda key, rng: QueuedChannel(key, peer_number=str(rng.randrange(5))),
    "parked_channel": lambda key, rng: ParkedChannel(key, State(1, "park", {"slot": rng.randrange(5)})),
    "user": lambda key, rng: User(id=int(key), label=str(rng.randrange(5)), mwi=rng.choice(["", "1/0", "2/1"])),
    "terminal": lambda key, rng: Terminal(id=int(key), registered=rng.random() < 0.5),
    "news": lambda key, rng: UnknownElement("news", extra={"id": key, "x": rng.randrange(5)}),
}


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def waker() -> Iterator[Waker]:
    with closing(Waker()) as waker:
        yield waker


class Story:
    """Three sessions with a PBX, whose elements tell their full state early, late, or not at all.

    Late messages of a channel come after its end, but no channel comes back.
    """

    def __init__(self, rng: random.Random, generation: int) -> None:
        self._rng = rng
        self._generation = generation
        self._up: set[str] = set()
        self._ended: set[str] = set()

    def __iter__(self) -> Iterator[Event]:
        for number in range(1, 4):
            yield Connected(Session(number))
            for _ in range(40):
                yield self._event()
            yield Disconnected(ConnectionLost("over"))

    def _event(self) -> Event:
        rng, generation = self._rng, self._generation
        first = ["channel", "channel", "parked_channel", "user"]
        element = rng.choice(first if generation == 1 else ["channel", *ELEMENTS])
        if rng.random() < 0.15 and (generation == 2 or element == "channel"):
            return InitialInfo(element, self._present(element), generation)
        item = ELEMENTS[element](self._key(element), rng)
        if generation == 1 and isinstance(item, User):
            return InfoEvent(element, User(id=item.id, mwi=rng.choice(["1/0", "2/1"])), UPDATED, 1)
        happened = rng.choice([ADDED, UPDATED, UPDATED, REMOVED])
        if type(item) is Channel:
            assert item.uuid is not None
            if item.uuid in self._ended or rng.random() < 0.3:
                item, happened = rng.choice([(item.as_hung_up(), UPDATED), (item, REMOVED)])
            if item.is_hung_up or happened == REMOVED:
                self._ended.add(item.uuid or "")
                self._up.discard(item.uuid or "")
            else:
                self._up.add(item.uuid or "")
            if generation == 1:
                item, happened = (item.as_hung_up() if happened == REMOVED else item), ""
        return InfoEvent(element, item, happened, generation)

    def _key(self, element: str) -> str:
        """Channels are ever new ones, or some that were there; of the rest there are few."""
        rng = self._rng
        if element == "channel" and (not self._up or rng.random() < 0.3):
            return str(rng.randrange(10**9))
        if element == "channel":
            return rng.choice(sorted(self._ended if self._ended and rng.random() < 0.2 else self._up))
        if element in ("channel_waiting", "queued_channel", "parked_channel") and self._up:
            return rng.choice(sorted(self._up))
        return str(rng.randrange(8))

    def _present(self, element: str) -> list[Element]:
        rng = self._rng
        make = ELEMENTS[element]
        if element != "channel":
            return [make(self._key(element), rng) for _ in range(rng.randrange(6))]
        keys = [key for key in sorted(self._up) if rng.random() < 0.7]
        ends = [key for key in keys if rng.random() < 0.2]
        self._ended |= self._up - set(keys) | set(ends)
        self._up -= self._ended
        return [_hung_up(make(key, rng)) if key in ends else make(key, rng) for key in keys]


def _hung_up(item: Element) -> Element:
    return item.as_hung_up() if type(item) is Channel else item


def follow(tracker: Tracker, event: Event) -> None:
    # Each client has objects of its own, as they complete them.
    if isinstance(event, InfoEvent):
        event = replace(event, item=replace(event.item))
    for _ in tracker.track(event):
        pass


def known(picture: Picture) -> dict[str, Any]:
    """What a picture has of this session, and what decides how it takes what comes next.

    Of elements that the PBX did not tell yet in this session it may have what was before, which not all have seen.
    """
    touched = {element: keys for element, keys in picture._touched.items() if keys}
    changed = {(element, key): picture.get(element, key) for element, keys in touched.items() for key in keys}
    # In the first generation the end of a channel frees its slot, which may count as a change of the slot, or not.
    changed = {what: item for what, item in changed.items() if what[0] != "parked_channel" or item is not None}
    full = {element: picture.items(element) for element in picture._confirmed}
    return {"full": full, "changed": changed, "ended": set(picture._ended)}


class Writer:
    """Does what a holder does, with a publisher and a lease, but for the PBX."""

    def __init__(self, redis: RedisLink, **bounds: int) -> None:
        names = [KEYS.lease, KEYS.standby, KEYS.epoch, KEYS.events, KEYS.session, KEYS.ended]
        _, lease, _ = redis.run(ACQUIRE, names, ["me", 60_000, 0, KEYS.pictures, KEYS.commands("")])
        self._redis = redis
        self._publisher = Publisher(
            KEYS,
            int(lease.split(b" ")[0]),
            [],
            length=1000,
            max_bytes=10**8,
            **bounds,
            wake=lambda: None,
            counters=Counters(),
        )

    def write(self, event: Event) -> None:
        if isinstance(event, InfoEvent):
            event = replace(event, item=replace(event.item))
        self._publisher.offer(event, 1)
        for words in self._publisher.take(10, 10**6):
            self._redis.call(*words)


def joined(tracker: Tracker, redis: RedisLink) -> None:
    """Have a client join here, with what it knows."""
    snapshot = Follower(redis, redis, KEYS, tracker.picture).snapshot
    assert snapshot is not None
    for _ in tracker.catch_up(snapshot.picture, snapshot.elements, snapshot.received_at, joining=True):
        pass


@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize("seed", range(10))
def test_who_joins_knows_what_those_know_who_were_there(
    seed: int, generation: int, server: RedisServer, waker: Waker
) -> None:
    rng = random.Random(f"{seed} {generation}")
    server.client().flushall()
    redis = RedisLink(Address(server.url, 20), waker, "test")
    redis.open()
    writer = Writer(redis)
    there, away = Tracker(), Tracker()
    is_away = False
    up = False
    for event in Story(rng, generation):
        writer.write(event)
        follow(there, event)
        if isinstance(event, Connected | Disconnected):
            up = isinstance(event, Connected)
        if not is_away:
            follow(away, event)
            is_away = rng.random() < 0.2
        elif up and rng.random() < 0.3:
            joined(away, redis)
            is_away = False
        if not is_away:
            # Which channels it has seen to end depends on which ones it had seen before.
            assert known(away.picture) | {"ended": 0} == known(there.picture) | {"ended": 0}
        if up:
            fresh = Tracker()
            joined(fresh, redis)
            assert known(fresh.picture) == known(there.picture)
    redis.close()


def test_the_stream_is_bounded_in_bytes(server: RedisServer, waker: Waker) -> None:
    server.client().flushall()
    redis = RedisLink(Address(server.url, 20), waker, "test")
    redis.open()
    writer = Writer(redis, max_stream_bytes=20_000)
    for number in range(300):
        writer.write(InfoEvent("channel", Channel(uuid="x" * 1000, calling_number=str(number)), UPDATED))
    entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", server.client().xrange(KEYS.events))
    size = sum(len(value) for _, fields in entries for value in fields.values())
    assert 10_000 < size <= 20_000
    assert int(entries[-1][0].split(b"-")[1]) == 300
    redis.close()
