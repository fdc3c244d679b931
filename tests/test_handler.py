"""``CTIHandler``, and which hooks are called for what, in which order, whatever they raise."""

from __future__ import annotations

import functools
import inspect
import logging
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from wire_samples import Line, Recorder, current_session, first_session, info_event, row

from basix_cti import Call, CTIHandler, Leg, events
from basix_cti.elements import Channel, MessageWaiting, ParkInfo, User
from basix_cti.errors import ConnectionClosed, CTIWarning
from basix_cti.etf import Atom
from basix_cti.events import (
    CallEvent,
    Connected,
    Disconnected,
    Event,
    Failed,
    InfoEvent,
    InitialInfo,
    Msg,
    Overflowed,
    Session,
    SystemMsg,
    UnknownMessage,
)
from basix_cti.handler import HOOKS
from basix_cti.telling import deliver

LOGGER = "basix_cti.handler"
CHANNEL = Channel(uuid="c1")
ENDED = Channel(uuid="c0", last_event="CHANNEL_HANGUP")
USER = User(id=1)
PARK, UNPARK = ParkInfo("c1", 901), ParkInfo("c1", 902)
MWI = MessageWaiting("user", 1, "suzuki", 1, 0, "1/0")
CALL = Call("c1", (Leg(CHANNEL),))
SESSION = Session(1)
REASON = ConnectionClosed("bye", 1001)
ERROR = ValueError("broken")

# Each event with the hooks that it calls, on_event left out, in order.
CALLS: list[tuple[Event, list[tuple[Any, ...]]]] = [
    (InitialInfo("user", [USER]), [("on_initial_info", "user", [USER])]),
    (
        InitialInfo("channel", [CHANNEL, ENDED], channels=[CHANNEL]),
        [("on_initial_info", "channel", [CHANNEL, ENDED]), ("on_initial_chan_info", [CHANNEL])],
    ),
    (InitialInfo("channel", []), [("on_initial_info", "channel", []), ("on_initial_chan_info", [])]),
    (InitialInfo("channel_waiting", []), [("on_initial_info", "channel_waiting", [])]),
    (
        InfoEvent("channel", CHANNEL, "added"),
        [("on_info_event", "channel", CHANNEL, "added"), ("on_chan_info", CHANNEL)],
    ),
    (InfoEvent("channel", ENDED, "removed", news=False), [("on_info_event", "channel", ENDED, "removed")]),
    (
        InfoEvent("channel_waiting", CHANNEL, "updated", park=PARK),
        [("on_info_event", "channel_waiting", CHANNEL, "updated"), ("on_park_info", PARK)],
    ),
    (
        InfoEvent("channel", ENDED, "updated", unpark=UNPARK),
        [("on_info_event", "channel", ENDED, "updated"), ("on_chan_info", ENDED), ("on_unpark_info", UNPARK)],
    ),
    (InfoEvent("user", USER, "updated"), [("on_info_event", "user", USER, "updated")]),
    (
        InfoEvent("user", USER, "updated", mwi=MWI),
        [("on_info_event", "user", USER, "updated"), ("on_mwi_info", MWI)],
    ),
    (
        InfoEvent("channel", CHANNEL, "x", park=PARK, unpark=UNPARK, mwi=MWI),
        [
            ("on_info_event", "channel", CHANNEL, "x"),
            ("on_chan_info", CHANNEL),
            ("on_park_info", PARK),
            ("on_unpark_info", UNPARK),
            ("on_mwi_info", MWI),
        ],
    ),
    (CallEvent("ringing", CALL), [("on_call_ringing", CALL)]),
    (CallEvent("answered", CALL), [("on_call_answered", CALL)]),
    (CallEvent("parked", CALL), [("on_call_parked", CALL)]),
    (CallEvent("transferred", CALL), [("on_call_transferred", CALL)]),
    (CallEvent("ended", CALL), [("on_call_ended", CALL)]),
    (SystemMsg("logout"), [("on_system_msg", "logout")]),
    (Msg((Atom("a"), 1)), [("on_msg", (Atom("a"), 1))]),
    (UnknownMessage("novelty", 5), []),
    (Connected(SESSION), [("on_connect", SESSION)]),
    (Disconnected(REASON), [("on_disconnect", REASON)]),
    (Overflowed(17), [("on_overflow", 17)]),
    (Failed(ERROR), [("on_error", ERROR)]),
]
EVENT_CLASSES: set[type[Event]] = {
    cls for _, cls in inspect.getmembers(events, inspect.isclass) if issubclass(cls, Event) and cls is not Event
}


class Everything(Recorder):
    """A recorder that has on_event among its calls."""

    def on_event(self, event: Event) -> None:
        self.calls.append(("on_event", event))


class TestClass:
    def test_the_class_itself_is_abstract(self) -> None:
        with pytest.raises(TypeError, match="abstract"):
            CTIHandler()

    def test_a_subclass_needs_no_hook_and_no_initialiser(self) -> None:
        class Silent(CTIHandler):
            pass

        for event, _ in CALLS:
            deliver(Silent(), event)

    def test_a_subclass_may_have_an_initialiser_that_does_not_call_ours(self) -> None:
        class Named(CTIHandler):
            def __init__(self, name: str, *, size: int = 0) -> None:
                self.told = (name, size)

        assert Named("a", size=1).told == ("a", 1)

    def test_a_subclass_may_inherit_from_something_else_first(self) -> None:
        class Base:
            def __init__(self, name: str) -> None:
                self.name = name

        class Mixed(Base, CTIHandler):
            def on_chan_info(self, channel: Channel) -> None:
                self.name = str(channel.uuid)

        handler = Mixed("a")
        deliver(handler, InfoEvent("channel", CHANNEL, "added"))
        assert handler.name == "c1"

    def test_a_subclass_may_take_class_arguments(self) -> None:
        class Tagged:
            tag = ""

            def __init_subclass__(cls, tag: str = "", **kwargs: Any) -> None:
                super().__init_subclass__(**kwargs)
                cls.tag = tag

        class Screen(CTIHandler, Tagged, tag="x"):
            pass

        assert Screen.tag == "x"

    def test_the_hooks(self) -> None:
        assert set(HOOKS) == {
            "on_call_answered",
            "on_call_ended",
            "on_call_parked",
            "on_call_ringing",
            "on_call_transferred",
            "on_chan_info",
            "on_connect",
            "on_disconnect",
            "on_error",
            "on_event",
            "on_info_event",
            "on_initial_chan_info",
            "on_initial_info",
            "on_msg",
            "on_mwi_info",
            "on_overflow",
            "on_park_info",
            "on_system_msg",
            "on_unpark_info",
        }

    @pytest.mark.parametrize(
        ("hook", "parameters"),
        [
            ("on_initial_chan_info", ["channels"]),
            ("on_chan_info", ["channel"]),
            ("on_call_ringing", ["call"]),
            ("on_call_answered", ["call"]),
            ("on_call_parked", ["call"]),
            ("on_call_transferred", ["call"]),
            ("on_call_ended", ["call"]),
            ("on_mwi_info", ["mwi"]),
            ("on_park_info", ["park"]),
            ("on_unpark_info", ["park"]),
            ("on_initial_info", ["element", "items"]),
            ("on_info_event", ["element", "item", "event"]),
            ("on_system_msg", ["msg"]),
            ("on_msg", ["msg"]),
            ("on_event", ["event"]),
            ("on_connect", ["session"]),
            ("on_disconnect", ["reason"]),
            ("on_error", ["error"]),
            ("on_overflow", ["count"]),
        ],
    )
    def test_the_hooks_parameters(self, hook: str, parameters: list[str]) -> None:
        assert list(inspect.signature(getattr(CTIHandler, hook)).parameters) == ["self", *parameters]


class TestMisspelledHooks:
    @pytest.mark.parametrize(
        ("name", "nearest"),
        [
            ("on_chan_inof", "on_chan_info"),
            ("on_channel_info", "on_chan_info"),
            ("on_mwi", "on_mwi_info"),
            ("on_unpark", "on_unpark_info"),
            ("on_connected", "on_connect"),
            ("on_message", "on_msg"),
            ("on_Event", "on_event"),
            ("on_", "on_msg"),
        ],
    )
    def test_the_warning_names_the_nearest_hook(self, name: str, nearest: str) -> None:
        with pytest.warns(CTIWarning) as told:
            type("Screen", (CTIHandler,), {name: lambda self, *args: None})
        assert len(told) == 1
        assert re.search(rf"Screen\.{name} .* {nearest}\?$", str(told[0].message))

    def test_the_warning_points_at_the_class(self) -> None:
        with pytest.warns(CTIWarning) as told:

            class Screen(CTIHandler):
                def on_chan_inf(self, channel: Channel) -> None: ...

        assert Path(told[0].filename) == Path(__file__)
        assert Screen.on_chan_inf is not None

    def test_each_unknown_name_is_told(self) -> None:
        with pytest.warns(CTIWarning) as told:
            type("Screen", (CTIHandler,), {"on_a": print, "on_b": staticmethod(print), "on_event": print})
        assert len(told) == 2

    @pytest.mark.parametrize(
        "namespace",
        [
            {name: lambda self, *args: None for name in HOOKS},
            {"on_hold": True, "on_hold_since": 5.0},
            {"one": print, "onEvent": print, "_on_x": print, "turn_on_x": print},
        ],
        ids=["hooks", "no callables", "other names"],
    )
    def test_no_warning(self, namespace: dict[str, Any]) -> None:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            type("Screen", (CTIHandler,), namespace)
        assert told == []

    def test_a_subclass_of_the_subclass_is_not_blamed_for_it(self) -> None:
        with pytest.warns(CTIWarning):
            screen = type("Screen", (CTIHandler,), {"on_chan": print})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            type("Wide", (screen,), {})

    def test_a_class_with_a_misspelled_hook_still_works(self) -> None:
        with pytest.warns(CTIWarning):
            screen = type("Screen", (Recorder,), {"on_chan": print})
        handler = screen()
        deliver(handler, Msg("x"))
        assert handler.names() == ["on_msg"]


class TestDelivery:
    @pytest.mark.parametrize(("event", "calls"), CALLS, ids=lambda value: type(value).__name__)
    def test_hooks_and_their_order(self, event: Event, calls: list[tuple[Any, ...]]) -> None:
        handler = Everything()
        deliver(handler, event)
        assert handler.calls == [("on_event", event), *calls]

    def test_every_event_class_is_in_the_table(self) -> None:
        assert {type(event) for event, _ in CALLS} == EVENT_CLASSES

    def test_every_hook_is_in_the_table(self) -> None:
        assert {name for _, calls in CALLS for name, *_ in calls} | {"on_event"} == set(HOOKS)

    @pytest.mark.parametrize("cls", sorted(EVENT_CLASSES, key=str))
    def test_an_event_class_documents_its_hooks(self, cls: type[Event]) -> None:
        told = set(re.findall(r"``(on_\w+)``", cls.__doc__ or ""))
        called = {name for event, calls in CALLS if type(event) is cls for name, *_ in calls}
        if called:
            assert told == called
        else:
            assert re.search(r"``on_event`` alone", cls.__doc__ or "")

    def test_every_hook_has_something_on_the_wire_or_in_the_client_that_calls_it(self) -> None:
        line = Line(calls=True)
        called = set()
        for session in (first_session(), current_session()):
            line.reconnect()
            for message in session:
                line.send(message)
                called |= set(line.told.names())
        calling = (1, Atom("calling"), Atom("ext"), Atom("pstn"), (b"0312345678",))
        sent_on = {"last_event": b"STATE_CHANGE", "uuid": b"c2", "direction": Atom("inbound")}
        for state in ((0, Atom("bridged")), calling):
            line.send(info_event("channel", "updated", row("channel", state=state, **sent_on)))
            called |= set(line.told.names())
        line.told.forget()
        line.parser.handle_message(b"no term")
        line.parser.connection_lost()
        line.parser.connection_made()
        deliver(line.told, Overflowed(1))
        called |= set(line.told.names())
        assert called | {"on_event"} == set(HOOKS)

    def test_the_lists_belong_to_the_hook(self) -> None:
        class Greedy(CTIHandler):
            def on_initial_info(self, element: str, items: list[Any]) -> None:
                items.clear()

            def on_initial_chan_info(self, channels: list[Channel]) -> None:
                channels.clear()

        event = InitialInfo("channel", [CHANNEL], channels=[CHANNEL])
        deliver(Greedy(), event)
        assert (event.items, event.channels) == ([CHANNEL], [CHANNEL])


class Raising(Everything):
    """Records each call, and then raises in the hooks that it is told."""

    def __init__(self, *hooks: str, error: BaseException = ERROR) -> None:
        super().__init__()
        self._hooks = hooks
        self._error = error

    def __getattribute__(self, name: str) -> Any:
        hook = super().__getattribute__(name)
        if name not in HOOKS or name not in self._hooks:
            return hook

        @functools.wraps(hook)
        def raising(*args: Any) -> None:
            hook(*args)
            raise self._error

        return raising


class TestRaisingHooks:
    @pytest.mark.parametrize(("event", "calls"), CALLS, ids=lambda value: type(value).__name__)
    def test_each_hook_may_raise(self, event: Event, calls: list[tuple[Any, ...]]) -> None:
        for name in ("on_event", *dict.fromkeys(name for name, *_ in calls)):
            handler = Raising(name)
            deliver(handler, event)
            deliver(handler, Msg("next"))
            told = [call for call in handler.calls if call[0] not in ("on_event", "on_error")]
            assert told == [*[call for call in calls if call[0] != "on_error"], ("on_msg", "next")]

    @pytest.mark.parametrize("hook", ["on_info_event", "on_chan_info", "on_unpark_info"])
    def test_it_goes_to_on_error_once_and_the_later_hooks_are_still_called(self, hook: str) -> None:
        handler = Raising(hook)
        event = InfoEvent("channel", ENDED, "updated", unpark=UNPARK, received_at=5.0)
        deliver(handler, event)
        expected = ["on_event", "on_info_event", "on_chan_info", "on_unpark_info"]
        place = expected.index(hook) + 1
        assert handler.names() == [*expected[:place], "on_event", "on_error", *expected[place:]]
        assert handler.of("on_error") == [ERROR]
        failed = handler.of("on_event")[1]
        assert isinstance(failed, Failed)
        assert (failed.error, failed.received_at, failed.synthetic) == (ERROR, 5.0, False)

    def test_each_hook_that_raises_is_told(self) -> None:
        handler = Raising("on_info_event", "on_chan_info")
        deliver(handler, InfoEvent("channel", CHANNEL, "added"))
        assert handler.of("on_error") == [ERROR, ERROR]

    def test_on_event_may_raise_for_every_event(self) -> None:
        handler = Raising("on_event")
        deliver(handler, Msg("x"))
        assert handler.names() == ["on_event", "on_event", "on_error", "on_msg"]

    def test_what_on_error_raises_is_logged_and_not_told_again(self, caplog: pytest.LogCaptureFixture) -> None:
        handler = Raising("on_msg", "on_error", "on_event")
        deliver(handler, Msg("x"))
        assert handler.names().count("on_error") == 2
        deliver(handler, Failed(KeyError("wire")))
        assert handler.names().count("on_error") == 3
        assert all(record.exc_info for record in caplog.records)

    def test_the_log_has_the_traceback_and_the_hooks_name(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.ERROR, LOGGER)
        deliver(Raising("on_msg"), Msg("secret"))
        (record,) = caplog.records
        assert record.exc_info is not None
        assert record.exc_info[1] is ERROR
        assert "on_msg" in record.getMessage()
        assert "ValueError" in record.getMessage()
        assert "secret" not in record.getMessage()

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), GeneratorExit()], ids=repr)
    def test_what_is_no_exception_ends_the_caller_unless_it_is_guarded_against(self, error: BaseException) -> None:
        handler = Raising("on_msg", error=error)
        with pytest.raises(type(error)):
            deliver(handler, Msg("x"))
        assert handler.of("on_error") == []
        deliver(handler, Msg("x"), guard=BaseException)
        assert handler.of("on_error") == [error]

    def test_the_guard_holds_for_on_error_too(self) -> None:
        handler = Raising("on_msg", "on_error", error=SystemExit(1))
        deliver(handler, Msg("x"), guard=BaseException)
        assert handler.names() == ["on_event", "on_msg", "on_event", "on_error"]

    def test_a_handler_that_cannot_be_shown_does_no_harm(self) -> None:
        class Shy(Raising):
            def __repr__(self) -> str:
                raise RuntimeError("no")

            def on_msg(self, msg: object) -> None:
                raise ERROR

        handler = Shy()
        deliver(handler, Msg("x"))
        assert handler.of("on_error") == [ERROR]

    def test_a_hook_may_be_any_callable(self) -> None:
        told: list[object] = []

        class Odd(Recorder):
            def __init__(self) -> None:
                super().__init__()
                self.__dict__["on_msg"] = functools.partial(told.append)
                self.__dict__["on_system_msg"] = functools.partial(int, base=10)

        handler = Odd()
        deliver(handler, Msg("x"))
        deliver(handler, SystemMsg("x"))
        assert told == ["x"]
        assert [type(error) for error in handler.of("on_error")] == [ValueError]
