"""``CTIHandler``, which users subclass; :mod:`basix_cti.telling` calls its hooks."""

from __future__ import annotations

import difflib
import logging
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from .calls import Call
from .elements import Channel, Element, MessageWaiting, ParkInfo
from .errors import ConnectionLost, CTIWarning
from .etf import Term
from .events import (
    Event,
    Session,
)

__all__ = ["HOOKS", "CTIHandler", "check_calls_are_tracked"]

logger = logging.getLogger(__name__)

_count: ContextVar[Callable[[], None] | None] = ContextVar("count", default=None)


class CTIHandler:
    """What happens at the PBX, told to you: subclass it and override the hooks that you need.

    All hooks do nothing by default. A :class:`~basix_cti.CTIClient` calls them from its dispatcher thread, one at a
    time and in order; a :class:`~basix_cti.MessageParser` from the thread that calls it. ``client.state`` is brought
    up to date just before the hooks for an event run. A hook may take its time, and may call any method of the
    client. What a hook raises is logged and given to :meth:`on_error`; the next event still comes.

    For one event, :meth:`on_event` runs first, then the general hook (``on_initial_info``, ``on_info_event``), then
    the special ones. ``super().__init__()`` need not be called. A subclass that defines an ``on_…`` method of an
    unknown name gets a :class:`~basix_cti.errors.CTIWarning`.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> CTIHandler:
        """Refuse to make a bare CTIHandler.

        Raises:
            TypeError: the class is CTIHandler itself.
        """
        if cls is CTIHandler:
            raise TypeError("CTIHandler is abstract: subclass it and override the hooks that you need")
        return super().__new__(cls)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, value in vars(cls).items():
            if name.startswith("on_") and callable(value) and name not in HOOKS:
                near = difflib.get_close_matches(name, HOOKS, n=1, cutoff=0.0)
                warnings.warn(
                    f"{cls.__qualname__}.{name} is not a hook and will not be called; did you mean {near[0]}?",
                    CTIWarning,
                    stacklevel=2,
                )

    # Channels: the legs of calls

    def on_initial_chan_info(self, channels: list[Channel]) -> None:
        """All channels that are there: once after each login, and once more if an overflow swallowed that.

        Args:
            channels: those that have not ended; the list is yours.
        """

    def on_chan_info(self, channel: Channel) -> None:
        """A channel appeared, changed, or ended.

        ``channel.is_hung_up`` tells its end, which comes exactly once (the latest 10,000 ends are remembered for
        that), also for a channel that ended while there was no connection; its cause is then mostly unknown.
        """

    def on_park_info(self, park: ParkInfo) -> None:
        """A channel entered a parking slot, or moved on to another one."""

    def on_unpark_info(self, park: ParkInfo) -> None:
        """A channel left its parking slot: it was picked up, moved on or hung up."""

    # Calls: channels that belong together, as one

    def on_call_ringing(self, call: Call) -> None:
        """A call rings: somebody is called. Once for each call, before its other hooks."""

    def on_call_answered(self, call: Call) -> None:
        """A call is answered for the first time. Once for each call.

        ``call.answered_by`` tells by whom; it is None for a conference room or a service of the PBX.
        """

    def on_call_parked(self, call: Call) -> None:
        """A call was put into a parking slot, ``call.park``. Once for each parking."""

    def on_call_transferred(self, call: Call) -> None:
        """A call was sent on to somebody else: ``call.transfers[-1]`` tells to whom. Once for each transfer."""

    def on_call_ended(self, call: Call) -> None:
        """A call has ended, as ``call.outcome`` tells. Once for each call, after its other hooks."""

    # Voicemail

    def on_mwi_info(self, mwi: MessageWaiting) -> None:
        """The messages in a voicemail box changed."""

    # Everything

    def on_initial_info(self, element: str, items: list[Element]) -> None:
        """The full present state of one element: once after each login, and once more if an overflow swallowed that.

        Args:
            element: ``channel``, ``user``, ``group``, …
            items: its objects as sent, channels that have ended included; the list is yours.
        """

    def on_info_event(self, element: str, item: Element, event: str) -> None:
        """An object was added, updated or removed.

        Called once for each message of the PBX that tells a change, and for each difference found after a gap.

        Args:
            element: ``channel``, ``user``, ``group``, …
            item: the object after the change; what was last known of it where it was removed.
            event: ``added``, ``updated`` or ``removed``.
        """

    def on_system_msg(self, msg: str | Term) -> None:
        """A message of the PBX itself.

        Args:
            msg: a str for text or an atom (``connection_limit_reached``, ``connection_replaced``, ``logout``), else the
                decoded term.
        """

    def on_msg(self, msg: str | Term) -> None:
        """A message that a user or an admin sent.

        Args:
            msg: a str for text or an atom, else the decoded term.
        """

    def on_event(self, event: Event) -> None:
        """Every event as one object: any of :mod:`basix_cti.events`."""

    # The connection

    def on_connect(self, session: Session) -> None:
        """A connection is up; the full state follows."""

    def on_disconnect(self, reason: ConnectionLost) -> None:
        """A connection has ended. Once for each :meth:`on_connect`; the client then connects again by itself.

        Args:
            reason: why, as an error that is not raised; ``reason.code`` is the close code, where there is one.
        """

    def on_error(self, error: BaseException) -> None:
        """Something went wrong that is not the end of a connection.

        Args:
            error: a :class:`~basix_cti.errors.DecodeError` for a bad frame; a
                :class:`~basix_cti.errors.ConnectError` for a failed attempt to connect, told once for attempts that
                fail alike; or what a hook raised.
        """

    def on_overflow(self, count: int) -> None:
        """Events came faster than the hooks took them, so ``count`` messages were dropped.

        What they changed follows as synthetic events: ``client.state`` gets right, and the end of each channel that
        was told before is told.
        """


HOOKS = tuple(name for name in vars(CTIHandler) if name.startswith("on_"))


def check_calls_are_tracked(handler: CTIHandler, track_calls: bool) -> None:
    """Refuse a handler whose hooks for calls would never be called.

    Raises:
        ValueError: ``track_calls`` is False, and the handler has such a hook.
        TypeError: ``track_calls`` is not True or False.
    """
    if not isinstance(track_calls, bool):
        raise TypeError(f"track_calls must be True or False, not {track_calls!r}")
    if track_calls:
        return
    for hook in HOOKS:
        if hook.startswith("on_call_") and getattr(type(handler), hook) is not getattr(CTIHandler, hook):
            kind = type(handler).__name__
            raise ValueError(f"{kind}.{hook} would never be called with track_calls=False; leave out one of the two")
