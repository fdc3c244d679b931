"""Calls: what people speak of, where a PBX speaks of channels.

A :class:`Call` joins the channels that belong together, its *legs*, and tells who called whom, how long it took, and
how it ended. All objects here are values, immutable by contract: each change makes a new ``Call``. So one that a hook
got stays as it was, and any thread may read it. :mod:`basix_cti.call_tracker` makes them.

What a call was is told by its legs alone, in whatever order their messages came; the rules are in docs/calls.
Timestamps are microseconds since the epoch, as on the wire; everything else is in seconds.

May be compiled by mypyc. ``Leg`` and ``Call``, of which each event of a channel makes one, have an ``__init__`` of
their own for that: one that :mod:`dataclasses` makes would not be compiled. ``__reduce__`` is for copies and pickles.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias

from .elements import Channel, Customer, EndUser, ParkInfo, Target, User
from .values import Json, Scalar, moment, seconds_between

__all__ = ["OUTCOMES", "Call", "Leg", "Outcome", "Party", "Phase", "Span", "Transfer"]

Phase: TypeAlias = Literal[
    "new", "calling", "ringing", "talking", "conference", "parked", "menu", "voicemail", "service"
]
"""What a leg is doing."""

Outcome: TypeAlias = Literal["answered", "missed", "abandoned", "busy", "voicemail", "picked_up_elsewhere", "failed"]
"""How a call ended."""

OUTCOMES: tuple[Outcome, ...] = (
    "answered",
    "missed",
    "abandoned",
    "busy",
    "voicemail",
    "picked_up_elsewhere",
    "failed",
)

TransferKind: TypeAlias = Literal["blind", "attended", "forward"]

ANSWERED: tuple[Phase, ...] = ("talking", "conference", "service")
_TALK: tuple[Phase, ...] = ("talking", "conference")

# How a call ended that nobody answered, by the hangup cause of the deciding leg. A cause that is not here: failed.
BY_CAUSE: dict[str, Outcome] = {
    "ORIGINATOR_CANCEL": "abandoned",
    "USER_BUSY": "busy",
    "CALL_REJECTED": "busy",
    "NO_ANSWER": "missed",
    "NO_USER_RESPONSE": "missed",
    "ALLOTTED_TIMEOUT": "missed",
    "PROGRESS_TIMEOUT": "missed",
    "SUBSCRIBER_ABSENT": "missed",
    "USER_NOT_REGISTERED": "missed",
    "LOSE_RACE": "picked_up_elsewhere",
    "PICKED_OFF": "picked_up_elsewhere",
}
# These say no more than that it is over: who ended it decides.
_PLAIN_CAUSES = ("NORMAL_CLEARING", "NORMAL_UNSPECIFIED", "NONE", "SUCCESS", "BLIND_TRANSFER", "ATTENDED_TRANSFER")
_BY_CALLER = ("recv_bye", "recv_cancel")


class Span(NamedTuple):
    """A part of a leg's life.

    Attributes:
        phase: what the leg did.
        start: microseconds since the epoch; None where it is not known.
        end: likewise; None too while it goes on.
    """

    phase: Phase
    start: int | None
    end: int | None = None


@dataclass(slots=True)
class Party:
    """Somebody who takes part in a call. Immutable by contract.

    Attributes:
        number: the telephone number or extension.
        name: as the PBX sends it with the call; for a user, the label.
        user_id: the user's id, as sent; None for somebody outside.
        user_name: the user's name, None where it was not told.
        end_user: the customers behind the number.
    """

    number: str | None = None
    name: str | None = None
    user_id: Scalar = None
    user_name: str | None = None
    end_user: EndUser | None = None

    @property
    def customer(self) -> Customer | None:
        """The customer behind the number, the first where several share it; None for nobody known."""
        return self.end_user.items[0] if self.end_user is not None and self.end_user.items else None

    def __str__(self) -> str:
        """The best name there is: of the customer, of the user, as sent; the number; or ``?``."""
        customer = self.customer
        return (customer and customer.name) or self.name or self.user_name or self.number or "?"

    def to_dict(self) -> dict[str, Json]:
        """All fields, JSON-ready."""
        return {
            "number": self.number,
            "name": self.name,
            "user_id": self.user_id,
            "user_name": self.user_name,
            "end_user": self.end_user and self.end_user.to_dict(),
        }


def _reduced(item: Any) -> tuple[Any, ...]:
    """What ``__reduce__`` tells of a dataclass: how to make another one like it."""
    return type(item), tuple(getattr(item, each.name) for each in fields(item))


@dataclass(slots=True, init=False)
class Leg:
    """A channel's part in a call. Immutable by contract.

    Attributes:
        channel: the channel, as it was told last.
        spans: what it did in this call, oldest first.
        ended: True once it has hung up, or has gone over to another call.
        end_timestamp: when, microseconds since the epoch; None where it is not known.
        uncertain: True if its end became known only from its absence after a gap.
        target: whom it called first.
        partner: the uuid of the channel that it talks to, or talked to last.
        peer: who that was when it first talked, as far as it was told by this channel itself.
        park: its latest parking.
        user: the user whose channel it is, as far as known.
    """

    channel: Channel
    spans: tuple[Span, ...] = ()
    ended: bool = False
    end_timestamp: int | None = None
    uncertain: bool = False
    target: Target | None = None
    partner: str | None = None
    peer: Party | None = None
    park: ParkInfo | None = None
    user: User | None = None

    def __init__(
        self,
        channel: Channel,
        spans: tuple[Span, ...] = (),
        ended: bool = False,
        end_timestamp: int | None = None,
        uncertain: bool = False,
        target: Target | None = None,
        partner: str | None = None,
        peer: Party | None = None,
        park: ParkInfo | None = None,
        user: User | None = None,
    ) -> None:
        self.channel = channel
        self.spans = spans
        self.ended = ended
        self.end_timestamp = end_timestamp
        self.uncertain = uncertain
        self.target = target
        self.partner = partner
        self.peer = peer
        self.park = park
        self.user = user

    def __reduce__(self) -> tuple[Any, ...]:
        return _reduced(self)

    @property
    def uuid(self) -> str:
        """The channel's uuid."""
        return self.channel.uuid or ""

    @property
    def phase(self) -> Phase:
        """What it is doing, or did last."""
        return self.spans[-1].phase if self.spans else "new"

    @property
    def is_inbound(self) -> bool:
        """True for a leg that came in to the PBX; False for one that the PBX offered to somebody."""
        return self.channel.direction == "inbound"

    @property
    def party(self) -> Party:
        """Who is at its far end."""
        channel = self.channel
        if self.is_inbound:
            number, name = channel.calling_number, channel.calling_name
        else:
            number, name = channel.called_number, None
        return party_of_user(channel.user_id, self.user, number, name, channel.user_name, channel.end_user)

    def start_of(self, phases: tuple[Phase, ...]) -> int | None:
        """When it first was in one of these phases, microseconds; None if never, or where that is not known."""
        return next((span.start for span in self.spans if span.phase in phases), None)

    def was(self, *phases: Phase) -> bool:
        """True if it is or was in one of these phases."""
        return any(span.phase in phases for span in self.spans)

    def to_dict(self) -> dict[str, Json]:
        """JSON-ready: the channel's uuid, who it is, what it did and how it ended."""
        channel = self.channel
        return {
            "uuid": channel.uuid,
            "direction": channel.direction,
            "party": self.party.to_dict(),
            "spans": [list(span) for span in self.spans],
            "ended": self.ended,
            "end_timestamp": self.end_timestamp,
            "hangup_disposition": channel.hangup_disposition,
            "hangup_cause": channel.hangup_cause,
        }


def party_of_user(
    user_id: Scalar,
    user: User | None,
    number: str | None,
    name: str | None = None,
    user_name: str | None = None,
    end_user: EndUser | None = None,
) -> Party:
    """Somebody, completed by what is known of the user."""
    if user is not None:
        name = user.label or name
        user_name = user.name or user_name
        number = number or user.main_extension
    return Party(number, name, user_id, user_name, end_user)


@dataclass(slots=True)
class Transfer:
    """That a call was sent on to somebody else. Immutable by contract.

    Attributes:
        kind: ``blind`` (it rings at somebody else after a talk), ``attended`` (it goes from one talk right into
            another, as after a consultation) or ``forward`` (sent on before anybody answered).
        timestamp: when, microseconds since the epoch; None where it is not known.
        by: who talked to the party until then; None for a forward, or where it is not known.
        target: whom it was sent to.
    """

    kind: TransferKind
    timestamp: int | None = None
    by: Party | None = None
    target: Target | None = None

    def to_dict(self) -> dict[str, Json]:
        """All fields, JSON-ready."""
        return {
            "kind": self.kind,
            "timestamp": self.timestamp,
            "by": self.by and self.by.to_dict(),
            "target": self.target and self.target.to_dict(),
        }


@dataclass(slots=True, init=False)
class Call:
    """A call, as it is at one moment. Immutable by contract: a change makes a new one with the same ``id``.

    Attributes:
        id: the uuid of its first leg: the caller's, also where only a leg that was created for it is seen. It stays
            the same for the whole call.
        legs: the channels that belong to it, those that have ended included (of those that were never answered, only
            the latest 100), in the order in which they were first told.
        transfers: how it was sent on, oldest first.
        ended: True once all its legs have ended.
        uncertain: True if a part of it lay in a gap, and so follows only from the full state after that. Times that
            nobody told are then None.
        partial: True if it was there before it was first told, so that its beginning was not seen.
        joined: the id of the call that it was made one with, by an attended transfer; None for the usual end.
    """

    id: str
    legs: tuple[Leg, ...]
    transfers: tuple[Transfer, ...] = ()
    ended: bool = False
    uncertain: bool = False
    partial: bool = False
    joined: str | None = None

    def __init__(
        self,
        id: str,
        legs: tuple[Leg, ...],
        transfers: tuple[Transfer, ...] = (),
        ended: bool = False,
        uncertain: bool = False,
        partial: bool = False,
        joined: str | None = None,
    ) -> None:
        self.id = id
        self.legs = legs
        self.transfers = transfers
        self.ended = ended
        self.uncertain = uncertain
        self.partial = partial
        self.joined = joined

    def __reduce__(self) -> tuple[Any, ...]:
        return _reduced(self)

    # Who

    @property
    def caller_leg(self) -> Leg | None:
        """The caller's own channel; None where it is not seen, as in the view of the user who is called."""
        inbound = [leg for leg in self.legs if leg.is_inbound]
        if not inbound:  # somebody who had themselves called, and then the other, through the API
            inbound = [leg for leg in self.legs if leg.channel.origination]
        return min(inbound, key=_offered, default=None)

    @property
    def caller(self) -> Party:
        """Who called."""
        leg = self.caller_leg
        if leg is not None:
            return leg.party
        channel = self.legs[0].channel
        other = channel.other_info
        if other is None:
            return Party(channel.calling_number, channel.calling_name)
        return Party(channel.calling_number, channel.calling_name, other.user_id, None, other.end_user)

    @property
    def end_user(self) -> EndUser | None:
        """The customers behind the number outside, of an incoming call or an outgoing one; None for nobody known."""
        own = self.caller.end_user
        return own or next((leg.channel.end_user for leg in self.legs if leg.channel.end_user is not None), None)

    @property
    def customer(self) -> Customer | None:
        """The customer, the first where several share a number; None for nobody known."""
        return Party(end_user=self.end_user).customer

    @property
    def target(self) -> Target | None:
        """Whom the call was for at first: a user, a group, or ``pstn`` with the number that was dialled."""
        leg = self.caller_leg
        if leg is not None:
            return leg.target
        channel = self.legs[0].channel
        if channel.group_id is not None:
            return Target("group", channel.group_id, channel.group_name)
        return Target("user", channel.user_id, self.legs[0].party.user_name, channel.called_number)

    @property
    def direction(self) -> Literal["inbound", "outbound", "internal"] | None:
        """``inbound``: from outside; ``outbound``: from inside to the outside; ``internal``; None if not told."""
        leg = self.caller_leg
        if leg is None:
            other = self.legs[0].channel.other_info
            location = other and other.peer_location
        else:
            location = leg.channel.peer_location
        if location == "external":
            return "inbound"
        if location is None:
            return None
        target = self.target
        to_outside = target is not None and target.type == "pstn"
        others = (each.channel for each in self.legs if each is not leg)
        return "outbound" if to_outside or any(c.peer_location == "external" for c in others) else "internal"

    @property
    def answering_leg(self) -> Leg | None:
        """The first channel that talked to the caller; None where nobody did, or it is not seen."""
        caller = self.caller_leg
        talked = [leg for leg in self.legs if leg is not caller and leg.was("talking")]
        if not talked and caller is not None and caller.was("talking"):  # its own message is still to come
            talked = [leg for leg in self.legs if leg.uuid == caller.partner]
        return min(talked, key=_answered, default=None)

    @property
    def answered_by(self) -> Party | None:
        """Who answered first. None before that, and where it is not known: a conference has no such person."""
        leg = self.answering_leg
        if leg is not None:
            return leg.party
        caller = self.caller_leg
        return None if caller is None else caller.peer

    @property
    def is_answered(self) -> bool:
        """True once somebody answered: a person, a conference room, or a service of the PBX that was dialled."""
        return any(leg.was(*ANSWERED) for leg in self.legs)

    # What it is doing

    @property
    def served_leg(self) -> Leg | None:
        """The leg of the party that is served: the caller's, or if that has gone, the one that goes on."""
        alive = [leg for leg in self.legs if not leg.ended]
        caller = self.caller_leg
        if caller is not None and not caller.ended:
            return caller
        outside = [leg for leg in alive if leg.channel.peer_location == "external"]
        return next(iter(outside or alive), None)

    @property
    def state(self) -> str:
        """What it is doing: ``ringing``, ``talking``, ``parked``, ``menu``, …; ``ended`` once it has ended."""
        leg = self.served_leg
        if leg is None:
            return "ended"
        return "ringing" if leg.phase == "calling" else leg.phase

    @property
    def park(self) -> ParkInfo | None:
        """The parking slot and who parked it, while it is parked; else None."""
        return next((leg.park for leg in self.legs if not leg.ended and leg.phase == "parked"), None)

    # When, and how long

    @property
    def offer_timestamp(self) -> int | None:
        """When it began, microseconds since the epoch."""
        leg = self.caller_leg
        if leg is not None:
            return leg.channel.offer_timestamp
        channel = self.legs[0].channel
        other = channel.other_info and channel.other_info.offer_timestamp
        return other or channel.offer_timestamp

    @property
    def answer_timestamp(self) -> int | None:
        """When it was first answered, microseconds since the epoch; None before that, or where it is not known."""
        if not self.is_answered:
            return None
        return min((start for leg in self.legs if (start := leg.start_of(ANSWERED)) is not None), default=None)

    @property
    def hangup_timestamp(self) -> int | None:
        """When its last leg ended, microseconds since the epoch; None before that, or where it is not known."""
        if not self.ended:
            return None
        ends = [leg.end_timestamp for leg in self.legs]
        known = [end for end in ends if end is not None]
        return max(known) if known and len(known) == len(ends) else None

    @property
    def offer_time(self) -> datetime | None:
        """``offer_timestamp`` as an aware datetime in UTC."""
        return moment(self.offer_timestamp)

    @property
    def answer_time(self) -> datetime | None:
        """``answer_timestamp`` likewise."""
        return moment(self.answer_timestamp)

    @property
    def hangup_time(self) -> datetime | None:
        """``hangup_timestamp`` likewise."""
        return moment(self.hangup_timestamp)

    @property
    def wait_duration(self) -> float | None:
        """Seconds from its beginning to the first answer, or until a mailbox took it; or else to its end.

        None while it waits, and where it is not known.
        """
        return self._wait(self.hangup_timestamp)

    @property
    def talk_duration(self) -> float | None:
        """Seconds of all its talks and conferences together; 0 without any. None before its end, or if not known."""
        return self._sum(_TALK, None) if self.ended else None

    @property
    def park_duration(self) -> float | None:
        """Seconds in parking slots; 0 if it never was. None before its end, or where it is not known."""
        return self._sum(("parked",), None) if self.ended else None

    @property
    def duration(self) -> float | None:
        """Seconds from its beginning to its end; None before that, or where it is not known."""
        return seconds_between(self.offer_timestamp, self.hangup_timestamp)

    def wait_time(self, now: float) -> float | None:
        """Seconds of waiting up to now: :attr:`wait_duration`, also while it waits.

        Args:
            now: seconds since the epoch by the PBX's clock, such as ``time.time()``.
        """
        return self._wait(self.hangup_timestamp if self.ended else round(now * 1_000_000))

    def talk_time(self, now: float) -> float | None:
        """Seconds of talk up to now; ``now`` as in :meth:`wait_time`."""
        return self._sum(_TALK, round(now * 1_000_000))

    def park_time(self, now: float) -> float | None:
        """Seconds in parking slots up to now; ``now`` as in :meth:`wait_time`."""
        return self._sum(("parked",), round(now * 1_000_000))

    def _wait(self, end: int | None) -> float | None:
        if self.is_answered:
            end = self.answer_timestamp
        elif any(leg.was("voicemail") for leg in self.legs):
            end = next((leg.start_of(("voicemail",)) for leg in self.legs if leg.was("voicemail")), None)
        return seconds_between(self.offer_timestamp, end)

    def _sum(self, phases: tuple[Phase, ...], now: int | None) -> float | None:
        """Seconds in which any leg was in one of these phases; what two legs did at the same time counts once."""
        parts: list[tuple[int, int]] = []
        for leg in self.legs:
            last = len(leg.spans) - 1
            for place, span in enumerate(leg.spans):
                if span.phase in phases:
                    end = now if span.end is None and place == last and not leg.ended else span.end
                    if span.start is None or end is None:
                        return None
                    parts.append((span.start, end))
        total, reached = 0, 0
        for start, end in sorted(parts):
            total += max(0, end - max(start, reached))
            reached = max(reached, end)
        return total / 1_000_000

    # How it ended

    @property
    def outcome(self) -> Outcome | None:
        """How it ended. None before its end, and where its end lay in a gap and it cannot be known."""
        if not self.ended:
            return None
        if self.is_answered:
            return "picked_up_elsewhere" if self._was_picked_up() else "answered"
        if any(leg.was("voicemail") for leg in self.legs):
            return "voicemail"
        if self.joined is not None:
            return "answered"
        leg = self._deciding_leg
        disposition, cause = leg.channel.hangup_disposition, leg.channel.hangup_cause
        if cause is None and disposition is None:
            return None if leg.uncertain else "missed"
        if cause is not None and cause not in _PLAIN_CAUSES:
            return BY_CAUSE.get(cause, "failed")
        if disposition in _BY_CALLER and leg.is_inbound:
            return "abandoned"
        others = [each for each in self.legs if each is not leg and each.channel.hangup_cause not in _PLAIN_CAUSES]
        told = [BY_CAUSE.get(each.channel.hangup_cause or "NO_ANSWER", "failed") for each in sorted(others, key=_end)]
        return told[-1] if told else "missed"

    @property
    def hangup_cause(self) -> str | None:
        """FreeSWITCH's cause of the end of the served party's leg, such as ``NORMAL_CLEARING``; None if not told."""
        return self._deciding_leg.channel.hangup_cause

    @property
    def hangup_disposition(self) -> str | None:
        """How that leg ended: ``recv_bye``, ``send_bye``, ``recv_cancel``, …; None if not told."""
        return self._deciding_leg.channel.hangup_disposition

    @property
    def _deciding_leg(self) -> Leg:
        """The caller's leg; where that is not seen, or left the call before its end, the one that ended last."""
        caller = self.caller_leg
        if caller is not None and not self.is_answered:
            return caller
        return max(self.legs, key=lambda leg: (_end(leg), leg is caller))

    def _was_picked_up(self) -> bool:
        """Whether somebody answered at whose telephone it did not ring: that leg came in, and not for a slot."""
        leg = self.answering_leg
        if leg is None:
            return any(each.channel.hangup_cause == "PICKED_OFF" for each in self.legs)
        if not leg.is_inbound or leg.channel.origination:
            return False
        return not any(each.was("parked") and _before(each.start_of(("parked",)), leg) for each in self.legs)

    def to_dict(self) -> dict[str, Json]:
        """JSON-ready: everything that this class tells, legs and transfers included."""
        customer, answered_by, target, park = self.customer, self.answered_by, self.target, self.park
        return {
            "id": self.id,
            "state": self.state,
            "direction": self.direction,
            "caller": self.caller.to_dict(),
            "customer": customer and customer.to_dict(),
            "target": target and target.to_dict(),
            "answered_by": answered_by and answered_by.to_dict(),
            "offer_timestamp": self.offer_timestamp,
            "answer_timestamp": self.answer_timestamp,
            "hangup_timestamp": self.hangup_timestamp,
            "wait_duration": self.wait_duration,
            "talk_duration": self.talk_duration,
            "park_duration": self.park_duration,
            "duration": self.duration,
            "park": park and park.to_dict(),
            "transfers": [transfer.to_dict() for transfer in self.transfers],
            "outcome": self.outcome,
            "hangup_cause": self.hangup_cause,
            "hangup_disposition": self.hangup_disposition,
            "legs": [leg.to_dict() for leg in self.legs],
            "uncertain": self.uncertain,
            "partial": self.partial,
            "joined": self.joined,
        }


_NEVER = 1 << 80


def _offered(leg: Leg) -> int:
    return leg.channel.offer_timestamp or _NEVER


def _answered(leg: Leg) -> int:
    return leg.start_of(("talking",)) or _NEVER


def _end(leg: Leg) -> int:
    return leg.end_timestamp or 0


def _before(moment_: int | None, leg: Leg) -> bool:
    return (moment_ or 0) <= _answered(leg)
