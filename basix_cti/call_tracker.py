"""From channels to calls: what each event of a channel means for the call that it belongs to. No I/O, no clock.

Two questions are answered for each event, both by tables or rules that can be read one by one:

* *Which call does the channel belong to?* :meth:`CallTracker._related` and :meth:`CallTracker._join`.
* *What has happened to that call?* The channel's state gives its phase (``PHASES``), and the change of phase gives what
  happened (``RULES``, ``AGAIN``).

How long things took and how the call ended is not decided here: :class:`~basix_cti.calls.Call` finds it from its legs.

May be compiled by mypyc.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

from .calls import ANSWERED, Call, Leg, Party, Phase, Span, Transfer, TransferKind, party_of_user
from .elements import Channel, OtherInfo, ParkInfo, State, Target, User
from .events import CallEvent, Event, InfoEvent, InitialInfo
from .state import Picture
from .values import Json, Scalar

__all__ = ["AGAIN", "PHASES", "RULES", "CallTracker"]

Kind: TypeAlias = Literal["ringing", "answered", "parked", "transferred", "ended"]
Rule: TypeAlias = Literal["ring", "answer", "enter", "park", "return", "blind", "forward", "attended"]

# The phase that a channel is in, by the name of its state. A state that is not here leaves the phase as it was.
PHASES: dict[str, Phase] = {
    "calling": "calling",
    "calling_external": "calling",
    "calling_siptermination": "calling",
    "ringing": "ringing",
    "bridged": "talking",
    "conference": "conference",
    "park": "parked",
    "ivr": "menu",
    "xml_ivr": "menu",
    "plivo": "menu",
    "voicemail": "voicemail",
    "checking_voicemail": "voicemail",
    "system_operation": "service",
    "eavesdrop": "service",
}
# The same for a PBX that sends no state.
_BY_LAST_EVENT: dict[str, Phase] = {
    "CHANNEL_ORIGINATE": "ringing",
    "CHANNEL_BRIDGE": "talking",
    "CHANNEL_PARK": "parked",
}

# What a change of phase means: from (None: any other), to.
RULES: dict[tuple[Phase | None, Phase], Rule] = {
    (None, "calling"): "ring",
    ("talking", "calling"): "blind",
    ("conference", "calling"): "blind",
    ("parked", "calling"): "return",
    (None, "ringing"): "ring",
    (None, "talking"): "answer",
    (None, "conference"): "enter",
    (None, "service"): "enter",
    (None, "parked"): "park",
}
# What it means when a channel is in the same phase as before, but with another target, partner or slot.
AGAIN: dict[Phase, Rule] = {
    "calling": "forward",
    "talking": "attended",
    "parked": "park",
}
# Both by the phases before and after.
_MEANING: dict[tuple[Phase, Phase], Rule] = {
    (was, now): rule
    for was in get_args(Phase)
    for now in get_args(Phase)
    if (rule := AGAIN.get(now) if was == now else RULES.get((was, now)) or RULES.get((None, now))) is not None
}

# A leg of which nothing is known yet.
_NEW = Leg(Channel())
_KEPT_LEGS = 100
_REMEMBERED = 10_000


class _Live:
    """A call that has not ended. ``call`` is what others see of it; the rest belongs to the tracker."""

    __slots__ = (
        "answered",
        "call",
        "ended",
        "id",
        "joined",
        "legs",
        "names",
        "number",
        "pairs",
        "partial",
        "told",
        "transfers",
        "uncertain",
    )

    def __init__(self, number: int, id_: str, partial: bool) -> None:
        self.number = number
        self.id = id_
        self.partial = partial
        self.uncertain = False
        self.ended = False
        self.joined: str | None = None
        self.legs: dict[str, Leg] = {}
        self.transfers: tuple[Transfer, ...] = ()
        # What the index has of this call beside its legs: channels that these named and that were not seen, call_ids.
        self.names: list[str] = []
        # Who was put through to whom: both channels tell it, but it is one transfer.
        self.pairs: frozenset[frozenset[str | None]] = frozenset()
        self.told = False  # whether anything was,
        self.answered = False  # and whether that it was answered
        self.call: Call | None = None

    @property
    def age(self) -> tuple[int, int]:
        """Sorts calls, the oldest first."""
        offers = [leg.channel.offer_timestamp for leg in self.legs.values() if leg.channel.offer_timestamp]
        return min(offers, default=0), self.number

    def refresh(self) -> None:
        self.call = Call(
            self.id, tuple(self.legs.values()), self.transfers, self.ended, self.uncertain, self.partial, self.joined
        )


_Offer: TypeAlias = tuple[int, "str | None", "str | None"]


class CallTracker:
    """Keeps the calls by the events of channels, and finds what these mean for calls.

    It holds the calls that have not ended, and of the latest 10,000 channels and call_ids of ended ones that there
    were such, so that what still comes of them is not taken for a new call.

    Args:
        picture: knows the users by their ids.
    """

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._live: dict[str, _Live] = {}
        self._index: dict[str, _Live] = {}
        # By which offer a channel that is up can be found, and the other way round.
        self._offers: dict[_Offer, str] = {}
        self._offer_of: dict[str, _Offer] = {}
        # Of calls that have ended: True for a channel that was seen, False for one that was only named.
        self._past: OrderedDict[str | None, bool] = OrderedDict()
        self._count = 0
        # For the event that is being taken in:
        self._touched: set[_Live] = set()
        self._told: list[tuple[_Live, Kind]] = []
        self._silent = False

    @property
    def calls(self) -> list[Call]:
        """The calls that have not ended, oldest first. Safe to read from any thread."""
        return [live.call for live in list(self._live.values()) if live.call is not None]

    def take(self, event: Event) -> Sequence[CallEvent]:
        """What a completed event means for calls, in order. Only one thread may call this at a time."""
        if isinstance(event, InfoEvent):
            if event.element == "channel":
                channel = event.item
                if event.news and isinstance(channel, Channel) and channel.uuid is not None:
                    self._change(channel, channel.uuid, event.synthetic)
            elif event.park is not None:
                self._name_parker(event.park)
        elif isinstance(event, InitialInfo):
            if event.element == "channel":
                self._present(event.channels)
            elif event.element == "user":
                self._name_users()
        if not self._touched:
            return ()
        return self._finish(event)

    def _finish(self, event: Event) -> Sequence[CallEvent]:
        for live in self._touched:
            live.refresh()
        self._touched.clear()
        if not self._told:
            return ()
        told: list[CallEvent] = []
        for live, kind in self._told:
            if live.call is not None:
                told.append(CallEvent(kind, live.call, received_at=event.received_at, synthetic=event.synthetic))
        self._told.clear()
        return told

    # Events

    def _present(self, channels: list[Channel]) -> None:
        """Channels that are up at the login: their calls are known from now on, and not told."""
        self._silent = True
        try:
            for channel in channels:
                uuid = channel.uuid
                live = None if uuid is None else self._index.get(uuid)
                leg = None if live is None or uuid is None else live.legs.get(uuid)
                if uuid is not None and (leg is None or leg.ended):
                    self._change(channel, uuid, True)
        finally:
            self._silent = False

    def _name_users(self) -> None:
        """The users may be told after the channels."""
        for live in self._live.values():
            for uuid, leg in live.legs.items():
                user = self._find_user(leg.channel.user_id) if leg.user is None else None
                if user is not None:
                    live.legs[uuid] = replace(leg, user=user)
                    self._touched.add(live)

    def _name_parker(self, park: ParkInfo) -> None:
        """The first generation tells who parked a channel in a message of its own."""
        live = None if park.uuid is None else self._index.get(park.uuid)
        leg = None if live is None or park.uuid is None else live.legs.get(park.uuid)
        if live is None or leg is None or leg.park is None or leg.park.parker_id is not None:
            return
        known = ParkInfo(park.uuid, leg.park.slot or park.slot, park.parker_id, park.parker_name)
        live.legs[leg.uuid] = replace(leg, park=known)
        self._touched.add(live)

    def _change(self, channel: Channel, uuid: str, synthetic: bool) -> None:
        """One event of one channel."""
        live = self._index.get(uuid)
        leg = None if live is None else live.legs.get(uuid)
        ended = channel.is_hung_up
        if live is not None and leg is not None:
            if leg.ended:  # the PBX uses the uuid of an ended channel again
                leg = None
            elif not ended and not synthetic and _tells_nothing_new(leg, channel):
                live.legs[uuid] = _with_channel(leg, channel)
                live.refresh()
                return
        was: Phase = "new" if leg is None else leg.phase
        phase = _phase_of(channel, was)
        other = None if channel.other_uuid == uuid else channel.other_uuid
        partner = other
        if other is None and channel.other_info is not None:
            partner = self._summarised(channel.other_info, uuid)
        related = None if partner is None else self._index.get(partner)
        if live is None or leg is None:
            if live is None:
                if related is None and channel.call_id is not None:
                    related = self._index.get(channel.call_id)
                if related is None and not synthetic and self._is_late(uuid, other, ended):
                    return
                live = related or self._begin(channel, uuid, other, ended)
            leg = self._add(live, channel, uuid)
        elif related is not None and related is not live:
            since = None if synthetic or channel.state is None else channel.state.ts
            # One that ends still names its partner, who may be in another call by now.
            talks = phase == "talking" and (was != "talking" or partner != leg.partner) and not ended
            live = self._join(live, related, uuid, partner if talks else None, since)
            leg = live.legs[uuid]
            was = leg.phase
        if other is not None and not ended and other not in self._index:
            self._name(live, other)
        rule = _MEANING.get((was, phase))
        if phase == was and rule is not None and not _is_another(leg, channel, phase, partner):
            rule = None
        if synthetic and not self._silent:
            live.uncertain = True
        after = self._advanced(leg, channel, phase, partner, phase != was or rule is not None, synthetic, ended)
        live.legs[uuid] = after
        self._touched.add(live)
        if rule is not None:
            self._apply(rule, live, leg, after)
        if ended:
            self._leave(live, uuid)

    def _advanced(
        self, leg: Leg, channel: Channel, phase: Phase, partner: str | None, moved: bool, synthetic: bool, ended: bool
    ) -> Leg:
        """The leg after an event of its channel."""
        spans, park, peer, target, user = leg.spans, leg.park, leg.peer, leg.target, leg.user
        if moved:
            start = _since(channel, phase, leg)
            # What the channel left inside a gap may have ended at any time in it.
            spans = (*_closed(spans, None if synthetic else start), Span(phase, start))
            if phase == "parked":
                park = ParkInfo.of(channel) or ParkInfo(channel.uuid)
        if phase == "talking":
            if peer is None and channel.other_info is not None:
                peer = self._peer(channel.other_info)
            partner = partner or leg.partner
        else:
            partner = leg.partner
        if target is None:
            target = channel.target or (_aim(channel.state) if phase == "calling" else None)
        user_id = channel.user_id
        if user_id is not None and (user is None or user.id != user_id):
            user = self._find_user(user_id)
        if not ended:
            return Leg(channel, spans, False, None, False, target, partner, peer, park, user)
        end = channel.hangup_timestamp
        return Leg(channel, _closed(spans, end), True, end, synthetic, target, partner, peer, park, user)

    def _peer(self, info: OtherInfo) -> Party:
        user = self._find_user(info.user_id)
        number = info.address if user is None else None  # of a user, some releases tell the name here
        return party_of_user(info.user_id, user, number, end_user=info.end_user)

    def _apply(self, rule: Rule, live: _Live, before: Leg, leg: Leg) -> None:
        """What a rule tells of a call."""
        channel = leg.channel
        if rule == "ring":
            if not leg.ended and _rings(leg):  # one that is told only at its end rings no longer
                self._ring(live)
        elif rule == "answer":
            self._ring(live)
            self._answer(live)
        elif rule == "enter":
            self._answer(live)
        elif rule == "park":
            self._tell(live, "parked")
        elif rule == "attended":
            self._put_through(live, before, leg.uuid, leg.partner, leg.spans[-1].start)
        else:
            aim = self._named_target(channel)
            if rule == "return":
                parker = None if before.park is None else before.park.parker_id
                if aim is None or parker is None or (aim.type == "user" and aim.id == parker):
                    return
            kind: TransferKind = "forward" if rule == "forward" else "blind"
            by = None if rule == "forward" else self._talker(live, before)
            self._transfer(live, Transfer(kind, leg.spans[-1].start, by, aim))

    def _put_through(self, live: _Live, stayer: Leg, one: str, other: str | None, since: int | None) -> None:
        """A leg goes from one talk right into another; both channels tell so."""
        pair = frozenset((one, other))
        if pair in live.pairs:
            return
        live.pairs |= {pair}
        joiner = live.legs.get((other if one == stayer.uuid else one) or "")
        target = None
        if joiner is not None:
            party = joiner.party
            kind = "pstn" if party.user_id is None else "user"
            target = Target(kind, party.user_id, party.user_name, party.number)
        self._transfer(live, Transfer("attended", since, self._talker(live, stayer), target))

    def _transfer(self, live: _Live, transfer: Transfer) -> None:
        live.transfers = (*live.transfers[-_KEPT_LEGS:], transfer)
        self._tell(live, "transferred")

    def _talker(self, live: _Live, leg: Leg) -> Party | None:
        """Whom a leg talked to last."""
        other = None if leg.partner is None else live.legs.get(leg.partner)
        return leg.peer if other is None else other.party

    def _named_target(self, channel: Channel) -> Target | None:
        """Whom a channel calls, with the name as far as it is known."""
        aim = _aim(channel.state)
        if aim is None:
            return channel.target
        told = channel.target
        if told is not None and (told.type, told.id) == (aim.type, aim.id):
            return told
        user = self._find_user(aim.id) if aim.type == "user" else None
        return aim if user is None else Target(aim.type, aim.id, user.name, user.main_extension)

    def _find_user(self, user_id: Scalar) -> User | None:
        user = None if user_id is None else self._picture.get("user", user_id)
        return user if isinstance(user, User) else None

    def _ring(self, live: _Live) -> None:
        if not live.told:  # it never comes after another one
            self._tell(live, "ringing")

    def _answer(self, live: _Live) -> None:
        if not live.answered:
            live.answered = True
            self._tell(live, "answered")

    def _tell(self, live: _Live, kind: Kind) -> None:
        live.told = True
        if not self._silent:
            self._told.append((live, kind))

    # Which call a channel belongs to

    def _summarised(self, info: OtherInfo, uuid: str) -> str | None:
        """The channel that another one, which does not name it, has this summary of."""
        if not info.offer_timestamp:
            return None
        found = self._offers.get((info.offer_timestamp, info.direction, info.peer_location))
        if found is None or found == uuid or not _is_meant(info, self._index[found].legs[found]):
            return None
        return found

    def _is_late(self, uuid: str, other: str | None, ended: bool) -> bool:
        """True for a channel of a call that has ended, which was told without it.

        One that is up, and named by nothing but a channel that was not seen, may live long: it gets a call of its own.
        So does the leg of a caller who is sent back to a user, in the view of that user.
        """
        if ended:
            return uuid in self._past or other in self._past
        return other is not None and self._past.get(other) is True

    def _begin(self, channel: Channel, uuid: str, other: str | None, ended: bool) -> _Live:
        self._count += 1
        id_ = other if other and channel.direction == "outbound" else uuid  # whom it was created for
        if id_ in self._live:  # a uuid that is used again, of a channel that has left its call
            id_ = f"{id_}#{self._count}"
        live = self._live[id_] = _Live(self._count, id_, self._silent or ended)
        return live

    def _add(self, live: _Live, channel: Channel, uuid: str) -> Leg:
        leg = live.legs[uuid] = _NEW
        self._index[uuid] = live
        self._past.pop(uuid, None)
        if channel.call_id is not None and channel.call_id not in self._index:
            self._name(live, channel.call_id)
        if channel.offer_timestamp:
            offer = (channel.offer_timestamp, channel.direction, channel.peer_location)
            self._offers[offer] = uuid
            self._offer_of[uuid] = offer
        if len(live.legs) > _KEPT_LEGS:
            self._forget_one(live)
        return leg

    def _name(self, live: _Live, alias: str) -> None:
        """Have a channel that is not seen yet join this call when it comes."""
        live.names.append(alias)
        self._index[alias] = live

    def _join(self, live: _Live, other: _Live, uuid: str, partner: str | None, since: int | None) -> _Live:
        """A leg of one call names a leg of another: what becomes of the two; the call that the leg is in afterwards.

        A call of which nothing was told yet is a part of the other one: the leg of somebody who picks up, for example.
        Of two calls that were told, the leg that begins to talk goes over from the younger to the older.

        Args:
            live, other: the two calls.
            uuid: the leg, of ``live``.
            partner: whom it begins to talk to; None if it does not.
            since: when.
        """
        if not live.told or not other.told:
            whole, part = (other, live) if not live.told else (live, other)
            self._merge(part, whole)
            return whole
        if partner is None:
            return live
        old, young = sorted((live, other), key=lambda each: each.age)
        mover, stayer = (uuid, partner) if young is live else (partner, uuid)
        self._move(mover, young, old, since)
        leg = old.legs.get(stayer)
        if mover == uuid and leg is not None and leg.phase == "talking" and leg.partner != mover:
            self._put_through(old, leg, mover, stayer, since)
        return old

    def _merge(self, part: _Live, whole: _Live) -> None:
        whole.legs |= part.legs
        whole.names += part.names
        whole.pairs |= part.pairs
        whole.uncertain = whole.uncertain or part.uncertain
        for alias in (*part.legs, *part.names):
            self._index[alias] = whole
        self._touched.add(whole)
        del self._live[part.id]

    def _move(self, uuid: str, young: _Live, old: _Live, since: int | None) -> None:
        """Have a leg go over to another call: it has ended in the one, and begins anew in the other."""
        young.joined = old.id
        leg = young.legs.get(uuid)
        self._touched.add(young)
        self._touched.add(old)
        if leg is None or leg.ended:
            self._name(old, uuid)
            return
        self._index[uuid] = old
        young.legs[uuid] = replace(leg, spans=_closed(leg.spans, since), ended=True, end_timestamp=since)
        old.legs[uuid] = Leg(leg.channel, user=leg.user)
        self._end_without_legs(young)

    def _leave(self, live: _Live, uuid: str) -> None:
        """A leg has ended."""
        offer = self._offer_of.pop(uuid, None)
        if offer is not None and self._offers.get(offer) == uuid:
            del self._offers[offer]
        self._end_without_legs(live)

    def _end_without_legs(self, live: _Live) -> None:
        """The end of a call, if all its legs have ended."""
        for leg in live.legs.values():
            if not leg.ended:
                return
        live.ended = True
        self._touched.add(live)
        self._tell(live, "ended")
        del self._live[live.id]
        for alias in (*live.legs, *live.names):
            if self._index.get(alias) is live:
                del self._index[alias]
                self._past[alias] = alias in live.legs
        while len(self._past) > _REMEMBERED:
            self._past.popitem(last=False)

    def _forget_one(self, live: _Live) -> None:
        """A call that waits for hours in a queue rings at many stations; keep those that tell something."""
        caller = next(iter(live.legs))
        for uuid, leg in live.legs.items():
            if leg.ended and uuid != caller and not leg.was(*ANSWERED, "parked", "voicemail"):
                del live.legs[uuid]
                if uuid in live.names:
                    live.names.remove(uuid)
                if self._index.get(uuid) is live:
                    del self._index[uuid]
                return


def _tells_nothing_new(leg: Leg, now: Channel) -> bool:
    """Whether nothing in a channel has changed that has a meaning for calls, as in most messages."""
    before = leg.channel
    if now.other_uuid != before.other_uuid or now.user_id != before.user_id:
        return False
    if now.other_info is not None and (now.other_uuid is None or before.other_info is None):
        return False  # whom it means may have come in between
    if leg.target is None and now.target is not None:
        return False
    state, old = now.state, before.state
    if state is None or old is None:
        return state is old and now.last_event == before.last_event
    return state is old or (state.ts == old.ts and state.name == old.name and state.data == old.data)


def _phase_of(channel: Channel, was: Phase) -> Phase:
    if channel.state is not None:
        return PHASES.get(channel.state.name, was)
    return _BY_LAST_EVENT.get(channel.last_event or "", was)


def _since(channel: Channel, phase: Phase, leg: Leg) -> int | None:
    """When a channel came into the phase that it is in."""
    if channel.state is not None and channel.state.ts is not None and channel.state.name in PHASES:
        return channel.state.ts
    # Without the time of the state, that of the answer is right for what first follows it.
    first = not leg.was("talking", "conference", "parked", "menu", "voicemail", "service")
    return channel.answer_timestamp if phase == "talking" and first else None


def _with_channel(leg: Leg, channel: Channel) -> Leg:
    """``replace(leg, channel=channel)``, at a fifth of the cost."""
    return Leg(channel, leg.spans, False, None, leg.uncertain, leg.target, leg.partner, leg.peer, leg.park, leg.user)


def _closed(spans: tuple[Span, ...], end: int | None) -> tuple[Span, ...]:
    if not spans:
        return spans
    last = spans[-1]
    return (*spans[:-1], Span(last.phase, last.start, end))


def _is_another(leg: Leg, channel: Channel, phase: Phase, partner: str | None) -> bool:
    """Whether a channel that is in the same phase as before has another target, partner or slot."""
    if phase == "talking":
        return leg.partner is not None and partner is not None and partner != leg.partner
    if phase == "parked":
        park = ParkInfo.of(channel)
        return park is not None and leg.park is not None and park.slot not in (None, leg.park.slot)
    before, now = _aim(leg.channel.state), _aim(channel.state)
    if before is None or now is None:
        return False
    return (before.type, before.id, before.address) != (now.type, now.id, now.address)


def _rings(leg: Leg) -> bool:
    """Whether it rings: a leg that the PBX offers must also say for which other one, or that the API ordered it."""
    channel = leg.channel
    if leg.is_inbound or leg.phase == "calling":
        return True
    return channel.other_uuid is not None or channel.other_info is not None or bool(channel.origination)


def _is_meant(info: OtherInfo, leg: Leg) -> bool:
    """Whether a summary that has a leg's time and direction is that leg's."""
    channel = leg.channel
    if info.type == "user":
        return info.user_id == channel.user_id
    return info.address in (channel.calling_number, channel.called_number)


def _aim(state: State | None) -> Target | None:
    """Whom a channel in state ``calling`` calls; both generations, whose forms of it differ."""
    if state is None or PHASES.get(state.name) != "calling":
        return None
    data = state.data
    kind = data.get("target_type")
    if not isinstance(kind, str):
        return Target("pstn", address=_text(data.get("address", data.get("url"))))
    if kind in ("user", "group"):
        id_ = data.get(f"{kind}_id", data.get("target_id"))
        return Target(kind, _scalar(id_), _text(data.get("target_name")))
    return Target(kind, _scalar(data.get("target_id")), _text(data.get("target_name")), _text(data.get("address")))


def _scalar(value: Json) -> Scalar:
    return value if isinstance(value, str | int | float) else None


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None
