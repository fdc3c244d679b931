"""Which part of the PBX one connection sees: all of it, or what belongs to one user."""

from __future__ import annotations

from collections.abc import Iterable

from .model import Change, Channel, Group, GroupMember, Item, Pbx, Terminal, User, waiting_kind

__all__ = ["View"]


class View:
    """Used with the PBX's lock held.

    A user's view holds the channels of the user, the channels that wait in the queue of one of the user's groups or
    that the user parked, the user, the user's groups and memberships in them, and the user's terminals.

    Args:
        pbx: the whole.
        user_id: whose view it is, None for the whole PBX.
    """

    def __init__(self, pbx: Pbx, user_id: int | None = None) -> None:
        self._pbx = pbx
        self._user_id = user_id

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self._user_id is None

    def items(self, element: str) -> list[Item]:
        """What there is now of an element (by its name in :class:`~basix_cti.simulator.model.Change`)."""
        pbx = self._pbx
        tables: dict[str, Iterable[Item]] = {
            "domain": pbx.domains.values(),
            "user": pbx.users.values(),
            "group": pbx.groups.values(),
            "group_member": pbx.members.values(),
            "terminal": pbx.terminals.values(),
            "channel": pbx.channels.values(),
        }
        items = pbx.waiting() if element == "waiting" else tables[element]
        if self._user_id is None:
            return list(items)
        groups = pbx.groups_of(self._user_id)
        return [item for item in items if self._sees(element, item, groups)]

    def changes(self, change: Change) -> list[Change]:
        """What this view sees of a change of the PBX."""
        if self._user_id is None:
            return [change]
        item = change.item
        if isinstance(item, GroupMember):
            return self._membership(change, item) if item.user_id == self._user_id else []
        # Only for these is it worth the look into all memberships.
        groups = self._pbx.groups_of(self._user_id) if change.element in ("group", "waiting") else set()
        sees = self._sees(change.element, item, groups)
        before = change.before
        if change.element == "waiting" and change.event == "updated" and before is not None:
            # From one group's queue to another's: this view may hold only one of the two.
            saw = self._sees("waiting", before, groups)
            if saw and not sees:
                return [Change("waiting", "removed", before, before)]
            if sees and not saw:
                return [Change("waiting", "added", item, None)]
        return [change] if sees else []

    def _membership(self, change: Change, member: GroupMember) -> list[Change]:
        """With a membership come and go the group and whoever waits in its queue."""
        group = self._pbx.groups.get(member.group_id)
        if change.event == "updated" or group is None:
            return [change]
        seen: list[Item] = [
            channel
            for channel in self._pbx.waiting()
            if waiting_kind(channel) == "queued" and _queue(channel) == group.id
        ]
        if change.event == "added":
            return [
                Change("group", "added", group, None),
                change,
                *(Change("waiting", "added", item, None) for item in seen),
            ]
        return [
            *(Change("waiting", "removed", item, item) for item in seen),
            change,
            Change("group", "removed", group, group),
        ]

    def _sees(self, element: str, item: Item, groups: set[int]) -> bool:
        user_id = self._user_id
        if isinstance(item, Channel):
            if element == "channel":
                return item.user_id == user_id
            if waiting_kind(item) == "queued":
                return _queue(item) in groups
            return item.state is not None and item.state.details[2] == user_id
        if isinstance(item, Group):
            return item.id in groups
        if isinstance(item, User):
            return item.id == user_id
        if isinstance(item, GroupMember):
            return item.user_id == user_id
        return isinstance(item, Terminal) and item.assoc_user_id == user_id


def _queue(channel: Channel) -> int | None:
    state = channel.state
    return None if state is None or state.target is None else state.target.id
