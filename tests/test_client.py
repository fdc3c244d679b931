"""The client end to end: against the simulator, and where the peer needs to be odd, against one of the tests' own."""

from __future__ import annotations

import logging
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme
from clients import AUTH, client_at, client_of
from peer import CLOSE, NOTHING, PING, SPEC, TEXT, Link, Peer, change, frame, message
from recorder import TIMEOUT, Recorder
from waiting import soon

from basix_cti import (
    ApiToken,
    ApiUser,
    Auth,
    Call,
    Channel,
    CTIClient,
    CTIHandler,
    MessageParser,
    Ticket,
    TicketService,
)
from basix_cti.errors import (
    CommandError,
    ConnectError,
    NotConnected,
    Stopped,
)
from basix_cti.events import CallEvent, Event, InfoEvent
from basix_cti.simulator import Simulator
from basix_cti.waiting import Waker


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def logins(simulator: Simulator) -> list[Auth]:
    return [
        ApiToken(simulator.domain, simulator.token),
        ApiUser(simulator.domain, simulator.api_user, simulator.token),
    ]


# --- the main job -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", [1, 2])
def test_a_call_from_ring_to_hangup(simulator: Simulator, recorder: Recorder, generation: int) -> None:
    with client_of(simulator, recorder, logins(simulator)[2 - generation]) as client:
        assert client.wait_ready(TIMEOUT)
        assert client.connected
        recorder.wait_for("on_initial_chan_info")
        call = simulator.call("0312341234", to="user1")
        recorder.wait(lambda: call.uuid in client.state.channels)
        call.answer()
        call.park(901)
        parked = recorder.wait_for("on_park_info")[0]
        assert (parked.uuid, str(parked.slot)) == (call.uuid, "901")
        assert call.uuid in client.state.parked
        call.unpark(by="user2")
        assert recorder.wait_for("on_unpark_info")[0].uuid == call.uuid
        call.hangup()
        recorder.wait(lambda: not client.state.channels)
        simulator.call("0312341234", to="user1").voicemail(leave_message=True)
        mwi = recorder.wait_for("on_mwi_info")[0]
        assert (mwi.target_type, mwi.target_name, mwi.new_messages) == ("user", "user1", 1)
    ends = [channel.uuid for channel in recorder.of("on_chan_info") if channel.is_hung_up]
    assert ends.count(call.uuid) == 1
    assert len(ends) == len(set(ends))
    told = [name for name, _ in recorder.calls if name in ("on_connect", "on_disconnect")]
    assert told == ["on_connect", "on_disconnect"]
    assert recorder.threads == {"basix-cti-test-dispatcher"}
    assert {event.generation for event in recorder.events if isinstance(event, InfoEvent)} == {generation}


def test_ticket_login(simulator: Simulator, recorder: Recorder) -> None:
    service = TicketService(simulator.url, ApiToken(simulator.domain, simulator.token))
    client = client_of(simulator, recorder, Ticket(service), full_events=False, user_name="user1")
    with client:
        recorder.wait_for("on_initial_chan_info")
        simulator.drop()
        recorder.wait_for("on_connect", 2)


def test_tls_with_an_authority_of_ones_own(recorder: Recorder, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Simulator(ssl_context=context) as simulator:
        with client_of(simulator, recorder, ca_file=str(tmp_path / "ca.pem")):
            assert recorder.wait_for("on_connect")[0].tls.startswith("TLS")
        with client_of(simulator, recorder, verify=False):
            recorder.wait_for("on_connect", 2)
        with client_of(simulator, recorder):
            assert "not trusted" in str(recorder.wait_for("on_error")[0])


@pytest.mark.parametrize("generation", [1, 2])
def test_what_happens_in_a_gap_is_told(simulator: Simulator, recorder: Recorder, generation: int) -> None:
    staying = simulator.call("0311110001", to="user1")
    ending = simulator.call("0311110002", to="user2").answer()
    changing = simulator.call("0311110003", to="user3")
    with client_of(simulator, recorder, logins(simulator)[2 - generation]) as client:
        recorder.wait_for("on_initial_chan_info")
        assert set(client.state.channels) == set(staying.legs + ending.legs + changing.legs)
        gone = set(ending.legs)
        simulator.stop()
        recorder.wait_for("on_disconnect")
        assert set(client.state.channels) >= gone, "the picture stays while there is no connection"
        ending.hangup()
        changing.answer()
        new = simulator.call("0311110004", to="user4")
        recorder.calls.clear()
        simulator.start()
        recorder.wait_for("on_initial_chan_info")
        told = recorder.of("on_chan_info")
        ends = [channel for channel in told if channel.is_hung_up]
        assert {channel.uuid for channel in ends} == gone
        assert len(ends) == len(gone)
        assert all(channel.calling_number for channel in ends), "what was known of them is told"
        assert set(new.legs) <= {channel.uuid for channel in told}
        assert changing.uuid in {channel.uuid for channel in told}
        assert not set(staying.legs) & {channel.uuid for channel in told}
        assert set(client.state.channels) == set(staying.legs + changing.legs + new.legs)
        synthetic = [event for event in recorder.events if isinstance(event, InfoEvent) and event.synthetic]
        assert len(synthetic) >= len(told)


def test_state_is_updated_before_the_hook(simulator: Simulator) -> None:
    wrong: list[str] = []

    class Checking(Recorder):
        def told(self, name: str, args: tuple[Any, ...]) -> None:
            if name == "on_chan_info" and (args[0].uuid in client.state.channels) is args[0].is_hung_up:
                wrong.append(args[0].uuid)

    recorder = Checking()
    with client_of(simulator, recorder) as client:
        recorder.wait_for("on_initial_chan_info")
        simulator.call("0312341234", to="user1").answer().hangup()
        recorder.wait(lambda: sum(channel.is_hung_up for channel in recorder.of("on_chan_info")) == 2)
    assert not wrong


# --- commands ---------------------------------------------------------------------------------------------------


def test_commands_and_their_effect(simulator: Simulator, recorder: Recorder) -> None:
    with client_of(simulator, recorder) as client:
        assert client.wait_ready(TIMEOUT)
        call = simulator.call("0312341234", to="user1").answer()
        assert client.park(call.uuid, timeout=300).wait(TIMEOUT)
        assert client.transfer(call.uuid, destination="202").wait(TIMEOUT)
        assert client.hangup(call.uuid).wait(TIMEOUT)
        assert [command["cmd"] for command in simulator.commands] == ["park", "transfer", "hangup"]
        assert client.hangup(call.uuid).wait(TIMEOUT), "its end has been seen before"
        unknown = client.hangup("no-such-channel")
        simulator.wait_command(TIMEOUT)
        assert not unknown.wait(0)


def test_eavesdrop(simulator: Simulator, recorder: Recorder) -> None:
    with client_of(simulator, recorder) as client:
        assert client.wait_ready(TIMEOUT)
        call = simulator.call("0312341234", to="user1").answer()
        plug = simulator.media_plug("user2")
        assert client.eavesdrop(plug.uuid, call.uuid, "listen").wait(TIMEOUT)


def test_a_command_inside_a_hook_can_be_waited_for(simulator: Simulator) -> None:
    outcome: list[bool] = []

    class HangsUp(Recorder):
        def told(self, name: str, args: tuple[Any, ...]) -> None:
            if name == "on_chan_info" and not outcome:
                outcome.append(client.hangup(args[0].uuid).wait(TIMEOUT))

    recorder = HangsUp()
    with client_of(simulator, recorder) as client:
        assert client.wait_ready(TIMEOUT)
        simulator.call("0312341234", to="user1")
        recorder.wait(lambda: bool(outcome))
    assert outcome == [True]


def test_commands_without_connection(recorder: Recorder, peer: Peer) -> None:
    client = client_at(peer, recorder)
    with pytest.raises(NotConnected, match="not running"):
        client.hangup("x")
    peer.close()
    with client:
        recorder.wait_for("on_error")
        with pytest.raises(NotConnected, match="cannot be reached"):
            client.park("x")
        with pytest.raises(CommandError):
            client.park("")


def test_an_effect_is_not_looked_for_for_ever(recorder: Recorder, peer: Peer) -> None:
    with client_at(peer, recorder, command_timeout=0.05) as client:
        link = peer.accept().upgrade()
        assert client.wait_connected(TIMEOUT)
        assert client.hangup("a").wait() is False
        assert link.recv_frame()[0] == TEXT


def test_more_commands_at_once_than_are_sent_ahead(
    recorder: Recorder, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one turn leaves is sent in the next one, though nothing wakes the I/O thread any more."""
    with client_at(peer, recorder) as client, ThreadPoolExecutor(1) as pool:
        link = peer.accept().upgrade()
        assert client.wait_connected(TIMEOUT)
        received = pool.submit(lambda: [link.recv_frame()[1] for _ in range(1000)])
        with monkeypatch.context() as patch:
            patch.setattr(Waker, "wake", lambda self: None)
            for _ in range(999):
                client.transfer("a", destination="x" * 1000)
        client.hangup("a")
        assert received.result(TIMEOUT)[-1] == b'{"cmd": "hangup", "uuid": "a"}'


# --- connecting -------------------------------------------------------------------------------------------------


def test_a_failure_is_told_once(recorder: Recorder, peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    refusals = threading.Semaphore(0)

    class Counting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "failed again" in record.getMessage():
                refusals.release()

    counting = Counting()
    logger = logging.getLogger("basix_cti")
    caplog.set_level(logging.DEBUG, "basix_cti")
    logger.addHandler(counting)
    try:
        port = peer.port
        peer.close()
        with client_at(peer, recorder):
            for _ in range(3):
                assert refusals.acquire(timeout=TIMEOUT)
            (error,) = recorder.wait_for("on_error")
            assert isinstance(error, ConnectError)
            with socket.create_server(("127.0.0.1", port)) as listener:
                sock, _ = listener.accept()
                Link(sock).upgrade()
                recorder.wait_for("on_connect")
                sock.close()
    finally:
        logger.removeHandler(counting)
    assert "hunter2" not in caplog.text


# --- life -------------------------------------------------------------------------------------------------------


def test_nothing_starts_before_start(peer: Peer, recorder: Recorder) -> None:
    before = threading.active_count()
    client = client_at(peer, recorder)
    assert threading.active_count() == before
    assert not client.connected
    assert client.wait_connected(0) is False
    assert client.seconds_since_received is None
    client.stop()
    assert not peer.has_visitor()


def test_stop_in_one_thread_and_start_in_another(simulator: Simulator) -> None:
    """A stop() that still waits must not end what a start() has begun meanwhile."""
    blocked, released = threading.Event(), threading.Event()

    class Blocked(Recorder):
        def told(self, name: str, args: tuple[Any, ...]) -> None:
            if name == "on_connect" and args[0].number == 1:
                blocked.set()
                released.wait(TIMEOUT)

    recorder = Blocked()
    client = client_of(simulator, recorder)
    client.start()
    assert blocked.wait(TIMEOUT)
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(client.stop)
        simulator.wait_connections(0, TIMEOUT)
        client.start()
        released.set()
        stopping.result(TIMEOUT)
        recorder.wait_for("on_connect", 2)
        assert client.wait_ready(TIMEOUT)
    client.stop()
    order = [name for name, _ in recorder.calls if name in ("on_connect", "on_disconnect")]
    assert order == ["on_connect", "on_disconnect"] * 2


def test_ready_means_this_connection(peer: Peer, recorder: Recorder) -> None:
    client = client_at(peer, recorder)
    client.start()
    link = peer.accept().upgrade()
    link.send(message(SPEC) + message(NOTHING))
    assert client.wait_ready(TIMEOUT)
    client.stop()
    client.start()
    link = peer.accept().upgrade()
    assert client.wait_connected(TIMEOUT)
    assert not client.wait_ready(0.2), "it has told nothing yet"
    link.send(message(SPEC) + message(NOTHING))
    assert client.wait_ready(TIMEOUT)
    client.stop()


def test_a_flood_does_not_hold_up_stop() -> None:
    def stop() -> float:
        recorder, ended = Recorder(), threading.Event()
        with Peer() as peer, ThreadPoolExecutor(2) as pool:
            client = client_at(peer, recorder)
            client.start()
            link = peer.accept().upgrade()
            pool.submit(link.flood, frame(b"", PING) * 10_000 + frame(b"\x83j") * 10_000, ended)
            reading = pool.submit(link.wait_end)
            recorder.wait(lambda: len(recorder.events) > 1000)
            begun = time.monotonic()
            client.stop()
            taken = time.monotonic() - begun
            ended.set()
            reading.result(TIMEOUT)
        assert isinstance(recorder.wait_for("on_disconnect")[0], Stopped)
        return taken

    soon(1.9, stop)


def test_a_command_given_while_its_effect_arrives(peer: Peer) -> None:
    """Between the giving and the sending of a command its effect may come."""
    outcome: list[bool] = []

    class HangsUp(Recorder):
        def told(self, name: str, args: tuple[Any, ...]) -> None:
            if name == "on_chan_info" and not args[0].is_hung_up:
                outcome.append(client.hangup(args[0].uuid).wait(TIMEOUT))

    recorder = HangsUp()
    with client_at(peer, recorder) as client:
        link = peer.accept().upgrade()
        calls = [change(f"c{number}") + change(f"c{number}", "CHANNEL_HANGUP", "updated") for number in range(300)]
        link.send(message(SPEC) + b"".join(calls))
        recorder.wait(lambda: len(outcome) == 300)
    assert all(outcome)


def test_delays_without_end(simulator: Simulator, recorder: Recorder) -> None:
    """As some write it who want no pings."""
    with client_of(simulator, recorder, ping_interval=1e12, connect_timeout=1e12, reconnect_max=1e12) as client:
        assert client.wait_ready(TIMEOUT)
        simulator.drop()
        recorder.wait_for("on_disconnect")
    assert recorder.of("on_error") == []


def test_run_forever_ends_when_a_hook_stops(simulator: Simulator) -> None:
    class Stops(Recorder):
        def told(self, name: str, args: tuple[Any, ...]) -> None:
            if name == "on_initial_chan_info":
                client.stop()

    recorder = Stops()
    client = client_of(simulator, recorder)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(client.run_forever).result(TIMEOUT)
    assert isinstance(recorder.of("on_disconnect")[-1], Stopped)


def test_run_forever_inside_a_hook_is_refused(simulator: Simulator) -> None:
    class Runs(Recorder):
        def told(self, name: str, args: tuple[Any, ...]) -> None:
            if name == "on_connect":
                client.run_forever()

    recorder = Runs()
    with client_of(simulator, recorder) as client:
        assert "inside a hook" in str(recorder.wait_for("on_error")[0])


def test_the_peer_is_told_goodbye(peer: Peer, recorder: Recorder) -> None:
    client = client_at(peer, recorder)
    client.start()
    link = peer.accept().upgrade()
    assert client.wait_connected(TIMEOUT)
    with ThreadPoolExecutor(1) as pool:
        seen = pool.submit(link.recv_frame)
        client.stop()
        assert seen.result(TIMEOUT) == (CLOSE, (1000).to_bytes(2, "big"))


def test_age_of_the_last_byte(peer: Peer, recorder: Recorder) -> None:
    with client_at(peer, recorder) as client:
        link = peer.accept().upgrade()
        assert client.wait_connected(TIMEOUT)
        before = client.seconds_since_received
        assert before is not None
        assert 0 <= before < TIMEOUT
        link.send(message(SPEC) + change("a"))
        recorder.wait_for("on_chan_info")
        after = client.seconds_since_received
        assert after is not None
        assert after < TIMEOUT


def test_run_forever_and_ctrl_c(peer: Peer) -> None:
    program = f"""
from basix_cti import ApiToken, CTIClient, CTIHandler
class Screen(CTIHandler):
    def on_connect(self, session): print("up", flush=True)
    def on_disconnect(self, reason): print(reason, flush=True)
try:
    CTIClient({peer.url!r}, Screen(), auth=ApiToken("d", "t"), app_name="ctrl-c").run_forever()
except KeyboardInterrupt:
    print("interrupted")
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        link = peer.accept().upgrade()
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGINT)
        assert link.recv_frame()[0] == CLOSE
        link.close()
        assert process.stdout.read() == "stopped by stop() on this side\ninterrupted\n"
        assert process.wait(TIMEOUT) == 0


# --- parameters -------------------------------------------------------------------------------------------------


class Quiet(CTIHandler):
    """Overrides nothing."""


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"app_name": None}, "app_name is required"),
        ({"app_name": ""}, "app_name must"),
        ({"app_name": "a\r\nb"}, "app_name must not contain control characters"),
        ({"user_name": "a\nb"}, "user_name must not contain control characters"),
        ({"user_name": "a", "user_id": 7}, "only one of user_id and user_name"),
        ({"user_name": "a", "full_events": True}, "no effect with full_events"),
        ({"auth": Ticket(lambda uri: "x"), "full_events": True}, "not allowed with a Ticket"),
        ({"verify": False, "ca_file": "x"}, "ca_file has no effect"),
        ({"verify": False, "ssl_context": ssl.create_default_context()}, "ssl_context takes the place"),
        ({"connect_timeout": 0}, "connect_timeout must be a positive"),
        ({"ping_interval": float("nan")}, "ping_interval must be a positive"),
        ({"reconnect_min": 10.0, "reconnect_max": 1.0}, "must not be greater"),
        ({"max_queued_events": 0}, "must be positive"),
        ({"server": "http://rig"}, "starts with http://"),
        ({"server": "ws://rig", "ca_file": "x"}, "no effect with a ws:// server"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_parameters(options: dict[str, Any], told: str) -> None:
    settings = {"server": "rig", "auth": AUTH, "app_name": "x", **options}
    with pytest.raises(ValueError, match=told):
        CTIClient(settings.pop("server"), Quiet(), **settings)


def test_wrong_types() -> None:
    no_handler: Any = Quiet
    no_login: Any = "token"
    with pytest.raises(TypeError, match="handler must be an instance"):
        CTIClient("rig", no_handler, auth=AUTH, app_name="x")
    with pytest.raises(TypeError, match="auth must be"):
        CTIClient("rig", Quiet(), auth=no_login, app_name="x")
    for option in ("full_events", "forced", "verify", "limits", "ssl_context", "track_calls"):
        given: dict[str, Any] = {option: "false"}
        with pytest.raises(TypeError, match=f"{option} must be"):
            CTIClient("rig", Quiet(), auth=AUTH, app_name="x", **given)


class Channels(CTIHandler):
    """Hears of channels, and of all events as one."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ended = threading.Event()

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def on_chan_info(self, channel: Channel) -> None:
        if channel.is_hung_up:
            self.ended.set()


@pytest.mark.parametrize("track_calls", [True, False])
def test_calls_are_tracked_or_not(track_calls: bool, simulator: Simulator) -> None:
    handler = Channels()
    with client_of(simulator, handler, track_calls=track_calls) as client:
        assert client.wait_ready(TIMEOUT)
        simulator.call("0312341234", to="user1").answer().hangup()
        assert handler.ended.wait(TIMEOUT)
        assert client.tracks_calls is track_calls
        if track_calls:
            assert isinstance(client.calls, list)
        else:
            with pytest.raises(RuntimeError, match="make the client with track_calls=True"):
                _ = client.calls
    told = {type(event) for event in handler.events}
    assert InfoEvent in told
    assert (CallEvent in told) is track_calls


def test_hooks_for_calls_that_nobody_tracks_are_refused() -> None:
    class Missed(CTIHandler):
        def on_call_ended(self, call: Call) -> None:
            pass

    told = "Missed.on_call_ended would never be called with track_calls=False"
    with pytest.raises(ValueError, match=told):
        CTIClient("rig", Missed(), auth=AUTH, app_name="x", track_calls=False)
    with pytest.raises(ValueError, match=told):
        MessageParser(Missed(), track_calls=False)
    parser = MessageParser(Channels(), track_calls=False)
    with pytest.raises(RuntimeError, match="make the parser with track_calls=True"):
        _ = parser.calls


def test_first_generation_needs_no_app_name() -> None:
    assert "ws_cti: not running" in repr(CTIClient("rig", Quiet(), auth=ApiUser("d", "u", "hunter2")))


def test_no_secret_at_any_level(simulator: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    recorder = Recorder()
    secrets = [simulator.token]
    service = TicketService(simulator.url, ApiToken(simulator.domain, simulator.token))

    def fetch(uri: str) -> str:
        secrets.append(service(uri))
        return secrets[-1]

    for auth in (*logins(simulator), Ticket(fetch)):
        client = client_of(simulator, recorder, auth, full_events=False)
        with client:
            recorder.wait_for("on_initial_chan_info", len(recorder.of("on_initial_chan_info")) + 1)
            simulator.refuse(500, times=1)
            simulator.drop()
            recorder.wait_for("on_error", len(recorder.of("on_error")) + 1)
            shown = f"{client!r} {client.last_error!r} {auth!r} {recorder.of('on_connect')!r}"
        for secret in secrets:
            assert secret not in shown + repr(recorder.events) + repr(recorder.calls)
    assert len(secrets) > 1
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("basix_cti"))
    for secret in secrets:
        assert secret not in ours
    assert "connecting to" in ours
