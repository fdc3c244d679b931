"""The relay: real Redis servers, relays in processes of their own, and what every client then knows and was told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from programs import Program
from redis_rig import RedisServer, RelayedClient, assert_right, needs_redis, relay

from basix_cti.simulator import Simulator, Traffic
from basix_cti.testing import RecordedClient

pytestmark = needs_redis

HOLDER = r"basix-cti: holder of default in unix:.*, epoch (\d+)"
STANDBY = "basix-cti: standby of default"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def pbx() -> Iterator[Simulator]:
    with Simulator(users=6) as pbx:
        yield pbx


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def traffic(pbx: Simulator, steps: int = 200) -> Traffic:
    """Some calls, of which some are left up."""
    traffic = Traffic(pbx, calls_per_minute=240)
    play(traffic, steps)
    return traffic


def play(traffic: Traffic, steps: int) -> None:
    for _ in range(steps):
        traffic.step()


def twins(stack: ExitStack, pbx: Simulator, server: RedisServer, *options: str) -> tuple[Program, Program]:
    """A holder and its standby."""
    holder = stack.enter_context(relay(pbx, server, *options))
    holder.wait(HOLDER)
    standby = stack.enter_context(relay(pbx, server, *options))
    standby.wait(STANDBY)
    return holder, standby


@pytest.mark.parametrize("generation", [1, 2])
def test_every_client_knows_what_the_pbx_knows_whenever_it_comes(
    generation: int, stack: ExitStack, pbx: Simulator, server: RedisServer
) -> None:
    stack.enter_context(relay(pbx, server, generation=generation)).wait(HOLDER)
    truth = stack.enter_context(RecordedClient(pbx, generation=generation))
    clients = [stack.enter_context(RelayedClient(pbx, server))]
    calls = traffic(pbx)
    for _ in range(5):
        clients.append(client := RelayedClient(pbx, server))
        client.start()
        play(calls, 60)  # while it joins
        stack.callback(client.stop)
    for client in clients:
        assert client.wait_ready(20)
    play(calls, 100)
    assert_right(pbx, *clients, truth=truth)
    assert all(client.losses() == 0 for client in clients)
    assert clients[0].state.channels


def test_kill_of_the_holder(stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
    holder, standby = twins(stack, pbx, server)
    clients = [stack.enter_context(RelayedClient(pbx, server)) for _ in range(3)]
    calls = traffic(pbx)
    for client in clients:
        client.catch_up()
    holder.process.kill()
    play(calls, 300)  # untold to everybody
    standby.wait(HOLDER)
    assert_right(pbx, *clients)
    for client in clients:
        assert client.losses() == 1
        assert len(client.recorder.of("on_connect")) == 2
    pbx.wait_connections(1)
