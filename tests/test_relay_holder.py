"""The relay inside a process: what it tells of itself, when it ends, and what it does under load."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import SimpleNamespace

import pytest
from programs import TIMEOUT
from redis_rig import RedisServer, needs_redis
from waiting import eventually

from basix_cti import ApiToken
from basix_cti.errors import AuthError
from basix_cti.events import Msg
from basix_cti.relay import HeldClient, Relay
from basix_cti.relay.holder import _Tenure
from basix_cti.relay.link import RedisLink
from basix_cti.simulator import Simulator
from basix_cti.waiting import Waker, wait_for

pytestmark = needs_redis


@pytest.fixture
def pbx() -> Iterator[Simulator]:
    with Simulator(users=3) as pbx:
        yield pbx


def held(pbx: Simulator, token: str | None = None, **options: object) -> HeldClient:
    return HeldClient(pbx.url, auth=ApiToken(pbx.domain, token or pbx.token), app_name="x", full_events=True, **options)


@contextmanager
def running(relay: Relay) -> Iterator[Relay]:
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        yield relay
    finally:
        relay.stop()
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def test_it_is_healthy_whatever_it_does(pbx: Simulator, server: RedisServer) -> None:
    """To begin, to lose Redis, to leave the PBX to the other: none of it is a reason to start it anew."""
    told: list[tuple[str, str | None]] = []

    def say(what: str) -> None:
        told.append((what, relay.trouble(30)))

    relay = Relay(server.url, held(pbx), lease=1.0, patience=0.1, say=say)
    with running(relay):
        eventually(lambda: relay.not_ready() is None, "the connection to the PBX")
        server.kill()
        eventually(lambda: any(what.startswith("waiting for Redis") for what, _ in told), "the loss of Redis")
        server.start()
        eventually(lambda: relay.not_ready() is None, "the connection to the PBX")
        other = Relay(server.url, held(pbx), lease=1.0)
        with running(other):
            eventually(lambda: other.role == "standby", "the standby")
            pbx.refuse(503)
            pbx.drop()
            eventually(lambda: other.role == "holder", "its turn")
            pbx.refuse(None)
    assert [what.split(" ")[0] for what, _ in told[:4]] == ["holder", "waiting", "holder", "no"]
    assert [trouble for _, trouble in told if trouble is not None] == []


def test_a_connection_that_has_ended_for_good_ends_it(pbx: Simulator, server: RedisServer) -> None:
    with pytest.raises(AuthError):
        Relay(server.url, held(pbx, "wrong", stop_on_auth_error=True)).run()


def test_what_redis_does_not_take_is_bounded(pbx: Simulator, server: RedisServer) -> None:
    client = held(pbx, max_queued_bytes=10_000)
    assert client.statistics.max_queued_bytes == 10_000
    told: list[str] = []
    with running(Relay(server.url, client, say=told.append)) as relay:
        eventually(lambda: relay.not_ready() is None, "the connection to the PBX")
        pbx.msg("x" * 20_000)
        eventually(lambda: any("takes too little of what the PBX tells" in what for what in told), "the overflow")


def test_what_waits_is_written_before_it_waits(
    pbx: Simulator, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a burst that takes more than one turn no event may come that would wake it."""
    relay = Relay(server.url, held(pbx))
    waits: list[tuple[int, float]] = []

    def seen(waker: Waker, redis: RedisLink, write: bool, timeout: float) -> bool:
        waits.append((tenure._publisher.waiting, timeout))
        return wait_for(waker, redis, write, timeout)

    with closing(RedisLink(relay._address, relay._waker, "test")) as redis, closing(relay._waker):
        redis.open()
        found = relay._wait_for_lease(redis)
        assert found is not None
        tenure = _Tenure(relay, redis, found[0], [])
        tenure._commands.open()
        monkeypatch.setattr("basix_cti.relay.holder.wait_for", seen)
        tenure._publisher.offer_all([(Msg("x", received_at=0.0), 1)] * 5_000)
        while tenure._publisher.waiting:
            tenure._publish()
            tenure._listen()
        tenure._commands.close()
    assert [waiting > 0 for waiting, _ in waits] == [True, True, False]
    assert [timeout for waiting, timeout in waits if waiting and timeout > 0] == []


def test_a_process_that_was_stopped_looks_again_before_it_complains(
    pbx: Simulator, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if it was stopped just after it had looked: meanwhile, Redis has answered."""
    slept = 0.0

    def stopped(waker: Waker, redis: RedisLink, write: bool, timeout: float) -> bool:
        nonlocal slept
        if slept:
            return wait_for(waker, redis, write, timeout)
        assert wait_for(waker, redis, write, TIMEOUT)
        slept = 3600.0
        return False

    relay = Relay(server.url, held(pbx))
    with closing(RedisLink(relay._address, relay._waker, "test")) as redis, closing(relay._waker):
        redis.open()
        found = relay._wait_for_lease(redis)
        assert found is not None
        tenure = _Tenure(relay, redis, found[0], [])
        tenure._commands.open()
        clock = SimpleNamespace(monotonic=lambda: time.monotonic() + slept, time=time.time)
        for module in ("relay.holder", "relay.link", "waiting"):
            monkeypatch.setattr(f"basix_cti.{module}.time", clock)
        monkeypatch.setattr("basix_cti.relay.link.wait_for", stopped)
        assert redis.call("PING") == b"PONG"
        redis.call("RPUSH", relay._keys.commands(tenure.epoch), "no command")
        slept = 0.0
        monkeypatch.setattr("basix_cti.relay.link.wait_for", wait_for)
        monkeypatch.setattr("basix_cti.relay.holder.wait_for", stopped)
        tenure._listen()
        tenure._listen()
        assert not tenure._commands.waiting
        tenure._commands.close()
