"""From an event to the hooks: what is to be told for it, and the one place that maps events to hooks.

No I/O, no threads, no clock. May be compiled by mypyc.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar

from .call_tracker import CallTracker
from .events import (
    CallEvent,
    Connected,
    Disconnected,
    Event,
    Failed,
    InfoEvent,
    InitialInfo,
    Msg,
    Overflowed,
    SystemMsg,
)
from .handler import CTIHandler
from .sink import Snapshot
from .state import Picture, Tracker

__all__ = ["Telling", "count_raised", "deliver", "hook_raised"]

logger = logging.getLogger("basix_cti.handler")  # as the documentation says

_count: ContextVar[Callable[[], None] | None] = ContextVar("count", default=None)


class Telling:
    """Finds what is to be told for the events of one connection after another, and keeps what they tell.

    Args:
        track_calls: False where nobody wants to know of calls.

    Attributes:
        picture: what has been told.
        calls: the calls that this tells of; None where they are not tracked.
    """

    def __init__(self, track_calls: bool) -> None:
        self._tracker = Tracker()
        self.picture: Picture = self._tracker.picture
        self.calls: CallTracker | None = CallTracker(self.picture) if track_calls else None

    def of(self, event: Event) -> Iterable[Event]:
        """What is to be told for one event from the wire, or for a snapshot, in order; run it to its end.

        Just before an event is given out, it is taken into the picture and the calls.
        """
        if isinstance(event, InfoEvent):  # nearly all are: they need no generator
            completed = self._tracker.complete(event)
            return (completed,) if self.calls is None else (completed, *self.calls.take(completed))
        if isinstance(event, Snapshot):
            return self._each(
                self._tracker.catch_up(event.picture, event.elements, event.received_at, joining=event.joining)
            )
        return self._each(self._tracker.track(event))

    def _each(self, events: Iterator[Event]) -> Iterator[Event]:
        for event in events:
            told: Sequence[Event] = () if self.calls is None else self.calls.take(event)
            yield event
            yield from told


def count_raised(count: Callable[[], None]) -> None:
    """Have ``count`` called for each hook that raises in this thread, also of a handler that another one tells."""
    _count.set(count)


def hook_raised() -> None:
    """Count a hook that raised. For handlers that call others, and let nothing out that those raise."""
    count = _count.get()
    if count is not None:
        count()


def deliver(handler: CTIHandler, event: Event, *, guard: type[BaseException] = Exception) -> None:
    """Call the hooks for one event. No lock is held meanwhile.

    Args:
        handler: whose hooks.
        event: what to tell.
        guard: what a hook may raise without stopping the later ones; it is logged and given to ``on_error``.
    """
    _call(handler, event, guard, handler.on_event, event)
    if isinstance(event, InfoEvent):
        _call(handler, event, guard, handler.on_info_event, event.element, event.item, event.event)
        if event.news and event.element == "channel":
            _call(handler, event, guard, handler.on_chan_info, event.item)
        if event.park is not None:
            _call(handler, event, guard, handler.on_park_info, event.park)
        if event.unpark is not None:
            _call(handler, event, guard, handler.on_unpark_info, event.unpark)
        if event.mwi is not None:
            _call(handler, event, guard, handler.on_mwi_info, event.mwi)
    elif isinstance(event, CallEvent):
        _call(handler, event, guard, getattr(handler, f"on_call_{event.kind}"), event.call)
    elif isinstance(event, InitialInfo):
        _call(handler, event, guard, handler.on_initial_info, event.element, list(event.items))
        if event.element == "channel":
            _call(handler, event, guard, handler.on_initial_chan_info, list(event.channels))
    elif isinstance(event, SystemMsg):
        _call(handler, event, guard, handler.on_system_msg, event.msg)
    elif isinstance(event, Msg):
        _call(handler, event, guard, handler.on_msg, event.msg)
    elif isinstance(event, Connected):
        _call(handler, event, guard, handler.on_connect, event.session)
    elif isinstance(event, Disconnected):
        _call(handler, event, guard, handler.on_disconnect, event.reason)
    elif isinstance(event, Overflowed):
        _call(handler, event, guard, handler.on_overflow, event.count)
    elif isinstance(event, Failed):
        _call(handler, event, guard, handler.on_error, event.error)


def _call(
    handler: CTIHandler, event: Event, guard: type[BaseException], hook: Callable[..., None], *args: object
) -> None:
    try:
        hook(*args)
    except guard as error:
        logger.exception("%s raised %s; the next event still comes", _name_of(hook), type(error).__name__)
        hook_raised()
        if not isinstance(event, Failed):
            deliver(handler, Failed(error, received_at=event.received_at), guard=guard)


def _name_of(hook: Callable[..., None]) -> str:
    return getattr(hook, "__qualname__", type(hook).__qualname__)  # no repr: it may be the user's, and raise
