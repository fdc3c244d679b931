"""What browsers are sent: the same for all, made once, however many there are."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from ..board import TABLES, Board, Row, masked
from ..elements import Key
from .history import STEP, History

if TYPE_CHECKING:
    from ..metrics import Watched

__all__ = ["Feed"]

_KEPT = 20
_HEARTBEAT = 1.0


class Feed:
    """Asks a board for its changes at a fixed rate, and gives them to viewers as server-sent events.

    What happened between two turns is one message, whose bytes all viewers share. A viewer that does not keep up is
    not waited for, and nothing is kept for it: when it is ready again, it gets the latest messages if these are still
    there, and else a snapshot. So its memory is bounded, whatever happens.

    All of it is for the thread of one event loop, but for :meth:`_look`, which that loop gives to another thread.

    Args:
        board: asked for its changes by nobody else.
        client: who feeds the board.
        interval: seconds between two turns.
        unmask: True to show telephone numbers.
        settings: what pages have to know beside the rows.

    Attributes:
        viewers: how many there are.
        turned_at: when the latest turn ended, by the monotonic clock.
    """

    def __init__(self, board: Board, client: Watched, *, interval: float, unmask: bool, settings: Row) -> None:
        self.viewers = 0
        self.turned_at = time.monotonic()
        self._board = board
        self._client = client
        self._interval = interval
        self._unmask = unmask
        self._heartbeat = max(_HEARTBEAT, interval)
        self._settings = settings | {"heartbeat": self._heartbeat, "step": STEP, "masked": not unmask}
        self._history = History()
        self._tables: dict[str, dict[Key, Row]] = {table: {} for table in TABLES}
        self._header: Row = {}
        self._revision = 0
        self._recent: deque[tuple[int, bytes]] = deque(maxlen=_KEPT)
        self._snapshot: bytes | None = None
        self._told_at = 0.0
        self._turn = asyncio.Condition()
        self._closed = False

    async def run(self) -> None:
        """Take turns, until :meth:`close`."""
        while not self._closed:
            began = time.monotonic()
            changes = await asyncio.to_thread(self._look)
            self._take(changes)
            async with self._turn:
                self._turn.notify_all()
            await asyncio.sleep(max(0.0, began + self._interval - time.monotonic()))

    async def close(self) -> None:
        """Let all viewers go."""
        self._closed = True
        async with self._turn:
            self._turn.notify_all()

    async def follow(self) -> AsyncGenerator[bytes, None]:
        """What to send to one viewer, from a snapshot on; ends with :meth:`close`.

        Its next step is taken when the viewer has been sent what came before.
        """
        self.viewers += 1
        try:
            await self._beyond(0)
            seen = self._revision
            if not self._closed:
                yield self._whole()
            while not self._closed:
                await self._beyond(seen)
                later = [message for revision, message in self._recent if revision > seen]
                complete = len(later) == self._revision - seen
                seen = self._revision
                if not self._closed:
                    yield b"".join(later) if complete else self._whole()
        finally:
            self.viewers -= 1

    # Inside

    async def _beyond(self, revision: int) -> None:
        """Wait until there is a later revision, or no further one."""
        async with self._turn:
            await self._turn.wait_for(lambda: self._closed or self._revision > revision)

    def _look(self) -> Row:
        """What has changed. It may have to wait for the board, so it is not for the event loop's thread."""
        now = time.time()
        silence = self._client.statistics.seconds_since_received
        if silence is not None:
            self._board.heard(now - silence)
        changes = self._board.changes(now)
        return changes if self._unmask else masked(changes)

    def _take(self, changes: Row) -> None:
        """Make a message of what has changed, if it is worth one."""
        header = changes["header"]
        told: Row = {}
        for table in TABLES:
            rows, change = self._tables[table], changes[table]
            rows.update((row["id"], row) for row in change["changed"])
            removed = [key for key in change["removed"] if rows.pop(key, None) is not None]
            if change["changed"] or removed:
                told[table] = {"changed": change["changed"], "removed": removed}
        samples = self._history.take(header)
        worth_telling = bool(told or samples) or _differ(header, self._header) or self._is_due()
        self._header = header
        self._snapshot = None
        self.turned_at = time.monotonic()
        if not worth_telling:
            return
        self._told_at = self.turned_at
        self._revision += 1
        self._recent.append((self._revision, _event("changes", {"header": header, "history": samples, **told})))

    def _is_due(self) -> bool:
        """Whether viewers would begin to think that nobody is there."""
        return time.monotonic() - self._told_at >= self._heartbeat

    def _whole(self) -> bytes:
        if self._snapshot is None:
            told: Row = {
                "settings": self._settings,
                "header": self._header | {"now": time.time()},
                "history": self._history.samples(self._header["now"]),
                **{table: list(rows.values()) for table, rows in self._tables.items()},
            }
            self._snapshot = _event("snapshot", told)
        return self._snapshot


def _differ(one: Row, other: Row) -> bool:
    """Whether two headers differ in more than what goes on by itself."""
    ours = {"now": None, "received_at": None, "clock_difference": None}
    return one | ours != other | ours


def _event(name: str, data: Row) -> bytes:
    # One line: JSON has none of the characters that end one.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f"event: {name}\ndata: {text}\n\n".encode("utf-8", "replace")
