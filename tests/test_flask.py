"""The Flask extension inside a process: decorators, application contexts, settings, and who has a client."""

from __future__ import annotations

import gc
import inspect
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from flask import Flask, current_app, g

from basix_cti import Call, CTIHandler, Session
from basix_cti.contrib.flask import CTI
from basix_cti.errors import ConfigError, ConnectionReplaced, NotConnected
from basix_cti.events import Event, Msg
from basix_cti.handler import HOOKS
from basix_cti.simulator import Simulator
from basix_cti.telling import deliver


@pytest.fixture(autouse=True)
def no_other_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "empty"))
    for name in ("SERVER", "DOMAIN", "TOKEN", "REDIS_URL"):
        monkeypatch.delenv(f"BASIX_CTI_{name}", raising=False)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def cti() -> CTI:
    return CTI()


@pytest.fixture
def app(cti: CTI, simulator: Simulator) -> Iterator[Flask]:
    app = new_app(cti, simulator)
    yield app
    cti.stop(app)


def new_app(cti: CTI, simulator: Simulator, **config: object) -> Flask:
    app = Flask(__name__)
    app.config.update(
        BASIX_CTI_SERVER=simulator.url,
        BASIX_CTI_DOMAIN=simulator.domain,
        BASIX_CTI_TOKEN=simulator.token,
        BASIX_CTI_FULL_EVENTS=True,
        BASIX_CTI_OPTIONS={"reconnect_min": 0.01, "reconnect_max": 0.05},
    )
    app.config.update(config)
    app.add_url_rule("/", view_func=lambda: str(cti.client.wait_ready(20)))
    cti.init_app(app)
    return app


def tell(cti: CTI, app: Flask, *events: Event) -> None:
    handler = cti.handler(app)
    for event in events:
        deliver(handler, event)


def msg(text: str) -> Msg:
    return Msg(text, received_at=0.0)


# --- decorators ---------------------------------------------------------------------------------------------------


def test_every_hook_has_a_decorator_for_functions_that_take_what_it_gives() -> None:
    """The types are written by hand, so that a type checker knows them; here they are held against the hooks."""
    decorators = {name: value for name, value in vars(CTI).items() if name.startswith("on_")}
    assert decorators.keys() == set(HOOKS)
    for hook, decorator in decorators.items():
        hints = get_type_hints(getattr(CTIHandler, hook))
        del hints["return"]
        of = get_type_hints(decorator)
        assert of["function"] is of["return"]  # a function stays what it is
        if not hook.endswith("_msg"):  # their type is only for type checkers
            assert list(get_args(of["function"].__bound__)[0]) == list(hints.values()), hook


@pytest.mark.parametrize("hook", HOOKS)
def test_every_decorator_is_called(cti: CTI, app: Flask, hook: str) -> None:
    told: list[tuple[str, tuple[object, ...]]] = []
    for each in HOOKS:
        taken = len(inspect.signature(getattr(CTIHandler, each)).parameters) - 1

        def one(first: object, each: str = each) -> None:
            told.append((each, (first,)))

        def two(first: object, second: object, each: str = each) -> None:
            told.append((each, (first, second)))

        def three(first: object, second: object, third: object, each: str = each) -> None:
            told.append((each, (first, second, third)))

        getattr(cti, each)((one, two, three)[taken - 1])
    handler: Any = cti.handler(app)
    arguments = tuple(object() for _ in range(len(inspect.signature(getattr(CTIHandler, hook)).parameters) - 1))
    getattr(handler.handler, hook)(*arguments)
    assert told == [(hook, arguments)]


def test_a_function_of_several_decorators(cti: CTI) -> None:
    @cti.on_call_ringing
    @cti.on_call_ended
    def tell(call: Call) -> int:
        return 5

    assert {hook: functions for hook, functions in cti._functions.items() if functions} == {
        "on_call_ringing": [tell],
        "on_call_ended": [tell],
    }


def test_a_decorator_that_there_is_not(cti: CTI) -> None:
    with pytest.raises(AttributeError, match="on_chan_inf"):
        getattr(cti, "on_chan_inf")  # noqa: B009 -- as an attribute, mypy does not allow it


def test_a_function_that_does_not_take_what_the_hook_gives(cti: CTI) -> None:
    def tell(element: str) -> None: ...

    decorator: Any = cti.on_info_event
    with pytest.raises(
        TypeError, match=r"on_info_event calls its functions with \(element, item, event\), which .*tell"
    ):
        decorator(tell)


def test_coroutine_functions(cti: CTI, app: Flask) -> None:
    told: list[object] = []

    @cti.on_msg
    async def hear(msg: object) -> None:
        told.append((msg, current_app.name))

    tell(cti, app, msg("hello"))
    assert told == [("hello", app.name)]
    gc.collect()  # asgiref leaves the end of its thread to the garbage collector


# --- contexts and errors ------------------------------------------------------------------------------------------


def test_one_application_context_for_an_event(cti: CTI, app: Flask) -> None:
    seen: list[tuple[str, int]] = []
    ended: list[int] = []

    def look(name: str) -> None:
        g.count = g.get("count", 0) + 1
        seen.append((current_app.name, g.count))

    cti.on_event(lambda event: look("on_event"))
    cti.on_msg(lambda msg: look("first"))
    cti.on_msg(lambda msg: look("second"))

    @app.teardown_appcontext
    def close(error: BaseException | None) -> None:
        ended.append(g.count)

    tell(cti, app, msg("one"), msg("two"))
    assert seen == [(app.name, count) for count in (1, 2, 3, 1, 2, 3)]
    assert ended == [3, 3]


def test_a_function_that_raises_takes_nothing_from_others(
    cti: CTI, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[object] = []

    @cti.on_msg
    def broken(msg: object) -> None:
        raise LookupError(f"no {msg}")

    cti.on_msg(told.append)

    @cti.on_error
    def hear(error: BaseException) -> None:
        told.append((current_app.name, str(error)))

    tell(cti, app, msg("one"), msg("two"))
    assert told == [(app.name, "no one"), "one", (app.name, "no two"), "two"]
    assert [(record.name, record.levelname) for record in caplog.records] == [(app.name, "ERROR")] * 2
    assert "broken of on_msg raised LookupError" in caplog.text
    assert "Traceback" in caplog.text


def test_an_error_while_errors_are_told_is_told_no_further(
    cti: CTI, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    count = 0

    @cti.on_error
    @cti.on_event
    @cti.on_msg
    def broken(anything: object) -> None:
        nonlocal count
        count += 1
        raise SystemExit("again")

    tell(cti, app, msg("x"))
    # on_event, and for its error on_event and on_error; on_msg, and for its error the same.
    assert count == 6


def test_what_leaving_the_context_raises_is_told(cti: CTI, app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    cti.on_error(lambda error: told.append(str(error)))

    @app.teardown_appcontext
    def broken(error: BaseException | None) -> None:
        if not told:
            raise LookupError("in teardown")

    tell(cti, app, msg("x"))
    assert told == ["in teardown"]


# --- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"BASIX_CTI_SERVRE": "x"}, r'^app\.config\["BASIX_CTI_SERVRE"\] is no setting; did you mean .*_SERVER"\]\?$'),
        (
            {"BASIX_CTI_TOKEN": None},
            r'^no token: give app\.config\["BASIX_CTI_TOKEN_FILE"\], set the variable BASIX_CTI_T',
        ),
        ({"BASIX_CTI_SERVER": "ftp://x"}, r'^app\.config\["BASIX_CTI_SERVER"\]: '),
        ({"BASIX_CTI_OPTIONS": {"ping": 5}}, r'^app\.config\["BASIX_CTI_OPTIONS"\]\["ping"\] is no setting'),
    ],
)
def test_wrong_settings(cti: CTI, simulator: Simulator, config: dict[str, object], told: str) -> None:
    app = new_app(cti, simulator, **config)  # nothing is said before a client is wanted
    with pytest.raises(ConfigError, match=told):
        cti.start(app)


def test_settings_from_the_environment(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SERVER", simulator.url), ("DOMAIN", simulator.domain), ("TOKEN", simulator.token)):
        monkeypatch.setenv(f"BASIX_CTI_{name}", value)
    cti = CTI(Flask(__name__))
    try:
        assert cti.start().wait_connected(20)
        assert "basix-cti-flask" in repr(cti.client)
    finally:
        cti.stop()


# --- who has a client ---------------------------------------------------------------------------------------------


def test_one_client_for_a_process(cti: CTI, app: Flask, simulator: Simulator) -> None:
    with app.app_context(), pytest.raises(NotConnected, match=r"app\.config\[\"BASIX_CTI_START_IN_WORKER\"\]"):
        _ = cti.client
    client = cti.start(app)
    assert cti.start(app) is client
    with app.app_context():
        assert cti.client is client
        assert cti.start() is client
    assert client.wait_ready(20)
    assert simulator.connections == 1
    cti.stop(app)
    simulator.wait_connections(0, 20)


def test_what_functions_raise_is_counted(cti: CTI, app: Flask, simulator: Simulator) -> None:
    told = threading.Event()

    @cti.on_call_ringing
    def broken(call: Call) -> None:
        raise LookupError("mine")

    cti.on_call_ended(lambda call: told.set())
    client = cti.start(app)
    assert client.wait_ready(20)
    simulator.call("0312341234", to="user1").hangup()
    assert told.wait(20)
    assert client.statistics.errors == {"hook": 1}


def test_each_application_has_its_own(cti: CTI, app: Flask, simulator: Simulator) -> None:
    other = new_app(cti, simulator, BASIX_CTI_APP_NAME="other")
    try:
        assert cti.start(other) is not cti.start(app)
    finally:
        cti.stop(other)


def test_the_current_application_comes_before_the_first_one(simulator: Simulator) -> None:
    first, second = Flask("first"), Flask("second")
    cti = CTI(first)
    cti.init_app(second)
    assert cti._site(None) is first.extensions["basix_cti"]
    with second.app_context():
        assert cti._site(None) is second.extensions["basix_cti"]


def test_which_application(cti: CTI) -> None:
    with pytest.raises(RuntimeError, match="which application"):
        cti.start()
    with pytest.raises(RuntimeError, match=r"call cti\.init_app\(app\) first"):
        cti.start(Flask("stranger"))


def test_the_first_request_of_a_worker_starts_one(cti: CTI, simulator: Simulator) -> None:
    app = new_app(cti, simulator, BASIX_CTI_START_IN_WORKER=True)
    try:
        for _ in range(2):
            assert app.test_client().get("/").text == "True"
        assert simulator.connections == 1
    finally:
        cti.stop(app)


def test_no_request_starts_again_what_was_stopped(cti: CTI, simulator: Simulator) -> None:
    app = new_app(cti, simulator, BASIX_CTI_START_IN_WORKER=True)
    try:
        assert app.test_client().get("/").text == "True"
        cti.stop(app)
        assert app.test_client().get("/other").status_code == 404
        with app.app_context(), pytest.raises(NotConnected):
            _ = cti.client
        assert cti.start(app).wait_ready(20), "but its owner can"
    finally:
        cti.stop(app)


def test_a_worker_may_be_quiet(cti: CTI, simulator: Simulator) -> None:
    told: list[Event] = []
    cti.on_event(told.append)
    app = new_app(cti, simulator, BASIX_CTI_TELL_IN_WORKER=False)
    try:
        client = cti.start(app)
        assert client.wait_ready(20)
        call = simulator.call("0312341234", to="user1").answer()
        assert client.hangup(call.uuid).wait(20)
    finally:
        cti.stop(app)
    assert not told
    cti.on_initial_chan_info(lambda channels: cti.stop())
    cti.run_forever(app)  # what runs by itself is not
    assert told


def test_a_test_starts_none(cti: CTI, simulator: Simulator) -> None:
    app = new_app(cti, simulator, BASIX_CTI_START_IN_WORKER=True, TESTING=True)
    with pytest.raises(NotConnected):
        app.test_client().get("/")


def test_without_being_asked_no_request_starts_one(cti: CTI, app: Flask) -> None:
    assert app.test_client().get("/").status_code == 500
    with app.app_context(), pytest.raises(NotConnected):
        _ = cti.client


def test_wrong_settings_do_not_keep_a_worker_from_serving(
    cti: CTI, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    app = new_app(cti, simulator, BASIX_CTI_START_IN_WORKER=True, BASIX_CTI_SERVER="ftp://x")
    app.add_url_rule("/fine", endpoint="fine", view_func=lambda: "fine")
    with caplog.at_level(logging.ERROR, "basix_cti"):
        assert [app.test_client().get("/fine").text for _ in range(2)] == ["fine", "fine"]
    assert len(caplog.messages) == 1
    assert "BASIX_CTI_SERVER" in caplog.messages[0]


# --- run_forever --------------------------------------------------------------------------------------------------


def test_run_forever_in_any_thread(cti: CTI, app: Flask, simulator: Simulator) -> None:
    told: list[str] = []
    ended = threading.Event()

    @cti.on_call_ended
    def hear(call: Call) -> None:
        told.append(f"{current_app.name} {call.caller.number} {threading.current_thread().name}")
        ended.set()

    thread = threading.Thread(target=cti.run_forever, args=(app,))
    thread.start()
    simulator.wait_connections(1, 20)
    simulator.call("0312341234", to="user1").answer().hangup()
    assert ended.wait(20)
    assert told == [f"{app.name} 0312341234 basix-cti-basix-cti-flask-dispatcher"]
    cti.stop(app)
    thread.join(20)
    assert not thread.is_alive()
    with app.app_context(), pytest.raises(NotConnected):
        _ = cti.client


def test_run_forever_ends_when_a_function_stops_it(cti: CTI, app: Flask) -> None:
    @cti.on_connect
    def stop(session: Session) -> None:
        cti.stop()  # of the current application

    cti.run_forever(app)


def test_run_forever_tells_that_it_was_replaced(cti: CTI, app: Flask, simulator: Simulator) -> None:
    @cti.on_initial_chan_info
    def replace(channels: object) -> None:
        simulator.replace()

    with pytest.raises(ConnectionReplaced):
        cti.run_forever(app)
