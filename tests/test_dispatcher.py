"""The dispatcher thread and its bounded queue, without a network."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from recorder import Gate

from basix_cti import Channel
from basix_cti.dispatcher import Dispatcher
from basix_cti.errors import ConnectionLost, Stopped
from basix_cti.events import Connected, Disconnected, InfoEvent, InitialInfo, Msg, Session
from basix_cti.statistics import Counters
from basix_cti.telling import Telling
from basix_cti.testing import TIMEOUT


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def telling() -> Telling:
    return Telling(track_calls=True)


def new_life(gate: Gate, telling: Telling, former: Dispatcher | None = None) -> Dispatcher:
    dispatcher = Dispatcher(
        gate,
        telling,
        former,
        max_events=5,
        max_bytes=1000,
        told=lambda: None,
        counters=Counters(),
        name="test",
    )
    dispatcher.start()
    return dispatcher


def end(dispatcher: Dispatcher) -> None:
    dispatcher.close(Stopped("stopped"))
    assert dispatcher.join(TIMEOUT)


@pytest.fixture
def dispatcher(gate: Gate, telling: Telling) -> Iterator[Dispatcher]:
    dispatcher = new_life(gate, telling)
    yield dispatcher
    gate.opened.set()
    end(dispatcher)


def channel(uuid: str, last_event: str = "NEW_CHANNEL", event: str = "added") -> InfoEvent:
    return InfoEvent("channel", Channel(uuid=uuid, last_event=last_event), event)


def close_gate(dispatcher: Dispatcher, gate: Gate) -> None:
    dispatcher.offer(Msg("gate"), 1)
    assert gate.reached.wait(TIMEOUT)


def test_order_and_thread(dispatcher: Dispatcher, telling: Telling, gate: Gate) -> None:
    dispatcher.offer(Connected(Session(1)), 0)
    close_gate(dispatcher, gate)
    dispatcher.offer(InitialInfo("channel", [Channel(uuid="a")]), 10)
    dispatcher.offer(channel("b"), 10)
    dispatcher.offer(Disconnected(ConnectionLost("over")), 0)
    assert dispatcher.waiting == 3
    gate.opened.set()
    gate.wait_for("on_disconnect")
    assert [name for name, _ in gate.calls] == [
        "on_connect",
        "on_msg",
        "on_initial_info",
        "on_initial_chan_info",
        "on_info_event",
        "on_chan_info",
        "on_disconnect",
    ]
    assert gate.threads == {"test-dispatcher"}
    assert set(telling.picture.channels) == {"a", "b"}


@pytest.mark.parametrize("size", [1, 400], ids=["too many", "too large"])
def test_bounds(dispatcher: Dispatcher, telling: Telling, gate: Gate, size: int) -> None:
    dispatcher.offer(InitialInfo("channel", [Channel(uuid="old")]), 1)
    gate.wait_for("on_initial_chan_info")
    close_gate(dispatcher, gate)
    for number in range(20):
        dispatcher.offer(channel(f"c{number}"), size)
    dispatcher.offer(channel("old", "CHANNEL_HANGUP", "updated"), size)
    dispatcher.offer(Disconnected(ConnectionLost("over")), 0)
    assert dispatcher.waiting == (6 if size == 1 else 3)
    gate.opened.set()
    dropped = gate.wait_for("on_overflow")[0]
    assert dropped == (16 if size == 1 else 19)
    gate.wait(lambda: set(telling.picture.channels) == {f"c{number}" for number in range(20)})
    ends = gate.wait_for("on_chan_info", where=lambda each: each.is_hung_up)  # the picture changes ahead of the hooks
    assert [each.uuid for each in ends] == ["old"]
    assert len(gate.of("on_disconnect")) == 1, "what concerns the connection is never dropped"


def test_one_episode_one_word(dispatcher: Dispatcher, telling: Telling, gate: Gate) -> None:
    def told(expected: int) -> bool:
        return len(telling.picture.channels) == expected

    for episode in (1, 2):
        gate.reached.clear()
        gate.opened.clear()
        close_gate(dispatcher, gate)
        for number in range(10):
            dispatcher.offer(channel(f"{episode}-{number}"), 1)
        gate.opened.set()
        gate.wait_for("on_overflow", episode)
        gate.wait(partial(told, 10 * episode))
    assert gate.of("on_overflow") == [5, 5]


def test_a_channel_that_ended_in_the_overflow_stays_ended(dispatcher: Dispatcher, telling: Telling, gate: Gate) -> None:
    dispatcher.offer(channel("a"), 1)
    gate.wait_for("on_chan_info")
    close_gate(dispatcher, gate)
    for number in range(5):
        dispatcher.offer(Msg(str(number)), 1)
    dispatcher.offer(channel("a", "CHANNEL_HANGUP", "updated"), 1)
    gate.opened.set()
    gate.wait_for("on_overflow")
    gate.wait(lambda: not telling.picture.channels)
    dispatcher.offer(channel("a", "CHANNEL_HANGUP", "removed"), 1)
    dispatcher.offer(channel("b"), 1)
    gate.wait_for("on_chan_info", where=lambda each: each.uuid == "b")
    assert [(each.uuid, each.is_hung_up) for each in gate.of("on_chan_info")] == [
        ("a", False),
        ("a", True),
        ("b", False),
    ]


def test_one_message_larger_than_the_bound(dispatcher: Dispatcher, telling: Telling, gate: Gate) -> None:
    dispatcher.offer(channel("a"), 2000)
    assert gate.wait_for("on_overflow") == [1]
    gate.wait(lambda: "a" in telling.picture.channels)


def test_close_drops_what_waits_but_tells_the_end(dispatcher: Dispatcher, telling: Telling, gate: Gate) -> None:
    close_gate(dispatcher, gate)
    dispatcher.offer(channel("a"), 1)
    dispatcher.offer(Disconnected(ConnectionLost("over")), 0)
    dispatcher.close(Stopped("stopped"))
    assert not dispatcher.join(0)
    gate.opened.set()
    assert dispatcher.join(TIMEOUT)
    assert gate.of("on_chan_info") == []
    assert [str(reason) for reason in gate.of("on_disconnect")] == ["over"]


def test_close_tells_the_end_that_nobody_told(dispatcher: Dispatcher, telling: Telling, gate: Gate) -> None:
    dispatcher.offer(Connected(Session(1)), 0)
    end(dispatcher)
    dispatcher.offer(Disconnected(ConnectionLost("too late")), 0)
    assert [str(reason) for reason in gate.of("on_disconnect")] == ["stopped"]


def test_a_new_life_waits_for_the_hook_of_the_old(dispatcher: Dispatcher, telling: Telling, gate: Gate) -> None:
    close_gate(dispatcher, gate)
    dispatcher.close(Stopped("stopped"))
    second = new_life(gate, telling, dispatcher)
    dispatcher.offer(channel("of the old life"), 1)
    second.offer(Connected(Session(2)), 0)
    second.offer(channel("a"), 1)
    assert gate.of("on_connect") == []
    gate.opened.set()
    gate.wait_for("on_chan_info")
    assert len(gate.of("on_connect")) == 1
    assert set(telling.picture.channels) == {"a"}
    end(second)
