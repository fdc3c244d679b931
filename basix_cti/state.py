"""The live picture of the PBX, and what a new message, or a gap, changes in it. No I/O, no threads, no clock.

May be compiled by mypyc.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import TypeAlias, cast

from .elements import (
    Channel,
    ChannelWaiting,
    Domain,
    Element,
    Group,
    GroupMember,
    Key,
    MessageWaiting,
    ParkedChannel,
    ParkInfo,
    QueuedChannel,
    Terminal,
    User,
    filled_from,
)
from .events import ADDED, REMOVED, UPDATED, Connected, Event, InfoEvent, InitialInfo

__all__ = ["Picture", "Tracker"]

_Table: TypeAlias = "dict[Key, Element]"

_REMEMBERED_ENDS = 10_000
_PARKING = ("parked_channel", "channel_waiting")
# A PBX sends either the new element or the two older ones; what it no longer sends is gone.
_SUPERSEDES = {
    "channel_waiting": ("queued_channel", "parked_channel"),
    "queued_channel": ("channel_waiting",),
    "parked_channel": ("channel_waiting",),
}


class Picture:
    """What is known of the PBX: all objects of all elements. Safe to read from any thread.

    Each property returns a new dict that does not change afterwards; reading one object with :meth:`get` is cheaper.
    A channel is in the picture until its end (``CHANNEL_HANGUP`` or ``removed``). While there is no connection the
    picture stays as it was. It is filled by the library alone.
    """

    __slots__ = ("_confirmed", "_ended", "_session", "_tables", "_touched")

    def __init__(self) -> None:
        self._tables: dict[str, _Table] = {}
        # Channels that ended a while ago, oldest first: what still comes of them must not bring them back.
        self._ended: OrderedDict[Key, None] = OrderedDict()
        # Elements whose initial_info came on this connection, and what changed on it before that came.
        self._confirmed: set[str] = set()
        self._touched: dict[str, set[Key]] = {}
        self._session = 0

    @property
    def channels(self) -> dict[str, Channel]:
        """All channels by uuid."""
        return cast("dict[str, Channel]", self.items("channel"))

    @property
    def channels_waiting(self) -> dict[str, ChannelWaiting]:
        """Channels in a queue or a parking slot by uuid (``channel_waiting``, a PBX from 2026 on)."""
        return cast("dict[str, ChannelWaiting]", self.items("channel_waiting"))

    @property
    def queued_channels(self) -> dict[str, QueuedChannel]:
        """Channels in a queue by uuid (``queued_channel``, an older PBX)."""
        return cast("dict[str, QueuedChannel]", self.items("queued_channel"))

    @property
    def parked_channels(self) -> dict[str, ParkedChannel]:
        """Channels in a parking slot by uuid (``parked_channel``, or the first generation's ``park_info``)."""
        return cast("dict[str, ParkedChannel]", self.items("parked_channel"))

    @property
    def parked(self) -> dict[str, ParkInfo]:
        """What is parked, by the channel's uuid, whatever the PBX's age."""
        parked: dict[str, ParkInfo] = {}
        for element in _PARKING:
            for item in self.items(element).values():
                info = self._parking(item)
                if info is not None and info.uuid is not None:
                    parked[info.uuid] = info
        return parked

    @property
    def users(self) -> dict[Key, User]:
        """All users by id."""
        return cast("dict[Key, User]", self.items("user"))

    @property
    def groups(self) -> dict[Key, Group]:
        """All groups by id."""
        return cast("dict[Key, Group]", self.items("group"))

    @property
    def group_members(self) -> dict[Key, GroupMember]:
        """All places in groups by :attr:`GroupMember.key <basix_cti.elements.GroupMember.key>`."""
        return cast("dict[Key, GroupMember]", self.items("group_member"))

    @property
    def terminals(self) -> dict[Key, Terminal]:
        """All telephones by id."""
        return cast("dict[Key, Terminal]", self.items("terminal"))

    @property
    def domain(self) -> Domain | None:
        """The PBX's domain; None before it was told."""
        return cast("Domain | None", self.get("domain", "domain"))

    def elements(self) -> list[str]:
        """The names of the elements of which anything was told."""
        return list(self._tables)

    def items(self, element: str) -> dict[Key, Element]:
        """All objects of one element by key; empty for an element of which nothing was told."""
        return dict(self._tables.get(element, ()))

    def get(self, element: str, key: Key) -> Element | None:
        """One object of an element; None where there is none."""
        table = self._tables.get(element)
        return None if table is None else table.get(key)

    def is_current(self, element: str = "channel") -> bool:
        """True once the element's full state was told on the latest connection, be that still up or not."""
        return element in self._confirmed

    def has_ended(self, uuid: Key) -> bool:
        """True for a channel whose end is known. The latest 10,000 are remembered."""
        return uuid in self._ended

    def __repr__(self) -> str:
        counts = [f"{name}: {len(table)}" for name, table in list(self._tables.items())]
        return f"<Picture {', '.join(counts) or 'empty'}>"

    def _parking(self, item: Element | None) -> ParkInfo | None:
        """The parking that an object tells; None too for what is left of a channel that has ended."""
        return None if item is None or item.key in self._ended else ParkInfo.of(item)

    # What follows is called by the library alone, and for one picture from one thread alone.

    def _copy(self) -> Picture:
        copy = Picture()
        copy._tables = {element: dict(table) for element, table in self._tables.items()}
        copy._ended = OrderedDict(self._ended)
        copy._confirmed = set(self._confirmed)
        copy._touched = {element: set(keys) for element, keys in self._touched.items()}
        copy._session = self._session
        return copy

    def _new_connection(self, session: int) -> None:
        self._session = session
        self._confirmed = set()
        self._touched = {}

    def _put(self, event: InfoEvent) -> bool:
        """Take one change in; False where it says nothing new, of a channel that has ended before."""
        element, item = event.element, event.item
        key = item.key
        if key is None:
            return True
        table = self._tables.get(element)
        if table is None:
            table = self._tables[element] = {}
        if element not in self._confirmed and not event.synthetic:
            self._touched.setdefault(element, set()).add(key)
        gone = event.event == REMOVED
        if element == "channel" and isinstance(item, Channel):
            gone = gone or item.is_hung_up
            if key in self._ended:
                if gone or event.event != ADDED:
                    return False
                del self._ended[key]
            if gone:
                self._remember_end(key)
                if event.generation == 1:  # nothing else would free the slot
                    self._tables.get("parked_channel", {}).pop(key, None)
        elif event.generation == 1 and element == "parked_channel":
            gone = gone or key in self._ended
        elif event.generation == 1 and isinstance(item, User | Group):
            # The first generation tells of users and groups only what concerns their voicemail.
            item = event.item = filled_from(item, table.get(key))
        if gone:
            table.pop(key, None)
        else:
            table[key] = item
        return True

    def _tables_of(self, event: InitialInfo, ends: _Table) -> dict[str, _Table]:
        """What the full present state of one element makes of the tables, the present ones left as they are."""
        element = event.element
        table = _by_key([item for item in event.items if not _is_end(item)] if ends else event.items)
        now = self._tables.get(element, {})
        for key in self._touched.get(element, ()):
            # A change that came on this very connection is at least as new as the state; but an end is final.
            if key in now and key not in ends:
                table[key] = now[key]
            else:
                table.pop(key, None)
        tables: dict[str, _Table] = {element: table}
        if event.generation == 1 and element == "channel":
            tables["parked_channel"] = self._parked_among(table)
        for old in _SUPERSEDES.get(element, ()):
            if old in self._tables and old not in self._confirmed and old not in self._touched:
                tables[old] = {}
        return tables

    def _parked_among(self, channels: _Table) -> _Table:
        """The first generation has no list of parked channels, but a parked channel says so in its state."""
        now = self._tables.get("parked_channel", {})
        touched = self._touched.get("parked_channel", set())
        parked = {key: now[key] for key in touched if key in now}
        for key, channel in channels.items():
            info = ParkInfo.of(channel)
            if info is not None and isinstance(channel, Channel) and key not in touched:
                known = ParkInfo.of(now[key]) if key in now else None
                same = known is not None and known.slot == info.slot
                parked[key] = now[key] if same else ParkedChannel(channel.uuid, channel.state)
        return parked

    def _replace(self, tables: dict[str, _Table]) -> None:
        for element, table in tables.items():
            if element == "channel":
                for key in table:
                    self._ended.pop(key, None)
            self._tables[element] = table

    def _take_initial(self, event: InitialInfo) -> list[str]:
        """Take a full state in; the elements that it was the full state of, or that it has emptied."""
        ends = _ends_among(event)
        tables = self._tables_of(event, ends)
        if event.element == "channel":
            for key in self._tables.get("channel", {}).keys() - tables["channel"].keys():
                self._remember_end(key)
        self._replace(tables)
        self._confirm(event, tables, ends)
        return list(tables)

    def _confirm(self, event: InitialInfo, tables: dict[str, _Table], ends: _Table) -> None:
        for key in ends:
            self._remember_end(key)
        for element in _told_by(event, tables):
            self._confirmed.add(element)
            self._touched.pop(element, None)

    def _remember_end(self, key: Key) -> None:
        self._ended[key] = None
        self._ended.move_to_end(key)
        if len(self._ended) > _REMEMBERED_ENDS:
            self._ended.popitem(last=False)


def _is_end(item: Element) -> bool:
    """A channel that has hung up may still be listed; it is no longer there."""
    return type(item) is Channel and item.is_hung_up


def _by_key(items: list[Element]) -> _Table:
    table: _Table = {}
    for item in items:
        key = item.key
        if key is not None:
            table[key] = item
    return table


def _ends_among(event: InitialInfo) -> _Table:
    """The channels in a full state that have ended."""
    return _by_key([item for item in event.items if _is_end(item)]) if event.element == "channel" else {}


def _told_by(event: InitialInfo, tables: dict[str, _Table]) -> list[str]:
    """The elements whose full state an event tells: in the first generation, channels tell what is parked too."""
    return list(tables) if event.generation == 1 else [event.element]


class Tracker:
    """Keeps a picture by the events of one connection after another, and finds what they mean.

    It completes each event (which channel ended, what was parked, whose voicemail changed), and adds the synthetic
    ones that close a gap.

    Attributes:
        picture: the picture; just before an event is given out, that event is taken into it.
    """

    def __init__(self) -> None:
        self.picture = Picture()
        self._parked: dict[Key, ParkInfo] = {}
        # Elements whose full state was told before: the next time, it is compared.
        self._initialised: set[str] = set()

    def track(self, event: Event) -> Iterator[Event]:
        """What is to be told for one event from the wire, in order; run it to its end."""
        if isinstance(event, InfoEvent):
            yield self.complete(event)
        elif isinstance(event, InitialInfo):
            yield from self._initial(event)
        else:
            if isinstance(event, Connected):
                self.picture._new_connection(event.session.number)
            yield event

    def complete(self, event: InfoEvent) -> InfoEvent:
        """As :meth:`track`, for a change, of which nothing follows but itself."""
        element, item, key = event.element, event.item, event.item.key
        before = self.picture.get(element, key) if key is not None else None
        if element == "channel" and isinstance(item, Channel):
            if not event.event:  # the first generation leaves it to us
                seen = before is not None or (key is not None and self.picture.has_ended(key))
                event.event = REMOVED if item.is_hung_up else UPDATED if seen else ADDED
            elif event.event == REMOVED and not item.is_hung_up:
                event.item = filled_from(item, before if isinstance(before, Channel) else None).as_hung_up()
        event.news = self.picture._put(event)
        if key is not None:
            self._find_parking(event, key, before)
        elif event.generation == 1 and element == "parked_channel":  # its spec may have no uuid
            info = ParkInfo.of(item)
            event.park, event.unpark = (None, info) if event.event == REMOVED else (info, None)
        if element != "channel" and event.generation == 2 and event.event != REMOVED and isinstance(item, User | Group):
            text = before.mwi if isinstance(before, User | Group) else None
            if (text or "") != (item.mwi or ""):
                event.mwi = MessageWaiting.of(item)
        return event

    def catch_up(
        self, newest: Picture, missed: set[str], received_at: float, *, joining: bool = False
    ) -> Iterator[Event]:
        """What is to be told when messages were dropped, and ``newest`` is what they led to.

        Args:
            newest: a copy of the present picture, which nobody changes any more.
            missed: the elements whose full state was among what was dropped.
            received_at: when the last dropped message arrived, seconds since the epoch.
            joining: True at the begin of a session. In the very first one nothing is news, not even objects of an
                element whose full state is still to come.
        """
        quiet = joining and not self._initialised
        for element, table in newest._tables.items():
            first = element not in self._initialised and (quiet or element in missed)
            yield from self._differences(element, self._known(element, table) if first else table, {}, received_at)
            if first:
                self._adopt({element: table})
            if element in missed:
                self._initialised.add(element)
                items = list(table.values())
                yield InitialInfo(element, items, channels=_channels(items), received_at=received_at, synthetic=True)
        if joining:
            self._initialised |= newest._confirmed
        self.picture._ended = newest._ended
        self.picture._confirmed = newest._confirmed
        self.picture._touched = newest._touched
        self.picture._session = newest._session

    def _initial(self, event: InitialInfo) -> Iterator[Event]:
        ends = _ends_among(event)
        tables = self.picture._tables_of(event, ends)
        # The first state of all is told as a whole, unless another element told the same before.
        superseding = event.generation == 2 and len(tables) > 1
        first = event.element not in self._initialised and not superseding
        for element, table in tables.items():
            compared = self._known(element, table) if first else table
            yield from self._differences(element, compared, ends if element == "channel" else {}, event.received_at)
        self._initialised.update(_told_by(event, tables))
        self._adopt(tables)
        self.picture._confirm(event, tables, ends)
        if event.element == "channel":
            unkeyed = [item for item in event.items if item.key is None and not _is_end(item)]
            event.channels = _channels([*tables["channel"].values(), *unkeyed])
        yield event

    def _known(self, element: str, table: _Table) -> _Table:
        """Those of a table that were told before: changes can come ahead of the first full state."""
        before = self.picture.items(element)
        return {key: item for key, item in table.items() if key in before} if before else {}

    def _adopt(self, tables: dict[str, _Table]) -> None:
        """Take tables in without a word."""
        self.picture._replace(tables)
        for element in _PARKING:
            for key, item in tables.get(element, {}).items():
                info = self.picture._parking(item)
                if info is not None:
                    self._parked[key] = info

    def _differences(self, element: str, table: _Table, ends: _Table, received_at: float) -> Iterator[Event]:
        before = self.picture.items(element)
        for key, item in before.items():
            if key not in table:
                yield self._synthetic(element, ends.get(key, item), REMOVED, received_at)
        for key, item in table.items():
            if key not in before:
                yield self._synthetic(element, item, ADDED, received_at)
            elif before[key] != item:
                yield self._synthetic(element, item, UPDATED, received_at)

    def _synthetic(self, element: str, item: Element, event: str, received_at: float) -> Event:
        return self.complete(InfoEvent(element, item, event, received_at=received_at, synthetic=True))

    def _find_parking(self, event: InfoEvent, key: Key, before: Element | None) -> None:
        known = self._parked.get(key)
        if event.element == "channel":
            if known is not None and self.picture.has_ended(key):
                event.unpark = self._parked.pop(key)
            return
        if event.element not in _PARKING:
            return
        info = self.picture._parking(event.item)
        if event.event != REMOVED and info is not None:
            if event.generation == 1 or known is None or known.slot != info.slot:
                event.park = info
            self._parked[key] = info
        elif any(self.picture._parking(self.picture.get(element, key)) is not None for element in _PARKING):
            pass  # the other element still tells that it is parked
        elif known is not None or (event.event == REMOVED and before is None):
            # Without a known parking, an object that was in the picture has left its slot before.
            event.unpark = _joined(info, known)
            self._parked.pop(key, None)


def _joined(info: ParkInfo | None, known: ParkInfo | None) -> ParkInfo | None:
    if info is None or known is None:
        return info or known
    return ParkInfo(
        info.uuid,
        known.slot if info.slot is None else info.slot,
        known.parker_id if info.parker_id is None else info.parker_id,
        known.parker_name if info.parker_name is None else info.parker_name,
    )


def _channels(items: list[Element]) -> list[Channel]:
    return [item for item in items if type(item) is Channel]
