"""The main job on real input: terms that Erlang encoded, over a real WebSocket, into one and the same handler."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from erlang_peer import ERLANG_MISSING, ErlangPBX

from basix_cti import ApiToken, ApiUser, Auth, Channel, CTIClient, CTIHandler, MessageWaiting, Picture
from basix_cti.events import InfoEvent, InitialInfo
from basix_cti.simulator import Simulator
from basix_cti.testing import TIMEOUT, RecordedClient, Recorder

pytestmark = pytest.mark.skipif(ERLANG_MISSING is not None, reason=str(ERLANG_MISSING))

LOGINS: dict[str, Auth] = {
    "first": ApiUser("test1.com", "api", "token"),
    "current": ApiToken("test1.com", "token"),
}
GENERATIONS = sorted(LOGINS)
GENERAL = ("on_initial_info", "on_info_event", "on_system_msg", "on_msg")
COUNTS = {"first": 16, "current": 26}  # of the frames of a session that are no field specs


@pytest.fixture
def pbx() -> Iterator[ErlangPBX]:
    with ErlangPBX() as pbx:
        yield pbx


def play(pbx: ErlangPBX, generation: str, recorder: Recorder) -> Picture:
    """A whole session of the Erlang server, told to a recorder; the picture at its end."""
    client = CTIClient(
        f"ws://127.0.0.1:{pbx.port}", recorder, auth=LOGINS[generation], app_name="screen", full_events=True
    )
    with client:
        assert client.wait_connected(TIMEOUT)
        pbx.wait_for("connected GET /basix/api/ws_cti?app_name=screen")
        pbx.session(generation)
        recorder.wait(lambda: len(general(recorder)) == COUNTS[generation], "all of the session")
        assert client.hangup("c0")
        assert pbx.wait_for("text ") == 'text {"cmd": "hangup", "uuid": "c0"}'
    assert recorder.of("on_error") == []
    return client.state


def general(recorder: Recorder) -> list[str]:
    """The calls of which there is one for each message."""
    return [name for name, _ in recorder.calls if name in GENERAL]


def story(recorder: Recorder) -> list[Any]:
    """What the three hooks of a simple handler, and those of parking, were told: without the fields that only one
    generation has."""
    told: list[Any] = []
    for name, args in recorder.calls:
        if name == "on_initial_chan_info":
            told.append([channel.uuid for channel in args[0]])
        elif name == "on_chan_info":
            told.append(_seen(args[0]))
        elif name == "on_mwi_info":
            told.append(args[0].to_dict())
        elif name in ("on_park_info", "on_unpark_info"):
            told.append((name, args[0].to_dict()))
    return told


def _seen(channel: Channel) -> tuple[Any, ...]:
    state = channel.state
    return (
        channel.uuid,
        channel.direction,
        channel.calling_name,
        channel.calling_number,
        channel.other_uuid,
        state and state.name,
        state and state.data.get("slot"),
        channel.last_event,
        channel.talk_duration,
    )


def test_both_generations_tell_the_same_story(pbx: ErlangPBX) -> None:
    stories = []
    for generation in GENERATIONS:
        recorder = Recorder()
        picture = play(pbx, generation, recorder)
        assert set(picture.channels) == {"c0"}
        stories.append(story(recorder))
    assert stories[0] == stories[1]
    assert stories[0][0] == ["c0"]
    assert ("c1", "inbound", "山田太郎", "0312345678", None, "calling", None, "NEW_CHANNEL", None) in stories[0]
    assert ("on_park_info", {"uuid": "c1", "slot": "901", "parker_id": 1, "parker_name": "suzuki"}) in stories[0]
    assert stories[0][-1][-2:] == ("CHANNEL_HANGUP", 45.0)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_names_atoms_and_wrapper_make_no_difference(pbx: ErlangPBX, generation: str) -> None:
    """Element and event names as atom, string and binary; old and new atoms; compressed; with and without wrapper."""
    expected: list[Any] = []
    for names in ("string", "atom", "binary"):
        for options in ("[{minor_version,1}]", "[{minor_version,2}]", "[{minor_version,0},compressed]"):
            for wrap in ("none", "tuple", "list") if generation == "first" else ("none",):
                pbx.names(names)
                pbx.options(options)
                pbx.wrap(wrap)
                recorder = Recorder()
                play(pbx, generation, recorder)
                told = [event.to_dict() | {"received_at": 0} for event in recorder.events[1:-1]]
                expected = expected or told
                assert told == expected, (names, options, wrap)
    assert len(expected) >= 15


@pytest.mark.parametrize("generation", GENERATIONS)
def test_one_message_makes_one_general_call(pbx: ErlangPBX, generation: str) -> None:
    recorder = Recorder()
    play(pbx, generation, recorder)
    assert len(general(recorder)) == COUNTS[generation]
    assert not any(event.synthetic for event in recorder.events)
    changes = [event for event in recorder.events if isinstance(event, InfoEvent) and event.element == "channel"]
    order = [event.event for event in changes if event.item.key == "c1"]
    assert order[0] == "added"
    assert order[-1] == "removed"
    assert set(order[1:-1]) == {"updated"}


def test_all_fields_of_the_current_generation(pbx: ErlangPBX) -> None:
    recorder = Recorder()
    play(pbx, "current", recorder)
    initial = {
        event.element: [item.to_dict() for item in event.items]
        for event in recorder.events
        if isinstance(event, InitialInfo)
    }
    assert initial["user"][0]["label"] == "鈴木 一郎"
    assert initial["user"][1]["mwi"] == "0/3"
    assert initial["group"][0]["label"] == "サポート"
    assert initial["group_member"] == []
    assert initial["terminal"][0]["user_agent"] == "Example Phone 1.0"
    assert initial["channel"][0]["end_user"]["count"] == 2
    assert initial["channel"][0]["end_user"]["items"][1]["name"] == "Tanaka 100%"
    bridged = next(
        event.item.to_dict()
        for event in recorder.events
        if isinstance(event, InfoEvent)
        and event.item.key == "c1"
        and event.item.to_dict()["last_event"] == "CHANNEL_BRIDGE"
    )
    assert bridged == {
        "uuid": "c1",
        "direction": "inbound",
        "peer_location": "external",
        "calling_name": "山田太郎",
        "calling_number": "0312345678",
        "called_number": "0501234567",
        "offer_timestamp": 1775001610123456,
        "answer_timestamp": 1775001615123456,
        "hangup_timestamp": None,
        "other_uuid": "c2",
        "user_id": None,
        "user_name": None,
        "state": {"ts": 1775001615123456, "name": "bridged", "data": {}},
        "group_id": 21,
        "group_name": None,
        "target": {"type": "group", "id": 21, "name": "support", "address": "0501234567"},
        "origination": None,
        "end_user": {
            "count": 1,
            "items": [
                {
                    "id": "1001",
                    "name": "山田 太郎",
                    "organization": "Example*Trading",
                    "avatar": "1001.png",
                    "prefecture": "東京都",
                }
            ],
        },
        "tags": ["a", "b"],
        "last_bridged_user_id": 1,
        "last_event": "CHANNEL_BRIDGE",
        "last_event_data": None,
        "other_info": {
            "type": "user",
            "direction": "outbound",
            "peer_location": "internal",
            "address": "101",
            "offer_timestamp": 1775001611123456,
            "whoscall": None,
            "user_id": 1,
            "group_id": 21,
        },
        "call_id": "c1@carrier.example",
        "whoscall": {"name": "山田太郎", "spam": False},
    }


class Screen(CTIHandler):
    """The handler of README."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_initial_chan_info(self, channels: list[Channel]) -> None:
        self.lines.append(f"{len(channels)} up")

    def on_chan_info(self, channel: Channel) -> None:
        self.lines.append(f"{channel.calling_number} {channel.state and channel.state.name}")

    def on_mwi_info(self, mwi: MessageWaiting) -> None:
        self.lines.append(f"{mwi.target_name} {mwi.new_messages}")


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("server", ["erlang", "simulator"])
def test_the_same_ten_lines_on_every_pbx(pbx: ErlangPBX, server: str, generation: str) -> None:
    """On the simulator over a reconnection, too."""
    screen = Screen()
    if server == "erlang":
        play(pbx, generation, Recorder(screen))
    else:
        with Simulator() as sim, RecordedClient(sim, screen, generation=1 if generation == "first" else 2) as client:
            sim.call("0312345678", to="user1").answer().hangup()
            client.catch_up()
            sim.drop()
            client.catch_up()
            sim.call("0312345678", to="user1").voicemail()
            client.catch_up()
    assert screen.lines[0] in ("0 up", "1 up")
    assert any(line.startswith("0312345678 calling") for line in screen.lines)
    assert any(line.endswith(" 1") for line in screen.lines)
