"""``client.statistics`` and ``client.trouble()``: counted against a simulated PBX, and a peer that misbehaves."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
from clients import client_at, client_of
from peer import NOTHING, SPEC, Peer, change, frame, message
from recorder import TIMEOUT, Gate, Recorder
from waiting import eventually

from basix_cti import Channel, Tap
from basix_cti.errors import ConnectionReplaced
from basix_cti.events import InfoEvent, Msg
from basix_cti.io_thread import IOThread
from basix_cti.simulator import Simulator
from basix_cti.statistics import LAG_BOUNDS, Counters, Statistics
from basix_cti.testing import RecordedClient


@pytest.fixture
def pbx() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def test_a_client_that_was_never_started(pbx: Simulator) -> None:
    client = client_of(pbx, Recorder(), max_queued_events=7, max_queued_bytes=700)
    assert client.statistics == Statistics(max_queued_events=7, max_queued_bytes=700)
    assert client.statistics.reconnections == 0
    assert client.trouble() == "the client is not running"


def test_what_a_call_counts(pbx: Simulator) -> None:
    before = time.time()
    with RecordedClient(pbx) as client:
        seen = client.recorder
        pbx.call("0312341234", to="user1").answer().park(901).hangup()
        client.catch_up()
        eventually(lambda: client.queued_events == 0 and client.trouble() is None, "the end of the hooks")
        now = client.statistics
        assert (now.connected, now.ready, now.connections, now.reconnections) == (True, True, 1, 0)
        assert now.connected_at is not None
        assert before <= now.connected_at <= time.time()
        assert now.seconds_since_received is not None
        assert 0 <= now.seconds_since_received < TIMEOUT
        told = [event for event in seen.events if isinstance(event, InfoEvent) and event.element == "channel"]
        counted = {event: number for (_, element, event), number in now.events.items() if element == "channel"}
        assert sum(counted.values()) - counted[""] == len(told)
        assert counted[""] == 1, "one initial_info"
        assert {kind[2]: number for kind, number in now.events.items() if kind[0] == "call"} == {
            "ringing": 1,
            "answered": 1,
            "parked": 1,
            "ended": 1,
        }
        marks = now.events[("system_msg", "", "")]  # of catch_up(), which a recorder keeps to itself
        assert sum(now.events.values()) == len(seen.events) + marks
        assert sum(now.lag.counts) == 1 + now.messages - specs(now)
        assert now.lag.seconds < TIMEOUT
        assert now.received_bytes > 100 * (now.messages - marks)
        assert 0 < now.hook_seconds < TIMEOUT
        assert (now.errors, now.disconnections, now.overflows, now.synthetic_events) == ({}, {}, 0, 0)
    after = client.statistics
    assert (after.connected, after.ready) == (False, False)
    assert (after.connected_at, after.seconds_since_received) == (None, None)
    assert after.disconnections == {"Stopped": 1}
    assert after.events[("disconnected", "", "")] == 1


def specs(now: Statistics) -> int:
    """Messages of which no event comes: each element's field_spec comes ahead of its initial_info."""
    return sum(number for (name, _, _), number in now.events.items() if name == "initial_info")


def test_gaps_and_what_they_hid(pbx: Simulator) -> None:
    seen = Recorder()
    with client_of(pbx, seen) as client:
        assert client.wait_ready(TIMEOUT)
        call = pbx.call("0312341234", to="user1").answer()
        seen.wait_for("on_call_answered")
        pbx.refuse(503)
        pbx.drop(reset=True)
        call.hangup()
        eventually(lambda: client.statistics.errors.get("HandshakeError", 0) >= 2, "a second refusal")
        assert len(seen.wait_for("on_error")) == 1, "the same failure is told once, and counted each time"
        assert client.trouble() is None, "a client without a connection is at work to get one"
        pbx.refuse(None)
        seen.wait_for("on_call_ended")
        now = client.statistics
        assert (now.connections, now.reconnections) == (2, 1)
        assert now.disconnections == {"ConnectionLost": 1}
        eventually(  # more of them may come behind the call's end
            lambda: client.statistics.synthetic_events == sum(event.synthetic for event in seen.events) > 0,
            "each synthetic event, counted and told",
        )
        client.stop()
        client.start()
        assert client.wait_ready(TIMEOUT)
        assert client.statistics.connections == 3, "counts go on over stop() and start()"


def test_bad_frames_and_hooks_that_raise() -> None:
    class Raises(Recorder):
        def told(self, name: str, args: tuple[Any, ...]) -> None:
            if name == "on_chan_info":
                raise LookupError("mine")

    seen = Raises()
    with Peer() as peer, client_at(peer, seen) as client:
        link = peer.accept().upgrade()
        link.send(frame(b"\x83nonsense") * 2 + message(SPEC) + message(NOTHING) + change("a") + change("b"))
        seen.wait_for("on_chan_info", 2)
        seen.wait_for("on_error", 4)
        assert client.statistics.errors == {"DecodeError": 2, "hook": 2}


def test_an_error_in_the_library_is_counted(pbx: Simulator) -> None:
    with RecordedClient(pbx) as client:
        tables = client.state._tables
        channels, tables["channel"] = tables["channel"], cast("Any", "no table")
        pbx.call("0312341234", to="user1")
        client.recorder.wait_for("on_error")
        client.catch_up()
        assert client.statistics.errors.keys() == {"bug"}
        tables["channel"] = channels
        pbx.call("0312341234", to="user2")
        client.recorder.wait_for("on_call_ringing")


def test_an_error_in_the_library_does_not_end_the_thread(pbx: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        monkeypatch.undo()
        raise ZeroDivisionError

    monkeypatch.setattr(IOThread, "_session_on", fail)
    with client_of(pbx, Recorder(), reconnect_max=0.05) as client:
        assert client.wait_ready(TIMEOUT)
        assert client.statistics.errors == {"bug": 1}
        pbx.wait_connections(1)


def test_an_overflow_is_counted(pbx: Simulator) -> None:
    seen = Gate()
    with client_of(pbx, seen, max_queued_events=40) as client:
        assert client.wait_ready(TIMEOUT)
        pbx.msg("gate")
        assert seen.reached.wait(TIMEOUT)
        eventually(lambda: (client.trouble(0.01) or "").startswith("a hook has been running for"), "trouble")
        assert client.trouble() is None
        while not client.statistics.dropped_messages:
            pbx.call("0312341234", to="user1").answer().hangup()
        eventually(lambda: client.statistics.queue_delay > 0.01, "a delay")
        now = client.statistics
        assert (now.queued_events, now.overflows) == (40, 1)
        assert 0 < now.queued_bytes < now.max_queued_bytes
        seen.opened.set()
        eventually(lambda: client.statistics.queued_events == 0, "the end of the queue")
        # More may have come before the hooks have caught up, so that there are several.
        eventually(lambda: sum(seen.of("on_overflow")) == client.statistics.dropped_messages, "each of them")
        assert client.statistics.overflows == len(seen.of("on_overflow"))
        assert client.statistics.queue_delay == 0.0
        assert client.statistics.lag.seconds > 0.01


def test_a_client_that_ended_by_itself_is_in_trouble(pbx: Simulator) -> None:
    seen = Recorder()
    client = client_of(pbx, seen)
    client.start()
    assert client.wait_ready(TIMEOUT)
    pbx.replace()
    seen.wait_for("on_disconnect", where=lambda reason: isinstance(reason, ConnectionReplaced))
    eventually(client.trouble, "trouble")
    assert "the client has ended: another client" in str(client.trouble())
    client.stop()
    assert client.trouble() == "the client is not running"


def test_a_tap_that_does_not_return_is_seen(pbx: Simulator) -> None:
    """The I/O thread itself stands still; with a patience of nothing, a thread in a wait of its own is no trouble."""
    opened = threading.Event()

    class Stuck(Tap):
        def received(self, frame: bytes, at: float | None = None) -> None:
            opened.wait(TIMEOUT)

    with client_of(pbx, Recorder(), tap=Stuck()) as client:
        eventually(lambda: "has not moved for" in (client.trouble(0.05) or ""), "trouble")
        opened.set()
        assert client.wait_ready(TIMEOUT)
        eventually(lambda: client.trouble(0.0) is None, "the end of trouble")


def test_waiting_for_the_next_attempt_is_no_trouble() -> None:
    seen = Recorder()
    with Peer() as peer:
        peer.close()
        client = client_at(peer, seen, reconnect_min=30, reconnect_max=60)
    with client:
        seen.wait_for("on_error")
        assert client.trouble(0.0) is None
        assert client.statistics.errors == {"ConnectError": 1}


def test_kinds_without_end_are_counted_together() -> None:
    counters = Counters()
    for number in range(2000):
        counters.told(InfoEvent(f"element{number}", Channel(uuid="a"), "added"))
    counters.told(InfoEvent("element1", Channel(uuid="a"), "added"))
    counters.told(Msg("text"))
    assert len(counters.events) == 502
    assert counters.events[("info_event", "element1", "added")] == 2
    assert counters.events[("info_event", "other", "")] == 1500
    assert sum(counters.events.values()) == 2002


@pytest.mark.parametrize(
    ("seconds", "where"), [(-3600.0, 0), (0.0, 0), (0.001, 0), (0.0011, 1), (60.0, 14), (61.0, 15)]
)
def test_lag_is_sorted_into_classes(seconds: float, where: int) -> None:
    counters = Counters()
    counters.waited(seconds)
    assert [number for number, count in enumerate(counters.lag_counts) if count] == [where]
    assert len(counters.lag_counts) == len(LAG_BOUNDS) + 1
    assert counters.lag_seconds == max(0.0, seconds)
