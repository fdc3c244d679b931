"""Where a live board comes from: a PBX, or a recording."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from abc import ABC, abstractmethod
from types import TracebackType

from ..board import Board, Selection, Table
from ..errors import ConnectError, ConnectionLost, ConnectionReplaced
from ..events import Disconnected, Event
from ..recording import Recording, replay
from .describe import clean
from .options import Failure, client_of, settings
from .progress import Progress
from .tail import Printer

__all__ = ["LiveSource", "ReplaySource", "Source"]

_PATIENCE = 3.0  # seconds for a PBX to list its groups and users after its channels
_NAMES_TOLD = 12
_NOTHING = Selection(frozenset(), frozenset())


class Source(Printer, ABC):
    """A board that is fed in a thread of its own. Use it as a context manager.

    Args:
        groups, users: names of those to show; none for all.

    Attributes:
        board: the board.
        ended: set when nothing more will come.
        silent: True while a screen is shown, which lines on stderr would spoil. If it fails, the last one comes after.
        status: the exit status.
        replay: in words, how far a replay has come; None for a PBX.
        notes: what a viewer should be told of what is shown, in a few words each.
        missing: what is asked for and not there, but may still come; None for nothing.
    """

    def __init__(self, groups: list[str], users: list[str]) -> None:
        super().__init__(sys.stderr)
        self.board = Board()
        self.ended = threading.Event()
        self.silent = False
        self.status = 0
        self.replay: str | None = None
        self.notes: list[str] = []
        self.missing: str | None = None
        self._groups = groups
        self._users = users
        self._selection: Selection | None = None
        self._last = ""
        self._raised: BaseException | None = None
        self._thread = threading.Thread(target=self._watch, name="basix-cti-board", daemon=True)

    # What differs

    @abstractmethod
    def now(self) -> float:
        """The time up to which things have lasted, seconds since the epoch."""

    @abstractmethod
    def feed(self) -> None:
        """Feed the board, until :attr:`enough` is set."""

    @abstractmethod
    def is_whole(self) -> bool:
        """Whether the whole PBX is seen, so that a group or user that is not there does not exist."""

    def is_known(self) -> bool:
        """Whether the present state is known, as far as it ever will be."""
        header = self.board.header(self.now())
        since = header["connection"]["since"]
        if header["connection"]["state"] != "live":
            return False
        return self._lists() or header["now"] - since >= _PATIENCE

    def is_ready(self) -> bool:
        """Whether the board is as it is to be shown once."""
        return self.is_known()

    # What does not

    def selection(self) -> Selection:
        """What is to be shown; nothing while a group or user is not there that may still come.

        Raises:
            Failure: there is no such group or user.
        """
        if self._selection is None:
            self._selection = self._select()
        return self._selection or _NOTHING

    def _select(self) -> Selection | None:
        try:
            groups = self.board.select(groups=self._groups).groups
        except LookupError as error:
            self._miss("groups", str(error))
            return None
        try:
            users = self.board.select(users=self._users).users
        except LookupError as error:
            self._miss("people", str(error))
            return None
        self.missing = None
        self.notes = [f"only {name}" for name in (*self._groups, *self._users)]
        return Selection(groups, users)

    def _miss(self, table: Table, what: str) -> None:
        if not self.is_known():
            return
        if self.is_whole() and self.board.lists(table):
            rows = self.board.snapshot(self.now())[table]
            names = sorted((clean(row["name"]) for row in rows), key=lambda name: (len(name), name))
            more = ", ..." if len(names) > _NAMES_TOLD else ""
            raise Failure(f"{what}; there are {', '.join(names[:_NAMES_TOLD])}{more}")
        missing = f"{what} so far"
        if missing != self.missing:
            self.missing = missing
            self.tell(f"{missing}: the PBX does not tell this login of all that there are")

    def _lists(self) -> bool:
        return self.board.lists("groups") and self.board.lists("people")

    def on_event(self, event: Event) -> None:
        self.board.on_event(event)

    def tell(self, text: str) -> None:
        if self.silent:
            self._last = text
        else:
            super().tell(text)

    def __enter__(self) -> Source:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.enough.set()
        self._thread.join()
        self.silent = False
        if error is not None and not isinstance(error, KeyboardInterrupt):
            return
        if self._raised is not None:
            raise self._raised
        if self.status and self._last:
            self.tell(self._last)

    def _watch(self) -> None:
        try:
            self.feed()
        except BaseException as error:
            self._raised = error
        finally:
            self.ended.set()


class LiveSource(Source):
    """The board of a PBX, or of the relay that is connected to it.

    Args:
        args: of a command that connects.
        groups, users: as for :class:`Source`.
        once: True if it ends with the first failure.
    """

    def __init__(self, args: argparse.Namespace, groups: list[str], users: list[str], *, once: bool) -> None:
        super().__init__(groups, users)
        found = settings(args, relayed=True)
        self._whole = found.full_events  # what a relay sees, it alone knows
        self._is_first_generation = found.api_user is not None  # which lists neither groups nor users
        self._once = once
        self._client = client_of(found, self)

    def now(self) -> float:
        now, silence = time.time(), self._client.seconds_since_received
        if silence is not None:
            self.board.heard(now - silence)
        return now

    def feed(self) -> None:
        self.status = self.run(self._client)

    def is_whole(self) -> bool:
        return self._whole

    def is_known(self) -> bool:
        live = self.board.header(self.now())["connection"]["state"] == "live"
        return (live and self._is_first_generation) or super().is_known()

    def on_error(self, error: BaseException) -> None:
        super().on_error(error)
        if isinstance(error, ConnectError):
            self._give_up()

    def on_disconnect(self, reason: ConnectionLost) -> None:
        super().on_disconnect(reason)
        if self._once and not self.enough.is_set() and not isinstance(reason, ConnectionReplaced):
            self.tell(str(reason))
        self._give_up()

    def _give_up(self) -> None:
        if self._once and not self.enough.is_set():
            self.refused = True
            self.enough.set()


class ReplaySource(Source):
    """The board of a recording. Of the end of the recording itself it takes no notice: the board stays as it was then.

    Args:
        path: of the recording.
        groups, users: as for :class:`Source`.
        speed: how much faster than life; None for as fast as possible.

    Raises:
        RecordingError: the file is no recording.
        OSError: it cannot be read.
    """

    def __init__(self, path: str, groups: list[str], users: list[str], *, speed: float | None) -> None:
        super().__init__(groups, users)
        self._recording = Recording(path)
        self._speed = speed
        self._time = (0.0, time.monotonic())
        self._held: Disconnected | None = None
        self._progress = Progress("replaying", silent=sys.stdout.isatty())
        self._name = os.path.basename(path)
        self.replay = f"0 %  {self._name}"

    def now(self) -> float:
        at, then = self._time
        if self._speed is None or self.ended.is_set() or not at:
            return at
        return at + (time.monotonic() - then) * self._speed

    def feed(self) -> None:
        with self._progress:
            replay(self._recording, self, speed=self._speed, stop=self.enough, progress=self._go_on)
        if self.enough.is_set():
            return
        if self._recording.trouble is not None:
            self.status = 1
            self.tell(self._recording.trouble)
        self.replay = f"ended  {self._name}"

    def is_whole(self) -> bool:
        return True

    def is_known(self) -> bool:
        return self.ended.is_set() or super().is_known()

    def is_ready(self) -> bool:
        return self.ended.is_set()

    def on_event(self, event: Event) -> None:
        self._release()
        self._time = (event.received_at, time.monotonic())
        if isinstance(event, Disconnected):
            self._held = event  # until there is more to come
        else:
            self.board.on_event(event)

    def on_error(self, error: BaseException) -> None:
        pass  # the board counts what could not be decoded

    def _go_on(self, recording: Recording) -> None:
        self._release()
        self._progress(recording)
        done = min(100, 100 * recording.position // max(1, recording.size))
        pace = "max" if self._speed is None else f"x{self._speed:g}"
        self.replay = f"{pace}  {done} %  {self._name}"

    def _release(self) -> None:
        if self._held is not None:
            self.board.on_event(self._held)
            self._held = None
