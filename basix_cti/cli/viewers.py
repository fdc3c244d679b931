"""How a live board is shown: on a whole terminal, once, as a picture, as lines, or as JSON."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from logging.handlers import MemoryHandler
from types import TracebackType
from typing import TYPE_CHECKING

from ..board import PERSON_STATES, TABLES, Row, by_wait, masked, people_order, seconds_since, wait_word
from .describe import clean, minutes, time_of_day
from .keys import Keys
from .options import Failure
from .sources import Source

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["Viewer", "viewer_of"]

_INTERVAL = 0.25
_PICTURE_WIDTH = 96
_TICKING = ("now", "received_at", "clock_difference")  # what changes in a header without news


class Viewer:
    """Shows a board. Use it as a context manager.

    Args:
        args: what to show, and how.

    Attributes:
        has_screen: True where it needs the whole terminal.
    """

    has_screen = False

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args

    def show(self, source: Source) -> bool:
        """Show the board as it is now; True if that is enough."""
        raise NotImplementedError

    def end(self, source: Source) -> None:
        """Nothing more will come."""

    def board(self, source: Source) -> Row:
        """The board, with all that it may show and nothing else, in order."""
        told = source.board.snapshot(source.now(), source.selection())
        told["groups"].sort(key=by_wait)
        told["calls"].sort(key=by_wait)
        told["people"].sort(key=people_order(self.args.sort))
        return self.masked(told)

    def masked(self, told: Row) -> Row:
        """Without telephone numbers, if so is wanted."""
        return masked(told) if self.args.mask else told

    def __enter__(self) -> Viewer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class _Drawing(Viewer):
    """One that draws the board, with rich."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        try:
            from . import screen
        except ImportError:
            raise Failure("monitor needs the package rich to draw: pip install basix-cti[cli]") from None
        self._screen = screen
        self._look = screen.Look(args.amber, args.red)
        self._console = screen.Console()

    def draw(self, source: Source, width: int, height: int | None = None) -> list[Text]:
        """The lines of the board as it is now."""
        told = self.board(source)
        self._look.notes = [*source.notes, *(["masked"] if self.args.mask else [])]
        self._look.missing = source.missing
        self._look.replay = source.replay
        return self._screen.draw(told, self._look, width, height)


class _Whole(_Drawing):
    """Shows the board on all of the terminal, until Ctrl-C or the key q, and leaves the terminal as it was."""

    has_screen = True

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self._live = self._screen.Live(console=self._console, screen=True, auto_refresh=False)
        self._shown: object = None
        self._keys = Keys()
        self._stack = ExitStack()
        self._interrupted = threading.Event()

    def show(self, source: Source) -> bool:
        size = self._console.size
        lines = self.draw(source, size.width, size.height)
        if (lines, size) != self._shown:
            self._shown = (lines, size)
            self._live.update(self._screen.Group(*lines), refresh=True)
        return self._keys.quit() or self._interrupted.is_set()

    def end(self, source: Source) -> None:
        """The last board of a replay stays until then."""
        never = threading.Event()
        while source.replay is not None and not self.show(source):
            never.wait(_INTERVAL)

    def __enter__(self) -> _Whole:
        with ExitStack() as stack:
            self._interrupted = stack.enter_context(_interrupts_held())
            stack.callback(self._keys.release)
            self._keys.hold()
            stack.enter_context(_logs_held())
            stack.callback(self._live.stop)
            self._live.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


@contextmanager
def _interrupts_held() -> Iterator[threading.Event]:
    """Have Ctrl-C and SIGTERM set an event: they must not interrupt what is being done to the terminal."""
    held = threading.Event()
    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, lambda *_: held.set())
        yield held
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _logs_held() -> Iterator[None]:
    """Have what is logged come after the screen, if it went to the same terminal."""
    root = logging.getLogger()
    handlers = list(root.handlers)
    held = [MemoryHandler(1_000_000, logging.CRITICAL + 1, each) for each in handlers] if sys.stderr.isatty() else []
    if held:
        root.handlers[:] = held
    try:
        yield
    finally:
        if held:
            root.handlers[:] = handlers
        for each in held:
            each.close()


class _Once(_Drawing):
    """Prints the board once, or makes a picture of it."""

    def show(self, source: Source) -> bool:
        if not source.is_ready():
            return False
        if self.args.svg is None:
            for line in self.draw(source, self._console.width):
                if not self._console.is_terminal:
                    line.rstrip()
                self._console.print(line, no_wrap=True, crop=True)
            return True
        picture = self._screen.picture(self.draw(source, _PICTURE_WIDTH), _PICTURE_WIDTH, "basix-cti monitor")
        with open(self.args.svg, "w", encoding="utf-8") as file:
            file.write(picture)
        return True


class _Json(Viewer):
    """Prints JSON, an object a line: the board once, or first the board and then what changes."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self._header: Row = {}
        self._selection: object = None

    def show(self, source: Source) -> bool:
        if self.args.once:
            if source.is_ready():
                self._write(self.board(source))
            return source.is_ready()
        if not self._header and not source.is_known():
            return False
        selection = source.selection()
        told = selection.narrow(source.board.changes(source.now()))
        if selection != self._selection:
            self._selection = selection
            told = {"type": "board", **self.board(source)}
        else:
            header = source.board.header(source.now(), selection)
            news = any(told[table]["changed"] or told[table]["removed"] for table in TABLES)
            if not news and _lasting(header) == _lasting(self._header):
                return False
            told = {"type": "changes", **self.masked(told), "header": header}
        self._header = told["header"]
        self._write(told)
        return False

    def _write(self, told: Row) -> None:
        sys.stdout.write(json.dumps(told, ensure_ascii=False, allow_nan=False) + "\n")
        sys.stdout.flush()


def _lasting(header: Row) -> Row:
    return {name: value for name, value in header.items() if name not in _TICKING}


class _Lines(Viewer):
    """Prints what happens on the board, a line each."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self._connection: tuple[str, str | None] = ("connecting", None)
        self._figures = ""
        self._calls: dict[str, Row] = {}
        self._said: dict[str, tuple[str, str]] = {}

    def show(self, source: Source) -> bool:
        told = self.board(source)
        header = told["header"]
        self._tell_connection(header)
        if header["connection"]["state"] == "live":
            self._tell_calls(told["calls"], header, source)
            self._tell_figures(header)
        return False

    def _tell_connection(self, header: Row) -> None:
        connection = header["connection"]
        state = (connection["state"], connection["reason"])
        if state == self._connection or state[0] == "loading":
            return
        if state[0] == "live":
            self._say(header, "connected", f"to {connection['server'] or 'a PBX'}")
        elif state[0] == "lost" and self._connection[0] != "lost":
            self._say(header, "lost", f"{connection['reason']}; what happens until the next connection is not known")
        self._connection = state

    def _tell_calls(self, rows: list[Row], header: Row, source: Source) -> None:
        now, difference = header["now"], header["clock_difference"]
        calls = {row["id"]: row for row in rows}
        gone = [row for id_, row in self._calls.items() if id_ not in calls]
        # Where only a part of the board is shown, a call may leave it and go on.
        up = {row["id"] for row in source.board.snapshot(source.now())["calls"]} if gone else set()
        for row in gone:
            self._say(header, "left" if row["id"] in up else "ended", _parties(row))
            del self._said[row["id"]]
        for id_, row in calls.items():
            waited = seconds_since(row["since"], now, difference) if row["waiting"] else None
            word = wait_word(waited, self.args.amber, self.args.red)
            before = self._said.get(id_, ("", ""))
            if before[0] != row["state"]:
                self._say(header, row["state"], _parties(row) + _details(row))
            if word and word != before[1] and waited is not None:
                self._say(header, word, f"{_parties(row)}, waits {minutes(waited)}")
            self._said[id_] = (row["state"], word)
        self._calls = calls

    def _tell_figures(self, header: Row) -> None:
        counts = {state: "?" if count is None else count for state, count in header["people"].items()}
        people = ", ".join(f"{counts[state]} {state}" for state in PERSON_STATES)
        figures = f"{header['waiting']} waiting, {header['active']} calls; people: {people}"
        if figures != self._figures:
            self._figures = figures
            self._say(header, "now", figures)

    def _say(self, header: Row, what: str, text: str) -> None:
        sys.stdout.write(clean(f"{time_of_day(header['now'])}  {what:<10}  {text}") + "\n")
        sys.stdout.flush()


def _parties(row: Row) -> str:
    caller = " ".join(filter(None, (row["number"] or row["extension"], row["caller"]))) or "?"
    return f"{caller} -> {row['target'] or row['target_number'] or row['group'] or '?'}"


def _details(row: Row) -> str:
    if row["slot"] is not None:
        return f", in slot {row['slot']}" + (f" by {row['parker']}" if row["parker"] else "")
    return f", answered by {row['answered_by']}" if row["state"] == "talking" and row["answered_by"] else ""


def viewer_of(args: argparse.Namespace) -> Viewer:
    """The viewer that the arguments ask for, or else the one that suits the output."""
    if args.svg is not None:
        return _Once(args)
    if args.json:
        return _Json(args)
    if args.once:
        return _Once(args)
    has_screen = sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    return _Whole(args) if has_screen else _Lines(args)
