"""Recordings played again: to a handler, which is told what it was told then, and as a PBX."""

from __future__ import annotations

import itertools
import logging
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from clients import client_of
from peer import SPEC
from recorder import TIMEOUT, Recorder

from basix_cti import ApiToken, ApiUser, CTIClient, MessageParser, Ticket, TicketService, bert
from basix_cti.errors import ConnectionClosed, ConnectionLost, HandshakeError, RecordingError, Stopped
from basix_cti.etf import Atom
from basix_cti.events import Event
from basix_cti.recording import (
    CONNECTED,
    DISCONNECTED,
    DROPPED,
    RECEIVED,
    SENT,
    Record,
    Recording,
    RecordingTap,
    RecordingWriter,
    replay,
)
from basix_cti.recording.server import ReplayServer
from basix_cti.simulator import Simulator

BEGINNING = 1_700_000_000.0


def present(*uuids: str) -> bytes:
    return bert.encode((Atom("initial_info"), Atom("channel"), [(uuid, "NEW_CHANNEL") for uuid in uuids]))


def added(uuid: str) -> bytes:
    return bert.encode((Atom("info_event"), Atom("channel"), (uuid, "NEW_CHANNEL"), Atom("added")))


SPECIFIED = bert.encode(SPEC)
ENDED = {"kind": "ConnectionClosed", "message": "the PBX closed it", "code": 4001, "reason": "x"}
TWO_SESSIONS = [
    (0.0, CONNECTED, {"number": 7, "url": "wss://rig/basix/api/ws_cti", "peer": "rig:443", "tls": "TLSv1.3"}),
    (0.0, RECEIVED, SPECIFIED),
    (0.1, RECEIVED, present("a", "b")),
    (1.0, RECEIVED, added("c")),
    (1.5, SENT, b'{"cmd": "hangup", "uuid": "c"}'),
    (2.0, RECEIVED, b"\x83h"),
    (3.0, DISCONNECTED, ENDED),
    (4.0, CONNECTED, {}),
    (4.0, RECEIVED, SPECIFIED),
    (4.1, RECEIVED, present("b")),
    (5.0, RECEIVED, added("d")),
    (6.0, DISCONNECTED, {"kind": "Stopped", "message": "stopped", "code": 1000, "reason": ""}),
]


def written(path: Path, told: list[tuple[float, str, Any]]) -> Path:
    writer = RecordingWriter(path, BEGINNING)
    for at, kind, data in told:
        record = Record(BEGINNING + at, kind, data) if isinstance(data, bytes) else None
        writer.write([record or Record.telling(BEGINNING + at, kind, data)])
    writer.close()
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path / "r.ctirec", TWO_SESSIONS)


def gist(events: list[Event]) -> list[dict[str, Any]]:
    """What events say, but for the time of their arrival and the port of the PBX."""
    told = []
    for event in events:
        data = event.to_dict()
        del data["received_at"]
        data.pop("session", None)
        told.append(data)
    return told


@pytest.mark.parametrize("generation", [1, 2])
def test_a_handler_is_told_what_it_was_told_then(generation: int, tmp_path: Path) -> None:
    live, again = Recorder(), Recorder()
    with Simulator(domain="test1.com") as pbx:
        auth = ApiToken(pbx.domain, pbx.token) if generation == 2 else ApiUser(pbx.domain, pbx.api_user, pbx.token)
        with RecordingTap(tmp_path / "r", compress=True) as tap, client_of(pbx, live, auth, tap=tap) as client:
            client.wait_ready(TIMEOUT)
            call = pbx.call("0312341234", to="user1").answer().park(901)
            pbx.call("0312341235", to="user2")
            live.wait_for("on_park_info")
            pbx.refuse(503)
            pbx.drop()
            live.wait_for("on_error")
            call.hangup()
            pbx.refuse(None)
            live.wait_for("on_initial_chan_info", 2)
            pbx.bad_frame()
            live.wait_for("on_error", 2)
    parser = replay(tmp_path / "r", again)
    assert gist(again.events) == [event for event in gist(live.events) if event.get("kind") != "HandshakeError"]
    assert parser.state.channels == client.state.channels
    recorded = [record.at for record in Recording(tmp_path / "r") if record.kind != SENT]
    assert {event.received_at for event in again.events} <= {round(at, 6) for at in recorded}


def test_times_sessions_and_gaps(path: Path) -> None:
    seen = Recorder()
    replay(path, seen)
    first, second = seen.of("on_connect")
    assert (first.number, first.url, first.peer, first.tls) == (1, "wss://rig/basix/api/ws_cti", "rig:443", "TLSv1.3")
    assert (second.number, second.url, second.connected_at) == (2, None, BEGINNING + 4)
    lost, stopped = seen.of("on_disconnect")
    assert isinstance(lost, ConnectionClosed)
    assert (str(lost), lost.code, lost.reason) == ("the PBX closed it", 4001, "x")
    assert isinstance(stopped, Stopped)
    ended = [channel.uuid for channel in seen.of("on_chan_info") if channel.is_hung_up]
    assert ended == ["a", "c"]
    assert [event.received_at - BEGINNING for event in seen.events if not event.synthetic] == pytest.approx(
        [0.0, 0.1, 1.0, 2.0, 3.0, 4.0, 4.1, 5.0, 6.0]
    )
    assert len(seen.of("on_error")) == 1


def test_a_recording_that_was_broken_off_and_begun_again(tmp_path: Path) -> None:
    path = written(tmp_path / "r", TWO_SESSIONS[:4])
    written(path, [(9.0, RECEIVED, SPECIFIED), (9.0, RECEIVED, present("b"))])
    seen = Recorder()
    replay(path, seen)
    assert [str(reason) for reason in seen.of("on_disconnect")] == [
        "the recording was broken off",
        "the recording ends here",
    ]
    assert {type(reason) for reason in seen.of("on_disconnect")} == {ConnectionLost}
    assert [session.number for session in seen.of("on_connect")] == [1, 2]
    assert sorted(channel.uuid for channel in seen.of("on_chan_info") if channel.is_hung_up) == ["a", "c"]


def test_an_end_that_cannot_be_read(tmp_path: Path) -> None:
    ends: list[Any] = [b"", {"kind": "DecodeError"}, {"kind": "os"}, {"kind": 5, "message": 6, "code": "x"}]
    told = [[(0.0, CONNECTED, {}), (0.0, DISCONNECTED, end)] for end in ends]
    path = written(tmp_path / "r", list(itertools.chain(*told)))
    seen = Recorder()
    replay(path, seen)
    assert {type(reason) for reason in seen.of("on_disconnect")} == {ConnectionLost}
    assert len(seen.of("on_disconnect")) == 4


def test_dropped_messages_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path / "r", [*TWO_SESSIONS[:3], (0.5, DROPPED, {"count": 3}), *TWO_SESSIONS[3:4]])
    seen = Recorder()
    with caplog.at_level(logging.WARNING):
        replay(path, seen)
    assert "3 messages were dropped while this was recorded" in caplog.text
    assert [channel.uuid for channel in seen.of("on_chan_info")] == ["c"]


def test_a_parser_of_your_own_can_be_read_meanwhile(path: Path) -> None:
    counts = []
    parser = MessageParser(Recorder())
    same = replay(path, parser, progress=lambda recording: counts.append(len(parser.state.channels)))
    assert same is parser
    assert counts == [0, 0, 0, 0, 2, 3, 3, 3, 3, 3, 3, 1, 2]


def test_progress_comes_with_every_record(path: Path) -> None:
    places: list[tuple[int, int]] = []
    replay(path, Recorder(), progress=lambda recording: places.append((recording.position, recording.size)))
    assert len(places) == len(TWO_SESSIONS) + 1
    assert places == sorted(places)
    assert places[-1][1] == path.stat().st_size


def test_stop_ends_it_in_the_middle_of_a_wait(tmp_path: Path) -> None:
    path = written(tmp_path / "r", [*TWO_SESSIONS[:4], (1e6, RECEIVED, added("z"))])
    stop, seen = threading.Event(), Recorder()
    thread = threading.Thread(target=replay, args=(path, seen), kwargs={"speed": 50, "stop": stop})
    thread.start()
    seen.wait_for("on_chan_info")
    stop.set()
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    assert seen.of("on_disconnect") == []


def test_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message is due when it was, divided by the speed; a pause between two recorders is left out."""
    path = written(tmp_path / "r", TWO_SESSIONS[:5])
    written(path, [(3600.0, RECEIVED, SPECIFIED), (3602.0, RECEIVED, present())])
    now = 100.0
    waits: list[float] = []

    class Clock(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            nonlocal now
            assert timeout is not None
            waits.append(timeout)
            now += timeout
            return False

    monkeypatch.setattr("basix_cti.recording.player.time.monotonic", lambda: now)
    replay(path, Recorder(), speed=10, stop=Clock())
    assert max(waits) <= 1.0  # a signal in the moment before a wait is seen when that ends: Ctrl-C is not to be missed
    assert waits[:2] == pytest.approx([0.01, 0.09])
    assert sum(waits[2:-1]) == pytest.approx(360.0)
    assert waits[-1] == pytest.approx(0.2)
    waits.clear()
    replay(path, Recorder(), stop=Clock())
    assert waits == []


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_a_bad_speed(speed: float, path: Path) -> None:
    with pytest.raises(ValueError, match="speed must be a positive number"):
        replay(path, Recorder(), speed=speed)
    with pytest.raises(ValueError, match="speed must be a positive number"):
        ReplayServer(path, speed=speed)


def test_a_foreign_file(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("hello")
    for use in (lambda: replay(tmp_path / "r", Recorder()), lambda: ReplayServer(tmp_path / "r")):
        with pytest.raises(RecordingError, match="is no recording"):
            use()


class TestServer:
    def client(self, server: ReplayServer, seen: Recorder, **options: Any) -> CTIClient:
        settings = {"app_name": "x", "full_events": True, "reconnect_min": 0.01, "reconnect_max": 0.05, **options}
        auth = settings.pop("auth", ApiToken("any", "any"))
        return CTIClient(server.url, seen, auth=auth, **settings)

    def test_a_client_is_told_what_was_recorded(self, path: Path) -> None:
        live, played = Recorder(), Recorder()
        replay(path, played)
        with ReplayServer(path) as server, self.client(server, live):
            live.wait(lambda: len(live.events) >= len(played.events) - 1)
            assert server.finished.wait(TIMEOUT)
            live_events = list(live.events)
        assert gist(live_events)[:4] == gist(played.events)[:4]
        assert [event.to_dict()["type"] for event in live_events] == [
            event.to_dict()["type"] for event in played.events[:-1]
        ]
        (lost,) = [reason for reason in live.of("on_disconnect") if not isinstance(reason, Stopped)]
        assert (lost.code, lost.reason) == (4001, "as recorded")
        assert server.trouble is None

    def test_each_login_has_the_whole_of_it(self, path: Path) -> None:
        one, two = Recorder(), Recorder()
        with ReplayServer(path) as server, self.client(server, one), self.client(server, two, app_name="y"):
            for seen in (one, two):
                seen.wait_for("on_chan_info", where=lambda channel: channel.uuid == "d")
                assert [len(channels) for channels in seen.of("on_initial_chan_info")] == [2, 1]

    def test_two_with_the_same_login(self, path: Path) -> None:
        one, two = Recorder(), Recorder()
        with ReplayServer(path, speed=5) as server, self.client(server, one), self.client(server, two):
            for seen in (one, two):
                seen.wait_for("on_initial_chan_info")

    def test_one_that_comes_again_after_its_own_end_begins_anew(self, path: Path) -> None:
        one, two = Recorder(), Recorder()
        with ReplayServer(path, speed=1) as server:
            with self.client(server, one):
                one.wait_for("on_initial_chan_info")
            with self.client(server, two):
                two.wait_for("on_initial_chan_info")
            assert len(two.of("on_initial_chan_info")[0]) == 2

    @pytest.mark.parametrize("login", ["ticket", "user"])
    def test_any_login(self, login: str, path: Path) -> None:
        seen = Recorder()
        with ReplayServer(path) as server:
            auth = (
                Ticket(TicketService(server.url, ApiToken("any", "any")))
                if login == "ticket"
                else ApiUser("any", "u", "t")
            )
            with self.client(server, seen, auth=auth, full_events=login != "ticket"):
                seen.wait_for("on_initial_chan_info", 2)

    def test_commands_are_taken_and_ignored(self, path: Path) -> None:
        seen = Recorder()
        with ReplayServer(path) as server, self.client(server, seen) as client:
            assert server.finished.wait(TIMEOUT)
            client.wait_connected(TIMEOUT)
            command = client.hangup("another")  # of one that is in the recording, the end may be yet to be told
            assert not command.wait(0.05)
            assert client.connected

    def test_a_torn_end_is_told(self, path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-3])
        seen = Recorder()
        with ReplayServer(path) as server, self.client(server, seen):
            assert server.finished.wait(TIMEOUT)
            assert "is cut off or damaged" in str(server.trouble)

    def test_progress_and_paths_and_ports(self, path: Path) -> None:
        places: list[int] = []
        seen = Recorder()
        with (
            ReplayServer(Recording(path), progress=lambda recording: places.append(recording.position)) as server,
            self.client(server, seen),
        ):
            assert server.finished.wait(TIMEOUT)
            assert places[-1] > path.stat().st_size // 2
            with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(OSError, match="in use"):
                ReplayServer(path, port=listener.getsockname()[1]).start()
            lost = Recorder()
            with CTIClient(f"{server.url}/nowhere", lost, auth=ApiToken("a", "b"), app_name="z"):
                assert isinstance(lost.wait_for("on_error")[0], HandshakeError)
        server.stop()


def test_nothing_but_a_beginning(tmp_path: Path) -> None:
    path = written(tmp_path / "r", [])
    seen = Recorder()
    replay(path, seen, speed=1)
    assert seen.events == []
