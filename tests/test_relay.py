"""The relay: real Redis servers, relays in processes of their own, and what every client then knows and was told."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from programs import TIMEOUT, Program
from redis_rig import RedisServer, RelayedClient, assert_right, needs_redis, relay
from waiting import eventually

from basix_cti import Channel, CTIHandler
from basix_cti.errors import CommandError, ConnectionLost, DecodeError, NotConnected
from basix_cti.etf import Atom
from basix_cti.events import UnknownMessage
from basix_cti.relay.keys import Keys
from basix_cti.simulator import Simulator, Traffic
from basix_cti.testing import RecordedClient

pytestmark = needs_redis

HOLDER = r"basix-cti: holder of default in unix:.*, epoch (\d+)"
STANDBY = "basix-cti: standby of default"
PATIENT = ("--lease", "30")  # where no holder may be taken for gone, however busy the machine is


@pytest.fixture
def pbx() -> Iterator[Simulator]:
    with Simulator(users=6) as pbx:
        yield pbx


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
    stack.enter_context(relay(pbx, server, *PATIENT, generation=generation)).wait(HOLDER)
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


def test_who_parked_a_call_is_still_known_after_a_takeover(
    stack: ExitStack, pbx: Simulator, server: RedisServer
) -> None:
    """The first generation tells it but once, and the standby did not hear it."""
    holder = stack.enter_context(relay(pbx, server, generation=1))
    client = stack.enter_context(RelayedClient(pbx, server))
    call = pbx.call("0312341234", to="user1").answer().park(901)
    client.recorder.wait_for("on_park_info")
    parked = client.state.parked
    assert parked[call.uuid].parker_name == "user1"
    assert holder.end() == 0
    stack.enter_context(relay(pbx, server, generation=1))
    client.recorder.wait_for("on_connect", 2)
    client.catch_up()
    assert client.state.parked == parked
    assert len(client.recorder.of("on_park_info")) == 1
    call.hangup()
    client.recorder.wait_for("on_unpark_info")


def epochs(server: RedisServer) -> list[tuple[int, int]]:
    """The position of each entry in the stream."""
    entries = cast("list[tuple[bytes, object]]", server.client().xrange("{basix-cti:default}:events"))
    return [(int(epoch), int(sequence)) for epoch, sequence in (name.split(b"-") for name, _ in entries)]


def assert_one_at_a_time(server: RedisServer) -> None:
    """Nobody has written in the epoch of another: in each, the entries are without a gap."""
    found = epochs(server)
    for before, after in pairwise(found):
        assert after == (before[0], before[1] + 1) or (after[0] > before[0] and after[1] == 1)


def epoch_of(program: Program, count: int = 1) -> int:
    return int(program.wait(HOLDER, count)[-1][1])


def test_a_holder_that_was_stopped_writes_nothing_when_it_wakes(
    stack: ExitStack, pbx: Simulator, server: RedisServer
) -> None:
    holder, standby = twins(stack, pbx, server)
    client = stack.enter_context(RelayedClient(pbx, server))
    calls = traffic(pbx)
    client.catch_up()
    holder.process.send_signal(signal.SIGSTOP)
    play(calls, 100)  # that wait in the socket of the one that sleeps
    assert epoch_of(standby) > epoch_of(holder)
    assert_right(pbx, client)
    holder.process.send_signal(signal.SIGCONT)
    holder.wait(STANDBY)
    play(calls, 100)
    assert_right(pbx, client)
    assert_one_at_a_time(server)
    assert client.losses() == 1
    pbx.wait_connections(1)


def assert_two_tenures(*relays: Program) -> None:
    """Of all of them together; what one prints may come later than what it does."""
    eventually(lambda: sum(len(each.matches(HOLDER)) for each in relays) >= 2, "the second tenure")
    assert sum(len(each.matches(HOLDER)) for each in relays) == 2


@pytest.mark.parametrize("options", [[], ["--appendonly", "yes"]], ids=["nothing kept", "all kept"])
def test_kill_of_redis(options: list[str], stack: ExitStack, pbx: Simulator) -> None:
    server = stack.enter_context(RedisServer(*options))
    holder, standby = twins(stack, pbx, server)
    clients = [stack.enter_context(RelayedClient(pbx, server)) for _ in range(2)]
    calls = traffic(pbx)
    first = epoch_of(holder)
    server.kill()
    play(calls, 200)
    server.start()
    assert_right(pbx, *clients)
    play(calls, 100)
    assert_right(pbx, *clients)
    assert_one_at_a_time(server)
    assert max(epochs(server))[0] > first
    # Who finds what Redis has kept goes on with that, until the holder begins anew.
    assert all(client.losses() in (1, 2) for client in clients)
    pbx.wait_connections(1)
    assert_two_tenures(holder, standby)


def test_redis_goes_back_in_time(stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
    """What it has saved is a while old: clients do not go back with it, so nothing ends twice."""
    holder = stack.enter_context(relay(pbx, server))
    client = stack.enter_context(RelayedClient(pbx, server))
    calls = traffic(pbx)
    client.catch_up()
    server.client().save()
    play(calls, 300)
    client.catch_up()
    first = epoch_of(holder)
    holder.process.send_signal(signal.SIGSTOP)  # so that the old data are all that clients find at first
    server.kill()
    server.start()
    eventually(lambda: "has lost data" in str(client.last_error), "notice of the loss")
    holder.process.send_signal(signal.SIGCONT)
    assert epoch_of(holder, 2) > first
    assert_right(pbx, client)
    assert_one_at_a_time(server)


def test_a_holder_whose_clock_is_behind(stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
    """That of the one before was a day ahead, and Redis has lost all trace of it."""
    server.client().set("{basix-cti:default}:epoch", time.time_ns() // 1000 + 86_400 * 10**6)
    first = stack.enter_context(relay(pbx, server))
    client = stack.enter_context(RelayedClient(pbx, server))
    calls = traffic(pbx)
    client.catch_up()
    ahead = epoch_of(first)
    first.process.kill()
    server.client().flushall()
    second = stack.enter_context(relay(pbx, server))
    assert epoch_of(second) < ahead
    play(calls, 100)
    client.recorder.wait_for("on_connect", 2)
    assert_right(pbx, client)


def test_redis_is_emptied(stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
    holder = stack.enter_context(relay(pbx, server))
    client = stack.enter_context(RelayedClient(pbx, server))
    calls = traffic(pbx)
    first = epoch_of(holder)
    server.client().flushall()
    play(calls, 100)
    assert epoch_of(holder, 2) > first
    assert_right(pbx, client)


def test_redis_is_cut_off(stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
    """It answers nobody for longer than the lease, and then goes on as if nothing had been."""
    holder, standby = twins(stack, pbx, server)
    client = stack.enter_context(RelayedClient(pbx, server, redis_timeout=0.5))
    calls = traffic(pbx)
    client.catch_up()
    server.send(signal.SIGSTOP)
    client.recorder.wait_for("on_disconnect")
    pbx.wait_connections(0, TIMEOUT)  # who cannot publish does not keep the PBX
    play(calls, 200)
    server.send(signal.SIGCONT)
    assert_right(pbx, client)
    assert_one_at_a_time(server)
    assert_two_tenures(holder, standby)


def test_redis_is_full(stack: ExitStack, pbx: Simulator) -> None:
    server = stack.enter_context(RedisServer("--maxmemory", "1500kb", "--maxmemory-policy", "noeviction"))
    holder, standby = twins(stack, pbx, server)
    client = stack.enter_context(RelayedClient(pbx, server))
    traffic(pbx, 500)
    client.catch_up()
    with pytest.raises(redis.OutOfMemoryError):
        server.client().set("another", "program's")
    assert holder.end() == 0
    standby.wait(HOLDER)
    assert_right(pbx, client)


def test_a_client_that_falls_behind(stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
    stack.enter_context(relay(pbx, server, "--length", "200", *PATIENT))
    steady = stack.enter_context(RelayedClient(pbx, server))
    command = [sys.executable, str(Path(__file__).with_name("relay_worker.py")), server.url]
    worker = stack.enter_context(Program(command, server.folder, dict(os.environ), talks=True))
    worker.wait("^ready$")
    calls = traffic(pbx, 100)
    worker.process.send_signal(signal.SIGSTOP)
    for _ in range(25):
        play(calls, 10)
        steady.catch_up()
    worker.process.send_signal(signal.SIGCONT)
    (lost,) = worker.wait("^lost .* fell behind, and ([0-9]+) messages are no longer in the stream")
    assert int(lost[1]) > 100
    worker.wait("^connected 2$")
    play(calls, 50)
    steady.catch_up()

    def told() -> dict[str, object]:
        count = len(worker.matches("^state "))
        worker.say("state")
        found: dict[str, object] = json.loads(worker.wait("^state (.*)$", count + 1)[-1][1])
        return found

    def uuids(what: str) -> Counter[str]:
        return Counter(match[1] for match in worker.matches(f"^{what} (.+)$"))

    truth = {uuid: channel.to_dict() for uuid, channel in steady.state.channels.items()}
    eventually(lambda: told() == truth, "the right channels")
    # The picture is right before the hooks have told why.
    eventually(lambda: uuids("up").keys() - truth.keys() <= uuids("end").keys(), "the end of the others")
    assert set(uuids("end").values()) == {1}
    assert steady.losses() == 0


def test_slow_hooks(stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
    class Slow(CTIHandler):
        def on_chan_info(self, channel: Channel) -> None:
            wake.wait(0.02)

    wake = threading.Event()
    stack.enter_context(relay(pbx, server, *PATIENT))
    client = stack.enter_context(RelayedClient(pbx, server, Slow(), max_queued_events=20))
    traffic(pbx, 300)
    client.recorder.wait_for("on_overflow")
    wake.set()
    assert_right(pbx, client)
    assert client.losses() == 0


def no_pbx(error: BaseException) -> bool:
    return str(error).startswith("the relay has no connection to the PBX: ")


class TestThePBX:
    def test_its_connection_is_lost(self, stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
        stack.enter_context(relay(pbx, server))
        client = stack.enter_context(RelayedClient(pbx, server))
        calls = traffic(pbx)
        client.catch_up()
        pbx.refuse(503)
        pbx.drop()
        client.recorder.wait_for("on_disconnect")
        assert not client.connected
        with pytest.raises(NotConnected, match="no connection to unix:"):
            client.hangup("uuid")
        client.recorder.wait_for("on_error", where=no_pbx)
        play(calls, 200)
        late = RelayedClient(pbx, server)
        late.start()
        stack.callback(late.stop)
        late.recorder.wait_for("on_error", where=no_pbx)
        pbx.refuse(None)
        assert late.wait_ready(TIMEOUT)
        assert_right(pbx, client, late)
        (reason,) = client.recorder.of("on_disconnect")
        assert str(reason).startswith("the relay's connection to the PBX has ended: ")

    def test_it_cannot_be_reached(self, stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
        """After a while the standby gets its turn, who may have a way to it."""
        holder, standby = twins(stack, pbx, server, "--patience", "0.5")
        client = stack.enter_context(RelayedClient(pbx, server))
        pbx.refuse(503)
        pbx.drop()
        standby.wait(HOLDER)
        holder.wait("no connection to the PBX; the standby gets its turn")
        pbx.refuse(None)
        assert_right(pbx, client)

    def test_it_was_never_reached(self, stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
        pbx.refuse(503)
        holder = stack.enter_context(relay(pbx, server))
        holder.wait(HOLDER)
        eventually(
            lambda: server.client().exists("{basix-cti:default}:session"), "what the holder tells of its failure"
        )
        client = RelayedClient(pbx, server)
        client.start()
        stack.callback(client.stop)
        client.recorder.wait_for("on_error", where=no_pbx)
        pbx.refuse(None)
        assert client.wait_ready(TIMEOUT)
        assert_right(pbx, client)
        assert [error for error in client.recorder.of("on_error") if not no_pbx(error)] == []

    def test_it_is_taken_by_force(self, stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
        holder, standby = twins(stack, pbx, server)
        client = stack.enter_context(RelayedClient(pbx, server))
        pbx.replace()
        assert holder.process.wait(TIMEOUT) == 1
        holder.wait("^basix-cti: another client with the same user and app_name took this connection's place")
        standby.wait(HOLDER)
        assert_right(pbx, client)
        pbx.wait_connections(1)

    def test_its_messages(self, stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
        stack.enter_context(relay(pbx, server))
        client = stack.enter_context(RelayedClient(pbx, server))
        pbx.msg("こんにちは")
        pbx.system_msg((Atom("auto_answer"), b"x", [1, 2.5], {b"k": Atom("undefined")}))
        pbx.send_term((Atom("news"), 1))
        pbx.bad_frame()
        client.recorder.wait_for("on_error", where=lambda error: isinstance(error, DecodeError))
        assert client.recorder.of("on_msg") == ["こんにちは"]
        assert client.recorder.of("on_system_msg") == [(Atom("auto_answer"), b"x", [1, 2.5], {b"k": Atom("undefined")})]
        (unknown,) = client.recorder.wait_event(UnknownMessage)
        assert (unknown.kind, unknown.term) == ("news", (Atom("news"), 1))
        assert unknown.received_at > 1e9


def pushed(server: RedisServer) -> int:
    """How many commands were put into Redis."""
    used = cast("dict[str, dict[str, int]]", server.client().info("commandstats"))
    return used.get("cmdstat_rpush", {"calls": 0})["calls"]


class TestCommands:
    def test_each_is_done_once(self, stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
        twins(stack, pbx, server)
        clients = [stack.enter_context(RelayedClient(pbx, server)) for _ in range(2)]
        calls = [pbx.call("0312341234", to="user1").answer() for _ in range(2)]
        uuids = [call.uuid for call in calls]
        for client in clients:
            client.catch_up()
        parked = clients[0].park(uuids[0], 60)
        assert parked.wait(TIMEOUT)
        assert parked.sent
        moved = clients[1].transfer(uuids[0], destination="202")
        assert moved.wait(TIMEOUT)
        assert all(client.hangup(uuid).wait(TIMEOUT) for client, uuid in zip(clients, uuids, strict=True))
        given = [pbx.wait_command(TIMEOUT) for _ in range(4)]  # noted when obeyed, which may be in another order
        assert sorted(given, key=lambda command: (command["cmd"], uuids.index(command["uuid"]))) == [
            {"cmd": "hangup", "uuid": uuids[0]},
            {"cmd": "hangup", "uuid": uuids[1]},
            {"cmd": "park", "uuid": uuids[0], "timeout": 60},
            {"cmd": "transfer", "uuid": uuids[0], "destination": "202"},
        ]
        assert clients[0].hangup(uuids[0]).wait(TIMEOUT)  # its end is known
        pbx.wait_command(TIMEOUT)
        assert len(pbx.commands) == 5

    def test_an_effect_that_does_not_come(self, stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
        stack.enter_context(relay(pbx, server))
        client = stack.enter_context(RelayedClient(pbx, server, command_timeout=0.3))
        command = client.hangup("no-such-channel")
        assert command.wait(TIMEOUT) is False
        assert pbx.wait_command(TIMEOUT) == {"cmd": "hangup", "uuid": "no-such-channel"}

    def test_of_a_form_that_is_wrong(self, stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
        stack.enter_context(relay(pbx, server))
        client = stack.enter_context(RelayedClient(pbx, server))
        with pytest.raises(CommandError):
            client.hangup("two words")
        with pytest.raises(CommandError):
            client.transfer("uuid")

    def test_the_holder_dies_with_it(self, stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
        """Nobody can know whether it was done, and it is not done again."""
        holder, standby = twins(stack, pbx, server)
        client = stack.enter_context(RelayedClient(pbx, server))
        call = pbx.call("0312341234", to="user1").answer()
        client.catch_up()
        holder.process.send_signal(signal.SIGSTOP)
        command = client.hangup(call.uuid)
        eventually(lambda: pushed(server), "the command in Redis")
        holder.process.kill()
        with pytest.raises(ConnectionLost, match="before its effect was seen"):
            command.wait(TIMEOUT)
        standby.wait(HOLDER)
        assert_right(pbx, client)
        assert pbx.commands == []
        assert call.uuid in client.state.channels

    def test_one_who_held_takes_none_away(self, stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
        """A former holder that was cut off while it waited for commands: Redis still believes in it."""
        holder, standby = twins(stack, pbx, server)
        client = stack.enter_context(RelayedClient(pbx, server))
        former = stack.enter_context(server.client())
        lost: list[object] = []

        def wait() -> None:
            with suppress(redis.ConnectionError):
                lost.append(former.blpop(Keys("default").commands(epoch_of(holder))))

        waiting = threading.Thread(target=wait)
        waiting.start()
        holder.process.kill()
        standby.wait(HOLDER)
        client.recorder.wait_for("on_connect", 2)
        client.hangup("x")
        assert pbx.wait_command(TIMEOUT) == {"cmd": "hangup", "uuid": "x"}
        assert lost == []
        server.kill()
        waiting.join(TIMEOUT)

    def test_those_that_are_too_old_or_nonsense(self, stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
        """As after a Redis that went back in time, or by somebody else: they are refused, and told to be."""
        holder = stack.enter_context(relay(pbx, server))
        client = stack.enter_context(RelayedClient(pbx, server))
        text = json.dumps({"cmd": "hangup", "uuid": "x"})
        commands = Keys("default").commands(epoch_of(holder))
        right: dict[str, Any] = {"epoch": epoch_of(holder), "session": 1, "text": text}
        wrong = [
            right | {"epoch": 1},
            right | {"session": 7},
            right | {"text": "{"},
            right | {"text": 7},
            right | {"text": "[]"},
            right | {"text": json.dumps({"cmd": "stop"})},
            right | {"text": json.dumps({"cmd": "hangup", "uuid": 7})},
            right | {"text": json.dumps({"cmd": "hangup", "uuid": "x", "more": 1})},
        ]
        for nonsense in ("{", "7", "[]", "{}"):
            server.client().rpush(commands, nonsense)
        for number, fields in enumerate([*wrong, right]):
            server.client().rpush(commands, json.dumps({"id": number, **fields}))
        assert pbx.wait_command(TIMEOUT) == {"cmd": "hangup", "uuid": "x"}
        client.catch_up()
        entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", server.client().xrange("{basix-cti:default}:events"))
        refused = [fields[b"c"] for _, fields in entries if fields[b"k"] == b"x"]
        assert refused == [str(number).encode() for number in range(len(wrong))]
        assert len(pbx.commands) == 1

    def test_one_that_the_holder_refuses(self, stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
        holder = stack.enter_context(relay(pbx, server))
        client = stack.enter_context(RelayedClient(pbx, server))
        holder.process.send_signal(signal.SIGSTOP)
        command = client.hangup("x")
        eventually(lambda: pushed(server), "the command in Redis")
        pbx.refuse(503)
        pbx.drop()
        holder.process.send_signal(signal.SIGCONT)
        with pytest.raises((NotConnected, ConnectionLost)):
            command.wait(TIMEOUT)
        assert pbx.commands == []


def test_nothing_stays_for_ever(stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
    """Names and numbers are there: they end by themselves, however soon the relay died."""
    holder = stack.enter_context(relay(pbx, server))
    traffic(pbx)
    stack.enter_context(RelayedClient(pbx, server)).catch_up()
    holder.process.kill()
    look = stack.enter_context(server.client())
    keys = {key.decode(): look.ttl(key) for key in look.scan_iter()}
    assert keys.pop("{basix-cti:default}:epoch") == -1
    assert len(keys) > 5
    assert [key for key, ttl in keys.items() if ttl == -1] == []


class TestWhoIsWho:
    def test_a_stop_hands_over_at_once(self, stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
        holder, standby = twins(stack, pbx, server)
        client = stack.enter_context(RelayedClient(pbx, server))
        assert holder.end() == 0
        assert server.client().get("{basix-cti:default}:lease") is None or standby.matches(HOLDER)
        standby.wait(HOLDER)
        assert_right(pbx, client)

    def test_two_relays_in_one_redis(self, stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
        other = stack.enter_context(Simulator(users=2, domain="other.com"))
        stack.enter_context(relay(pbx, server))
        stack.enter_context(relay(other, server, "--relay-name", "other"))
        ours = stack.enter_context(RelayedClient(pbx, server))
        theirs = stack.enter_context(RelayedClient(other, server, name="other"))
        assert (len(ours.state.users), len(theirs.state.users)) == (6, 2)
        assert_right(pbx, ours)

    def test_one_name_for_two(self, stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
        other = stack.enter_context(Simulator(users=2, domain="other.com"))
        stack.enter_context(relay(pbx, server)).wait(HOLDER)
        wrong = stack.enter_context(relay(other, server))
        wrong.wait(
            "^basix-cti: the relay default in unix:.* serves another PBX, or another user, .* another --relay-name"
        )
        assert wrong.process.wait(TIMEOUT) == 1

    def test_no_relay(self, stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
        client = RelayedClient(pbx, server)
        stack.callback(client.stop)
        client.start()
        (error,) = client.recorder.wait_for("on_error")
        assert str(error).startswith(f"no relay is at work in {server.url}")
        stack.enter_context(relay(pbx, server))
        assert client.wait_ready(TIMEOUT)

    def test_no_redis(self, stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
        server.kill()
        waiting = stack.enter_context(relay(pbx, server))
        waiting.wait("^basix-cti: waiting for Redis: Redis at unix:")
        client = RelayedClient(pbx, server)
        client.start()
        stack.callback(client.stop)
        client.recorder.wait_for("on_error", where=lambda error: str(error).startswith("Redis at unix:"))
        server.start()
        assert client.wait_ready(TIMEOUT)
        client.catch_up()

    @pytest.mark.parametrize(
        ("name", "field", "value", "why"),
        [
            ("session", "format", "2", r"ValueError: format 2\)"),
            ("session", "session", "{", "JSONDecodeError: "),
            ("session", "session", "7", "TypeError: "),
            ("picture:user", "7", "{}", "KeyError: "),
            ("picture:channel", '"x"', '{"f":{"later":1}}', "TypeError: "),
        ],
    )
    def test_what_cannot_be_read(
        self, name: str, field: str, value: str, why: str, stack: ExitStack, pbx: Simulator, server: RedisServer
    ) -> None:
        """By a later release, or by somebody else."""
        stack.enter_context(relay(pbx, server))
        stack.enter_context(RelayedClient(pbx, server))
        server.client().hset(f"{{basix-cti:default}}:{name}", field, value)
        client = RelayedClient(pbx, server)
        client.start()
        stack.callback(client.stop)
        told = re.compile(
            rf"what the relay has written into unix:\S+ cannot be read \({why}.*is it of another release\?$"
        )
        client.recorder.wait_for("on_error", where=lambda error: told.match(str(error)))

    def test_an_event_that_cannot_be_read(self, stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
        holder = stack.enter_context(relay(pbx, server))
        client = stack.enter_context(RelayedClient(pbx, server))
        client.catch_up()
        holder.process.send_signal(signal.SIGSTOP)
        (epoch, sequence) = epochs(server)[-1]
        forged = {"k": "i", "n": "channel", "e": "added", "d": "{", "t": "1.0"}
        server.client().xadd("{basix-cti:default}:events", cast("dict[Any, Any]", forged), id=f"{epoch}-{sequence + 1}")
        client.recorder.wait_for("on_error", where=lambda error: isinstance(error, DecodeError))
        holder.process.send_signal(signal.SIGCONT)  # whose next entry has the same place
        pbx.call("0312341234", to="user1")
        assert epoch_of(holder, 2) > epoch
        assert_right(pbx, client)
