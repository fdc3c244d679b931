"""The test kit: what it records, what it waits for, what it says when that does not come, and the faults it makes."""

from __future__ import annotations

import threading
import unittest
from typing import Any

import pytest
from recorder import TIMEOUT

from basix_cti import ApiToken, Channel, CTIClient, CTIHandler, Ticket, TicketService, User
from basix_cti.errors import AuthError, ConnectionLimitReached, ConnectionLost, ConnectionReplaced, DecodeError
from basix_cti.events import Connected, InfoEvent, InitialInfo, Msg, Session, SystemMsg
from basix_cti.handler import HOOKS
from basix_cti.simulator import Simulator
from basix_cti.telling import deliver
from basix_cti.testing import ClientFactory, RecordedClient, Recorder


class Screen(CTIHandler):
    """A handler as users write it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_chan_info(self, channel: Channel) -> None:
        self.lines.append(f"{channel.direction} {channel.last_event}")


class Breaks(CTIHandler):
    """A handler with a bug."""

    def on_chan_info(self, channel: Channel) -> None:
        raise LookupError("no such customer")


def change(uuid: str, number: str = "0312341234") -> InfoEvent:
    channel = Channel(uuid=uuid, calling_number=number, last_event="NEW_CHANNEL")
    return InfoEvent("channel", channel, "added")


# --- the recorder, without a network ----------------------------------------------------------------------------


class TestRecorder:
    def test_it_records_every_hook(self) -> None:
        recorder = Recorder()
        for name in HOOKS:
            getattr(recorder, name)("a")
        assert [name for name, _ in recorder.calls] == [name for name in HOOKS if name != "on_event"]
        assert recorder.of("on_event") == ["a"]
        assert recorder.threads == {threading.current_thread().name}
        assert all(recorder.of(name) == ["a"] for name in HOOKS)

    def test_of_has_one_argument_or_a_tuple(self) -> None:
        recorder = Recorder()
        deliver(recorder, InitialInfo("user", [User(id=1)]))
        deliver(recorder, Connected(Session(1)))
        assert recorder.of("on_initial_info") == [("user", [User(id=1)])]
        assert recorder.of("on_connect") == [Session(1)]
        assert recorder.of("on_msg") == []

    def test_it_passes_calls_on_and_records_them_when_they_have_run(self) -> None:
        screen = Screen()
        seen_inside: list[int] = []

        class Nosy(Screen):
            def on_chan_info(self, channel: Channel) -> None:
                super().on_chan_info(channel)
                seen_inside.append(len(recorder.of("on_chan_info")))

        screen = Nosy()
        recorder = Recorder(screen)
        deliver(recorder, change("a"))
        assert screen.lines == ["None NEW_CHANNEL"]
        assert seen_inside == [0]
        assert len(recorder.of("on_chan_info")) == 1

    def test_a_subclass_is_told_inside_the_hook_after_the_recording(self) -> None:
        told: list[Any] = []

        class Mine(Recorder):
            def told(self, name: str, args: tuple[Any, ...]) -> None:
                told.append((name, args, self.of(name)))

        deliver(Mine(), Msg("hello"))
        assert told[1] == ("on_msg", ("hello",), ["hello"])

    def test_what_a_hook_raises_is_raised_on_and_kept(self) -> None:
        recorder = Recorder(Breaks())
        recorder.check()
        deliver(recorder, change("a"))
        deliver(recorder, change("b"))
        assert [type(error) for error in recorder.of("on_error")] == [LookupError, LookupError]
        with pytest.raises(
            AssertionError, match=r"^Breaks\.on_chan_info raised LookupError: no such customer; 1 more"
        ) as told:
            recorder.check()
        assert isinstance(told.value.__cause__, LookupError)
        assert len(recorder.of("on_chan_info")) == 2

    def test_clear_forgets(self) -> None:
        recorder = Recorder(Breaks())
        deliver(recorder, change("a"))
        recorder.clear()
        recorder.check()
        assert (recorder.calls, recorder.events) == ([], [])

    def test_waiting_for_what_has_come(self) -> None:
        recorder = Recorder()
        deliver(recorder, change("a", "1"))
        deliver(recorder, change("b", "2"))
        assert [channel.uuid for channel in recorder.wait_for("on_chan_info", 2)] == ["a", "b"]
        matching = recorder.wait_for("on_chan_info", where=lambda channel: channel.calling_number == "2")
        assert [channel.uuid for channel in matching] == ["b"]
        several = recorder.wait_for("on_info_event", where=lambda element, item, event: item.uuid == "a")
        assert [item.uuid for _, item, _ in several] == ["a"]
        assert len(recorder.wait_event(InfoEvent, 2)) == 2
        assert len(recorder.wait_for("on_event", where=lambda event: event.item.uuid == "a")) == 1
        recorder.wait(lambda: True)

    def test_waiting_for_what_will_come(self) -> None:
        recorder = Recorder()
        waiting = threading.Event()

        def where(channel: Channel) -> bool:
            waiting.set()
            return channel.uuid == "b"

        def tell() -> None:
            deliver(recorder, change("a"))
            assert waiting.wait(TIMEOUT), "the first call was looked at"
            deliver(recorder, change("b"))

        thread = threading.Thread(target=tell)
        thread.start()
        try:
            assert [channel.uuid for channel in recorder.wait_for("on_chan_info", where=where)] == ["b"]
        finally:
            thread.join()

    def test_a_failure_tells_what_did_come(self) -> None:
        recorder = Recorder(Breaks())
        for number in range(20):
            deliver(recorder, change(f"c{number}"))
        deliver(recorder, SystemMsg("x" * 1000))
        with pytest.raises(AssertionError) as failed:
            recorder.wait_for("on_chan_info", 2, 0.01, where=lambda channel: channel.uuid == "c7")
        head, *lines = str(failed.value).splitlines()
        assert head == (
            "on_chan_info was not called twice within 0.01 s, but 20 times, of which 1 matched where=. "
            "What was told, the latest last:"
        )
        assert lines[0] == "    before: on_chan_info 13 times, on_error 13 times"
        assert lines[1] == "    on_chan_info(Channel('c13', calling_number='0312341234', last_event='NEW_CHANNEL'))"
        assert "    on_error(LookupError: no such customer)" in lines
        assert lines[-1] == "    on_chan_info raised LookupError: no such customer"
        assert all(len(line) < 300 for line in lines)

    def test_a_failure_after_nothing(self) -> None:
        recorder = Recorder()
        with pytest.raises(
            AssertionError, match=r"on_msg was not called once within 0\.01 s, but never\. Nothing was told"
        ):
            recorder.wait_for("on_msg", timeout=0.01)
        with pytest.raises(AssertionError, match=r"Msg number 1 did not come within 0\.01 s"):
            recorder.wait_event(Msg, timeout=0.01)
        with pytest.raises(AssertionError, match="the end did not come"):
            recorder.wait(lambda: False, "the end", 0.01)

    def test_a_misspelled_hook_fails_at_once(self) -> None:
        with pytest.raises(ValueError, match="no hook on_chan_inf; did you mean on_chan_info"):
            Recorder().wait_for("on_chan_inf")

    @pytest.mark.parametrize("handler", [Screen, "Screen"])
    def test_what_is_no_handler_fails_at_once(self, handler: Any) -> None:
        with pytest.raises(TypeError, match=r"an instance of a CTIHandler subclass, not .*Screen"):
            Recorder(handler)

    def test_repr(self) -> None:
        assert repr(Recorder(Screen())) == "<Recorder of Screen: 0 calls>"


# --- the client and the fixtures --------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", [1, 2])
def test_a_call_in_one_line(pbx: Simulator, cti_client: ClientFactory, generation: int) -> None:
    screen = Screen()
    client = cti_client(screen, generation=generation)
    pbx.call("0312341234", to="user1").answer().park(901).hangup()
    client.catch_up()
    inbound = [line for line in screen.lines if line.startswith("inbound ")]
    expected = ["NEW_CHANNEL", "STATE_CHANGE", "CHANNEL_ANSWER", "CHANNEL_BRIDGE", "CHANNEL_PARK", "CHANNEL_HANGUP"]
    assert inbound == [f"inbound {what}" for what in expected]
    assert str(client.recorder.wait_for("on_park_info")[0].slot) == "901"
    client.recorder.wait_for("on_unpark_info")


def test_the_client_is_connected_and_knows_the_present_state(pbx: Simulator, cti_client: ClientFactory) -> None:
    pbx.call("0312341234", to="user1")
    client = cti_client()
    assert isinstance(client, CTIClient)
    assert client.connected
    assert len(client.state.channels) == 2
    assert (client.pbx, pbx.connections) == (pbx, 1)


def test_clients_of_one_test_have_names_of_their_own(pbx: Simulator, cti_client: ClientFactory) -> None:
    clients = [cti_client() for _ in range(4)]
    assert pbx.connections == 4
    for client in clients:
        client.catch_up()
    assert "app_name='test-4'" in repr(clients[3])


def test_options_are_those_of_the_client(pbx: Simulator, cti_client: ClientFactory) -> None:
    alone = cti_client(user_name="user2", app_name="mine", reconnect_min=5, reconnect_max=5)
    ticket = Ticket(TicketService(pbx.url, ApiToken(pbx.domain, pbx.token)))
    both = cti_client(auth=ticket, user_name="user1")
    pbx.call("0312341234", to="user1")
    both.catch_up()
    alone.catch_up()
    assert both.recorder.of("on_chan_info")
    assert not alone.recorder.of("on_chan_info")
    with pytest.raises(TypeError, match="unexpected keyword"):
        cti_client(no_such_option=1)
    with pytest.raises(ValueError, match="generation must be 1 or 2"):
        cti_client(generation=3)


@pytest.mark.pbx(users=2, groups=0, domain="test1.com")
def test_the_mark_gives_the_simulator_its_arguments(pbx: Simulator) -> None:
    assert (len(pbx.users), len(pbx.groups), pbx.domain) == (2, 0, "test1.com")


def test_a_mark_is_not_told(cti_client: ClientFactory) -> None:
    handler = Recorder()
    client = cti_client(Recorder(handler))
    client.catch_up()
    client.catch_up()
    for recorder in (handler, client.recorder):
        assert not recorder.of("on_system_msg")
        assert not any(isinstance(event, SystemMsg) for event in recorder.events)


def test_a_recorder_is_taken_as_it_is(cti_client: ClientFactory) -> None:
    recorder = Recorder()
    assert cti_client(recorder).recorder is recorder


def test_a_hook_that_raises_fails_the_test(pbx: Simulator) -> None:
    client = RecordedClient(pbx, Breaks())

    def block() -> None:
        with client:
            pbx.call("0312341234", to="user1")
            client.catch_up()

    with pytest.raises(AssertionError, match=r"^Breaks\.on_chan_info raised LookupError: no such customer"):
        block()
    assert not client.connected


def test_a_hook_that_may_raise_does_not(pbx: Simulator, cti_client: ClientFactory) -> None:
    client = cti_client(Breaks(), hooks_may_raise=True)
    pbx.call("0312341234", to="user1")
    client.recorder.wait_for("on_error", where=lambda error: isinstance(error, LookupError))


def test_the_blocks_own_error_comes_first(pbx: Simulator) -> None:
    def block() -> None:
        with RecordedClient(pbx, Breaks()) as client:
            pbx.call("0312341234", to="user1")
            client.catch_up()
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        block()


def test_no_connection(monkeypatch: pytest.MonkeyPatch, pbx: Simulator) -> None:
    monkeypatch.setattr("basix_cti.testing.TIMEOUT", 3.0)  # in which a busy machine, too, gets the refusal
    pbx.refuse(503)
    client = RecordedClient(pbx)
    with pytest.raises(AssertionError, match=r"was not ready within 3 s\. The last error: .*HTTP 503"), client:
        pytest.fail("the block must not be entered")
    pbx.wait_connections(0)


class TestWithUnittest(unittest.TestCase):
    """The way without pytest's fixtures."""

    def test_a_call(self) -> None:
        screen = Screen()
        with Simulator() as pbx, RecordedClient(pbx, screen) as client:
            pbx.call("0312341234", to="user1").busy()
            client.catch_up()
        assert screen.lines[-1].endswith(" CHANNEL_HANGUP")


# --- faults -----------------------------------------------------------------------------------------------------


def test_drop(pbx: Simulator, cti_client: ClientFactory) -> None:
    client = cti_client()
    call = pbx.call("0312341234", to="user1")
    client.catch_up()
    assert pbx.drop() == 1
    call.hangup()
    client.catch_up()
    assert type(client.recorder.of("on_disconnect")[0]) is ConnectionLost
    assert client.recorder.of("on_connect")[1].number == 2
    assert not client.state.channels


def test_catching_up_fails_where_there_is_no_connection(pbx: Simulator, cti_client: ClientFactory) -> None:
    client = cti_client()
    pbx.refuse(503)
    pbx.drop()
    with pytest.raises(AssertionError, match=r"was not ready within 0\.5 s"):
        client.catch_up(0.5)


@pytest.mark.parametrize("generation", [1, 2])
def test_bad_frame(pbx: Simulator, cti_client: ClientFactory, generation: int) -> None:
    client = cti_client(generation=generation)
    assert pbx.bad_frame() == 1
    client.catch_up()
    assert [type(error) for error in client.recorder.of("on_error")] == [DecodeError]
    assert not client.recorder.of("on_disconnect")
    pbx.bad_frame(times=10)
    reason = client.recorder.wait_for("on_disconnect")[0]
    assert "10 bad frames in a row" in str(reason)
    client.recorder.wait_for("on_connect", 2)


def test_limit(pbx: Simulator, cti_client: ClientFactory) -> None:
    first = cti_client(app_name="same")
    pbx.limit()
    late = cti_client(app_name="same", wait=False)
    late.recorder.wait_for("on_system_msg", where=lambda msg: msg == "connection_limit_reached")
    assert isinstance(late.recorder.wait_for("on_disconnect")[0], ConnectionLimitReached)
    assert first.connected
    pbx.limit(None)
    late.catch_up()
    with pytest.raises(ValueError, match="must not be negative"):
        pbx.limit(-1)


def test_limit_of_one_and_a_forced_client(pbx: Simulator, cti_client: ClientFactory) -> None:
    pbx.limit(1)
    first = cti_client(app_name="same")
    cti_client(app_name="same", forced=True)
    assert isinstance(first.recorder.wait_for("on_disconnect")[0], ConnectionReplaced)
    assert pbx.connections == 1


def test_replace(pbx: Simulator, cti_client: ClientFactory) -> None:
    client, old = cti_client(), cti_client(generation=1)
    assert pbx.replace() == 1
    assert isinstance(client.recorder.wait_for("on_disconnect")[0], ConnectionReplaced)
    assert client.recorder.of("on_system_msg") == ["connection_replaced"]
    old.catch_up()
    assert not old.recorder.of("on_disconnect")


def test_refuse(pbx: Simulator, cti_client: ClientFactory) -> None:
    client = cti_client()
    pbx.refuse(401, times=1)
    pbx.drop()
    client.recorder.wait_for("on_error", where=lambda error: isinstance(error, AuthError))
    client.catch_up()
