"""What the PBX says on a connection that is up: the last four steps."""

from __future__ import annotations

import email.utils
import time
from collections import Counter
from collections.abc import Callable
from datetime import timezone

from ..config import Settings
from ..elements import Channel
from ..endpoint import one_line
from ..errors import DecodeError
from ..events import InfoEvent, InitialInfo, SystemMsg, UnknownMessage
from ..protocol import Protocol
from ..transport import Connection
from ..values import Json
from ..waiting import wait_for
from .connecting import Connecting
from .findings import OK, UNKNOWN, WARNING, Failed, Finding, milliseconds, origin

__all__ = ["Listening"]

_CLOCK_TOLERANCE = 2.0
_LATE = 10.0  # what an event may take to get here and be read
_SETTLE = 0.3
_ENOUGH_BAD_FRAMES = 3
_LIMIT_REACHED, _REPLACED = "connection_limit_reached", "connection_replaced"


class _Heard:
    """What the PBX has said.

    Attributes:
        protocol: what reads it.
        messages: how many there were.
        notice: ``connection_limit_reached`` or ``connection_replaced``, once the PBX has said that.
        present: of each element whose state came, how many objects there are.
        present_at: when the latest of these came, by the monotonic clock.
        first_event: the first change.
        unknown: how often each kind of message came that this release does not know.
        bad: what was wrong with the messages that could not be decoded.
        ahead: of each event that tells its time, by how many seconds that was ahead of this machine's clock.
    """

    def __init__(self) -> None:
        self.protocol = Protocol()
        self.messages = 0
        self.notice: str | None = None
        self.present: dict[str, int] = {}
        self.present_at = 0.0
        self.first_event: InfoEvent | None = None
        self.unknown: Counter[str] = Counter()
        self.bad: list[DecodeError] = []
        self.ahead: list[float] = []

    def take(self, frame: bytes, received_at: float) -> None:
        """Read one message."""
        self.messages += 1
        try:
            event = self.protocol.receive(frame, received_at)
        except DecodeError as error:
            self.bad.append(error)
            return
        if isinstance(event, SystemMsg) and event.msg in (_LIMIT_REACHED, _REPLACED):
            self.notice = str(event.msg)
        elif isinstance(event, InitialInfo):
            self.present[event.element] = len(event.items)
            self.present_at = time.monotonic()
        elif isinstance(event, InfoEvent):
            self.first_event = self.first_event or event
            if (moment := _moment_of(event)) is not None:
                self.ahead.append(moment - received_at)
        elif isinstance(event, UnknownMessage):
            self.unknown[event.kind or "?"] += 1


class Listening:
    """The last four steps, each to be called once and in order, as long as none of them raises.

    Args:
        settings: where the PBX is, and how to log in.
        connecting: whose steps have been taken by then.
        seconds: how long to wait for a first event.
    """

    def __init__(self, settings: Settings, connecting: Connecting, seconds: float) -> None:
        self._settings = settings
        self._connecting = connecting
        self._seconds = seconds
        self._timeout = connecting.timeout
        self._heard = _Heard()

    def limit(self) -> Finding:
        """Wait for the PBX's first word, which would tell that there is no place for this connection."""
        settings, heard = self._settings, self._heard
        self._listen(self._timeout, lambda: heard.messages > 0)
        self._check()
        details: dict[str, Json] = {"app_name": settings.app_name}
        if not heard.messages:
            told = f"nothing came for {self._timeout:g} s, so the connection was not refused"
            return Finding("limit", WARNING, told, "see the next step", details)
        if settings.api_user is not None:
            return Finding("limit", OK, "it came; the first generation has no limit", "", details)
        told = f"it came: there are not yet two other connections of this user with app_name {settings.app_name!r}"
        if settings.forced:
            told += "; forced was not used, so no other one was closed"
        return Finding("limit", OK, told, "", details)

    def field_specs(self) -> Finding:
        """Wait for the present state, and see whether it can be read."""
        heard, fields = self._heard, self._heard.protocol.fields
        if heard.messages:
            self._listen(self._timeout, lambda: "channel" in heard.present or len(heard.bad) >= _ENOUGH_BAD_FRAMES)
        if "channel" in heard.present:
            self._listen_until_present()
        names: dict[str, Json] = {spec: list(each) for spec, each in fields.items()}
        present: dict[str, Json] = dict(heard.present)
        details: dict[str, Json] = {"fields": names, "present": present}
        self._check_decoding(details)
        self._check()
        if not heard.messages:
            raise Failed(
                f"the connection is up, but the PBX has said nothing for {self._timeout:g} s",
                "a proxy on the way may hold the data back: ask the PBX's operator",
                details,
            )
        if "channel" not in heard.present:
            raise Failed(
                f"the state of channels did not come within {self._timeout:g} s",
                "a client would never get ready: tell the PBX's operator",
                details,
            )
        unnamed = [element for element, count in heard.present.items() if count and not self._is_named(element)]
        if "channel" in unnamed:
            raise Failed(
                f"none for channels, of which there are {heard.present['channel']}",
                "without a field spec nothing of a call can be told: tell the PBX's operator",
                details,
            )
        counts = ", ".join(f"{count} {element}" for element, count in heard.present.items())
        told = f"{len(fields)} field specs, and the present state: {counts}"
        advice = ""
        if not fields:
            advice = "nothing is there that would need one; make a call meanwhile, and see whether one comes"
        elif unnamed:
            told += f"; but none for {', '.join(unnamed)}"
            advice = "their fields have no names: tell the PBX's operator"
        elif heard.unknown:
            kinds = ", ".join(f"{one_line(kind, 40)} ({count})" for kind, count in heard.unknown.items())
            told += f"; besides, messages that this release does not know: {kinds}"
            advice = "a later release of basix_cti may know them"
        return Finding("field_specs", WARNING if advice else OK, told, advice, details)

    def _is_named(self, element: str) -> bool:
        fields = self._heard.protocol.fields
        return bool(fields.get(element)) or (element == "channel" and bool(fields.get("chan_info")))

    def events(self) -> Finding:
        """Wait for a first event."""
        heard = self._heard
        began = time.monotonic()
        self._listen(self._seconds, lambda: heard.first_event is not None)
        self._check_decoding({})
        event = heard.first_event
        if event is not None:
            told = f"the first one came after {milliseconds(time.monotonic() - began)}: {event.element}"
            return Finding("events", OK, told, "", {"element": event.element})
        self._check()
        told = f"none came within {self._seconds:g} s, so none could be looked at"
        return Finding("events", UNKNOWN, told, "make a call meanwhile, or wait longer with --seconds")

    def clock(self) -> Finding:
        """Compare this machine's clock with the server's: by what the PBX tells in events, and by HTTP's word."""
        sources: dict[str, float] = {}
        if self._heard.ahead:
            # What gets here late looks like a clock that is behind, so the quickest event counts, and not by a little.
            ahead = max(self._heard.ahead)
            sources["the times in events"] = 0.0 if -_LATE < ahead < 0 else ahead
        connection = self._connection
        date = None if connection.date is None else _seconds(connection.date)
        if date is not None:
            # 12:00:00 stands for any moment up to 12:00:01, and was written between question and answer.
            low, high = date - self._connecting.answered_at, date + 1 - self._connecting.asked_at
            sources["the HTTP header Date"] = 0.0 if low <= 0 <= high else min(low, high, key=abs)
        if not sources:
            return Finding("clock", UNKNOWN, "neither HTTP nor an event has told the server's time")
        details: dict[str, Json] = {"ahead": {source: round(ahead, 1) for source, ahead in sources.items()}}
        source, ahead = max(sources.items(), key=lambda pair: abs(pair[1]))
        if abs(ahead) <= _CLOCK_TOLERANCE:
            told = f"this machine and the server agree within {_CLOCK_TOLERANCE:g} s, by {' and '.join(sources)}"
            return Finding("clock", OK, told, "", details)
        told = f"this machine is {_span(abs(ahead))} {'behind' if ahead > 0 else 'ahead of'} the server, by {source}"
        return Finding(
            "clock",
            WARNING,
            told,
            "have both follow a time server (NTP); else times of calls do not compare with this machine's, and "
            "certificates and tickets may seem expired",
            details,
        )

    @property
    def _connection(self) -> Connection:
        connection = self._connecting.connection
        assert connection is not None
        return connection

    def _check(self) -> None:
        """Nothing, while the connection is up and wanted.

        Raises:
            Failed: it is not.
        """
        name, given = self._settings.app_name, origin(self._settings, "app_name")
        details: dict[str, Json] = {"app_name": name}
        if self._heard.notice == _LIMIT_REACHED:
            raise Failed(
                f"{_LIMIT_REACHED}: the PBX has two connections of this user with app_name {name!r} already",
                f"end one of these programs, or give this one an app_name of its own{given}; "
                "--forced would close the oldest of them",
                details,
            )
        if self._heard.notice == _REPLACED:
            raise Failed(
                f"{_REPLACED}: another program with app_name {name!r} has forced its way in",
                f"give each program an app_name of its own{given}",
                details,
            )
        lost = self._connection.lost
        if lost is not None:
            raise Failed(
                one_line(str(lost)),
                "run it again; if it stays so, ask the PBX's operator, or look for a proxy that ends connections",
                {"code": lost.code},
            )

    def _check_decoding(self, details: dict[str, Json]) -> None:
        """Nothing, if every message could be decoded.

        Raises:
            Failed: one could not.
        """
        heard = self._heard
        if heard.bad:
            raise Failed(
                f"{len(heard.bad)} of {heard.messages} messages cannot be decoded: {one_line(str(heard.bad[0]))}",
                "this is no Basix PBX, something on the way changes the data, or basix_cti has a bug: please report it",
                details,
            )

    def _listen(self, seconds: float, enough: Callable[[], bool]) -> None:
        end = time.monotonic() + seconds
        while not enough() and self._turn(end):
            pass

    def _listen_until_present(self) -> None:
        """The present state comes in one go: go on until no more of it has come for a moment, whatever happens else."""
        end = time.monotonic() + self._timeout
        while self._turn(min(end, self._heard.present_at + _SETTLE)):
            pass

    def _turn(self, end: float) -> bool:
        """Take in what has arrived, or wait for more until ``end``; False when the time or the connection is over."""
        connection = self._connection
        frames = connection.receive()
        now = time.time()
        for frame in frames:
            self._heard.take(frame, now)
        if connection.wants_write:
            connection.flush()
        if self._heard.notice is not None or time.monotonic() >= end:
            return False
        if frames or connection.has_more:
            return True
        if connection.is_over():
            return False
        wait_for(self._connecting.waker, connection, connection.wants_write, end - time.monotonic())
        return True


def _moment_of(event: InfoEvent) -> float | None:
    """When an event happened by the PBX's clock, seconds since the epoch; None where it does not tell."""
    channel = event.item
    if not isinstance(channel, Channel):
        return None
    stamp = {
        "NEW_CHANNEL": channel.offer_timestamp,
        "CHANNEL_ORIGINATE": channel.offer_timestamp,
        "CHANNEL_ANSWER": channel.answer_timestamp,
        "CHANNEL_HANGUP": channel.hangup_timestamp,
    }.get(channel.last_event or "")
    return stamp / 1_000_000 if stamp else None


def _seconds(date: str) -> float | None:
    """What a header Date says, seconds since the epoch; None where it says nothing. Without a zone it is UTC."""
    try:
        moment = email.utils.parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return None


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
