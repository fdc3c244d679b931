"""A test kit for handlers: a recorder of hooks to wait on, and a client of a simulated PBX that uses it.

pytest finds the fixtures ``pbx`` and ``cti_client`` by itself (they are in ``pytest_basix_cti``); with unittest, use
:class:`RecordedClient` as a context manager. ``pip install basix-cti[testing]`` brings what both need.
"""

from __future__ import annotations

import difflib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from .auth import ApiToken, ApiUser, Auth, Ticket
from .base_client import Client
from .client import CTIClient
from .elements import Element
from .etf import Atom
from .events import Event, SystemMsg
from .handler import HOOKS, CTIHandler

if TYPE_CHECKING:
    from .simulator import Simulator

__all__ = ["TIMEOUT", "ClientFactory", "Recorded", "RecordedClient", "Recorder"]

TIMEOUT = 20.0
"""For how many seconds everything here waits, if it is not told otherwise. What comes ends a wait at once."""

EventT = TypeVar("EventT", bound=Event)
_RecordedT = TypeVar("_RecordedT", bound="Recorded")

_SHOWN_CALLS = 15
_SHOWN_CHARS = 260
_GENERAL = ("on_initial_info", "on_info_event")
_MARK = Atom("basix_cti_testing_mark")
_marks = itertools.count(1)


class Recorder(CTIHandler):
    """A handler that records each call of a hook, passes it on to a handler of yours, and can be waited on.

    ::

        seen = Recorder(Screen())
        ...
        seen.wait_for("on_chan_info", where=lambda channel: channel.is_hung_up)

    A call is recorded when your handler's hook has returned or raised, so after a wait its effects can be seen.
    The methods may be called from any thread, the waiting ones not inside a hook.

    Args:
        handler: who gets every call; None for nobody.

    Attributes:
        handler: as above.
        calls: ``(name, arguments)`` of each call of a hook, oldest first, but for ``on_event``.
        events: what ``on_event`` was called with, oldest first.
        raised: ``(name, exception)`` for each hook that raised.
        threads: the names of the threads that called.

    Raises:
        TypeError: ``handler`` is no CTIHandler, but its class, for example.
    """

    def __init__(self, handler: CTIHandler | None = None) -> None:
        if handler is not None and not isinstance(handler, CTIHandler):
            raise TypeError(f"handler must be an instance of a CTIHandler subclass, not {handler!r}")
        self.handler = handler
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.events: list[Event] = []
        self.raised: list[tuple[str, BaseException]] = []
        self.threads: set[str] = set()
        self._mark = 0
        self._changed = threading.Condition()

    def told(self, name: str, args: tuple[Any, ...]) -> None:
        """For a subclass to override: runs inside each hook, after the call was recorded.

        Args:
            name: the hook's.
            args: what it was called with.
        """

    def of(self, hook: str) -> list[Any]:
        """What one hook was called with, oldest first: its argument, or a tuple of them where it has several.

        Raises:
            ValueError: there is no such hook.
        """
        return [args[0] if len(args) == 1 else args for args in self._arguments(hook)]

    def clear(self) -> None:
        """Forget all that was recorded, so that a later wait is for new calls alone."""
        with self._changed:
            self.calls.clear()
            self.events.clear()
            self.raised.clear()

    def wait_for(
        self, hook: str, count: int = 1, timeout: float = TIMEOUT, *, where: Callable[..., Any] | None = None
    ) -> list[Any]:
        """Wait until a hook was called ``count`` times, earlier calls included.

        Args:
            hook: its name, such as ``on_chan_info``.
            count: how many calls.
            timeout: seconds.
            where: gets the arguments of a call and tells whether it counts; None for every call.

        Returns:
            As :meth:`of`, of the calls that count; there may be more than ``count``.

        Raises:
            AssertionError: they did not come; the message shows what did.
            ValueError: there is no such hook.
        """
        __tracebackhide__ = True

        def found() -> list[Any]:
            return [
                args[0] if len(args) == 1 else args for args in self._arguments(hook) if where is None or where(*args)
            ]

        with self._changed:
            if not self._changed.wait_for(lambda: len(found()) >= count, timeout):
                came = len(self.of(hook))
                matching = "" if where is None else f", of which {len(found())} matched where="
                raise AssertionError(
                    f"{hook} was not called {_times(count)} within {timeout:g} s, but {_times(came)}{matching}."
                    f"{self._story(hook)}"
                )
            return found()

    def wait_event(self, kind: type[EventT], count: int = 1, timeout: float = TIMEOUT) -> list[EventT]:
        """Wait until ``count`` events of a class of :mod:`basix_cti.events` were told; these events.

        Raises:
            AssertionError: they did not come; the message shows what did.
        """
        __tracebackhide__ = True

        def found() -> list[EventT]:
            return [event for event in self.events if isinstance(event, kind)]

        self.wait(lambda: len(found()) >= count, f"{kind.__name__} number {count}", timeout)
        return found()

    def wait(self, reached: Callable[[], Any], what: str = "", timeout: float = TIMEOUT) -> None:
        """Wait until ``reached`` is true; it is looked at now, and after each call of a hook.

        Args:
            reached: called without arguments, in the waiting thread. It may use the recorder and the client.
            what: what is waited for, in the failure's message.
            timeout: seconds.

        Raises:
            AssertionError: that did not come; the message shows what was told.
        """
        __tracebackhide__ = True
        with self._changed:
            if not self._changed.wait_for(reached, timeout):
                raise AssertionError(f"{what or 'it'} did not come within {timeout:g} s.{self._story()}")

    def check(self) -> None:
        """Do nothing if no hook has raised.

        Raises:
            AssertionError: from what the first one raised.
        """
        __tracebackhide__ = True
        if self.raised:
            name, error = self.raised[0]
            more = f"; {len(self.raised) - 1} more after it" if len(self.raised) > 1 else ""
            raise AssertionError(f"{self._name()}.{name} raised {type(error).__name__}: {error}{more}") from error

    def _arguments(self, hook: str) -> list[tuple[Any, ...]]:
        if hook == "on_event":
            return [(event,) for event in list(self.events)]
        if hook not in HOOKS:
            near = difflib.get_close_matches(hook, HOOKS, n=1, cutoff=0.0)
            raise ValueError(f"there is no hook {hook}; did you mean {near[0]}?")
        return [args for called, args in list(self.calls) if called == hook]

    def _take(self, name: str, args: tuple[Any, ...]) -> None:
        mark = _mark_of(args[0])
        if mark is not None:
            with self._changed:
                self._mark = max(self._mark, mark)
                self._changed.notify_all()
            return
        try:
            try:
                if self.handler is not None:
                    getattr(self.handler, name)(*args)
            finally:
                with self._changed:
                    self.threads.add(threading.current_thread().name)
                    if name == "on_event":
                        self.events.append(args[0])
                    else:
                        self.calls.append((name, args))
                    self._changed.notify_all()
            self.told(name, args)
        except BaseException as error:
            self.raised.append((name, error))
            raise

    def _name(self) -> str:
        return type(self if self.handler is None else self.handler).__name__

    def _story(self, wanted: str | None = None) -> str:
        """What was told, for the message of a failure; the general hooks, which repeat much, only if wanted."""
        calls = [call for call in self.calls if call[0] not in _GENERAL or call[0] == wanted]
        if not calls:
            return " Nothing was told at all: is the client connected?"
        lines = [f"    {name}({', '.join(map(_brief, args))})" for name, args in calls[-_SHOWN_CALLS:]]
        if len(calls) > _SHOWN_CALLS:
            before = Counter(name for name, _ in calls[:-_SHOWN_CALLS])
            lines.insert(0, "    before: " + ", ".join(f"{name} {_times(count)}" for name, count in before.items()))
        lines += [f"    {name} raised {_brief(error)}" for name, error in self.raised]
        return "\n".join([" What was told, the latest last:", *lines])

    def __repr__(self) -> str:
        return f"<Recorder of {self._name()}: {len(self.calls)} calls>"


def _hook(name: str) -> Callable[..., None]:
    def hook(self: Recorder, *args: Any) -> None:
        self._take(name, args)

    hook.__name__, hook.__qualname__ = name, f"Recorder.{name}"
    return hook


for _name in HOOKS:
    setattr(Recorder, _name, _hook(_name))


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _mark_of(argument: object) -> int | None:
    """The number in a mark of :meth:`RecordedClient.catch_up`, given to a hook; None for everything else."""
    msg = argument.msg if isinstance(argument, SystemMsg) else argument
    if isinstance(msg, tuple) and len(msg) == 2 and msg[0] == _MARK and isinstance(msg[1], int):
        return msg[1]
    return None


_TELLING = ("direction", "calling_number", "called_number", "state", "last_event", "last_event_data")


def _brief(value: object) -> str:
    """A value in few characters."""
    if isinstance(value, Element):
        fields = value.to_dict()
        names = _TELLING if "last_event" in fields else [*fields][:8]
        text = ", ".join(f"{name}={_gist(fields[name])}" for name in names if fields[name] not in (None, ""))
        text = f"{type(value).__name__}({value.key!r}{', ' if text else ''}{text})"
    elif isinstance(value, list) and len(value) != 1:
        text = f"[{len(value)} items]"
    elif isinstance(value, list):
        text = f"[{_brief(value[0])}]"
    elif isinstance(value, BaseException):
        text = f"{type(value).__name__}: {value}"
    else:
        text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"


def _gist(field: object) -> str:
    return str(field["name"]) if isinstance(field, dict) and "name" in field else repr(field)


class Recorded(Client):
    """What a client of a simulated PBX can do whose handler's calls are recorded, whatever kind of client it is.

    Attributes:
        pbx: the simulated PBX.
        recorder: the :class:`Recorder` that the handler's calls go through.
    """

    pbx: Simulator
    recorder: Recorder
    _wait_at_start = True
    _hooks_may_raise = False

    def catch_up(self, timeout: float = TIMEOUT) -> None:
        """Wait until the handler was told all that the PBX has said up to now, over reconnections, too.

        For this the PBX sends every connection a mark, a ``system_msg``, which a :class:`Recorder` does not pass on.

        Raises:
            AssertionError: the client did not catch up within ``timeout`` seconds.
        """
        __tracebackhide__ = True
        end = time.monotonic() + timeout
        while True:
            lost = self._losses()
            self._wait_ready_until(end, timeout)
            mark = next(_marks)
            self.pbx.send_term((Atom("system_msg"), (_MARK, mark)))
            left = max(0.0, end - time.monotonic())
            self.recorder.wait(partial(self._passed, mark, lost), "what the PBX has said so far", left)
            if self.recorder._mark >= mark:
                return

    def _passed(self, mark: int, losses: int) -> bool:
        return self.recorder._mark >= mark or self._losses() != losses

    def _losses(self) -> int:
        """How often a mark on its way may have been lost."""
        return len(self.recorder.of("on_disconnect")) + len(self.recorder.of("on_overflow"))

    def _wait_ready_until(self, end: float, timeout: float) -> None:
        __tracebackhide__ = True
        if not self.wait_ready(max(0.0, end - time.monotonic())):
            error = "" if self.last_error is None else f" The last error: {self.last_error}."
            raise AssertionError(f"{self!r} was not ready within {timeout:g} s.{error}{self.recorder._story()}")

    def __enter__(self: _RecordedT) -> _RecordedT:
        """Start, and wait until the connection is up and the present state is known.

        Raises:
            AssertionError: that was not so within 20 seconds. The client is stopped.
        """
        __tracebackhide__ = True
        self.start()
        try:
            if self._wait_at_start:
                self._wait_ready_until(time.monotonic() + TIMEOUT, TIMEOUT)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop.

        Raises:
            AssertionError: a hook of the handler has raised, and the block has not.
        """
        __tracebackhide__ = True
        self.stop()
        if error is None and not self._hooks_may_raise:
            self.recorder.check()


class RecordedClient(Recorded, CTIClient):
    """A :class:`~basix_cti.CTIClient` of a simulated PBX, whose handler's calls are recorded.

    ::

        with Simulator() as pbx, RecordedClient(pbx, Screen()) as client:
            pbx.call("0312341234", to="user1").answer().hangup()
            client.catch_up()

    As a context manager it is connected inside the block, the present state known; at the end it is stopped, and what
    a hook of the handler has raised fails the test.

    Args:
        pbx: the simulated PBX, started.
        handler: whose hooks are called; None for nobody's, they are recorded all the same.
        generation: 2 to log in with an ``ApiToken``, 1 with an ``ApiUser``, as on a PBX of the first generation;
            without effect beside ``auth``.
        wait: False to enter the block without waiting for the connection, to test one that fails.
        hooks_may_raise: True where a hook that raises is no failure of the test.
        options: of :class:`~basix_cti.CTIClient`. If not given: ``auth`` by ``generation``, ``app_name`` ``test``,
            ``full_events`` unless the login or a selected user rules it out, and new attempts to connect after at most
            0.1 seconds.

    Attributes:
        pbx: as above.
        recorder: the :class:`Recorder` that the handler's calls go through; the handler itself, if it is one.

    Raises:
        ValueError, TypeError: as :class:`~basix_cti.CTIClient`; ``generation`` is neither 1 nor 2.
    """

    def __init__(
        self,
        pbx: Simulator,
        handler: CTIHandler | None = None,
        *,
        generation: int = 2,
        wait: bool = True,
        hooks_may_raise: bool = False,
        **options: Any,
    ) -> None:
        if generation not in (1, 2):
            raise ValueError(f"generation must be 1 or 2, not {generation!r}")
        self.pbx = pbx
        self.recorder = handler if isinstance(handler, Recorder) else Recorder(handler)
        self._wait_at_start = wait
        self._hooks_may_raise = hooks_may_raise
        auth: Auth = ApiToken(pbx.domain, pbx.token)
        if generation == 1:
            auth = ApiUser(pbx.domain, pbx.api_user, pbx.token)
        auth = options.pop("auth", auth)
        selected = any(name.startswith("user_") and value is not None for name, value in options.items())
        usual = {
            "app_name": "test",
            "full_events": not selected and not isinstance(auth, Ticket),
            "reconnect_min": min(0.05, options.get("reconnect_max", 0.05)),
            "reconnect_max": max(0.1, options.get("reconnect_min", 0.1)),
        }
        super().__init__(pbx.url, self.recorder, auth=auth, **{**usual, **options})


ClientFactory: TypeAlias = Callable[..., RecordedClient]
"""What the fixture ``cti_client`` gives: called with a handler and options of :class:`RecordedClient`."""
