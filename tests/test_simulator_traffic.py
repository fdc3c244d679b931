"""The traffic of the simulated PBX: stories without a server, and the thread that plays them."""

from __future__ import annotations

import logging
import threading

import pytest

from basix_cti.errors import CommandError
from basix_cti.simulator import Channel, Simulator, Traffic
from basix_cti.simulator.model import Change


def fixed() -> int:
    return 1_700_000_000_000_000


def test_the_same_seed_plays_the_same_story() -> None:
    def story(seed: int, traffic_seed: int | None = None) -> list[Change]:
        sim = Simulator(seed=seed, clock=fixed)
        changes: list[Change] = []
        sim._pbx.listen(changes.append)
        assert Traffic(sim, seed=traffic_seed).step(300) == 300
        return changes

    assert story(1) == story(1) == story(1, traffic_seed=1)
    assert story(1) != story(2)
    assert story(1) != story(1, traffic_seed=2)


def test_every_kind_of_thing_happens() -> None:
    sim = Simulator(users=30)
    states, ends, elements = set(), set(), set()

    def note(change: Change) -> None:
        elements.add(change.element)
        item = change.item
        if isinstance(item, Channel):
            if item.state is not None:
                states.add(item.state.name)
            if item.last_event_data is not None:
                ends.add(item.last_event_data)

    sim._pbx.listen(note)
    traffic = Traffic(sim, calls_per_minute=20)
    traffic.step(6000)
    assert traffic.actions == 6000
    assert elements == {"channel", "waiting", "user", "group"}
    assert states == {
        *("calling", "ringing", "bridged", "park", "voicemail", "checking_voicemail", "xml_ivr", "conference")
    }
    assert {end.split(",")[1] for end in ends} == {
        *("NORMAL_CLEARING", "ORIGINATOR_CANCEL", "LOSE_RACE", "NO_ANSWER", "USER_BUSY", "BLIND_TRANSFER"),
        *("PICKED_OFF", "ATTENDED_TRANSFER", "UNALLOCATED_NUMBER"),
    }
    assert {end.split(",")[0] for end in ends} == {
        *("recv_bye", "send_bye", "recv_cancel", "send_cancel", "recv_refuse", "send_refuse")
    }
    assert len(sim.calls) < 200


def test_stories_bear_with_what_others_do(caplog: pytest.LogCaptureFixture) -> None:
    sim = Simulator()
    traffic = Traffic(sim, calls_per_minute=20)
    for _ in range(30):
        traffic.step(40)
        sim.hang_up_all()
        traffic.step(10)
        for call in sim.calls:
            if call.state == "bridged":
                call.transfer("user1")
    assert not caplog.records
    assert sim.hang_up_all() > 0
    assert not sim.channels


@pytest.mark.parametrize(("users", "groups"), [(0, 0), (1, 0), (0, 2), (2, 0)])
def test_a_small_pbx(users: int, groups: int, caplog: pytest.LogCaptureFixture) -> None:
    sim = Simulator(users=users, groups=groups)
    Traffic(sim).step(500)
    assert not caplog.records


def test_a_story_that_fails_is_logged_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = Simulator()
    traffic = Traffic(sim)
    monkeypatch.setattr(sim._board, "dial", lambda *args: 1 / 0)
    traffic.step(500)
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
    assert traffic.actions == 500


class TestThread:
    def test_start_and_stop(self) -> None:
        sim = Simulator()
        enough = threading.Event()
        traffic = Traffic(sim, calls_per_minute=600, speed=1000)
        sim._pbx.listen(lambda change: enough.set() if traffic.actions > 500 else None)
        assert traffic.start() is traffic
        assert traffic.start().running
        assert enough.wait(30)
        with pytest.raises(RuntimeError, match="stop"):
            traffic.step()
        assert sum(thread.name == "basix-cti-traffic" for thread in threading.enumerate()) == 1
        traffic.stop()
        traffic.stop()
        assert not traffic.running
        count = traffic.actions
        assert repr(traffic) == f"<Traffic {count} actions, not running>"
        traffic.step(3)
        assert traffic.actions == count + 3
        enough.clear()
        traffic.start()
        assert enough.wait(30)
        traffic.stop()

    def test_it_waits_for_what_is_due(self) -> None:
        sim = Simulator()
        traffic = Traffic(sim, calls_per_minute=0.001).start()
        traffic.stop()
        assert traffic.actions == 0

    def test_the_simulator_stops_what_it_plays(self) -> None:
        with Simulator() as sim:
            traffic = sim.play(calls_per_minute=60)
            assert traffic.running
        assert not traffic.running

    @pytest.mark.parametrize(("calls_per_minute", "speed"), [(0, 1), (1, -1), (1, float("nan"))])
    def test_wrong_arguments(self, calls_per_minute: float, speed: float) -> None:
        with pytest.raises(ValueError, match="positive"):
            Simulator().play(calls_per_minute=calls_per_minute, speed=speed)


def test_an_error_of_a_script_is_no_end_of_the_traffic() -> None:
    sim = Simulator()
    traffic = Traffic(sim)
    traffic.step(100)
    with pytest.raises(CommandError):
        sim.call("0312341234", to="nobody")
    traffic.step(100)
    assert traffic.actions == 200
