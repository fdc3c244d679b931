"""Calls as a script sees them, and what FreeSWITCH would tell of each step.

A call has one leg for the party that is being served (the caller, at first) and further legs for whoever is rung or
talks to the party. Each step changes channels of the :class:`~basix_cti.simulator.model.Pbx`, which tells the changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from ..errors import CommandError
from .book import Book, Page
from .model import Channel, Group, Mailbox, OtherInfo, Pbx, State, Target, User
from .population import Customers

__all__ = ["Call", "Switchboard"]

_MIRRORED = {
    "recv_bye": "send_bye",
    "send_bye": "recv_bye",
    "recv_cancel": "send_cancel",
    "send_cancel": "recv_cancel",
    "recv_refuse": "send_refuse",
    "send_refuse": "recv_refuse",
}
# What somebody means who ends a call with such a cause; another one says no more than that it is over.
_FATES = {
    "ORIGINATOR_CANCEL": "abandoned",
    "USER_BUSY": "busy",
    "NO_ANSWER": "missed",
    "UNALLOCATED_NUMBER": "failed",
    "NORMAL_TEMPORARY_FAILURE": "failed",
}
_PLUGS = ("media_plug", "eavesdrop")
_DOING = {
    "parked": "parked",
    "voicemail": "mailbox",
    "ivr": "menu",
    "xml_ivr": "menu",
    "conference": "talking",
    "media_plug": "service",
    "eavesdrop": "service",
}
_SERVED = ("ringing", "bridged", "parked", "voicemail", "ivr", "xml_ivr", "conference")


class Switchboard:
    """Sets up calls, and knows which call a channel belongs to. Every method may be called from any thread.

    Args:
        pbx: the tables that the calls change.
        customers: who is calling from outside.
    """

    def __init__(self, pbx: Pbx, customers: Customers) -> None:
        self.pbx = pbx
        self.customers = customers
        self.book = Book()
        self._by_leg: dict[str, Call] = {}
        self._by_slot: dict[str, Call] = {}
        self._listeners: dict[str, list[Call]] = {}
        self._legs_of: Counter[int] = Counter()

    def call(
        self,
        caller: str,
        to: str,
        *,
        calling_name: str | None = None,
        called_number: str | None = None,
        end_user: str | None = None,
        tags: Sequence[str] = (),
    ) -> Call:
        """As :meth:`basix_cti.simulator.Simulator.call`."""
        with self.pbx.lock:
            user = self.pbx.find_user(caller)
            target = self.pbx.find(to)
            if target is None:
                if user is not None:
                    return self.dial(caller, to, end_user=end_user, tags=tags)
                raise CommandError(f"no user or group of the simulated PBX is called {to!r}")
            fields: dict[str, Any] = {"tags": ";".join(tags) or None}
            if user is not None:
                fields |= _from_user(user, called_number or target.main_extension)
            else:
                fields |= {
                    "peer_location": "external",
                    "calling_name": caller,
                    "calling_number": caller,
                    "called_number": called_number or target.did,
                    "end_user": self.customers.text(caller) if end_user is None else end_user,
                    "whoscall": self.customers.whoscall(caller),
                }
            if calling_name is not None:
                fields["calling_name"] = calling_name
            call = Call(self)
            call._arrive(fields)
            call._offer(target)
            return call

    def dial(
        self,
        user: str,
        number: str,
        *,
        end_user: str | None = None,
        tags: Sequence[str] = (),
        origination: Sequence[str] = (),
    ) -> Call:
        """As :meth:`basix_cti.simulator.Simulator.dial`."""
        with self.pbx.lock:
            call = self._from_station(user, number, tags=";".join(tags) or None, origination=_joined(origination))
            call._offer(number, end_user)
            return call

    def media_plug(self, user: str) -> Call:
        """As :meth:`basix_cti.simulator.Simulator.media_plug`."""
        with self.pbx.lock:
            call = self._from_station(user, "media_plug")
            call._serve("media_plug", "system_operation", ("media_plug",))
            return call

    def check_voicemail(self, user: str) -> Call:
        """As :meth:`basix_cti.simulator.Simulator.check_voicemail`."""
        with self.pbx.lock:
            owner = self.user(user)
            call = self._from_station(user, "voicemail")
            call._serve("voicemail", "checking_voicemail", (owner.name,))
            box = owner.mwi
            if box.new:
                self.pbx.update(self.pbx.users, owner.id, mwi=Mailbox(0, box.new + box.saved))
            return call

    def calls(self) -> list[Call]:
        """The calls that have not ended, oldest first."""
        with self.pbx.lock:
            return list(dict.fromkeys(self._by_leg.values()))

    def find(self, leg: str) -> Call | None:
        """The call that the channel with this uuid belongs to; None if there is no such channel."""
        return self._by_leg.get(leg)

    def busy(self, user: User) -> bool:
        """Whether a channel of the user's is up, one that only rings included."""
        return self._legs_of[user.id] > 0

    def user(self, who: str) -> User:
        """The user with this name, label, extension, public number or email.

        Raises:
            CommandError: there is none.
        """
        user = self.pbx.find_user(who)
        if user is None:
            raise CommandError(f"no user of the simulated PBX is called {who!r}")
        return user

    def hang_up_all(self) -> int:
        """End every call from the side of the PBX; how many there were."""
        with self.pbx.lock:
            calls = self.calls()
            for call in calls:
                call._cut()
            return len(calls)

    def _from_station(self, user: str, number: str, **fields: Any) -> Call:
        call = Call(self)
        call._arrive(_from_user(self.user(user), number) | fields)
        return call

    def _free_slot(self) -> int:
        slot = 1
        while str(slot) in self._by_slot:
            slot += 1
        return slot


class Call:
    """A call on the simulated PBX. Every step returns the call itself, so that steps can be chained.

    Made by :meth:`~basix_cti.simulator.Simulator.call` and its sisters, never directly. A step that the call's state
    does not allow raises :class:`~basix_cti.errors.CommandError`, which names the call and the state, and changes
    nothing. Steps may come from any thread; what they change has been handed to every connection when they return.

    ==============  ====================================================================================
    state           meaning
    ==============  ====================================================================================
    ``ringing``     somebody is called; a ring group without a free station also leaves it here, queued
    ``bridged``     two legs talk
    ``parked``      waits in a parking slot
    ``voicemail``   is in a mailbox, to leave a message or to listen to them
    ``ivr``         in a menu; likewise ``xml_ivr`` and ``conference``
    ``media_plug``  a station's leg into which the audio of others can be plugged
    ``eavesdrop``   the same, while it listens
    ``ended``       no leg is left
    ==============  ====================================================================================
    """

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self._pbx = board.pbx
        self._party = ""
        self._others: list[str] = []
        self._state = "ringing"
        self._episode = 0
        self._target: User | Group | None = None
        self._hunt: list[int] = []
        self._slot: int | str | None = None
        self._parker: User | None = None
        self._hears = ""
        self._page = Page("", "", 0)

    def __repr__(self) -> str:
        return f"<Call {self._party} {self._state}>"

    @property
    def uuid(self) -> str:
        """The leg of the party that is served: the caller's, or the outer one once an outgoing call was passed on."""
        return self._party

    @property
    def legs(self) -> tuple[str, ...]:
        """The uuids of the legs that are up, the served party's first. Empty once the call has ended."""
        with self._pbx.lock:
            return () if self._state == "ended" else (self._party, *self._others)

    @property
    def state(self) -> str:
        """One of the states of the table above."""
        return self._state

    @property
    def slot(self) -> int | str | None:
        """The parking slot while the call is parked, None otherwise."""
        return self._slot if self._state == "parked" else None

    # --- what people do -----------------------------------------------------------------------------------------

    def answer(self, by: str | None = None) -> Call:
        """A called party picks up, and the two are bridged.

        Args:
            by: the user who answers, by name, label or extension. None: the first one that rings. A user whose
                station does not ring takes the call over from another station (a pick-up): the stations that rang
                end with ``PICKED_OFF``; otherwise the losers of a ring group end with ``LOSE_RACE``.

        Raises:
            CommandError: the call does not ring, there is no such user, or nobody rings and ``by`` is None.
        """
        with self._step("answer", "ringing"):
            user = None if by is None else self._board.user(by)
            leg = next((leg for leg in self._others if user is None or self._channel(leg).user_id == user.id), None)
            cause = "LOSE_RACE"
            if leg is None:
                if user is None or self._target is None:
                    raise CommandError(f"call {self._party} rings at nobody's station who could answer")
                leg = self._pick_up(user, "*8")
                cause = "PICKED_OFF"
            else:
                self._change(leg, "CHANNEL_ANSWER", answer_timestamp=self._pbx.clock())
                self._others.remove(leg)
            self._answer_party()
            losers, self._others = self._others, [leg]
            self._bridge(leg, "picked_up_elsewhere" if cause == "PICKED_OFF" else "answered")
            self._end(losers, "send_cancel", cause)
            return self

    def busy(self) -> Call:
        """Everyone who rings refuses the call, and it ends with ``USER_BUSY``."""
        with self._step("be refused", "ringing"):
            self._end_all("recv_refuse", self._refusal(), "USER_BUSY", "busy")
            return self

    def no_answer(self) -> Call:
        """Nobody picked up in time. A hunt group's next member rings; otherwise the call ends with ``NO_ANSWER``."""
        with self._step("go unanswered", "ringing"):
            following = [user_id for user_id in self._hunt if user_id in self._pbx.users]
            if following:
                self._end_others("send_cancel", "NO_ANSWER")
                self._ring(self._pbx.users[following[0]])
                self._hunt = following[1:]
            else:
                self._end_all("send_cancel", self._refusal(), "NO_ANSWER")
            return self

    def abandon(self) -> Call:
        """The caller gives up waiting: ``ORIGINATOR_CANCEL`` before the call was answered, else ``NORMAL_CLEARING``."""
        with self._step("be abandoned", "ringing", "parked"):
            return self.hangup()

    def hangup(self, cause: str | None = None, disposition: str | None = None) -> Call:
        """The call ends.

        Args:
            cause: a FreeSWITCH hangup cause. None: ``NORMAL_CLEARING``, or ``ORIGINATOR_CANCEL`` before the answer.
            disposition: how the served party's leg ends; the leg it talks to ends the other way round. None:
                ``recv_bye`` (the party hung up), or ``recv_cancel`` before the answer. ``send_bye``: the other hung up.

        Raises:
            CommandError: the call has ended, or the disposition or cause is none.
        """
        with self._step("be hung up", *_SERVED, *_PLUGS):
            answered = self._channel(self._party).answer_timestamp is not None
            if cause is None:
                cause = "NORMAL_CLEARING" if answered else "ORIGINATOR_CANCEL"
            if disposition is None:
                disposition = "recv_bye" if answered else "recv_cancel"
            if disposition not in _MIRRORED:
                raise CommandError(f"{disposition!r} is no disposition: use one of {', '.join(_MIRRORED)}")
            if not cause.replace("_", "").isalnum():
                raise CommandError(f"{cause!r} is no hangup cause: they look like NORMAL_CLEARING")
            others = "send_cancel" if self._state == "ringing" else _MIRRORED[disposition]
            plain = "abandoned" if disposition.startswith("recv") else "missed"
            self._end_all(others, disposition, cause, _FATES.get(cause, plain))
            return self

    def park(self, slot: int | str | None = None, by: str | None = None, timeout: float | None = None) -> Call:
        """The party is put into a parking slot, and whoever talked to it is released.

        Args:
            slot: the slot; None takes the lowest free number from 1.
            by: the user who parks, by name, label or extension. None: the user who talks to the party, if any.
            timeout: seconds after which the call rings at the parker's station, for as long again, and then ends
                with ``ALLOTTED_TIMEOUT``; without a parker it ends at once. None: it stays parked.

        Raises:
            CommandError: the call's state does not allow it, the slot is taken, there is no such user, or the
                timeout is not positive.
        """
        with self._step("be parked", "bridged", "ringing", "voicemail", "ivr", "xml_ivr", "conference"):
            parker = self._board.user(by) if by is not None else None
            self._park(self._customer(), slot, parker, timeout)
            return self

    def unpark(self, by: str | None = None) -> Call:
        """A user takes the party out of its slot and talks to it.

        Args:
            by: the user, by name, label or extension. None: the one who parked it.

        Raises:
            CommandError: the call is not parked, there is no such user, or nobody is known to have parked it.
        """
        with self._step("be unparked", "parked"):
            user = self._parker if by is None else self._board.user(by)
            if user is None:
                raise CommandError(f"nobody is known to have parked call {self._party}: say who takes it with by=")
            leg = self._pick_up(user, f"*5{self._slot}")
            self._others = [leg]
            self._bridge(leg)
            return self

    def transfer(self, to: str) -> Call:
        """The party is sent to somebody else, who rings; whoever talked to it or rang for it is released.

        Args:
            to: name, label, extension or public number of a user or group; anything else is dialled outside.
        """
        with self._step("be transferred", *_SERVED):
            self._transfer(self._customer(), self._pbx.find(to) or to)
            return self

    def put_through(self, consultation: Call) -> Call:
        """An attended transfer: whoever talks in this call gets the one who was asked in another, and they talk.

        The user who did the asking is released from both calls, with ``ATTENDED_TRANSFER``; the consultation ends.

        Args:
            consultation: the user's call to somebody else.

        Raises:
            CommandError: one of the two calls is not bridged, or they are the same.
        """
        with self._step("be put through", "bridged"), consultation._step("be a consultation", "bridged"):
            if consultation is self:
                raise CommandError(f"call {self._party} cannot be put through to itself")
            self._keep(self._customer())
            (joiner,), consultation._others = consultation._others, []
            released, self._others = self._others, [joiner]
            self._board._by_leg[joiner] = self
            self._page.transfers += 1
            self._bridge(joiner)
            self._end(released, "send_bye", "ATTENDED_TRANSFER")
            consultation._end_all("send_bye", "send_bye", "ATTENDED_TRANSFER")
            return self

    def voicemail(self, leave_message: bool = True) -> Call:
        """The mailbox of the called user or group takes the call.

        Args:
            leave_message: also :meth:`leave_message`.

        Raises:
            CommandError: the call's state does not allow it, or no user or group was called.
        """
        with self._step("go to voicemail", "ringing", "ivr", "xml_ivr"):
            target = self._target
            if target is None:
                raise CommandError(f"call {self._party} is for nobody who has a mailbox")
            self._end_others("send_cancel", "NO_ANSWER")
            kind = "user" if isinstance(target, User) else "group"
            self._serve("voicemail", "voicemail", (kind, target.id, target.name))
            return self.leave_message() if leave_message else self

    def leave_message(self) -> Call:
        """A message is added to the mailbox: its counter goes up."""
        with self._step("leave a message", "voicemail"):
            pbx, target = self._pbx, self._target
            if isinstance(target, User) and target.id in pbx.users:
                box = pbx.users[target.id].mwi
                pbx.update(pbx.users, target.id, mwi=Mailbox(box.new + 1, box.saved))
            elif isinstance(target, Group) and target.id in pbx.groups:
                box = pbx.groups[target.id].mwi
                pbx.update(pbx.groups, target.id, mwi=Mailbox(box.new + 1, box.saved))
            else:
                raise CommandError(f"call {self._party} is in nobody's mailbox to leave a message")
            return self

    def ivr(self, ivr_id: int = 1) -> Call:
        """A menu takes the call."""
        return self._go("ivr", (ivr_id,))

    def xml_ivr(self) -> Call:
        """An XML application takes the call (``plivo`` in the first generation)."""
        return self._go("xml_ivr", ())

    def conference(self, room_id: int = 1) -> Call:
        """The party joins a conference room."""
        return self._go("conference", (room_id,))

    # --- what commands do: they name a channel, and the PBX does it, lock held --------------------------------------

    def _hangup_leg(self, leg: str) -> None:
        if self._state == "ringing" and leg in self._others and len(self._others) > 1:
            self._others.remove(leg)
            self._end([leg], "send_cancel", "NORMAL_CLEARING")
        else:
            self._cut()

    def _park_leg(self, leg: str, timeout: float | None) -> None:
        with self._step("be parked", *(state for state in _SERVED if state != "parked")):
            if self._state == "ringing" and leg != self._party:
                raise CommandError(f"channel {leg} only rings: it cannot be parked")
            self._park(leg, None, None, timeout)

    def _transfer_leg(self, leg: str, target: User | Group | str) -> None:
        with self._step("be transferred", *_SERVED):
            # A station that only rings has nobody to be transferred: its caller goes to the new target.
            self._transfer(self._party if self._state == "ringing" else leg, target)

    def _eavesdrop(self, target: str, subcommand: str) -> None:
        with self._step("eavesdrop", *_PLUGS):
            if subcommand == "stop":
                self._unplug()
                return
            if target not in self._pbx.channels or target == self._party:
                raise CommandError(f"there is no channel {target} to listen to")
            self._serve("eavesdrop", "eavesdrop", (target, subcommand))
            self._hears = target
            self._board._listeners.setdefault(target, []).append(self)

    def _unplug(self) -> None:
        self._serve("media_plug", "system_operation", ("media_plug",))

    def _cut(self) -> None:
        ringing = "send_cancel" if self._state == "ringing" else "send_bye"
        self._end_all(ringing, self._refusal(), "NORMAL_CLEARING")

    # --- the parts of a step, lock held -----------------------------------------------------------------------------

    @contextmanager
    def _step(self, what: str, *states: str) -> Iterator[None]:
        with self._pbx.lock:
            if self._state not in states:
                raise CommandError(f"call {self._party} is {self._state}: it cannot {what}")
            yield

    def _enter(self, state: str) -> None:
        if self._state == "parked":
            del self._board._by_slot[str(self._slot)]
        elif self._state == "eavesdrop":
            self._board._listeners[self._hears].remove(self)
        self._state = state
        self._episode += 1

    def _channel(self, leg: str) -> Channel:
        return self._pbx.channels[leg]

    def _change(self, leg: str, event: str, **fields: Any) -> Channel:
        fields.setdefault("last_event_data", None)
        return self._pbx.update(self._pbx.channels, leg, last_event=event, **fields)

    def _new_leg(self, fields: dict[str, Any]) -> str:
        leg, now = self._pbx.new_uuid(), self._pbx.clock()
        self._board._by_leg[leg] = self
        if fields["direction"] == "outbound":
            fields |= {"call_id": leg, "state": State(now, "ringing"), "last_event": "CHANNEL_ORIGINATE"}
        else:
            fields["call_id"] = f"{self._pbx.new_uuid()}@192.0.2.10"
        channel = Channel(leg, offer_timestamp=now, **fields)
        if channel.user_id is not None:
            self._board._legs_of[channel.user_id] += 1
        self._pbx.add(self._pbx.channels, leg, channel)
        return leg

    def _arrive(self, fields: dict[str, Any]) -> None:
        self._party = self._new_leg({"direction": "inbound", **fields})
        party = self._channel(self._party)
        self._page = Page(self._party, self._name_of(party) or party.calling_number, party.offer_timestamp)

    def _name_of(self, channel: Channel) -> str | None:
        user = None if channel.user_id is None else self._pbx.users.get(channel.user_id)
        return None if user is None else user.name

    def _offer(self, target: User | Group | str, end_user: str | None = None) -> None:
        """Rings at a user's, at a group's stations or, for a text, at a number outside."""
        self._enter("ringing")
        self._page.turn("waiting", self._pbx.clock())
        if self._page.target is None:
            self._page.target = target if isinstance(target, str) else target.name
        party = self._channel(self._party)
        kind = None
        users: list[User] = []
        if isinstance(target, User):
            called = Target("user", target.id, target.name, party.called_number)
            users = [target]
        elif isinstance(target, Group):
            called = Target("group", target.id, target.name, party.called_number)
            users = self._stations(target)
            kind = "hunt" if target.type else "ring"
        else:
            called = Target("pstn", None, None, target)
        self._target = None if isinstance(target, str) else target
        self._hunt = [user.id for user in users[1:]] if kind == "hunt" else []
        own = party.direction == "inbound" and self._target is not None
        self._change(
            self._party,
            "STATE_CHANGE",
            state=State(self._pbx.clock(), "calling", target=called, group_type=kind),
            target=called if own else party.target,
            other_uuid=None,
            other_info=None,
        )
        if isinstance(target, str):
            self._ring_outside(target, end_user)
        for user in users[:1] if kind == "hunt" else users:
            self._ring(user)

    def _stations(self, group: Group) -> list[User]:
        members = [member for member in self._pbx.members.values() if member.group_id == group.id]
        party = self._channel(self._party)
        users = [
            self._pbx.users[member.user_id]
            for member in sorted(members, key=lambda member: (member.priority, member.id))
            if member.login_status or not group.check_login_status
        ]
        return [user for user in users if user.id != party.user_id and not user.do_not_disturb_status]

    def _ring(self, user: User) -> None:
        party = self._channel(self._party)
        name, number = _identity(party)
        self._others.append(
            self._new_leg(
                {
                    "direction": "outbound",
                    "peer_location": "internal",
                    "calling_name": name,
                    "calling_number": number,
                    "called_number": user.main_extension,
                    "other_uuid": party.uuid,
                    "user_id": user.id,
                    "group_id": self._target.id if isinstance(self._target, Group) else None,
                    "other_info": self._summary(party),
                }
            )
        )

    def _ring_outside(self, number: str, end_user: str | None) -> None:
        party = self._channel(self._party)
        name, calling_number = _identity(party)
        user = self._pbx.users.get(party.user_id) if party.user_id is not None else None
        customers = self._board.customers
        self._others.append(
            self._new_leg(
                {
                    "direction": "outbound",
                    "peer_location": "external",
                    "calling_name": name,
                    "calling_number": calling_number if user is None else user.did,
                    "called_number": number,
                    "other_uuid": party.uuid,
                    "end_user": customers.text(number) if end_user is None else end_user,
                    "other_info": self._summary(party),
                    "whoscall": customers.whoscall(number),
                }
            )
        )

    def _pick_up(self, user: User, code: str) -> str:
        """A new leg, answered, from a station that takes the party over by dialling a code."""
        leg = self._new_leg({"direction": "inbound", **_from_user(user, code)})
        self._change(leg, "CHANNEL_ANSWER", answer_timestamp=self._pbx.clock())
        return leg

    def _answer_party(self) -> None:
        if self._channel(self._party).answer_timestamp is None:
            self._change(self._party, "CHANNEL_ANSWER", answer_timestamp=self._pbx.clock())

    def _bridge(self, leg: str, outcome: str = "answered") -> None:
        self._enter("bridged")
        party, other = self._channel(self._party), self._channel(leg)
        self._page.answered(self._pbx.clock(), self._name_of(other) or _identity(other)[1], outcome)
        self._page.turn("talking", self._pbx.clock())
        for one, two in ((party, other), (other, party)):
            fields: dict[str, Any] = {"other_uuid": two.uuid, "other_info": self._summary(two)}
            if one.user_id is None and two.user_id is not None:
                fields["last_bridged_user_id"] = two.user_id
            self._change(one.uuid, "CHANNEL_BRIDGE", state=State(self._pbx.clock(), "bridged"), **fields)

    def _summary(self, channel: Channel) -> OtherInfo:
        start = (channel.direction, channel.peer_location)
        user = None if channel.user_id is None else self._pbx.users.get(channel.user_id)
        if user is not None:
            return OtherInfo("user", user.id, *start, user.name, channel.offer_timestamp, channel.group_id, None)
        number = _identity(channel)[1]
        return OtherInfo("end_user", channel.end_user, *start, number, channel.offer_timestamp, None, channel.whoscall)

    def _customer(self) -> str:
        """The leg that goes on when the call is passed on: the one from outside, if two talk."""
        if self._state == "bridged":
            for leg in (self._party, *self._others):
                if self._channel(leg).peer_location == "external":
                    return leg
        return self._party

    def _keep(self, leg: str) -> None:
        """Make another leg the served party."""
        if leg != self._party:
            self._others = [self._party, *(other for other in self._others if other != leg)]
            self._party = leg

    def _park(self, leg: str, slot: int | str | None, parker: User | None, timeout: float | None) -> None:
        if timeout is not None and not timeout > 0:
            raise CommandError(f"a parking timeout is a positive number of seconds, not {timeout!r}")
        if slot is None:
            slot = self._board._free_slot()
        elif str(slot) in self._board._by_slot:
            raise CommandError(f"parking slot {slot!r} is taken: call {self._party} cannot be parked there")
        if parker is None and self._state == "bridged":
            talkers = (self._channel(other).user_id for other in (self._party, *self._others) if other != leg)
            parker = next((self._pbx.users[user_id] for user_id in talkers if user_id is not None), None)
        was_ringing = self._state == "ringing"
        self._keep(leg)
        self._slot, self._parker = slot, parker
        details = (slot, None, parker and parker.id, parker and parker.name)
        self._answer_party()
        self._serve("parked", "park", details, event="CHANNEL_PARK")
        self._board._by_slot[str(slot)] = self
        self._end_others("send_cancel" if was_ringing else "send_bye", "NORMAL_CLEARING")
        if timeout is not None:
            self._later(timeout, lambda: self._ring_back(timeout))

    def _ring_back(self, seconds: float) -> None:
        if self._parker is None or self._parker.id not in self._pbx.users:
            self._end_all("send_bye", "send_bye", "ALLOTTED_TIMEOUT")
            return
        self._offer(self._parker)
        self._later(seconds, lambda: self._end_all("send_cancel", "send_bye", "ALLOTTED_TIMEOUT"))

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do it unless the call has moved on by then."""
        episode = self._episode

        def due() -> None:
            if self._episode == episode:
                action()

        self._pbx.timers.after(seconds, due)

    def _transfer(self, leg: str, target: User | Group | str) -> None:
        ringing = self._state == "ringing"
        # Out of a menu or a mailbox it is put on its way; it is sent on to somebody else only after that.
        if self._state in ("bridged", "parked", "conference") or (ringing and target != self._target):
            self._page.transfers += 1
        self._keep(leg)
        self._end_others("send_cancel" if ringing else "send_bye", "NORMAL_CLEARING" if ringing else "BLIND_TRANSFER")
        self._offer(target)

    def _go(self, state: str, details: tuple[int, ...]) -> Call:
        with self._step(f"go to {state}", *_SERVED):
            ringing = self._state == "ringing"
            self._keep(self._customer())
            self._end_others("send_cancel" if ringing else "send_bye", "NORMAL_CLEARING")
            self._serve(state, state, details)
            return self

    def _serve(
        self, state: str, name: str, details: tuple[str | int | None, ...], event: str = "CHANNEL_APPLICATION"
    ) -> None:
        """The PBX itself talks to the party."""
        self._enter(state)
        now, doing = self._pbx.clock(), _DOING[state]
        self._page.turn(doing, now)
        if doing == "mailbox":
            self._page.mailbox(now)
        elif doing in ("talking", "service"):
            self._page.answered(now, None)
        self._answer_party()
        on_wire = State(self._pbx.clock(), name, details)
        self._change(self._party, event, state=on_wire, other_uuid=None, other_info=None)

    def _refusal(self) -> str:
        """How the PBX ends the party's leg: it refuses what was not answered, and takes back what it offered."""
        party = self._channel(self._party)
        if party.answer_timestamp is not None:
            return "send_bye"
        return "send_refuse" if party.direction == "inbound" else "send_cancel"

    def _end_others(self, disposition: str, cause: str) -> None:
        legs, self._others = self._others, []
        self._end(legs, disposition, cause)

    def _end_all(self, others: str, party: str, cause: str, fate: str = "missed") -> None:
        """The call is over; ``fate`` is how, if nobody has answered it."""
        legs, self._others = self._others, []
        self._enter("ended")
        self._board.book.enter(self._page.close(self._pbx.clock(), fate))
        self._end(legs, others, cause)
        self._end([self._party], party, cause)

    def _end(self, legs: list[str], disposition: str, cause: str) -> None:
        for leg in legs:
            self._change(
                leg, "CHANNEL_HANGUP", hangup_timestamp=self._pbx.clock(), last_event_data=f"{disposition},{cause}"
            )
            channel = self._pbx.remove(self._pbx.channels, leg)
            if channel.user_id is not None:
                self._board._legs_of[channel.user_id] -= 1
            del self._board._by_leg[leg]
            for listener in tuple(self._board._listeners.get(leg, ())):
                listener._unplug()
            self._board._listeners.pop(leg, None)


def _from_user(user: User, number: str) -> dict[str, Any]:
    return {
        "peer_location": "internal",
        "calling_name": user.label,
        "calling_number": user.main_extension,
        "called_number": number,
        "user_id": user.id,
    }


def _identity(channel: Channel) -> tuple[str, str]:
    """Name and number of whoever is at the channel's far end."""
    if channel.direction == "inbound":
        return channel.calling_name, channel.calling_number
    return channel.called_number, channel.called_number


def _joined(parts: Sequence[str]) -> str | None:
    return "*".join(quote(part, safe="") for part in parts) or None
