"""What viewers of a board need: which rows to show, in what order, how old they are, and the figures above them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..elements import Key
from ..values import Json

__all__ = [
    "EVERYTHING",
    "ORDERS",
    "PERSON_STATES",
    "TABLES",
    "Row",
    "Selection",
    "Table",
    "by_wait",
    "people_order",
    "seconds_since",
    "summary",
    "wait_word",
]

Table: TypeAlias = Literal["groups", "calls", "people"]
Row: TypeAlias = "dict[str, Json]"

TABLES: tuple[Table, ...] = ("groups", "calls", "people")
"""The tables of a board, by the names that they have in what a board gives."""

PERSON_STATES = ("ringing", "talking", "free", "away")
"""What a person can be doing, in the order in which it is shown."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows that a viewer wants to see; made by :meth:`Board.select`.

    Attributes:
        groups: ids of groups: these, their calls and their members; None for all.
        users: ids of users: these, their calls and their groups; None for all.
    """

    groups: frozenset[Key] | None = None
    users: frozenset[Key] | None = None

    def admits(self, table: Table, row: Row) -> bool:
        """Whether a row is among them."""
        if table == "groups":
            groups, users = (row["id"],), row["member_ids"]
        elif table == "people":
            groups, users = row["group_ids"], (row["id"],)
        else:
            groups, users = (row["group_id"],), row["user_ids"]
        return _meets(self.groups, groups) and _meets(self.users, users)

    def narrow(self, changes: Row) -> Row:
        """Of what :meth:`Board.changes` gave, what is among them; a row that is so no longer counts as removed.

        The header is left as it is, that of the whole board; :meth:`Board.header` gives another one.
        """
        if self == EVERYTHING:
            return changes
        narrowed = dict(changes)
        for table in TABLES:
            changed: list[Row] = []
            removed = list(changes[table]["removed"])
            for row in changes[table]["changed"]:
                if self.admits(table, row):
                    changed.append(row)
                else:
                    removed.append(row["id"])
            narrowed[table] = {"changed": changed, "removed": removed}
        return narrowed


def _meets(wanted: frozenset[Key] | None, there: Iterable[Key]) -> bool:
    return wanted is None or any(key in wanted for key in there)


EVERYTHING = Selection()
"""The selection of all rows."""


def summary(calls: Iterable[Row], people: Iterable[Row]) -> Row:
    """The figures of a header for these rows.

    Returns:
        ``waiting``: how many calls wait; ``longest_since``: since when the longest does, None also where that is not
        told; ``active``: how many calls there are; ``people``: how many of them are in each of ``PERSON_STATES``.
    """
    calls = list(calls)
    waits = [row["since"] for row in calls if row["waiting"]]
    states = dict.fromkeys(PERSON_STATES, 0)
    for row in people:
        states[row["state"]] += 1
    return {
        "waiting": len(waits),
        "longest_since": min((since for since in waits if since is not None), default=None),
        "active": len(calls),
        "people": states,
    }


def seconds_since(since: int | None, now: float, clock_difference: float | None) -> float | None:
    """How long ago a moment of the PBX's clock was, in seconds, never below 0; None where it is not known.

    Args:
        since: microseconds since the epoch, of a row.
        now: seconds since the epoch by the clock of this machine.
        clock_difference: of a header; None counts as none.
    """
    if not since:
        return None
    try:
        return max(0.0, now - (clock_difference or 0.0) - since / 1_000_000)
    except OverflowError:
        return None


def wait_word(seconds: float | None, amber: float, red: float) -> str:
    """What is to be said of a wait: ``""``, ``long`` from ``amber`` seconds on, ``too long`` from ``red`` on."""
    if seconds is None or seconds < min(amber, red):
        return ""
    return "too long" if seconds >= red else "long"


def by_wait(row: Row) -> tuple[bool, int, str]:
    """Sorts groups and calls: what waits comes first, the longest before the others, and the unknown before that."""
    since = row["longest_since"] if "longest_since" in row else row["since"]
    return not row["waiting"], since or 0, _title(row)


def people_order(by: str) -> Callable[[Row], tuple[Json, ...]]:
    """Sorts people.

    Args:
        by: ``state`` (those at whose telephone it rings first, then as in ``PERSON_STATES``; the longest before the
            others), ``name``, ``extension``, or ``duration`` (the longest in a call first).

    Raises:
        ValueError: it is none of these.
    """
    if by not in ORDERS:
        raise ValueError(f"people are sorted by {', '.join(ORDERS)}, not by {by!r}")
    return ORDERS[by]


def _title(row: Row) -> str:
    return str(row.get("label") or row.get("name") or row["id"])


ORDERS: dict[str, Callable[[Row], tuple[Json, ...]]] = {
    "state": lambda row: (
        PERSON_STATES.index(row["state"]),
        row["state"] == "ringing" and row["direction"] != "in",
        row["since"] or 0,
        _title(row),
    ),
    "name": lambda row: (_title(row),),
    "extension": lambda row: (len(row["extension"] or "") or 99, row["extension"] or "", _title(row)),
    "duration": lambda row: (row["since"] is None, row["since"] or 0, _title(row)),
}
"""How people can be sorted, by name; :func:`people_order` gives one of them."""
