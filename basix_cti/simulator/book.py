"""The simulator's own book of the calls that it has played: what it meant, not what it told.

Each step of a :class:`~basix_cti.simulator.Call` notes its intention here. Nothing is read from channels or messages,
so that a program that works these out from what the PBX tells can be held against it.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

__all__ = ["Book", "Page", "Played"]

_KEPT = 100_000


class Played(NamedTuple):
    """A call that has ended, as the simulator meant it.

    Args:
        uuid: of its first leg.
        caller: the user's name, or the number outside.
        target: the name of the user or group that was called at first, or the number outside; None for a service.
        outcome: ``answered``, ``missed``, ``abandoned``, ``busy``, ``voicemail``, ``picked_up_elsewhere``, ``failed``.
        answered_by: the name of the user who answered first, or the number outside; None where nobody did.
        waited: seconds from its beginning to the first answer or the mailbox, else to its end.
        talked: seconds of all talks and conferences.
        parked: seconds in parking slots.
        transfers: how often it was sent on to somebody else.
    """

    uuid: str
    caller: str
    target: str | None
    outcome: str
    answered_by: str | None
    waited: float
    talked: float
    parked: float
    transfers: int


class Page:
    """The notes on one call while it lasts. All times are microseconds since the epoch.

    Attributes:
        caller, target: as in :class:`Played`; set once.
        transfers: likewise, so far.
    """

    def __init__(self, uuid: str, caller: str, now: int) -> None:
        self.uuid = uuid
        self.caller = caller
        self.target: str | None = None
        self.transfers = 0
        self._begun = self._since = now
        self._doing = "waiting"
        self._times = {"waiting": 0, "talking": 0, "parked": 0, "menu": 0, "mailbox": 0, "service": 0}
        self._outcome: str | None = None
        self._answered_by: str | None = None
        self._served_at: int | None = None

    @property
    def was_answered(self) -> bool:
        """Whether somebody has talked to the caller."""
        return self._outcome in ("answered", "picked_up_elsewhere")

    def turn(self, doing: str, now: int) -> None:
        """The party does something else from now on."""
        self._times[self._doing] += now - self._since
        self._doing, self._since = doing, now

    def answered(self, now: int, by: str | None, outcome: str = "answered") -> None:
        """Somebody answers, or a service does; only the first one counts."""
        if not self.was_answered:
            self._outcome, self._answered_by, self._served_at = outcome, by, now

    def mailbox(self, now: int) -> None:
        """A mailbox takes the call."""
        if self._outcome is None:
            self._outcome, self._served_at = "voicemail", now

    def close(self, now: int, fate: str) -> Played:
        """The end; ``fate`` is how a call ends that nobody answered."""
        self.turn("waiting", now)
        served = now if self._served_at is None else self._served_at
        return Played(
            self.uuid,
            self.caller,
            self.target,
            self._outcome or fate,
            self._answered_by,
            (served - self._begun) / 1_000_000,
            self._times["talking"] / 1_000_000,
            self._times["parked"] / 1_000_000,
            self.transfers,
        )


class Book:
    """The calls that have ended, in the order of their ends; the latest 100,000."""

    def __init__(self) -> None:
        self._played: deque[Played] = deque(maxlen=_KEPT)

    def enter(self, played: Played) -> None:
        """Note a call that has ended."""
        self._played.append(played)

    def calls(self) -> list[Played]:
        """All that were noted."""
        return list(self._played)
