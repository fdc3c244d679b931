"""The Django app inside a process: signals, the handler, database connections, checks, and who has a client."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from clients import client_of
from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core import mail
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import CommandError, call_command
from django.core.signals import request_started
from django.db import InterfaceError, connection
from django.dispatch import Signal, receiver
from django.test import Client, override_settings
from django.test.utils import setup_test_environment, teardown_test_environment

from basix_cti import CTIClient, CTIHandler
from basix_cti.contrib.django import get_client, signals, site_handler, start, stop
from basix_cti.contrib.django.handler import SignalBridge
from basix_cti.contrib.django.site import one, start_with_first_request
from basix_cti.errors import ConfigError, NotConnected
from basix_cti.events import Msg, SystemMsg
from basix_cti.handler import HOOKS
from basix_cti.simulator import Simulator
from basix_cti.tap import Tap
from basix_cti.telling import deliver

if not settings.configured:
    settings.configure(
        INSTALLED_APPS=["basix_cti.contrib.django"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        ROOT_URLCONF=(),
        SECRET_KEY="x",
    )
    django.setup()

GOOD = {"SERVER": "pbx.test1.com", "DOMAIN": "test1.com", "TOKEN": "hunter2"}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No settings from elsewhere, no receivers and no client left behind."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "empty"))
    for name in ("SERVER", "DOMAIN", "TOKEN", "REDIS_URL"):
        monkeypatch.delenv(f"BASIX_CTI_{name}", raising=False)
    yield
    stop()
    one._owns.clear()  # as a new process begins
    for signal in signals.SIGNALS.values():
        signal.receivers.clear()
        signal.sender_receivers_cache.clear()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def settings_of(simulator: Simulator, **more: object) -> dict[str, object]:
    return {
        "SERVER": simulator.url,
        "DOMAIN": simulator.domain,
        "TOKEN": simulator.token,
        "FULL_EVENTS": True,
        "OPTIONS": {"reconnect_min": 0.01, "reconnect_max": 0.05},
        **more,
    }


class Told:
    """A receiver of signals that remembers."""

    def __init__(self, *hooks: str) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.changed = threading.Condition()
        self.names = {id(signals.SIGNALS[hook]): hook for hook in hooks}
        for hook in hooks:
            signals.SIGNALS[hook].connect(self)

    def __call__(self, sender: object, signal: Signal, **kwargs: Any) -> None:
        assert sender is CTIClient
        with self.changed:
            self.calls.append((self.names[id(signal)], kwargs))
            self.changed.notify_all()

    def wait(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.calls) >= count, 20), self.calls


class Own(CTIHandler):
    """What BASIX_CTI["HANDLER"] names."""

    told: list[tuple[str, object]] = []  # noqa: RUF012 -- who makes it is not the test

    def on_msg(self, msg: object) -> None:
        self.told.append(("on_msg", msg))
        if msg == "raise":
            raise LookupError("in the handler")

    def on_error(self, error: BaseException) -> None:
        self.told.append(("on_error", error))


class OwnTap(Own, Tap):
    """One that sees messages, too."""


class Unmakeable(CTIHandler):
    """One that cannot be made."""

    def __init__(self) -> None:
        raise OSError("no disk")


@pytest.fixture
def own() -> list[tuple[str, object]]:
    Own.told.clear()
    return Own.told


# --- signals ------------------------------------------------------------------------------------------------------


def test_every_hook_has_a_signal_of_its_name() -> None:
    there = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    assert there == set(HOOKS) == signals.SIGNALS.keys()
    assert {*signals.__all__} - {"SIGNALS", "ARGUMENTS"} == there
    assert len({id(signal) for signal in signals.SIGNALS.values()}) == len(HOOKS)


def test_the_page_tells_every_signal_with_its_arguments() -> None:
    assert signals.__doc__ is not None
    for hook in HOOKS:
        names = ", ".join(f"``{name}``" for name in [*inspect.signature(getattr(CTIHandler, hook)).parameters][1:])
        assert any(
            line.split("  ")[0] == f"``{hook}``" and line.endswith(f"  {names}")
            for line in signals.__doc__.splitlines()
        ), hook


@pytest.mark.parametrize("hook", HOOKS)
def test_every_signal_is_sent(hook: str) -> None:
    told = Told(*HOOKS)
    bridge = SignalBridge(None)
    arguments = {name: object() for name in signals.ARGUMENTS[hook]}
    getattr(bridge, hook)(*arguments.values())
    assert told.calls == [(hook, {**arguments, "client": None})]


def test_the_service_of_a_pbx_sends_signals(simulator: Simulator) -> None:
    told = Told("on_initial_chan_info", "on_call_ended", "on_disconnect")
    with override_settings(BASIX_CTI=settings_of(simulator)):
        client = start()
        told.wait(1)
        simulator.call("0312341234", to="user1").answer().hangup()
        told.wait(2)
        assert told.calls[1][1]["call"].caller.number == "0312341234"
        stop()
        told.wait(3)
    assert [hook for hook, _ in told.calls] == ["on_initial_chan_info", "on_call_ended", "on_disconnect"]
    assert all(kwargs["client"] is client for _, kwargs in told.calls)


def test_a_receiver_that_raises_takes_nothing_from_others(caplog: pytest.LogCaptureFixture) -> None:
    def broken(**kwargs: Any) -> None:
        raise LookupError("in a receiver")

    def broken_too(**kwargs: Any) -> None:
        raise ArithmeticError("in another one")

    signals.on_msg.connect(broken)
    signals.on_msg.connect(broken_too)
    told = Told("on_msg", "on_error")
    handler = site_handler()
    for text in ("first", "second"):
        deliver(handler, Msg(text, received_at=0.0))
    assert [kwargs.get("msg") or type(kwargs["error"]) for _, kwargs in told.calls] == [
        *["first", LookupError, ArithmeticError],
        *["second", LookupError, ArithmeticError],
    ]
    assert "in a receiver" in caplog.text
    assert "in another one" in caplog.text


def test_an_error_while_errors_are_told_is_told_no_further(caplog: pytest.LogCaptureFixture) -> None:
    def broken(**kwargs: Any) -> None:
        raise LookupError("again and again")

    for hook in ("on_msg", "on_error", "on_event"):
        signals.SIGNALS[hook].connect(broken)
    told = Told("on_error")
    deliver(site_handler(), Msg("x", received_at=0.0))
    assert len(told.calls) == 2  # of on_event and of on_msg


# --- the site's handler -------------------------------------------------------------------------------------------


def test_the_handler_is_told_before_the_signal(own: list[tuple[str, object]]) -> None:
    signals.on_msg.connect(lambda msg, **kwargs: own.append(("signal", msg)), weak=False)
    with override_settings(BASIX_CTI={"HANDLER": "test_django.Own"}):
        deliver(site_handler(), Msg("hello", received_at=0.0))
    assert own == [("on_msg", "hello"), ("signal", "hello")]


def test_a_handler_that_raises(own: list[tuple[str, object]], caplog: pytest.LogCaptureFixture) -> None:
    told = Told("on_msg", "on_error")
    with override_settings(BASIX_CTI={"HANDLER": "test_django.Own"}):
        deliver(site_handler(), Msg("raise", received_at=0.0))
    assert [hook for hook, _ in own] == ["on_msg", "on_error"]
    assert [hook for hook, _ in told.calls] == ["on_error", "on_msg"]
    assert isinstance(told.calls[0][1]["error"], LookupError)
    assert caplog.messages == ["Own.on_msg raised LookupError; the next event still comes"]
    assert "in the handler" in caplog.text


def test_a_handler_that_is_a_tap_sees_messages(simulator: Simulator) -> None:
    with override_settings(BASIX_CTI=settings_of(simulator, HANDLER="test_django.OwnTap")):
        client = start()
        assert isinstance(client, CTIClient)
        assert isinstance(client._tap, OwnTap)


def test_a_quiet_worker_tells_a_tap_nothing(simulator: Simulator) -> None:
    given = settings_of(simulator, HANDLER="test_django.OwnTap", TELL_IN_WORKER=False)
    with override_settings(BASIX_CTI=given):
        client = start()
        assert isinstance(client, CTIClient)
        assert client._tap is None


# --- the database -------------------------------------------------------------------------------------------------


class Connections:
    """Notes, in each hook of an event, which connection it has."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        for hook in ("on_event", "on_system_msg"):
            signals.SIGNALS[hook].connect(self)

    def __call__(self, **kwargs: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        self.seen.append(connection.connection)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The settings of a database in a file, which is closed as others are."""
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "NAME", str(tmp_path / "file.sqlite3"))
    yield connection.settings_dict
    connection.close()


def test_one_database_connection_for_an_event(database: dict[str, Any]) -> None:
    connections, handler = Connections(), site_handler()
    for _ in range(2):
        deliver(handler, SystemMsg("x", received_at=0.0))
        assert connection.connection is None  # CONN_MAX_AGE is 0
    first, again, second, _ = connections.seen
    assert first is again
    assert first is not second


def test_a_database_connection_lives_as_long_as_the_site_says(database: dict[str, Any]) -> None:
    database["CONN_MAX_AGE"] = 600
    try:
        connections, handler = Connections(), site_handler()
        for _ in range(2):
            deliver(handler, SystemMsg("x", received_at=0.0))
        assert connection.connection is not None
        assert len({id(each) for each in connections.seen}) == 1
    finally:
        database["CONN_MAX_AGE"] = 0


def test_an_event_is_told_where_no_connection_can_be_closed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise OSError("no more")

    monkeypatch.setattr("basix_cti.contrib.django.handler.close_old_connections", broken)
    told = Told("on_msg", "on_error")
    deliver(site_handler(), Msg("x", received_at=0.0))
    assert [hook for hook, _ in told.calls] == ["on_msg"]
    assert "could not be closed" in caplog.text


def test_patience_has_an_end(
    database: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(database, "NAME", str(tmp_path / "no-folder" / "file.sqlite3"))
    told = Told("on_msg")
    with override_settings(BASIX_CTI={"WAIT_FOR_DATABASE": 0.3}):
        deliver(site_handler(), Msg("x", received_at=0.0))
    assert len(told.calls) == 1
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert "the database does not answer (OperationalError: unable to open database file): events" in caplog.text


def test_no_failure_of_the_database_costs_an_event(
    database: dict[str, Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not every one is a DatabaseError: one of MySQL's is an InterfaceError, a site without a database has another."""

    def fail() -> None:
        raise InterfaceError(0, "")

    monkeypatch.setattr(connection, "ensure_connection", fail)
    told = Told("on_msg", "on_error")
    with override_settings(BASIX_CTI={"WAIT_FOR_DATABASE": 0.01}):
        deliver(site_handler(), Msg("x", received_at=0.0))
    assert [hook for hook, _ in told.calls] == ["on_msg"]


def test_events_wait_for_the_database(
    database: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "later"
    monkeypatch.setitem(database, "NAME", str(folder / "file.sqlite3"))
    seen: list[bool] = []
    signals.on_msg.connect(lambda **kwargs: seen.append(folder.exists()), weak=False)

    class Mends(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            folder.mkdir(exist_ok=True)

    mends = Mends()
    logging.getLogger("basix_cti").addHandler(mends)
    try:
        with override_settings(BASIX_CTI={"WAIT_FOR_DATABASE": 20}):
            deliver(site_handler(), Msg("x", received_at=0.0))
    finally:
        logging.getLogger("basix_cti").removeHandler(mends)
    assert seen == [True]
    assert caplog.messages[-1] == "the database answers again"


# --- checks -------------------------------------------------------------------------------------------------------

WRONG: list[tuple[object, list[tuple[str, str]]]] = [
    (GOOD, []),
    ({**GOOD, "HANDLER": "test_django.Own", "START_IN_WORKER": True, "OPTIONS": {"ping_interval": 5}}, []),
    ([], [("E001", "BASIX_CTI: must be a dictionary, not list")]),
    ({**GOOD, "SERVRE": "x"}, [("E002", 'BASIX_CTI["SERVRE"] is no setting; did you mean BASIX_CTI["SERVER"]?')]),
    ({"server": "x"}, [("E002", 'BASIX_CTI["server"] is no setting; did you mean BASIX_CTI["SERVER"]?')]),
    ({**GOOD, "HANDLERS": "x"}, [("E002", 'BASIX_CTI["HANDLERS"] is no setting; did you mean BASIX_CTI["HANDLER"]?')]),
    ({**GOOD, "ZZZ": 1}, [("E002", 'BASIX_CTI["ZZZ"] is no setting; there are: SERVER, DOMAIN, TOKEN')]),
    (
        {**GOOD, "OPTIONS": {"reconect_max": 5}},
        [("E002", 'BASIX_CTI["OPTIONS"]["reconect_max"] is no setting; did you mean')],
    ),
    ({"x": 1, "y": 2}, [("E002", 'BASIX_CTI["x"]'), ("E002", 'BASIX_CTI["y"]')]),
    ({**GOOD, "SERVER": "ftp://x"}, [("E003", 'BASIX_CTI["SERVER"]: ')]),
    ({**GOOD, "FULL_EVENTS": "maybe"}, [("E003", 'BASIX_CTI["FULL_EVENTS"]: must be yes or no')]),
    ({**GOOD, "FULL_EVENTS": True, "USER_ID": 5}, [("E003", 'BASIX_CTI["FULL_EVENTS"] and BASIX_CTI["USER_ID"]')]),
    ({**GOOD, "OPTIONS": {"ping_interval": -1}}, [("E003", 'BASIX_CTI["OPTIONS"]: ')]),
    ({**GOOD, "OPTIONS": {"limits": 5}}, [("E003", 'BASIX_CTI["OPTIONS"]: limits must be Limits(...)')]),
    ({**GOOD, "OPTIONS": 5}, [("E003", 'BASIX_CTI["OPTIONS"]: must be a dictionary')]),
    ({**GOOD, "START_IN_WORKER": "yes"}, [("E003", 'BASIX_CTI["START_IN_WORKER"]: must be True or False')]),
    ({**GOOD, "TELL_IN_WORKER": 0}, [("E003", 'BASIX_CTI["TELL_IN_WORKER"]: must be True or False')]),
    ({**GOOD, "WAIT_FOR_DATABASE": -1}, [("E003", 'BASIX_CTI["WAIT_FOR_DATABASE"]: must be seconds')]),
    ({**GOOD, "WAIT_FOR_DATABASE": True}, [("E003", 'BASIX_CTI["WAIT_FOR_DATABASE"]: must be seconds')]),
    ({**GOOD, "HANDLER": "no.such.Handler"}, [("E004", "no.such.Handler cannot be imported: No module named 'no'")]),
    ({**GOOD, "HANDLER": "test_django.Nobody"}, [("E004", "cannot be imported")]),
    ({**GOOD, "HANDLER": "test_django.Told"}, [("E004", "test_django.Told is no subclass of basix_cti.CTIHandler")]),
    ({**GOOD, "HANDLER": Own}, [("E004", "must be the dotted path of a class")]),
    ({**GOOD, "HANDLER": "test_django.Unmakeable"}, []),  # a check makes none
    ({**GOOD, "HANDLER": "basix_cti.CTIHandler"}, [("E004", "is no subclass of basix_cti.CTIHandler")]),
    (
        {"SERVER": "x", "DOMAIN": "y"},
        [("W001", 'no token: give BASIX_CTI["TOKEN_FILE"], set the variable BASIX_CTI_TOKEN')],
    ),
    ({"REDIS_URL": "redis://:hunter2@cache:6379/1", "OPTIONS": {"redis_timeout": 2.0}}, []),
    ({"REDIS_URL": "http://:hunter2@x"}, [("E003", 'BASIX_CTI["REDIS_URL"]: the Redis URL is none')]),
    ({"REDIS_URL": "redis://x", "OPTIONS": {"ping_interval": 5}}, [("E003", 'BASIX_CTI["OPTIONS"], with a relay: ')]),
    ({**GOOD, "OPTIONS": {"redis_timeout": 5}}, [("E003", 'BASIX_CTI["OPTIONS"]: ')]),
    ({}, [("W001", 'no server: give BASIX_CTI["SERVER"], set the variable BASIX_CTI_SERVER')]),
]


@pytest.mark.parametrize(("given", "told"), WRONG)
def test_checks(given: object, told: list[tuple[str, str]]) -> None:
    with override_settings(BASIX_CTI=given):
        found = [message for message in run_checks() if (message.id or "").startswith("basix_cti.")]
    assert [message.id for message in found] == [f"basix_cti.{number}" for number, _ in told]
    for message, (_, text) in zip(found, told, strict=True):
        assert text in message.msg
        assert "hunter2" not in str(message)
        assert message.is_serious() is ("E" in str(message.id))


def test_the_token_may_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASIX_CTI_TOKEN", "hunter2")
    with override_settings(BASIX_CTI={"SERVER": "x", "DOMAIN": "y"}):
        assert run_checks() == []


# --- who has a client ---------------------------------------------------------------------------------------------


def test_nothing_runs_unasked() -> None:
    with override_settings(BASIX_CTI=GOOD), pytest.raises(NotConnected, match="START_IN_WORKER"):
        get_client()


def test_one_client_for_a_process(simulator: Simulator) -> None:
    with override_settings(BASIX_CTI=settings_of(simulator)):
        client = start()
        assert start() is client
        assert get_client() is client
        assert client.wait_ready(20)
        assert simulator.connections == 1
        stop()
        with pytest.raises(NotConnected, match="no client runs in this process"):
            get_client()
        assert start() is not client  # the settings may have changed


def test_start_tells_wrong_settings() -> None:
    with override_settings(BASIX_CTI={**GOOD, "SERVER": "ftp://x"}), pytest.raises(ConfigError, match="SERVER"):
        start()
    with pytest.raises(NotConnected):
        get_client()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({**GOOD, "HANDLER": "test_django.Unmakeable"}, r"BASIX_CTI\[\"HANDLER\"\]: making it raised OSError: no disk"),
        ({"REDIS_URL": "redis://x", "HANDLER": "test_django.OwnTap"}, "does not go with a Tap"),
    ],
)
def test_what_only_a_start_can_tell(given: dict[str, object], told: str) -> None:
    with override_settings(BASIX_CTI=given), pytest.raises(ConfigError, match=told):
        start()


def test_a_handler_whose_module_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_handlers.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with override_settings(BASIX_CTI={**GOOD, "HANDLER": "broken_handlers.Own"}):
        (message,) = run_checks()
    assert message.msg.endswith("broken_handlers.Own cannot be imported: ZeroDivisionError: division by zero")


def test_start_in_ready_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.apps.apps.ready", False)
    with pytest.raises(ImproperlyConfigured, match="START_IN_WORKER"):
        start()


@pytest.fixture
def first_request() -> Iterator[None]:
    """As the app is loaded with START_IN_WORKER."""
    request_started.connect(start_with_first_request)
    yield
    request_started.disconnect(start_with_first_request)


@pytest.mark.parametrize("server", [WSGIHandler, StaticFilesHandler, ASGIHandler])
def test_a_worker_starts_one_with_its_first_request(first_request: None, simulator: Simulator, server: type) -> None:
    with override_settings(BASIX_CTI=settings_of(simulator, START_IN_WORKER=True)):
        request_started.send(server)
        client = get_client()
        request_started.send(server)
        assert get_client() is client


def test_a_worker_may_be_quiet(simulator: Simulator) -> None:
    told = Told(*HOOKS)
    with override_settings(BASIX_CTI=settings_of(simulator, TELL_IN_WORKER=False, HANDLER="test_django.Own")):
        client = start()
        assert client.wait_ready(20)
        call = simulator.call("0312341234", to="user1").answer()
        assert client.hangup(call.uuid).wait(20)
        stop()
        assert not told.calls
        signals.on_initial_chan_info.connect(lambda client, **kwargs: client.stop(), weak=False)
        call_command("cti", verbosity=0)  # the service is not
    assert told.calls


def test_many_first_requests_at_once_start_one(first_request: None, simulator: Simulator) -> None:
    barrier = threading.Barrier(8)

    def request() -> None:
        barrier.wait()
        request_started.send(WSGIHandler)

    threads = [threading.Thread(target=request) for _ in range(8)]
    with override_settings(BASIX_CTI=settings_of(simulator, START_IN_WORKER=True)):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert get_client().wait_ready(20)
        assert simulator.connections == 1


def test_a_test_is_no_worker(first_request: None) -> None:
    with override_settings(BASIX_CTI={**GOOD, "START_IN_WORKER": True}, ALLOWED_HOSTS=["testserver"]):
        Client(raise_request_exception=False).get("/")
        setup_test_environment()
        try:
            assert mail.outbox == []
            request_started.send(WSGIHandler)  # as a live server of a test does
        finally:
            teardown_test_environment()
        with pytest.raises(NotConnected):
            get_client()


def test_a_worker_serves_on_with_wrong_settings(first_request: None, caplog: pytest.LogCaptureFixture) -> None:
    with override_settings(BASIX_CTI={**GOOD, "SERVER": "ftp://x"}):
        for _ in range(3):
            request_started.send(WSGIHandler)
        with pytest.raises(NotConnected, match=r"no client runs in this process: BASIX_CTI\[\"SERVER\"\]"):
            get_client()
    assert len(caplog.messages) == 1


# --- manage.py cti ------------------------------------------------------------------------------------------------


def test_the_command_ends_when_a_hook_stops_the_client(simulator: Simulator) -> None:
    signals.on_initial_chan_info.connect(lambda client, **kwargs: client.stop(), weak=False)
    with override_settings(BASIX_CTI=settings_of(simulator)):
        call_command("cti", verbosity=0)


def test_the_command_in_a_thread_that_gets_no_signals(simulator: Simulator) -> None:
    with override_settings(BASIX_CTI=settings_of(simulator)):
        thread = threading.Thread(target=call_command, args=("cti",), kwargs={"verbosity": 0})
        thread.start()
        simulator.wait_connections(1, 20)
        stop()
        thread.join(20)
    assert not thread.is_alive()


def test_receivers_of_the_command_have_its_client(simulator: Simulator) -> None:
    seen: list[bool] = []

    @receiver(signals.on_initial_chan_info)
    def look(client: CTIClient, **kwargs: Any) -> None:
        seen.append(get_client() is client)
        stop()

    with override_settings(BASIX_CTI=settings_of(simulator)):
        call_command("cti", verbosity=0)
    assert seen == [True]


def test_the_command_tells_that_it_was_replaced(simulator: Simulator) -> None:
    told = Told("on_initial_chan_info")

    def replace() -> None:
        told.wait(1)
        simulator.replace()

    thread = threading.Thread(target=replace)
    thread.start()
    with (
        override_settings(BASIX_CTI=settings_of(simulator)),
        pytest.raises(CommandError, match="place") as caught,
    ):
        call_command("cti", verbosity=0)
    thread.join()
    assert caught.value.returncode == 2


def test_the_page_of_errors_shows_no_token(simulator: Simulator) -> None:
    from django.views.debug import SafeExceptionReporterFilter

    with override_settings(BASIX_CTI=GOOD):
        assert "hunter2" not in str(SafeExceptionReporterFilter().get_safe_settings())


def test_a_client_of_ones_own_tells_the_site(simulator: Simulator) -> None:
    told = Told("on_initial_chan_info")
    with client_of(simulator, site_handler()):
        told.wait(1)
    assert told.calls[0][1]["client"] is None
