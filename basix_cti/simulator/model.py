"""What a PBX knows, and how a change of it is told: no I/O, no threads, and no clock but the one it is given.

Items are named tuples whose fields stand in the order of the wire. They are never altered: a change puts a new item
into its table and tells every listener, so an item that was handed out stays what it was.
"""

from __future__ import annotations

import heapq
import random
import threading
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar

__all__ = [
    "Change",
    "Channel",
    "Domain",
    "Group",
    "GroupMember",
    "Item",
    "Mailbox",
    "OtherInfo",
    "Pbx",
    "State",
    "Target",
    "Terminal",
    "User",
    "waiting_kind",
]

RING, HUNT = 0, 1


class Mailbox(NamedTuple):
    """How many voicemail messages are new, and how many have been listened to and kept."""

    new: int = 0
    saved: int = 0

    def __str__(self) -> str:
        return f"{self.new}/{self.saved}" if self.new or self.saved else ""


class Domain(NamedTuple):
    """The one object that stands for the whole PBX."""

    id: int
    name: str
    label: str
    language: int = 0


class User(NamedTuple):
    """A user. ``did`` is the public number; it is not on the wire."""

    id: int
    name: str
    fwd_always_status: int = 0
    do_not_disturb_status: int = 0
    language: int = 0
    main_extension: str = ""
    presence: int = 0
    role: int = 0
    park_group: int = 0
    mwi_target: str | None = None
    flags: int = 0
    followme: str | None = None
    email: str = ""
    avatar: str | None = None
    label: str = ""
    mwi: Mailbox = Mailbox()
    did: str = ""


class Group(NamedTuple):
    """A group; ``type`` is 0 (ring: all stations at once) or 1 (hunt: one after the other).

    ``did`` is the public number; it is not on the wire.
    """

    id: int
    name: str
    type: int = RING
    language: int = 0
    main_extension: str = ""
    queue: int = 0
    label: str = ""
    flags: int = 0
    check_login_status: int = 1
    mwi: Mailbox = Mailbox()
    did: str = ""


class GroupMember(NamedTuple):
    """That a user belongs to a group. Calls to the group ring there while ``login_status`` is 1."""

    id: int
    group_id: int
    user_id: int
    priority: int = 0
    login_status: int = 1
    role: int = 0


class Terminal(NamedTuple):
    """A telephone."""

    id: int
    name: str
    assoc_user_id: int
    type: int = 0
    user_agent: str = ""
    registered: bool = True


class Target(NamedTuple):
    """Whom a call is for: ``type`` is ``user``, ``group`` or ``pstn`` (which has an address only)."""

    type: str
    id: int | None
    name: str | None
    address: str


class State(NamedTuple):
    """What a channel is doing.

    Args:
        since: microseconds since the epoch.
        name: the current generation's name of the state.
        details: what follows the name on the current generation's wire; empty for ``calling``.
        target: whom it calls, for ``calling`` only.
        group_type: ``ring`` or ``hunt``, for ``calling`` a group only.
    """

    since: int
    name: str
    details: tuple[str | int | None, ...] = ()
    target: Target | None = None
    group_type: str | None = None


class OtherInfo(NamedTuple):
    """The summary of the channel at the other end; ``type`` is ``user`` or ``end_user``."""

    type: str
    who: int | str | None
    direction: str
    peer_location: str
    address: str
    offer_timestamp: int
    group_id: int | None
    whoscall: str | None


class Channel(NamedTuple):
    """One leg of a call. Timestamps are microseconds since the epoch; None means the PBX has no such value."""

    uuid: str
    direction: str
    peer_location: str
    calling_name: str
    calling_number: str
    called_number: str
    offer_timestamp: int
    answer_timestamp: int | None = None
    hangup_timestamp: int | None = None
    other_uuid: str | None = None
    user_id: int | None = None
    state: State | None = None
    group_id: int | None = None
    target: Target | None = None
    origination: str | None = None
    end_user: str | None = None
    tags: str | None = None
    last_bridged_user_id: int | None = None
    last_event: str = "NEW_CHANNEL"
    last_event_data: str | None = None
    other_info: OtherInfo | None = None
    call_id: str | None = None
    whoscall: str | None = None


Item: TypeAlias = Domain | User | Group | GroupMember | Terminal | Channel
"""Anything that can change."""

ItemT = TypeVar("ItemT", Domain, User, Group, GroupMember, Terminal, Channel)
KeyT = TypeVar("KeyT", int, str)

_ELEMENTS: dict[type[Item], str] = {
    Domain: "domain",
    User: "user",
    Group: "group",
    GroupMember: "group_member",
    Terminal: "terminal",
    Channel: "channel",
}


class Change(NamedTuple):
    """One change of the PBX.

    Args:
        element: ``domain``, ``user``, ``group``, ``group_member``, ``terminal``, ``channel``, or ``waiting`` for a
            channel that enters, is changed in or leaves a queue or a parking slot (``item`` is the channel).
        event: ``added``, ``updated`` or ``removed``.
        item: what there is now; for ``removed``, what there was.
        before: what there was, None for ``added``.
    """

    element: str
    event: str
    item: Item
    before: Item | None


Listener: TypeAlias = Callable[[Change], None]


def waiting_kind(channel: Channel) -> str | None:
    """``queued`` (in a ring group's queue), ``parked``, or None for a channel that does not wait."""
    state = channel.state
    if state is None or channel.hangup_timestamp is not None:
        return None
    if state.name == "park":
        return "parked"
    return "queued" if state.name == "calling" and state.group_type == "ring" else None


class Pbx:
    """The tables of a PBX. Whoever reads or changes them holds ``lock``; listeners are called with it held.

    Args:
        domain: the object for the whole PBX.
        seed: what the uuids are made from.
        clock: gives microseconds since the epoch.
    """

    def __init__(self, domain: Domain, *, seed: int | str, clock: Callable[[], int]) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self.domains = {domain.id: domain}
        self.users: dict[int, User] = {}
        self.groups: dict[int, Group] = {}
        self.members: dict[int, GroupMember] = {}
        self.terminals: dict[int, Terminal] = {}
        self.channels: dict[str, Channel] = {}
        self.timers = Timers(clock)
        self._random = random.Random(f"uuids of {seed}")
        self._listeners: list[Listener] = []
        self._names: dict[str, User | Group] | None = None

    def new_uuid(self) -> str:
        """The next uuid that the seed gives."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with every change from now on, in the thread that makes it and with ``lock`` held."""
        self._listeners.append(listener)

    def add(self, table: dict[KeyT, ItemT], key: KeyT, item: ItemT) -> ItemT:
        """Put a new item into one of this PBX's tables and tell it."""
        table[key] = item
        self._tell("added", item, None)
        return item

    def update(self, table: dict[KeyT, ItemT], key: KeyT, **fields: Any) -> ItemT:
        """Give fields of an item new values and tell it.

        Raises:
            KeyError: there is no such item.
            ValueError: there is no such field.
        """
        before = table[key]
        item = before._replace(**fields)
        table[key] = item
        self._tell("updated", item, before)
        return item

    def remove(self, table: dict[KeyT, ItemT], key: KeyT) -> ItemT:
        """Take an item out of its table and tell it.

        Raises:
            KeyError: there is no such item.
        """
        item = table.pop(key)
        self._tell("removed", item, item)
        return item

    def waiting(self) -> list[Channel]:
        """The channels that wait in a queue or a parking slot, oldest first."""
        return [channel for channel in self.channels.values() if waiting_kind(channel)]

    def find(self, who: str) -> User | Group | None:
        """The user or group with this name, label, extension, public number or email; None if there is none."""
        if self._names is None:
            self._names = {}
            items: list[User | Group] = [*self.users.values(), *self.groups.values()]
            for item in items:
                texts = [item.name, item.main_extension, item.did, item.label]
                if isinstance(item, User):
                    texts.append(item.email)
                for text in filter(None, texts):
                    self._names.setdefault(text, item)
        return self._names.get(who)

    def find_user(self, who: str) -> User | None:
        """The user with this name, label, extension, public number or email; None if there is none."""
        found = self.find(who)
        return found if isinstance(found, User) else None

    def groups_of(self, user_id: int) -> set[int]:
        """The ids of the groups that a user belongs to, logged in or not."""
        return {member.group_id for member in self.members.values() if member.user_id == user_id}

    def _tell(self, event: str, item: Item, before: Item | None) -> None:
        element = _ELEMENTS[type(item)]
        if isinstance(item, (User, Group)):
            self._names = None
        changes = [Change(element, event, item, before)]
        if isinstance(item, Channel):
            was = before if isinstance(before, Channel) else None
            changes += _waiting_changes(was, None if event == "removed" else item)
        for change in changes:
            for listener in self._listeners:
                listener(change)


def _waiting_changes(before: Channel | None, after: Channel | None) -> list[Change]:
    kind_before = None if before is None else waiting_kind(before)
    kind_after = None if after is None else waiting_kind(after)
    changes = []
    if after is not None and kind_after is not None and kind_after == kind_before:
        return [Change("waiting", "updated", after, before)]
    if before is not None and kind_before is not None:
        changes.append(Change("waiting", "removed", before, before))
    if after is not None and kind_after is not None:
        changes.append(Change("waiting", "added", after, None))
    return changes


class Timers:
    """What is to happen at a given time. Used with the PBX's lock held.

    Attributes:
        on_change: called when something was put in; the one who keeps the time looks at ``next_due`` again.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self.on_change: Callable[[], None] = lambda: None

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Have ``action`` called once ``seconds`` have passed on the clock. There is no taking it back."""
        self._count += 1
        heapq.heappush(self._heap, (self._clock() + round(seconds * 1_000_000), self._count, action))
        self.on_change()

    def seconds_to_next(self) -> float | None:
        """Seconds until something is due, 0 or less if it is now; None when nothing is planned."""
        return (self._heap[0][0] - self._clock()) / 1_000_000 if self._heap else None

    def run_due(self) -> int:
        """Call every action whose time has come, oldest first; how many there were."""
        count = 0
        while self._heap and self._heap[0][0] <= self._clock():
            heapq.heappop(self._heap)[2]()
            count += 1
        return count
