"""What a client's I/O thread gives its events to, and what it may give in place of many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .errors import ConnectionLost
from .events import Event
from .state import Picture

__all__ = ["Sink", "Snapshot"]


@dataclass(slots=True)
class Snapshot(Event):
    """A whole picture in place of messages. It is not told itself, but what it changes.

    Attributes:
        picture: what is known now; nobody changes it any more.
        elements: those whose full state is to be told.
        joining: True where a session begins with it.
    """

    picture: Picture
    elements: set[str]
    joining: bool


class Sink(Protocol):
    """Who gets the events of a client's I/O thread: a dispatcher, or what passes them on in another way."""

    @property
    def newest(self) -> Picture:
        """What has arrived so far; it belongs to the I/O thread."""

    @property
    def waiting(self) -> int:
        """How many events wait to be told."""

    @property
    def waiting_bytes(self) -> int:
        """How many bytes of messages these hold."""

    @property
    def delay(self) -> float:
        """Seconds that the oldest of them has waited; 0.0 if none waits."""

    def trouble(self, patience: float) -> str | None:
        """What keeps it from telling, for ``patience`` seconds at least; None for nothing."""

    def offer(self, event: Event, size: int) -> None:
        """As :meth:`offer_all`, for one event."""

    def offer_all(self, events: list[tuple[Event, int]]) -> None:
        """Take events, in order, each with the bytes it may take in memory; called in the I/O thread."""

    def start(self) -> None:
        """Begin to tell."""

    def close(self, reason: ConnectionLost) -> None:
        """Tell nothing more but the end of the connection."""

    def join(self, timeout: float) -> bool:
        """Wait, at most ``timeout`` seconds, until nothing is told any more; whether that is so."""

    def is_inside_hook(self) -> bool:
        """True in a thread that calls hooks."""
