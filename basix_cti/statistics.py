"""What a client counts, for those who watch over it: ``client.statistics``. No I/O, no threads, no clock.

May be compiled by mypyc.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import TypeAlias

from .events import CallEvent, Event, InfoEvent, InitialInfo

__all__ = ["LAG_BOUNDS", "Counters", "Kind", "Lag", "Statistics"]

LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds, in seconds, of the classes that :class:`Lag` counts."""

# Type (info_event, call, ...), element, and what happened; "" for none.
Kind: TypeAlias = tuple[str, str, str]

_MAX_KINDS = 500
_OTHER = "other"


@dataclass(frozen=True, slots=True)
class Lag:
    """How long messages waited: from the arrival of their bytes until their hooks were called.

    Attributes:
        counts: how many waited at most each of :data:`LAG_BOUNDS`, but longer than the bound before; the last number
            is of those that waited longer than all.
        seconds: what all waited together.
    """

    counts: tuple[int, ...] = (0,) * (len(LAG_BOUNDS) + 1)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Statistics:
    """A client in numbers, at one moment. Counts are since the client was made, and go on over ``stop()``/``start()``.

    Attributes:
        connected: True while a connection is up.
        ready: True while a connection is up, and the channels that the PBX told on it are in ``state``.
        connected_at: when the present connection was made, seconds since the epoch; None without one.
        seconds_since_received: age of the last byte; None without a connection.
        connections: how many connections were made.
        disconnections: how they ended: for each class of error, such as ``PingTimeout``, how often.
        errors: what else went wrong: for each class of error how often, such as ``AuthError`` for attempts to connect
            (each one, told to ``on_error`` or not) and ``DecodeError`` for bad frames; ``hook`` for what hooks raised,
            and ``bug`` for errors in this library.
        messages: how many messages arrived.
        received_bytes: how many bytes these had.
        events: how many events were told to the handler, by kind: its type (``info_event``, ``initial_info``,
            ``call``, …), its element, and what happened (``added``, ``ringing``, …), each ``""`` where there is no
            such thing. Of more than 500 kinds, the later ones are counted as element ``other``.
        synthetic_events: how many of these were synthetic: found by comparing pictures.
        overflows: how often the queue overflowed.
        dropped_messages: how many messages that cost.
        queued_events, queued_bytes: what waits to be told.
        max_queued_events, max_queued_bytes: how much may.
        queue_delay: how long the oldest of these has waited, in seconds; 0 where nothing waits.
        lag: how long messages waited before they were told.
        hook_seconds: how long the dispatcher thread was at work, hooks included. It has one second each second.
    """

    connected: bool = False
    ready: bool = False
    connected_at: float | None = None
    seconds_since_received: float | None = None
    connections: int = 0
    disconnections: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    messages: int = 0
    received_bytes: int = 0
    events: dict[Kind, int] = field(default_factory=dict)
    synthetic_events: int = 0
    overflows: int = 0
    dropped_messages: int = 0
    queued_events: int = 0
    queued_bytes: int = 0
    max_queued_events: int = 0
    max_queued_bytes: int = 0
    queue_delay: float = 0.0
    lag: Lag = field(default_factory=Lag)
    hook_seconds: float = 0.0

    @property
    def reconnections(self) -> int:
        """How many of the connections came after another one. Each closes a gap, as each overflow does."""
        return max(0, self.connections - 1)


class Counters:
    """What the threads of a client count. Each attribute is written by one thread; all may be read by any.

    Attributes:
        connections, disconnections, errors, messages, received_bytes: by the I/O thread.
        overflows, dropped_messages: by the I/O thread.
        events, synthetic_events, bugs, hook_errors, hook_seconds, lag_counts, lag_seconds: by the dispatcher thread.
    """

    __slots__ = (
        "bugs",
        "connections",
        "disconnections",
        "dropped_messages",
        "errors",
        "events",
        "hook_errors",
        "hook_seconds",
        "lag_counts",
        "lag_seconds",
        "messages",
        "overflows",
        "received_bytes",
        "synthetic_events",
    )

    def __init__(self) -> None:
        self.connections = 0
        self.disconnections: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.messages = 0
        self.received_bytes = 0
        self.overflows = 0
        self.dropped_messages = 0
        self.events: dict[Kind, int] = {}
        self.synthetic_events = 0
        self.bugs = 0
        self.hook_errors = 0
        self.hook_seconds = 0.0
        self.lag_counts = [0] * (len(LAG_BOUNDS) + 1)
        self.lag_seconds = 0.0

    def told(self, event: Event) -> None:
        """Count an event that is told to the handler."""
        if isinstance(event, InfoEvent):
            kind = (event.NAME, event.element, event.event)
        elif isinstance(event, CallEvent):
            kind = (event.NAME, "", event.kind)
        else:
            kind = (event.NAME, event.element if isinstance(event, InitialInfo) else "", "")
        try:
            self.events[kind] += 1
        except KeyError:
            if len(self.events) >= _MAX_KINDS:  # names are the PBX's, which may send ever new ones
                kind = (event.NAME, _OTHER, "")
            self.events[kind] = self.events.get(kind, 0) + 1
        if event.synthetic:
            self.synthetic_events += 1

    def waited(self, seconds: float) -> None:
        """Count a message that waited so long; less than nothing, as after a change of the clock, counts as nothing."""
        self.lag_counts[bisect_left(LAG_BOUNDS, seconds)] += 1
        if seconds > 0.0:
            self.lag_seconds += seconds

    def hook_raised(self) -> None:
        """Count a hook that raised."""
        self.hook_errors += 1

    def all_errors(self) -> dict[str, int]:
        """As ``Statistics.errors``."""
        errors = dict(self.errors)
        if self.bugs:
            errors["bug"] = errors.get("bug", 0) + self.bugs
        if self.hook_errors:
            errors["hook"] = self.hook_errors
        return errors
