"""The live board: what a terminal or a page shows of a PBX, as rows that are ready for JSON. No I/O, and no clock.

A :class:`Board` is a handler. Give it to whatever calls hooks; when the viewers are due, ask it for
:meth:`Board.changes`, or for everything with :meth:`Board.snapshot`.

Rows hold moments, not durations: so a row changes only when something happens, and viewers tick by themselves.
``since`` and the like are microseconds since the epoch by the PBX's clock; :func:`seconds_since` gives the age. What
concerns the connection is in seconds since the epoch by the clock of this machine. None stands for what is not known,
everywhere.

================  ========================================================
module            is for
================  ========================================================
``board``         ``Board``: taking events in, and giving the board out
``rows``          making the rows, of a picture and its calls
``view``          which rows, in what order, how old, and the sums
``masking``       taking telephone numbers out
================  ========================================================
"""

from __future__ import annotations

from .board import Board
from .masking import mask_number, mask_text, masked
from .view import (
    EVERYTHING,
    ORDERS,
    PERSON_STATES,
    TABLES,
    Row,
    Selection,
    Table,
    by_wait,
    people_order,
    seconds_since,
    summary,
    wait_word,
)

__all__ = [
    "EVERYTHING",
    "ORDERS",
    "PERSON_STATES",
    "TABLES",
    "Board",
    "Row",
    "Selection",
    "Table",
    "by_wait",
    "mask_number",
    "mask_text",
    "masked",
    "people_order",
    "seconds_since",
    "summary",
    "wait_word",
]
