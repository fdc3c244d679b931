"""The board drawn for people: lines of text with colours, as wide as the terminal. It needs rich, the extra ``cli``.

Everything around names is ASCII, because terminals do not agree on how wide other signs are; and no colour tells what a
word beside it does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import unescape
from io import StringIO
from itertools import groupby, zip_longest
from textwrap import wrap
from typing import TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group
from rich.live import Live
from rich.style import Style
from rich.text import Text

from ..board import PERSON_STATES, Row, seconds_since, wait_word
from .describe import clean, minutes, time_of_day

__all__ = ["Console", "Group", "Live", "Look", "draw", "picture"]

_Cell: TypeAlias = "str | tuple[str, str] | Sequence[str]"  # a text; with its style; or several, of which one fits

_MIN_WIDTH = 40
_NARROW = 72
_TWO_COLUMNS = 150
_STYLES = {"ringing": "yellow", "talking": "cyan", "free": "green", "away": "magenta"}
_CONNECTION = {"connecting": "yellow", "loading": "yellow", "live": "green", "lost": "bold red"}
_LEVELS = {"long": "yellow", "too long": "bold red"}
_TITLE = "reverse"


@dataclass(slots=True)
class Look:
    """How the board is to be drawn.

    Attributes:
        amber, red: a call that has waited so many seconds has waited ``long``, or ``too long``.
        notes: what else is to be told on the first line, in a few words each.
        missing: what is asked for and not there; None for nothing.
        replay: None for a live board; else how far a replay has come, in words.
    """

    amber: float = 20.0
    red: float = 60.0
    notes: list[str] = field(default_factory=list)
    missing: str | None = None
    replay: str | None = None


def draw(told: Row, look: Look, width: int, height: int | None = None) -> list[Text]:
    """The lines of a board.

    Args:
        told: a snapshot of it, sorted. How long things have lasted is counted up to its ``header["now"]``.
        look: how to draw it.
        width: of the lines, in cells of the terminal.
        height: how many lines there may be; None for any number.
    """
    seen, width = width, max(width, _MIN_WIDTH)
    now = _Now(told["header"], look)
    head = _head(told["header"], now, look, width)
    room = None if height is None else height - len(head)
    columns = (width,) if width < _TWO_COLUMNS else ((width - 3) // 2, width - 3 - (width - 3) // 2)
    tables = [
        _groups(told["groups"], now, columns[0], room),
        _waiting([row for row in told["calls"] if row["waiting"]], now, columns[0], room),
        _people(told["people"], now, columns[-1], room),
    ]
    for table, name in ((tables[0], "groups"), (tables[2], "people")):
        if now.live and not told["header"]["lists"][name]:
            table.lines.append(Text("only those whom calls have named so far", "dim"))
            table.length += 1
    if not now.live:
        for table in tables:
            for line in table.lines[1:]:
                line.stylize("dim")
    if len(columns) == 1:
        fitted = _fitted(tables, room)
    else:
        fitted = _beside(_fitted(tables[:2], room), _fitted(tables[2:], room), columns[0])
    return [_clipped(line, seen) for line in (*head, *fitted)][:height]


def _beside(left: list[Text], right: list[Text], width: int) -> list[Text]:
    """Lines on the left, which get ``width`` cells, and on the right."""
    lines = []
    for one, other in zip_longest(left, right, fillvalue=Text()):
        line = one.copy()
        line.pad_right(max(0, width - line.cell_len))
        lines.append(line.append("   ").append_text(other))
    return lines


def picture(lines: Iterable[Text], width: int, title: str) -> str:
    """The lines as an SVG picture; the same lines give the same text."""
    console = Console(file=StringIO(), record=True, width=width, force_terminal=True, color_system="truecolor")
    for line in lines:
        console.print(_in_places(line), no_wrap=True, crop=True)
    svg = console.export_svg(title=title, unique_id="basix-cti", code_format=_svg_format())
    svg = re.sub(r'textLength="([\d.]+)"([^>]*)>([^<]*)<', _with_wide_characters, svg)
    return "".join(f"{line.rstrip()}\n" for line in svg.splitlines())


def _with_wide_characters(found: re.Match[str]) -> str:
    """rich makes a text as long as it has characters, not cells."""
    text = unescape(found[3])
    length = float(found[1]) / max(1, len(text)) * cell_len(text)
    return f'textLength="{length:g}"{found[2]}>{found[3]}<'


def _in_places(line: Text) -> Text:
    """A line of which each run of characters of one width has a place of its own in a picture.

    Fonts do not keep to it that wide characters are twice as wide as the others, and what comes after would be shifted.
    """
    placed, start = line.copy(), 0
    for number, (_, run) in enumerate(groupby(line.plain, cell_len)):
        end = start + len(list(run))
        placed.stylize(Style(meta={"run": number}), start, end)
        start = end
    return placed


def _svg_format() -> str:
    """rich's own, but for the fonts: it has them loaded from another server."""
    from rich._export_format import CONSOLE_SVG_FORMAT

    begin, end = CONSOLE_SVG_FORMAT.index("@font-face"), CONSOLE_SVG_FORMAT.rindex("@font-face")
    end = CONSOLE_SVG_FORMAT.index("}}", end) + 2
    return (CONSOLE_SVG_FORMAT[:begin] + CONSOLE_SVG_FORMAT[end:]).replace("Fira Code", "DejaVu Sans Mono")


class _Now:
    """How long things have lasted, as far as that is known."""

    def __init__(self, header: Row, look: Look) -> None:
        self.look = look
        self.live = header["connection"]["state"] == "live"
        self._now: float = header["now"]
        self._difference: float | None = header["clock_difference"]

    def seconds(self, since: int | None) -> float | None:
        return seconds_since(since, self._now, self._difference) if self.live else None

    def lasted(self, since: int | None) -> str:
        """Minutes and seconds; "~" before it while the difference of the clocks is not known."""
        seconds = self.seconds(since)
        if seconds is None:
            return "?"
        return ("~" if self._difference is None else "") + minutes(seconds)

    def waited(self, since: int | None) -> tuple[str, str]:
        """The same of a wait, with a word where it is long, and in its colour."""
        word = wait_word(self.seconds(since), self.look.amber, self.look.red)
        return (f"{self.lasted(since)} {word}".rstrip(), _LEVELS.get(word, ""))


# The head


def _head(header: Row, now: _Now, look: Look, width: int) -> list[Text]:
    return [
        _first_line(header, look, width),
        *_figures(header, now, width),
        *_counters(header, width),
        *_troubles(header, look, width),
    ]


def _first_line(header: Row, look: Look, width: int) -> Text:
    connection = header["connection"]
    state = connection["state"]
    if look.replay is not None:
        left = Text.assemble(("REPLAY", "bold cyan"), f" {look.replay}")
    else:
        left = Text.assemble((state.upper(), _CONNECTION[state]), f"  {clean(_host(connection['server']))}")
        age = None if header["received_at"] is None else max(0.0, header["now"] - header["received_at"])
        left.append("  no data yet" if age is None else f"  data {_ago(age)} old")
        difference = header["clock_difference"]
        if difference is not None and abs(difference) >= 2:
            left.append(f"  PBX clock {_ago(abs(difference))} {'behind' if difference > 0 else 'ahead'}")
    for note in look.notes:
        left.append(f"  {clean(note)}")
    time_ = time_of_day(header["now"])
    left = _clipped(left, width - len(time_) - 2)
    left.pad_right(width - len(time_) - left.cell_len)
    return left.append(time_)


def _host(url: str | None) -> str:
    """Where a URL leads to, without its path."""
    scheme, mark, rest = (url or "").partition("://")
    return scheme + mark + rest.partition("/")[0]


def _ago(seconds: float) -> str:
    return f"{int(seconds)} s" if seconds < 120 else minutes(seconds)


def _figures(header: Row, now: _Now, width: int) -> list[Text]:
    """What is counted: on one line, or on two where that is too narrow."""
    waiting, people = header["waiting"], header["people"]
    calls = Text.assemble("waiting ", (_figure(waiting), "bold"))
    if waiting or waiting is None:
        longest, style = now.waited(header["longest_since"])
        calls.append("  longest ").append(longest, style or "bold")
    calls.append("  calls ").append(_figure(header["active"]), "bold")
    told = Text("  ").join(
        [Text(f"{_figure(people and people[state])} {state}", _STYLES[state]) for state in PERSON_STATES]
    )
    both = Text("   ").join([calls, Text.assemble("people ", told)])
    return [both] if both.cell_len <= width else [_clipped(calls, width), _clipped(Text("people  ") + told, width)]


def _figure(value: int | None) -> str:
    return "?" if value is None else str(value)


def _counters(header: Row, width: int) -> list[Text]:
    counters = header["counters"]
    if counters["since"] is None:
        return [Text("what happened before the first connection is not known", "dim")]
    names = ["answered", "missed", "abandoned", "voicemail"]
    names += [name for name in ("busy", "failed", "picked_up_elsewhere", "unknown") if counters[name]]
    told = ", ".join(f"{counters[name]} {name.replace('_', ' ')}" for name in names)
    doubt = "" if counters["complete"] else "at least "
    since = f"since {time_of_day(counters['since'])[:5]} (earlier unknown): "
    return [Text(line) for line in wrap(since + doubt + told, width, max_lines=2)]


def _troubles(header: Row, look: Look, width: int) -> list[Text]:
    connection, gap = header["connection"], header["gap"]
    lines = [] if look.missing is None else [(look.missing, "yellow")]
    if connection["state"] == "lost":
        lasted = _ago(max(0.0, header["now"] - connection["since"]))
        lines.append((f"No connection for {lasted}: {connection['reason']}", "bold red"))
        lines.append((f"What is below was so at {time_of_day(connection['since'])}; nothing newer is known.", "red"))
    elif connection["state"] == "connecting" and connection["reason"]:
        lines.append((f"Not connected: {connection['reason']}", "bold red"))
    elif gap is not None and gap[1] is not None:
        count = "" if header["gaps"] == 1 else f" ({header['gaps']} gaps so far)"
        lines.append(
            (f"What happened from {time_of_day(gap[0])} to {time_of_day(gap[1])} is not known{count}.", "yellow")
        )
    if header["overflowed"]:
        lines.append((f"{header['overflowed']} messages were dropped: this machine was too slow.", "yellow"))
    if header["bad_frames"]:
        lines.append((f"{header['bad_frames']} messages could not be decoded.", "yellow"))
    return [Text(part, style) for text, style in lines for part in wrap(clean(text), width, max_lines=3)]


# The tables


@dataclass(slots=True)
class _Column:
    """A column: so many cells wide, or a share of what the others leave; left out of a narrow table if it can be."""

    title: str
    width: int = 0
    share: int = 0
    right: bool = False
    spare: bool = False


def _groups(rows: list[Row], now: _Now, width: int, most: int | None) -> _Table:
    columns = [
        _Column("GROUPS", share=1),
        _Column("ext", 5, spare=True),
        _Column("waiting", 7, right=True),
        _Column("longest", 16),
        _Column("talking", 7, right=True),
        _Column("logged in", 9, right=True, spare=True),
        _Column("voicemail", 9),
    ]
    cells = []
    for row in rows[:most]:
        waits = bool(row["waiting"])
        line: list[_Cell] = [
            _title(row),
            row["extension"] or "",
            (str(row["waiting"]), "bold") if waits else "0",
            now.waited(row["longest_since"]) if waits else "",
            str(row["talking"]),
            "?" if row["members"] is None else f"{row['logged_in']} of {row['members']}",
            _voicemail(row),
        ]
        cells.append(line)
    return _table(columns, cells, width, len(rows))


def _waiting(rows: list[Row], now: _Now, width: int, most: int | None) -> _Table:
    columns = [
        _Column("WAITING CALLS", share=3),
        _Column("for", share=2),
        _Column("wait", 16),
        _Column("where", 9),
    ]
    cells: list[list[_Cell]] = []
    for row in rows[:most]:
        outside = row["customer"] if row["direction"] == "outbound" else row["caller"]
        number = row["target_number"] if row["direction"] == "outbound" else row["number"] or row["extension"]
        where = row["state"] if row["slot"] is None else f"slot {row['slot']}"
        organization = row["organization"]
        who = _who(outside, number)
        if organization and outside:
            who = [f"{who[0]} {clean(organization)}", f"{clean(outside)} {clean(organization)}", *who]
        cells.append([who, row["group"] or row["target"] or "", now.waited(row["since"]), where])
    return _table(columns, cells, width, len(rows))


def _people(rows: list[Row], now: _Now, width: int, most: int | None) -> _Table:
    columns = [
        _Column("ext", 5),
        _Column("PEOPLE", share=2),
        _Column("state", 7),
        _Column("with", share=3),
        _Column("time", 8, right=True),
        _Column("voicemail", 9, spare=True),
        _Column("", 3),
    ]
    cells: list[list[_Cell]] = []
    for row in rows[:most]:
        busy = row["call"] is not None
        line: list[_Cell] = [
            row["extension"] or "",
            _title(row),
            (row["state"], _STYLES[row["state"]]),
            _peer(row) if busy else row["reason"] or "",
            now.lasted(row["since"]) if busy else "",
            _voicemail(row),
            ("DND", "magenta") if row["dnd"] else "",
        ]
        cells.append(line)
    return _table(columns, cells, width, len(rows))


def _peer(row: Row) -> Sequence[str]:
    """With whom somebody is in a call; what they do where nobody is at the other end."""
    if row["doing"] in ("conference", "voicemail", "service", "menu", "parked"):
        return [row["doing"]]
    word = "to" if row["direction"] == "out" else "from"
    more = f" +{row['calls'] - 1}" if row["calls"] > 1 else ""
    return [f"{word} {each}{more}" for each in _who(row["peer"], row["peer_number"] or row["peer_extension"])]


def _who(name: str | None, number: str | None) -> list[str]:
    """A name and a number; the name alone where both do not fit."""
    if name and number:
        return [f"{clean(name)} {clean(number)}", clean(name)]
    return [clean(name or number or "?")]


def _title(row: Row) -> str:
    return str(row["label"] or row["name"] or row["id"])


def _voicemail(row: Row) -> str:
    new = row["mwi_new"]
    return "?" if new is None else f"{new} new" if new else ""


@dataclass(slots=True)
class _Table:
    """The lines of a table, its title first, and how many there would be of it in all."""

    lines: list[Text]
    length: int


def _table(columns: list[_Column], rows: Sequence[Sequence[_Cell]], width: int, count: int) -> _Table:
    """A table of these rows, the first of ``count``."""
    if width < _NARROW:
        kept = [place for place, column in enumerate(columns) if not column.spare]
        columns, rows = [columns[place] for place in kept], [[row[place] for place in kept] for row in rows]
    left = width - sum(column.width for column in columns) - 2 * (len(columns) - 1)
    shares = sum(column.share for column in columns)
    widths = [column.width or max(4, left * column.share // shares) for column in columns]
    widths[next(place for place, column in enumerate(columns) if column.share)] += max(
        0, width - sum(widths) - 2 * (len(columns) - 1)
    )
    lines = [_line(columns, widths, [column.title for column in columns], width)]
    lines[0].stylize(_TITLE)
    lines += [_line(columns, widths, row, width) for row in rows]
    return _Table(lines, count + 1)


def _line(columns: list[_Column], widths: list[int], cells: Sequence[_Cell], width: int) -> Text:
    line = Text()
    for place, (column, cell) in enumerate(zip(columns, cells, strict=True)):
        room, style = widths[place], ""
        if isinstance(cell, tuple):
            text, style = str(cell[0]), str(cell[1])
        elif isinstance(cell, str):
            text = cell
        else:
            text = next((each for each in cell if cell_len(each) <= room), cell[-1])
        text = _shortened(clean(text), room)
        space = " " * (room - cell_len(text))
        line.append(space if column.right else "").append(text, style or None).append("" if column.right else space)
        line.append("  " if place < len(columns) - 1 else "")
    return _clipped(line, width)


def _fitted(tables: list[_Table], height: int | None) -> list[Text]:
    """As much of the tables as there is room for; where rows are left out, the last line tells how many."""
    if height is None or height >= sum(table.length + 1 for table in tables):
        return [line for table in tables for line in (Text(), *table.lines)]
    if height > 3 * len(tables):  # an empty line above, as there may be one beside
        return [Text(), *_cut(tables, height - 1)]
    return _cut(tables, height)


def _cut(tables: list[_Table], height: int) -> list[Text]:
    """The beginnings of tables."""
    # What needs less than its share leaves the rest to the others.
    room: dict[int, int] = {}
    left = max(height, 2 * len(tables))
    for place in sorted(range(len(tables)), key=lambda place: tables[place].length):
        room[place] = min(tables[place].length, left // (len(tables) - len(room)))
        left -= room[place]
    fitted: list[Text] = []
    for place, table in enumerate(tables):
        if table.length <= room[place]:
            fitted += table.lines
        else:
            shown = table.lines[: room[place] - 1]
            fitted += [*shown, Text(f"... and {table.length - len(shown)} more", "dim")]
    return fitted


def _shortened(text: str, room: int) -> str:
    """A text that fits; two dots where its end is missing."""
    if cell_len(text) <= room:
        return text
    return set_cell_size(text, max(0, room - 2)).rstrip() + ".."[: max(0, room)]


def _clipped(line: Text, width: int) -> Text:
    line.truncate(max(0, width), overflow="crop")
    return line
