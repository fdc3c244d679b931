"""The rows of a board, made of a picture and its calls. No lock: the board that has them holds one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..call_tracker import CallTracker
from ..calls import Call, Leg, Party
from ..elements import Channel, Element, Group, GroupMember, Key, Terminal, User
from ..events import CallEvent, InfoEvent, InitialInfo
from ..state import Picture
from ..values import Scalar, message_counts
from .view import TABLES, Row, Table

__all__ = ["Rows"]

_TABLE_OF: dict[str, Table] = {"user": "people", "group": "groups"}
_OFF = ("", "0", "false", "off", "no", "none", "disabled")
_RINGING = ("new", "ringing", "calling")
_UNANSWERED = ("new", "ringing", "menu")
_ALONE = ("conference", "voicemail", "service", "menu")  # nobody is at the other end
_LONGEST_EXTENSION = 5


@dataclass(slots=True)
class _Known:
    """A call whose row is made: which users have a leg that is up, and the group that it is for."""

    call: Call
    legs: dict[Key, list[Leg]]
    group_id: Key | None


class Rows:
    """Keeps a row for each group, call and person; what they hold, :class:`~basix_cti.board.Board` tells.

    What happens marks rows; :meth:`refresh` makes these anew. Whether a call has changed is not marked but seen by its
    object, for each change makes a new one.

    Attributes:
        rows: by table and key.
        tracker: the calls.
    """

    def __init__(self) -> None:
        self.rows: dict[Table, dict[Key, Row]] = {table: {} for table in TABLES}
        self.picture = Picture()
        self.tracker = CallTracker(self.picture)
        self._dirty: dict[Table, set[Key]] = {table: set() for table in TABLES}
        # Rows that are new, changed or gone since that was asked for; None before, so that nobody has to ask.
        self._changed: dict[Table, set[Key]] | None = None
        self._known: dict[str, _Known] = {}
        self._calls_of: dict[Table, dict[Key, set[str]]] = {"people": {}, "groups": {}}
        # The tables of which a full state was told; and, name and extension, those whom calls have named without one.
        self._listed: set[Table] = set()
        self._named: dict[Table, dict[Key, tuple[str | None, str | None]]] = {"people": {}, "groups": {}}
        # Made when they are needed, and anew after a change.
        self._memberships: _Memberships | None = None
        self._terminals: dict[Key, list[Terminal]] | None = None

    def take_change(self, event: InfoEvent) -> Sequence[CallEvent]:
        """Take a change in; what it means for calls."""
        key = event.item.key
        before = None if key is None else self.picture.get(event.element, key)
        self.picture._put(event)
        if key is not None:
            for item in (before, event.item):
                if item is not None:
                    self._mark(item, key)
        if isinstance(event.item, Channel):
            self._name(event.item)
        return self.tracker.take(event)

    def take_state(self, event: InitialInfo) -> None:
        """Take the full state of one element in."""
        element = event.element
        before = self.picture.items(element)
        self.picture._take_initial(event)
        self.tracker.take(event)
        if element == "channel":
            for channel in event.channels:
                self._name(channel)
        else:
            for key, item in (*before.items(), *self.picture.items(element).items()):
                self._mark(item, key)
        table = _TABLE_OF.get(element)
        if table is not None:  # only those who are listed exist
            self._listed.add(table)
            self._dirty[table].update(self._named.pop(table, ()))
            self._named[table] = {}
            self._dirty["calls"].update(self._known)

    def take_changed(self) -> dict[Table, set[Key]]:
        """The keys of rows that are new, changed or gone since the last time; the first time, of all."""
        changed = self._changed
        self._changed = {table: set() for table in TABLES}
        return {table: set(self.rows[table]) for table in TABLES} if changed is None else changed

    def lists(self, table: Table) -> bool:
        """Whether a full state of a table was told."""
        return table in self._listed

    def find(self, table: Table, text: str) -> Key | None:
        """The key of the row with this name, label, extension or id; None for none."""
        for field in ("name", "label", "extension", "id"):
            for key, row in self.rows[table].items():
                if row[field] is not None and str(row[field]) == text:
                    return key
        return None

    def comes_in(self, call: Call) -> bool:
        """Whether a call comes from outside, or is for a group."""
        return call.direction in ("inbound", None) or self._group_of(call) is not None

    def _name(self, channel: Channel) -> None:
        """Where nobody is listed, those exist whom a channel names."""
        if "people" not in self._listed and channel.user_id is not None:
            number = channel.calling_number if channel.direction == "inbound" else channel.called_number
            self._learn_name("people", channel.user_id, channel.user_name, _extension(number))
        if "groups" not in self._listed:
            if channel.group_id is not None:
                self._learn_name("groups", channel.group_id, channel.group_name)
            target = channel.target
            if target is not None and target.type == "group" and target.id is not None:
                self._learn_name("groups", target.id, target.name)

    def _learn_name(self, table: Table, key: Key, name: str | None, extension: str | None = None) -> None:
        known = self._named[table].get(key, (None, None))
        now = (name or known[0], extension or known[1])
        if key not in self._named[table] or now != known:
            self._named[table][key] = now
            self._dirty[table].add(key)

    def _mark(self, item: Element, key: Key) -> None:
        """Have the rows made anew that show an object."""
        table = _TABLE_OF.get(item.element)
        if table is not None:
            self._dirty[table].add(key)
            self._dirty["calls"].update(self._calls_of[table].get(key, ()))
            if table == "groups":
                for member in self._places().of_group.get(key, ()):
                    self._dirty["people"].update(_given(member.user_id))
        elif isinstance(item, GroupMember):
            self._memberships = None
            self._dirty["people"].update(_given(item.user_id))
            self._dirty["groups"].update(_given(item.group_id))
        elif isinstance(item, Terminal):
            self._terminals = None
            self._dirty["people"].update(_given(item.assoc_user_id))

    def refresh(self) -> None:
        """Make the rows anew that have to be."""
        self._refresh_calls()
        makers: tuple[tuple[Table, Callable[[Key], Row | None]], ...] = (
            ("people", self._person),
            ("groups", self._group),
        )
        for table, make in makers:
            for key in self._dirty[table]:
                self._put(table, key, make(key))
            self._dirty[table].clear()

    def _put(self, table: Table, key: Key, row: Row | None) -> None:
        rows = self.rows[table]
        if rows.get(key) == row:
            return
        if self._changed is not None:
            self._changed[table].add(key)
        if row is None:
            del rows[key]
        else:
            rows[key] = row

    def _refresh_calls(self) -> None:
        calls = {call.id: call for call in self.tracker.calls}
        for id_ in [id_ for id_ in self._known if id_ not in calls]:
            self._forget(id_)
            self._put("calls", id_, None)
        dirty = self._dirty["calls"]
        for id_, call in calls.items():
            known = self._known.get(id_)
            if known is None or known.call is not call or id_ in dirty:
                self._forget(id_)
                self._learn(call)
                self._put("calls", id_, self._call(call))
        dirty.clear()

    def _forget(self, id_: str) -> None:
        """Take a call away from those who are in it."""
        known = self._known.pop(id_, None)
        if known is None:
            return
        self._touch("people", [*known.legs], id_, False)
        self._touch("groups", _given(known.group_id), id_, False)

    def _learn(self, call: Call) -> None:
        """Find who is in a call, and which group it is for."""
        legs: dict[Key, list[Leg]] = {}
        for leg in call.legs:
            user_id = leg.channel.user_id
            if user_id is not None and not leg.ended:
                legs.setdefault(user_id, []).append(leg)
        group_id = self._group_of(call)
        self._known[call.id] = _Known(call, legs, group_id)
        self._touch("people", [*legs], call.id, True)
        self._touch("groups", _given(group_id), call.id, True)

    def _touch(self, table: Table, keys: list[Key], id_: str, is_in: bool) -> None:
        for key in keys:
            self._dirty[table].add(key)
            if is_in:
                self._calls_of[table].setdefault(key, set()).add(id_)
            else:
                calls = self._calls_of[table].get(key, set())
                calls.discard(id_)
                if not calls:
                    self._calls_of[table].pop(key, None)

    def _exists(self, table: Table, key: Key) -> bool:
        """Whether somebody is shown who is in no list."""
        return key in self._calls_of[table] or key in self._named[table]

    # Calls

    def _group_of(self, call: Call) -> Key | None:
        """The group that a call is for now."""
        target = call.transfers[-1].target if call.transfers else call.target
        if target is not None and target.type == "group":
            return target.id
        if call.transfers:
            return None
        ids = [leg.channel.group_id for leg in call.legs if not leg.is_inbound and leg.channel.group_id is not None]
        return ids[-1] if ids else None

    def _group_name(self, call: Call, group_id: Key) -> str | None:
        targets = [call.target, *(transfer.target for transfer in call.transfers)]
        names = [each.name for each in targets if each is not None and each.type == "group" and each.id == group_id]
        names += [leg.channel.group_name for leg in call.legs if leg.channel.group_id == group_id]
        return next((name for name in names if name), None)

    def _call(self, call: Call) -> Row:
        known = self._known[call.id]
        state, leg, park = call.state, call.served_leg, call.park
        answered = call.is_answered
        caller = call.caller
        end_user, customer = call.end_user, call.customer
        name, number, extension = self._face(caller)
        target, target_number, _ = self._aim(call)
        if state == "parked":
            waiting = True
        elif state in _UNANSWERED:
            waiting = answered or self.comes_in(call)
        else:
            waiting = False
        since = call.offer_timestamp
        if leg is not None and leg.spans and (answered or state not in _UNANSWERED):
            since = leg.spans[-1].start
        by = call.answered_by
        aimed = call.transfers[-1].target if call.transfers else call.target
        user_ids = [*known.legs]
        if aimed is not None and aimed.type == "user" and aimed.id is not None and aimed.id not in user_ids:
            user_ids.append(aimed.id)
        group = self._group_label(known.group_id)
        return {
            "id": call.id,
            "state": state,
            "waiting": waiting,
            "direction": call.direction,
            "since": since,
            "offered": call.offer_timestamp,
            "caller": name,
            "number": number,
            "extension": extension,
            "customer": None if customer is None else customer.name or None,
            "organization": None if customer is None else customer.organization or None,
            "customers": 0 if end_user is None else end_user.count,
            "group_id": known.group_id,
            "group": group or (None if known.group_id is None else self._group_name(call, known.group_id)),
            "target": target,
            "target_number": target_number,
            "answered_by": None if by is None else self._face(by)[0] or _extension(by.number),
            "user_ids": user_ids,
            "slot": None if park is None else park.slot,
            "parker": None if park is None else self._user_label(park.parker_id) or park.parker_name,
            "partial": call.partial,
            "uncertain": call.uncertain,
        }

    def _face(self, party: Party) -> tuple[str | None, str | None, str | None]:
        """Name, telephone number and extension of somebody; an extension only for somebody inside."""
        number = party.number or None
        if party.user_id is not None:
            name = self._user_label(party.user_id) or party.name or party.user_name
            user = self.picture.get("user", party.user_id)
            extension = user.main_extension if isinstance(user, User) else None
            extension = extension or _extension(number)
            return name, None if extension else number, extension
        customer = party.customer
        name = (customer and customer.name) or party.name or None
        return (None if name == number else name), number, None

    def _aim(self, call: Call) -> tuple[str | None, str | None, str | None]:
        """Whom a call is for now, likewise."""
        target = call.transfers[-1].target if call.transfers else call.target
        if target is None:
            return None, None, None
        if target.type == "group":
            return self._group_label(target.id) or target.name or str(target.id), None, None
        if target.type == "user" and target.id is not None:
            name, number, extension = self._face(Party(None, None, target.id, target.name))
            return name or str(target.id), number, extension
        return target.name, target.address, None

    def _user_label(self, user_id: Scalar) -> str | None:
        user = None if user_id is None else self.picture.get("user", user_id)
        return (user.label or user.name) if isinstance(user, User) else None

    def _group_label(self, group_id: Key | None) -> str | None:
        group = None if group_id is None else self.picture.get("group", group_id)
        return (group.label or group.name) if isinstance(group, Group) else None

    # People

    def _person(self, key: Key) -> Row | None:
        found = self.picture.get("user", key)
        user = found if isinstance(found, User) else None
        if user is None and not self._exists("people", key):
            return None
        named = self._named["people"].get(key, (None, None))
        dnd = None if user is None or user.do_not_disturb_status is None else _is_on(user.do_not_disturb_status)
        forwarding = None if user is None or user.fwd_always_status is None else _is_on(user.fwd_always_status)
        terminals = self._terminals_of(key)
        registered = any(_is_on(each.registered) for each in terminals) if terminals else None
        new, saved = (None, None) if user is None else message_counts(user.mwi)
        places = self._places().of_user.get(key, [])
        row: Row = {
            "id": key,
            "name": (None if user is None else user.name) or named[0],
            "label": None if user is None else user.label,
            "extension": (None if user is None else user.main_extension) or named[1],
            "presence": None if user is None else user.presence,
            "state": "free",
            "doing": None,
            "reason": None,
            "peer": None,
            "peer_number": None,
            "peer_extension": None,
            "direction": None,
            "since": None,
            "call": None,
            "calls": len(self._calls_of["people"].get(key, ())),
            "dnd": dnd,
            "forwarding": forwarding,
            "registered": registered,
            "mwi_new": new,
            "mwi_saved": saved,
            "group_ids": [each.group_id for each in places if each.group_id is not None],
            "logged_in": [each.group_id for each in places if each.group_id is not None and self._is_logged_in(each)],
        }
        busy = self._busy(key)
        if busy is not None:
            return row | busy
        reason = "do not disturb" if dnd else "forwarding" if forwarding else None
        if reason is None and registered is False:
            reason = "no telephone"
        return row | {"state": "away", "reason": reason} if reason else row

    def _busy(self, key: Key) -> Row | None:
        """What somebody is doing in a call; in the one where they talk, and of several the latest."""
        found = [
            (leg.phase not in _RINGING, _begun(leg) or 0, id_, leg)
            for id_ in self._calls_of["people"].get(key, ())
            for leg in self._known[id_].legs[key]
        ]
        if not found:
            return None
        talks, _, id_, leg = max(found, key=lambda each: each[:3])
        call = self._known[id_].call
        peer, number, extension = self._peer(call, leg)
        return {
            "state": "talking" if talks else "ringing",
            "doing": leg.phase,
            "peer": peer,
            "peer_number": number,
            "peer_extension": extension,
            "direction": "out" if leg.is_inbound or leg.channel.origination else "in",
            "since": _begun(leg),
            "call": id_,
        }

    def _peer(self, call: Call, leg: Leg) -> tuple[str | None, str | None, str | None]:
        """Who is at the other end of somebody's leg."""
        if leg.phase in _ALONE:
            return None, None, None
        uuid = leg.partner if leg.phase == "talking" and leg.partner else leg.channel.other_uuid
        other = next((each for each in call.legs if each.uuid == uuid and each is not leg), None)
        if other is not None:
            party = other.party
        elif leg.phase == "talking" and leg.peer is not None:
            party = leg.peer
        elif leg.is_inbound:
            return self._aim(call)
        else:
            party = call.caller
        if party.user_id is not None and party.user_id == leg.channel.user_id:  # a call that they ordered themselves
            return self._aim(call)
        if party.user_id is None and party.end_user is None and leg.channel.end_user is not None:
            party = Party(party.number, party.name, end_user=leg.channel.end_user)
        return self._face(party)

    def _terminals_of(self, key: Key) -> list[Terminal]:
        if self._terminals is None:
            self._terminals = {}
            for terminal in self.picture.terminals.values():
                if terminal.assoc_user_id is not None:
                    self._terminals.setdefault(terminal.assoc_user_id, []).append(terminal)
        return self._terminals.get(key, [])

    # Groups

    def _places(self) -> _Memberships:
        if self._memberships is None:
            self._memberships = _Memberships(self.picture.group_members.values())
        return self._memberships

    def _is_logged_in(self, member: GroupMember) -> bool:
        """Whether calls to the group ring there; some groups do not ask for a login."""
        group = None if member.group_id is None else self.picture.get("group", member.group_id)
        if isinstance(group, Group) and group.check_login_status is not None and not _is_on(group.check_login_status):
            return True
        return _is_on(member.login_status)

    def _group(self, key: Key) -> Row | None:
        found = self.picture.get("group", key)
        group = found if isinstance(found, Group) else None
        if group is None and not self._exists("groups", key):
            return None
        calls = [self.rows["calls"][id_] for id_ in self._calls_of["groups"].get(key, ())]
        waits = [row["since"] for row in calls if row["waiting"]]
        members = self._places().of_group.get(key)
        new, saved = (None, None) if group is None else message_counts(group.mwi)
        return {
            "id": key,
            "name": (None if group is None else group.name) or self._named["groups"].get(key, (None, None))[0],
            "label": None if group is None else group.label,
            "extension": None if group is None else group.main_extension,
            "type": None if group is None or group.type is None else "hunt" if _is_on(group.type) else "ring",
            "waiting": len(waits),
            "longest_since": min((since for since in waits if since is not None), default=None),
            "talking": sum(row["state"] in ("talking", "conference") for row in calls),
            "members": None if members is None else len(members),
            "logged_in": None if members is None else sum(map(self._is_logged_in, members)),
            "member_ids": [each.user_id for each in members or () if each.user_id is not None],
            "mwi_new": new,
            "mwi_saved": saved,
        }


class _Memberships:
    """Who belongs to which group."""

    def __init__(self, members: Iterable[GroupMember]) -> None:
        self.of_user: dict[Key, list[GroupMember]] = {}
        self.of_group: dict[Key, list[GroupMember]] = {}
        for member in members:
            if member.user_id is not None:
                self.of_user.setdefault(member.user_id, []).append(member)
            if member.group_id is not None:
                self.of_group.setdefault(member.group_id, []).append(member)


def _given(key: Key | None) -> list[Key]:
    return [] if key is None else [key]


def _is_on(value: Scalar) -> bool:
    """What a status means that is sent as a number, a truth value or a word."""
    return value.strip().lower() not in _OFF if isinstance(value, str) else bool(value)


def _begun(leg: Leg) -> int | None:
    """Since when a leg does what it does."""
    since = leg.spans[-1].start if leg.spans else None
    return leg.channel.offer_timestamp if since is None and leg.phase in _RINGING else since


def _extension(number: str | None) -> str | None:
    """A number that is short enough for an extension."""
    return number if number and len(number) <= _LONGEST_EXTENSION and number.isdigit() else None
