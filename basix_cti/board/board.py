"""``Board``: the handler that keeps a board, and gives it to viewers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence

from ..calls import OUTCOMES
from ..elements import Channel, Element, Key
from ..errors import ConnectError, DecodeError, PingTimeout
from ..events import CallEvent, Connected, Disconnected, Event, Failed, InfoEvent, InitialInfo, Overflowed
from ..handler import CTIHandler
from ..values import moment
from .rows import Rows
from .view import EVERYTHING, TABLES, Row, Selection, Table, summary

__all__ = ["Board"]

_SAMPLES = 256
_SAMPLE_SECONDS = 600.0
_AHEAD_SECONDS = 2.0
# Where so many messages in a row seem to be late by so much, it was a clock that was set.
_SET_SAMPLES = 8
_SET_MICROSECONDS = 10_000_000


class Board(CTIHandler):
    """Keeps the rows of a board by what happens at a PBX.

    ::

        board = Board()
        with settings.client(board):
            while True:
                show(board.changes(time.time()))

    It may be the handler of a :class:`~basix_cti.CTIClient`, of a :class:`~basix_cti.MessageParser`, or of
    :func:`basix_cti.recording.replay`; or a handler of yours passes every event on to :meth:`on_event`, from the first
    connection on. It keeps a picture and calls of its own, so it needs nothing else.

    ``on_event`` is for the thread that calls hooks; everything else may be called from any thread. One lock holds them
    apart, for no longer than it takes to make the rows that have changed.

    **groups** have ``id``, ``name``, ``label``, ``extension``, ``type`` (``ring`` or ``hunt``), ``waiting`` and
    ``talking`` (how many of its calls), ``longest_since`` (since when the one has waited that waits longest; None also
    where that is not told), ``members`` and ``logged_in`` (how many), ``member_ids``, ``mwi_new``, ``mwi_saved``.

    **calls**, all that have not ended, have

    * ``id``, ``state``, ``direction``, ``partial``, ``uncertain``: as :class:`~basix_cti.Call` has them.
    * ``waiting``: whether somebody in it waits for a person: it is parked; or was answered, and now rings at somebody
      else; or has not been answered, and comes from outside or is for a group. A menu is waiting, too.
    * ``since``: since when it is in this state; of one that was not answered, since when it is there.
    * ``offered``: since when it is there.
    * ``caller``, ``number``, ``extension``: who calls; ``extension`` in place of ``number`` for somebody inside.
    * ``customer``, ``organization``: at the outer end; ``customers``: how many share the number.
    * ``group_id``, ``group``: the group that it is for now. ``target``, ``target_number``: whom it is for now.
    * ``answered_by``: who talked first. ``user_ids``: who is in it, and whom it is for.
    * ``slot``, ``parker``: while it is parked.

    **people** have

    * ``id``, ``name``, ``label``, ``extension``, ``presence`` (as sent).
    * ``state``: ``ringing`` (also while it rings at the one whom they call), ``talking``, ``free`` or ``away``.
    * ``doing``: of somebody in a call, the phase of their leg, such as ``talking`` or ``conference``. ``reason``: why
      they are away: ``do not disturb``, ``forwarding``, or ``no telephone`` where none of theirs is registered.
    * ``peer``, ``peer_number``, ``peer_extension``: with whom; ``direction``: ``in`` or ``out``, as they see it.
    * ``since``: since when; ``call``: its id; ``calls``: how many they are in.
    * ``dnd``, ``forwarding``, ``registered``: whether; ``mwi_new``, ``mwi_saved``: messages in their box.
    * ``group_ids``: their groups; ``logged_in``: those of them to which they are logged in.

    On a PBX of the first generation, which lists neither, people and groups are those that calls have named so far.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows = Rows()
        self._connection: Row = {"state": "connecting", "since": None, "reason": None, "server": None, "number": 0}
        self._received_at: float | None = None
        self._differences: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)
        self._counters: dict[str, int] = dict.fromkeys((*OUTCOMES, "unknown"), 0)
        self._counting_since: float | None = None
        self._complete = True
        self._present: set[str] = set()  # calls that were up before the counting began
        self._gaps = 0
        self._gap: tuple[float, float | None] | None = None
        self._overflowed = 0
        self._bad_frames = 0
        self._revision = 0

    # What happens

    def on_event(self, event: Event) -> None:
        """Take an event in. For the thread that calls hooks."""
        if isinstance(event, CallEvent):  # its own calls tell the same, whoever passes events on
            return
        with self._lock:
            if not isinstance(event, Disconnected | Failed):
                self._received_at = max(self._received_at or 0.0, event.received_at)
            if isinstance(event, InfoEvent):
                self._take_change(event)
            elif isinstance(event, InitialInfo):
                self._take_state(event)
            elif isinstance(event, Connected):
                self._take_connection(event)
            elif isinstance(event, Disconnected):
                self._take_loss(event)
            elif isinstance(event, Overflowed):
                self._overflowed += event.count
                self._complete = False
            elif isinstance(event, Failed):
                self._take_failure(event.error)

    def heard(self, at: float) -> None:
        """Tell of a sign of life that is no event, such as a pong.

        Args:
            at: when, seconds since the epoch: ``time.time() - client.seconds_since_received``.
        """
        with self._lock:
            self._received_at = max(self._received_at or 0.0, at)

    def _take_change(self, event: InfoEvent) -> None:
        item, key = event.item, event.item.key
        if event.element == "channel" and isinstance(item, Channel) and key is not None and not event.synthetic:
            self._sample(self._rows.picture.get("channel", key), item, event.received_at)
        for told in self._rows.take_change(event):
            self._count(told)

    def _take_state(self, event: InitialInfo) -> None:
        self._rows.take_state(event)
        if event.element != "channel" or self._connection["state"] != "loading":
            return
        self._connection |= {"state": "live", "since": event.received_at}
        if self._counting_since is None:
            self._counting_since = event.received_at
            self._present = {call.id for call in self._rows.tracker.calls}
        if self._gap is not None and self._gap[1] is None:
            self._gap = (self._gap[0], event.received_at)

    def _take_connection(self, event: Connected) -> None:
        session = event.session
        self._rows.picture._new_connection(session.number)
        self._connection = {
            "state": "loading",
            "since": event.received_at,
            "reason": None,
            "server": session.url,
            "number": session.number,
        }
        if self._gap is not None:
            self._complete = False

    def _take_loss(self, event: Disconnected) -> None:
        lost_at = event.received_at
        if isinstance(event.reason, PingTimeout) and self._received_at is not None:
            lost_at = min(lost_at, self._received_at)  # that nothing comes any more is noticed late
        self._connection |= {"state": "lost", "since": lost_at, "reason": str(event.reason)}
        if self._counting_since is not None and (self._gap is None or self._gap[1] is not None):
            self._gaps += 1
            self._gap = (lost_at, None)

    def _take_failure(self, error: BaseException) -> None:
        if isinstance(error, ConnectError):
            self._connection["reason"] = str(error)
        elif isinstance(error, DecodeError):
            self._bad_frames += 1
            self._complete = False

    def _count(self, told: CallEvent) -> None:
        """Count a call that came in, and that was not there before the counting began."""
        call = told.call
        if told.kind not in ("answered", "ended") or self._counting_since is None:
            return
        if call.id in self._present:
            if told.kind == "ended":
                self._present.discard(call.id)
            return
        if not self._rows.comes_in(call):
            return
        if call.uncertain or call.partial:
            self._complete = False
        if told.kind == "answered":
            self._counters["answered"] += 1
        elif not call.is_answered and call.joined is None:
            self._counters[call.outcome or "unknown"] += 1

    def _sample(self, before: Element | None, now: Channel, received_at: float) -> None:
        """What a message that has just been sent tells of the PBX's clock."""
        newest = _newest(now)
        if newest is None or moment(newest) is None or (isinstance(before, Channel) and _newest(before) == newest):
            return
        self._differences.append((received_at, round(received_at * 1_000_000) - newest))
        while received_at - self._differences[0][0] > _SAMPLE_SECONDS:
            self._differences.popleft()
        latest = list(self._differences)[-_SET_SAMPLES:]
        if len(latest) == _SET_SAMPLES and _least(latest) - _least(self._differences) > _SET_MICROSECONDS:
            self._differences = deque(latest, maxlen=_SAMPLES)

    # What it shows

    def snapshot(self, now: float, selection: Selection = EVERYTHING) -> Row:
        """Everything.

        What is new in it since the last :meth:`changes` is told once more by the next. So a viewer that got a snapshot
        has to skip changes whose ``revision`` is not above that of the snapshot, and no others.

        Args:
            now: seconds since the epoch by the clock of this machine; only ``header`` tells it.
            selection: which rows; those that ``header`` counts, too.

        Returns:
            ``{"revision", "header", "groups": [rows], "calls": [rows], "people": [rows]}``, in no particular order.
        """
        with self._lock:
            self._rows.refresh()
            rows = self._selected(selection)
            return {"revision": self._revision, "header": self._header(now, rows), **rows}

    def changes(self, now: float) -> Row:
        """What has changed since the last call of this method, each row once, as it is now; the first gives everything.

        It is meant for one caller, who tells all viewers.

        Returns:
            ``{"revision", "header", "groups": {"changed": [rows], "removed": [ids]}, "calls": …, "people": …}``; the
            revision is that of the call before, plus 1. A removed row may be one that a viewer never got.

        Args:
            now: as for :meth:`snapshot`.
        """
        with self._lock:
            self._rows.refresh()
            self._revision += 1
            told: Row = {"revision": self._revision, "header": self._header(now, self._selected(EVERYTHING))}
            for table, keys in self._rows.take_changed().items():
                rows = self._rows.rows[table]
                told[table] = {
                    "changed": [rows[key] for key in keys if key in rows],
                    "removed": [key for key in keys if key not in rows],
                }
            return told

    def header(self, now: float, selection: Selection = EVERYTHING) -> Row:
        """The header alone.

        * ``now``: as given. ``received_at``: the last sign of life.
        * ``connection``: ``state`` (``connecting``, before the first; ``loading``, until the full state was told;
          ``live``; ``lost``), ``since``, ``reason`` (why it is not up), ``server``, ``number`` (of the connection).
        * ``clock_difference``: how many seconds this machine's clock is ahead of the PBX's, the time on the way
          included: the smallest of the latest messages. None before the first.
        * ``waiting``, ``longest_since``, ``active`` (calls), ``people`` (a number for each of ``PERSON_STATES``): see
          :func:`summary`. All None unless the connection is live; free and away are None too where nobody is listed.
        * ``lists``: for ``groups`` and ``people``, whether the PBX has told all that there are; see :meth:`lists`.
        * ``counters``: ``since`` (when they began; what was before, nobody knows), ``complete``, and how many calls
          that came in since then were ``answered``, ``missed``, ``abandoned``, … or ended in a way ``unknown``. Calls
          that were up already are not counted. After a gap, an overflow or a bad frame, and while there is no
          connection, ``complete`` is false: there may have been more.
        * ``gaps``: how many there were; ``gap``: ``[start, end]`` of the latest, whose end may be still to come. Where
          a ping got no answer, it begins with the last sign of life.
        * ``overflowed``: how many messages were dropped. ``bad_frames``: how many could not be decoded.

        Args:
            now, selection: as for :meth:`snapshot`. The counters are those of the whole board.
        """
        with self._lock:
            self._rows.refresh()
            return self._header(now, self._selected(selection))

    def lists(self, table: Table) -> bool:
        """Whether the PBX has told all ``groups`` or ``people`` that there are, so that there are no others."""
        with self._lock:
            return self._rows.lists(table)

    def select(self, groups: Sequence[str] = (), users: Sequence[str] = ()) -> Selection:
        """The selection of these groups and users, each by name, label, extension or id; no names, no bound.

        Raises:
            LookupError: there is no such group or user, or not yet; the message tells which.
        """
        with self._lock:
            self._rows.refresh()
            chosen: dict[Table, frozenset[Key] | None] = {}
            tables: tuple[tuple[Table, str, Sequence[str]], ...] = (
                ("groups", "group", groups),
                ("people", "user", users),
            )
            for table, what, names in tables:
                found = {name: self._rows.find(table, name) for name in names}
                missing = [name for name, key in found.items() if key is None]
                if missing:
                    raise LookupError(f"there is no {what} {missing[0]}")
                chosen[table] = frozenset(key for key in found.values() if key is not None) if names else None
            return Selection(chosen["groups"], chosen["people"])

    def _selected(self, selection: Selection) -> dict[str, list[Row]]:
        everything = selection == EVERYTHING
        return {
            table: [row for row in self._rows.rows[table].values() if everything or selection.admits(table, row)]
            for table in TABLES
        }

    def _header(self, now: float, rows: dict[str, list[Row]]) -> Row:
        if self._received_at is not None and self._received_at - now > _AHEAD_SECONDS:
            self._received_at = now  # this machine's clock was set back
        live = self._connection["state"] == "live"
        figures = summary(rows["calls"], rows["people"])
        lists = {"groups": self._rows.lists("groups"), "people": self._rows.lists("people")}
        if not lists["people"]:  # only those in a call are sure to be there
            figures["people"] |= {"free": None, "away": None}
        difference = _least(self._differences) if self._differences else None
        return {
            "now": now,
            "received_at": self._received_at,
            "connection": dict(self._connection),
            "clock_difference": None if difference is None else difference / 1_000_000,
            **(figures if live else dict.fromkeys(figures)),
            "lists": lists,
            "counters": {
                "since": self._counting_since,
                "complete": self._complete and live,
                **self._counters,
            },
            "gaps": self._gaps,
            "gap": None if self._gap is None else list(self._gap),
            "overflowed": self._overflowed,
            "bad_frames": self._bad_frames,
        }


def _least(samples: Iterable[tuple[float, int]]) -> int:
    return min(difference for _, difference in samples)


def _newest(channel: Channel) -> int | None:
    """The latest moment that a channel tells."""
    told = [channel.offer_timestamp, channel.answer_timestamp, channel.hangup_timestamp]
    if channel.state is not None:
        told.append(channel.state.ts)
    return max((each for each in told if each), default=None)
