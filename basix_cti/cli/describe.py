"""Events in words, one line each; and how moments, spans and names are written."""

from __future__ import annotations

import time
import unicodedata

from ..calls import Call
from ..elements import Channel, Element, MessageWaiting, ParkInfo, Target
from ..events import (
    CallEvent,
    Connected,
    Disconnected,
    Event,
    Failed,
    InfoEvent,
    InitialInfo,
    Msg,
    Overflowed,
    SystemMsg,
)


def clock(seconds: float) -> str:
    """The local time of day, with milliseconds, of seconds since the epoch."""
    return time_of_day(seconds) + f".{int(seconds % 1 * 1000):03d}"


def time_of_day(seconds: float | None) -> str:
    """The local time of day of seconds since the epoch; "?" for None."""
    return "?" if seconds is None else time.strftime("%H:%M:%S", time.localtime(seconds))


def minutes(seconds: float) -> str:
    """A span of time as ``M:SS`` or ``H:MM:SS``."""
    whole, rest = divmod(int(seconds), 60)
    hours, whole = divmod(whole, 60)
    return f"{hours}:{whole:02}:{rest:02}" if hours else f"{whole}:{rest:02}"


def clean(text: object) -> str:
    """A text without what would have a terminal do something: callers choose their names themselves."""
    return "".join([_harmless(char) for char in str(text)])


def _harmless(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Cs":  # half a character, which nothing can write
        return "?"
    return " " if category in ("Cc", "Zl", "Zp") or unicodedata.bidirectional(char) in _TURNING else char


# Marks that turn the direction of what follows them.
_TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def describe(event: Event) -> str | None:
    """One line for people about an event; None for one that is not worth a line, or is told elsewhere."""
    if isinstance(event, InfoEvent):
        if not event.news:
            return None
        mark = " (in a gap)" if event.synthetic else ""
        lines = [f"{event.element} {event.event}: {describe_item(event.item)}{mark}"]
        if event.park is not None:
            lines.append(_parking("parked", event.park))
        if event.unpark is not None:
            lines.append(_parking("left", event.unpark))
        if event.mwi is not None:
            lines.append(_voicemail(event.mwi))
        return "; ".join(lines)
    if isinstance(event, CallEvent):
        mark = " (in a gap)" if event.synthetic else ""
        return f"call {event.kind}: {describe_call(event)}{mark} [{event.call.id}]"
    if isinstance(event, InitialInfo):
        return f"{event.element}: {len(event.items)} present"
    if isinstance(event, SystemMsg):
        return f"system message: {event.msg}"
    if isinstance(event, Msg):
        return f"message: {event.msg}"
    if isinstance(event, Connected):
        return f"connected to {event.session.url}"
    if isinstance(event, Disconnected):
        return f"disconnected: {event.reason}"
    if isinstance(event, Overflowed):
        return f"{event.count} messages dropped, the output is too slow"
    if isinstance(event, Failed):
        return None
    return f"unknown: {event.to_dict()}"


def describe_call(event: CallEvent) -> str:
    """A few words for people about what happened to a call: who calls whom, and what is new."""
    call = event.call
    words = f"{_party(call)} -> {_target(call.target)}"
    if event.kind == "answered":
        by, waited = call.answered_by, call.wait_duration
        words += f", by {by}" if by else ""
        words += "" if waited is None else f" after {waited:.0f} s"
    elif event.kind == "parked":
        words += "" if call.park is None else f", {_parking('in', call.park)}"
    elif event.kind == "transferred":
        transfer = call.transfers[-1]
        words += f", {transfer.kind} to {_target(transfer.target)}" + (f" by {transfer.by}" if transfer.by else "")
    elif event.kind == "ended":
        words += f", {(call.outcome or 'nobody knows how').replace('_', ' ')}"
        for what, seconds in (("waited", call.wait_duration), ("talked", call.talk_duration)):
            words += f", {what} {seconds:.0f} s" if seconds else ""
    return words


def _party(call: Call) -> str:
    who, number = str(call.caller), call.caller.number
    return who if number is None or number == who else f"{number} {who}"


def _target(target: Target | None) -> str:
    return "?" if target is None else str(target.name or target.address or target.id or "?")


def describe_item(item: Element) -> str:
    """A few words for people about an object."""
    if isinstance(item, Channel):
        state = item.hangup_cause or "ended" if item.is_hung_up else item.state.name if item.state else "?"
        slot = item.state.data.get("slot") if item.state and not item.is_hung_up else None
        who = item.calling_number or "?"
        if item.calling_name:
            who += f" {item.calling_name}"
        target = item.called_number or (item.target and (item.target.name or item.target.address)) or "?"
        return f"{who} -> {target}, {state}{f' {slot}' if slot is not None else ''} [{item.uuid}]"
    known = [
        f"{name}={value}" for name, value in item.to_dict().items() if isinstance(value, str | int) and value != ""
    ]
    return " ".join(known[:6]) or "nothing known"


def _parking(what: str, park: ParkInfo) -> str:
    return f"{what} slot {park.slot}" + (f" by {park.parker_name}" if what != "left" and park.parker_name else "")


def _voicemail(mwi: MessageWaiting) -> str:
    return f"voicemail of {mwi.target_name or mwi.target_id}: {mwi.new_messages} new, {mwi.saved_messages} saved"
