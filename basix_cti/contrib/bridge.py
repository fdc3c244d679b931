"""From a client's events to the functions of a web site."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

from ..events import Event, Failed
from ..handler import HOOKS, CTIHandler
from ..telling import deliver, hook_raised

__all__ = ["Bridge", "InContext"]


class Bridge(CTIHandler, ABC):
    """Passes each call of a hook on to functions that a subclass knows of: any number for each hook.

    What one of them raises keeps none of the others from being called. It is told to ``on_error``, unless it was
    raised while an error was told.
    """

    @abstractmethod
    def tell(self, hook: str, args: tuple[Any, ...]) -> Iterable[BaseException]:
        """Call every function of a hook.

        Args:
            hook: its name, such as ``on_chan_info``.
            args: what it was called with.

        Returns:
            What they raised, already logged.
        """


def _hook(name: str) -> Callable[..., None]:
    def hook(self: Bridge, *args: Any) -> None:
        for error in self.tell(name, args):
            hook_raised()
            if name != "on_error" and not isinstance(args[0], Failed):
                deliver(self, Failed(error, received_at=time.time()), guard=BaseException)

    hook.__name__, hook.__qualname__ = name, f"Bridge.{name}"
    return hook


for _name in HOOKS:
    setattr(Bridge, _name, _hook(_name))


class InContext(CTIHandler):
    """Tells a handler each event inside a context: one context for the event, not one for each of its hooks.

    Args:
        handler: whose hooks are called.
        context: gives the context for an event. What entering or leaving it raises is told as what a hook raises.
    """

    def __init__(self, handler: CTIHandler, context: Callable[[Event], AbstractContextManager[object]]) -> None:
        self.handler = handler
        self._context = context

    def on_event(self, event: Event) -> None:
        with self._context(event):
            deliver(self.handler, event, guard=BaseException)
