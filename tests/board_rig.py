"""A simulated PBX and a board that hears it, for tests of what boards show; without a network."""

from __future__ import annotations

from typing import Any

from call_rig import Heard, Rig

from basix_cti.board import Board, Row
from basix_cti.errors import ConnectionLost
from basix_cti.events import Event, Session
from basix_cti.simulator.model import Change

__all__ = ["BoardRig", "by_id"]


class _Passing(Heard):
    """Passes every event on to a board."""

    def __init__(self, board: Board) -> None:
        super().__init__()
        self.board = board

    def on_event(self, event: Event) -> None:
        super().on_event(event)
        self.board.on_event(event)

    def on_error(self, error: BaseException) -> None:
        pass


class BoardRig(Rig):
    """A rig whose parser passes every event on to :attr:`board`.

    Attributes:
        ahead: by how many seconds this machine's clock is ahead of the PBX's.
        url: where the PBX is said to be.
    """

    ahead = 0.0
    url: str | None = None

    def restart(self) -> None:
        self.board = Board()
        super().restart()
        self.parser.handler = self.heard = _Passing(self.board)

    def connect(self) -> None:
        self.parser.handler = self.heard = _Passing(self.board)
        self.deaf = False
        self.parser.connection_made(Session(1, self.url), received_at=self.time)
        for frame in self.wire.opening(self.view):
            self.parser.handle_message(frame, self.time)

    def disconnect(self, reason: ConnectionLost | None = None) -> None:
        self.deaf = True
        self.parser.connection_lost(reason, received_at=self.time)

    def _hear(self, change: Change) -> None:
        if not self.deaf:
            for seen in self.view.changes(change):
                for frame in self.wire.messages(seen):
                    self.parser.handle_message(frame, self.time)

    @property
    def time(self) -> float:
        """This machine's time."""
        return self.now / 1_000_000 + self.ahead

    def rows(self, table: str) -> dict[Any, Row]:
        return by_id(self.board.snapshot(self.time)[table])

    def header(self) -> Row:
        return self.board.header(self.time)

    def person(self, name: str) -> Row:
        return next(row for row in self.rows("people").values() if row["name"] == name)

    def group(self, name: str) -> Row:
        return next(row for row in self.rows("groups").values() if row["name"] == name)

    @property
    def only(self) -> Row:
        """The row of the only call."""
        (row,) = self.rows("calls").values()
        return row


def by_id(rows: list[Row]) -> dict[Any, Row]:
    return {row["id"]: row for row in rows}
