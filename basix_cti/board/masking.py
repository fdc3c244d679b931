"""Telephone numbers taken out of what a board gives; extensions stay."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from ..values import Json
from .view import TABLES, Row

__all__ = ["FIELDS", "mask_number", "mask_text", "masked"]

FIELDS: dict[str, Literal["plain", "text", "number"]] = {
    **dict.fromkeys(("number", "peer_number", "target_number"), "number"),
    **dict.fromkeys(("name", "label", "presence", "caller", "customer", "organization", "group", "target"), "text"),
    **dict.fromkeys(("answered_by", "parker", "peer"), "text"),
    **dict.fromkeys(("id", "extension", "peer_extension", "type", "state", "doing", "reason", "direction"), "plain"),
    **dict.fromkeys(("waiting", "talking", "longest_since", "since", "offered", "members", "logged_in"), "plain"),
    **dict.fromkeys(("member_ids", "user_ids", "group_ids", "group_id", "call", "calls", "customers"), "plain"),
    **dict.fromkeys(("mwi_new", "mwi_saved", "dnd", "forwarding", "registered", "partial", "uncertain"), "plain"),
    "slot": "plain",
}
"""Where telephone numbers can stand in a row: a field is one, or a text that may hold some, or never holds any."""

# Six digits or more, with what people write between them, in ASCII or full width, or with what cannot be seen;
# extensions and years are shorter. A date is taken for a number: too much hidden is better than too little.
_NUMBER = re.compile(
    r"\d(?:[\s\-_./()~"
    r"\u2010-\u2015\u2212\u301c\u30fb\u30fc\uff08\uff09\uff0d\uff0e\uff0f\uff3f\uff5e\uff65\uff70"
    r"\u00ad\u200b-\u200f\u2060-\u2064\u202a-\u202e\ufeff]{0,3}\d){5,}"
)


def mask_number(text: str) -> str:
    """A telephone number of which only the last two digits can be read; none of a short one."""
    count = sum(char.isdigit() for char in text)
    hidden = count - (2 if count > 6 else 0)
    told, seen = [], 0
    for char in text:
        seen += char.isdigit()
        told.append("*" if char.isdigit() and seen <= hidden else char)
    return "".join(told)


def mask_text(text: str) -> str:
    """A text with all that looks like a telephone number masked: six digits or more."""
    return _NUMBER.sub(lambda match: mask_number(match[0]), text)


def masked(told: Mapping[str, Json]) -> Row:
    """What a board gave, without telephone numbers.

    Args:
        told: what ``snapshot()``, ``changes()`` or ``header()`` of a board returned, or a row of it; left as it is.
    """
    if "id" in told:
        return {field: _masked(field, value) for field, value in told.items()}
    result: Row = dict(told)
    for table in TABLES:
        rows = told.get(table)
        if isinstance(rows, dict):
            result[table] = rows | {"changed": [masked(row) for row in rows["changed"]]}
        elif rows is not None:
            result[table] = [masked(row) for row in rows]
    return result


def _masked(field: str, value: Json) -> Json:
    kind = FIELDS.get(field, "number")
    if kind == "plain" or not isinstance(value, str):
        return value
    return mask_text(value) if kind == "text" else mask_number(value)
