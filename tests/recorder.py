"""A handler that records what it is told, and waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from basix_cti import CTIHandler
from basix_cti.events import Event
from basix_cti.handler import HOOKS

_E = TypeVar("_E", bound=Event)

TIMEOUT = 20.0


class Recorder(CTIHandler):
    """Records each call of a hook as ``(name, arguments)``, but for ``on_event``, whose events it keeps apart."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.events: list[Event] = []
        self.threads: set[str] = set()
        self._changed = threading.Condition()

    def __getattribute__(self, name: str) -> Any:
        if name in HOOKS:
            return lambda *args: object.__getattribute__(self, "_record")(name, args)
        return super().__getattribute__(name)

    def _record(self, name: str, args: tuple[Any, ...]) -> None:
        with self._changed:
            self.threads.add(threading.current_thread().name)
            if name == "on_event":
                self.events.append(args[0])
            else:
                self.calls.append((name, args))
            self._changed.notify_all()
        self.told(name, args)

    def told(self, name: str, args: tuple[Any, ...]) -> None:
        """For a test to override: runs inside the hook, after it was recorded."""

    def of(self, name: str) -> list[Any]:
        """The first argument of each call of one hook, or all arguments where there are several."""
        return [args[0] if len(args) == 1 else args for called, args in list(self.calls) if called == name]

    def wait(self, reached: Callable[[], bool], what: str = "", timeout: float = TIMEOUT) -> None:
        """Wait until ``reached`` is true; it is looked at after each call of a hook."""
        with self._changed:
            done = self._changed.wait_for(reached, timeout)
            assert done, f"{what or 'it'} did not come within {timeout} s; calls: {self.calls[-5:]}"

    def wait_for(self, name: str, count: int = 1, timeout: float = TIMEOUT) -> list[Any]:
        """Wait until a hook was called ``count`` times; what it was called with."""
        self.wait(lambda: len(self.of(name)) >= count, f"{name} number {count}", timeout)
        return self.of(name)

    def wait_event(self, kind: type[_E], count: int = 1, timeout: float = TIMEOUT) -> list[_E]:
        """Wait until ``count`` events of a class were told; these events."""
        self.wait(lambda: sum(isinstance(event, kind) for event in self.events) >= count, kind.__name__, timeout)
        return [event for event in self.events if isinstance(event, kind)]
