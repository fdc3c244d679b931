"""Recordings without the people in them: numbers, names, addresses and customers replaced, consistently.

Every run of digits and every run of letters becomes another one of the same length, always the same one for the same
run and key; what stands between them stays, and so do leading zeros. So ``+81-3-1234`` stays a number of that form, and
a number that calls twice still calls twice.

What is kept is listed here, by the field in which it stands: times, ids of the PBX's own objects, and the words of the
protocol. Everything else is replaced, whether or not it is known; what is not known is also counted, to be told.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from urllib.parse import quote, unquote_to_bytes

from .. import etf
from ..errors import DecodeError, EncodeError, RecordingError
from ..etf import Atom, BitString, ErlangMap, ImproperList, Pid, Port, Reference, Term
from ..limits import DEFAULT_LIMITS, Limits
from ..readers import read_name
from ..terms import make_map
from ..values import Json
from .format import BEGIN, CONNECTED, DISCONNECTED, DROPPED, RECEIVED, SENT, Path, Record
from .reader import Recording
from .writer import RecordingWriter

__all__ = ["Redactor", "Report", "redact"]

# Words that say nothing of people.
_WORDS = frozenset(
    (
        *("undefined", "null", "nil", "bert", "true", "false", "none", "yes", "no", "on", "off", "int", "ext"),
        *("inbound", "outbound", "internal", "external", "user", "group", "pstn", "end_user", "bridged_endpoint"),
        *("ring", "hunt", "added", "updated", "removed", "calling", "bridged", "xml_ivr", "ringing", "voicemail"),
        *("checking_voicemail", "calling_siptermination", "calling_external", "ivr", "system_operation", "plivo"),
        *("conference", "park", "eavesdrop", "available", "busy", "away", "online", "offline", "admin", "agent"),
        *("connection_limit_reached", "connection_replaced", "logout", "anonymous", "unknown", "unavailable"),
        *("restricted", "private", "hangup", "transfer", "stop", "start", "redacted", "dict", "time", "regex"),
    )
)
# Those of them that a text for people keeps: what stands where there is no name or number.
_NOBODY = frozenset(
    ("undefined", "null", "nil", "none", "anonymous", "unknown", "unavailable", "restricted", "private", "redacted")
)
_CODE = re.compile(r"([a-z]+_[a-z]+,)?[A-Z]+(_[A-Z]+)*")  # CHANNEL_PARK; send_bye,USER_BUSY
_LANGUAGE = re.compile(r"[a-z]{2}([-_][A-Za-z]{2})?")
_URL = re.compile(r"(wss?://)([^/]*)(/basix/api/ws_cti)?(.*)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_COUNTERS = re.compile(r"[0-9]{0,4}([/,;: ()]+[0-9]{1,4})*[ )]*")
_UUID = re.compile(r"([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_SCHEME = re.compile(r"(?:https?|sips?|tel):")
_MANY = re.compile(r"_MANY_:[0-9]+\|?")
_SECRET = re.compile("token|ticket|password|secret|authorization|credential", re.IGNORECASE)
_MAX_ID = 9
_MAX_FLAG = 1000
_BATCH = 64 * 1024

# What each field holds; "state", "target" and "other_info" are tuples of such parts. All others are unknown.
_FIELDS: dict[str, str] = {
    **dict.fromkeys(("last_event", "last_event_data"), "code"),
    **dict.fromkeys(("direction", "peer_location", "type", "language"), "word"),
    **dict.fromkeys(("presence", "role", "flags", "queue", "check_login_status", "login_status"), "word"),
    **dict.fromkeys(("registered", "do_not_disturb_status", "fwd_always_status", "priority", "target_type"), "word"),
    **dict.fromkeys(("offer_timestamp", "answer_timestamp", "hangup_timestamp"), "time"),
    **dict.fromkeys(("id", "user_id", "group_id", "assoc_user_id", "last_bridged_user_id", "park_group"), "id"),
    **dict.fromkeys(("slot", "parker_id", "target_id"), "id"),
    **dict.fromkeys(("mwi", "new_messages", "saved_messages"), "counters"),
    **dict.fromkeys(("uuid", "other_uuid", "call_id", "calling_name", "calling_number", "called_number"), "text"),
    **dict.fromkeys(("name", "label", "email", "avatar", "main_extension", "mwi_target", "user_agent"), "text"),
    **dict.fromkeys(("user_name", "group_name", "parker_name", "target_name", "peer_number", "end_user"), "text"),
    **dict.fromkeys(("origination", "tags", "whoscall", "followme"), "text"),
    "state": "state",
    "target": "target",
    "other_info": "other_info",
}
_TARGET = ("word", "id", "text", "text")
_OTHER_INFO = ("word", "text", "word", "word", "text", "time", "id", "text")
_STATES: dict[str, tuple[str, ...]] = {
    "bridged": (),
    "xml_ivr": (),
    "plivo": (),
    "ringing": (),
    "voicemail": ("word", "id", "text"),
    "checking_voicemail": ("text",),
    "calling_siptermination": ("text",),
    "calling_external": ("text",),
    "ivr": ("id",),
    "system_operation": ("word",),
    "conference": ("id",),
    "park": ("id", "text", "id", "text"),
    "eavesdrop": ("text", "word"),
}
_CALLING: dict[str, tuple[str, ...]] = {"user": ("id",), "group": ("word", "id", "text", "text", "id")}
_COMMAND = {"cmd": "word", "subcommand": "word", "timeout": "time", "user_id": "id"}
_FIRST = ("chan_info", "park_info", "unpark_info", "mwi_info")


@dataclass(frozen=True, slots=True)
class Report:
    """What a redaction has done.

    Attributes:
        messages: how many messages there were.
        replaced: how many different numbers and words were replaced.
        masked: what was not understood and so replaced or blanked, with how often.
        trouble: what of the recording could not be read; None when all could.
    """

    messages: int
    replaced: int
    masked: dict[str, int]
    trouble: str | None


def redact(
    source: Recording | Path,
    target: Path,
    *,
    key: bytes | None = None,
    uuids: bool = False,
    compress: bool = False,
    progress: Callable[[Recording], None] | None = None,
) -> Report:
    """Write a recording anew, without what tells of people; see docs/recordings for what is kept.

    Args:
        source: the recording.
        target: a file that is not there yet. Half a file is not left behind.
        key: what the replacements follow from: the same key gives the same ones for another recording. None for a key
            that nobody gets to know.
        uuids: True to replace uuids of channels, too.
        compress: True to compress the new file.
        progress: called with the source before each record.

    Raises:
        RecordingError: ``source`` is no recording, or ``target`` is there already.
        OSError: one of the files cannot be read or written.
    """
    if not isinstance(source, Recording):
        source = Recording(source)
    redactor = Redactor(key, uuids=uuids)
    first = next(iter(source), None)
    try:
        at = time.time() if first is None else first.at
        writer = RecordingWriter(target, at, compress=compress, new=True, info={"redacted": True})
    except FileExistsError:
        raise RecordingError(f"{os.fspath(target)} is there already; choose another name") from None
    try:
        messages = _rewrite(source, redactor, writer, progress)
        writer.close()
    except BaseException:
        with contextlib.suppress(OSError):
            writer.close()
        with contextlib.suppress(OSError):
            os.unlink(target)  # half a redaction looks like a whole one
        raise
    return Report(messages, redactor.replaced, dict(redactor.masked), source.trouble)


def _rewrite(
    source: Recording,
    redactor: Redactor,
    writer: RecordingWriter,
    progress: Callable[[Recording], None] | None,
) -> int:
    """Copy all records but the first, redacted; how many messages there were."""
    messages = 0
    batch: list[Record] = []
    size = 0
    for number, record in enumerate(source):
        if progress is not None:
            progress(source)
        if number == 0 and record.kind == BEGIN:
            continue  # the new file has its own
        messages += record.kind in (RECEIVED, SENT)
        batch.append(redactor.record(record))
        size += len(record.data)
        if size > _BATCH:
            writer.write(batch)
            batch, size = [], 0
    writer.write(batch)
    return messages


class Redactor:
    """Replaces what tells of people, record by record, in the order of a recording.

    Args:
        key: what the replacements follow from; None for a random one.
        uuids: True to replace uuids, too.
        limits: bounds for one message.

    Attributes:
        masked: what was not understood and so replaced or blanked, with how often.
    """

    def __init__(self, key: bytes | None = None, *, uuids: bool = False, limits: Limits = DEFAULT_LIMITS) -> None:
        self.masked: Counter[str] = Counter()
        self._key = secrets.token_bytes(32) if key is None else key
        self._uuids = uuids
        self._limits = limits
        self._runs: dict[str, str] = {}
        self._used: set[str] = set()
        self._specs: dict[str, list[str]] = {}

    @property
    def replaced(self) -> int:
        """How many different numbers and words were replaced so far."""
        return len(self._runs)

    def record(self, record: Record) -> Record:
        """A record of the same kind and time, without what tells of people."""
        if record.kind == RECEIVED:
            return replace(record, data=self.frame(record.data))
        if record.kind == SENT:
            return replace(record, data=self.command(record.data))
        told = record.info
        if record.kind == CONNECTED:
            self._specs.clear()
            url = _URL.fullmatch(str(told.get("url")))
            peer = told.get("peer")
            kept: dict[str, Json] = {
                "number": _int(told.get("number")),
                "url": f"{url[1]}{self.text(url[2])}{url[3] or ''}{self.text(url[4])}" if url else None,
                "peer": self.text(peer) if isinstance(peer, str) else None,
            }
            return Record.telling(record.at, CONNECTED, kept)
        if record.kind == DISCONNECTED:
            kind = str(told.get("kind"))
            kind = kind if _NAME.fullmatch(kind) else "ConnectionLost"
            info: dict[str, Json] = {"kind": kind, "message": f"{kind} (redacted)", "code": _int(told.get("code"))}
            return Record.telling(record.at, DISCONNECTED, {**info, "reason": "redacted"})
        if record.kind == DROPPED:
            return Record.telling(record.at, DROPPED, {"count": _int(told.get("count"))})
        return Record.telling(record.at, BEGIN, {"redacted": True})

    # --- messages -------------------------------------------------------------------------------------------------

    def frame(self, frame: bytes) -> bytes:
        """One message of the PBX, redacted. What is no term becomes as many zero bytes, which are none either."""
        try:
            term = etf.decode(frame, limits=self._limits)
            redacted = self._message(term)
            compressed = frame[1:2] == b"P"
            return etf.encode(redacted, compressed=compressed, latin1_atoms=_has_old_atoms(frame))
        except DecodeError:
            self.masked["a message that is no term"] += 1
        except (EncodeError, RecursionError, ValueError):
            self.masked["a message that cannot be written anew"] += 1
        return bytes(len(frame))

    def _message(self, term: Term) -> Term:
        if type(term) in (tuple, list) and len(term) == 1 and type(term[0]) in (tuple, list):
            inner = self._message(term[0])
            return (inner,) if type(term) is tuple else [inner]
        kind = read_name(term[0]) if type(term) is tuple and term else None
        rest = term[1:] if type(term) is tuple else ()
        told: tuple[Term, ...] | None = None
        if kind == "field_spec" and len(rest) == 2:
            told = self._field_spec(*rest)
        elif kind == "initial_info" and len(rest) == 2:
            element = self._name(rest[0])
            told = element, self._items(_named(rest[0]), rest[1])
        elif kind == "info_event" and len(rest) == 3:
            told = self._name(rest[0]), self._item(_named(rest[0]), rest[1]), self._name(rest[2])
        elif kind == "initial_chan_info" and len(rest) == 1:
            told = (self._items("chan_info", rest[0]),)
        elif kind in _FIRST and len(rest) == 1:
            told = (self._item(kind, rest[0]),)
        elif kind in ("system_msg", "msg") and len(rest) == 1:
            told = (self._any(rest[0]),)
        if told is not None:
            return (term[0], *told)
        self.masked[f"a message {kind!r}" if kind and _NAME.fullmatch(kind) else "a message without a kind"] += 1
        if type(term) is tuple and term and _NAME.fullmatch(kind or ""):
            return (term[0], *map(self._any, rest))
        return self._any(term)

    def _field_spec(self, element: Term, names: Term) -> tuple[Term, Term]:
        listed = list(names) if type(names) in (list, tuple) else []
        self._specs[_named(element)] = [_named(name) for name in listed]
        if type(names) in (list, tuple) and names != (Atom("bert"), Atom("nil")):
            kept = [self._name(name) for name in listed]
            return self._name(element), kept if type(names) is list else tuple(kept)
        return self._name(element), self._any(names)

    def _name(self, term: Term) -> Term:
        """The name of an element, a field or an event: the protocol's, unless it has not the form of one."""
        return term if _NAME.fullmatch(read_name(term) or "") else self._any(term)

    def _items(self, element: str, items: Term) -> Term:
        if type(items) is list:
            return [self._item(element, item) for item in items]
        if type(items) is tuple and items == (Atom("bert"), Atom("nil")):
            return items
        return self._item(element, items)

    def _item(self, element: str, values: Term) -> Term:
        if type(values) is not tuple:
            return self._any(values)
        spec = self._specs.get(element, [])
        told = []
        for number, value in enumerate(values):
            field = spec[number] if number < len(spec) else None
            rule = _FIELDS.get(field or "")
            if rule is None:
                shown = field if field and _NAME.fullmatch(field) else f"number {number + 1}"
                self.masked[f"field {shown} of {element if _NAME.fullmatch(element) else 'an element'}"] += 1
            told.append(self._part(rule or "text", value))
        return tuple(told)

    def _part(self, rule: str, value: Term) -> Term:
        if rule in ("word", "code", "name"):
            return self._word(rule, value)
        if rule == "time":
            return value if type(value) is int else self._any(value)
        if rule == "id":
            return value if _is_id(value) else self._any(value)
        if rule == "counters":
            text = _text(value)
            harmless = _is_id(value) or (text is not None and _COUNTERS.fullmatch(text))
            return value if harmless else self._any(value)
        if type(value) is not tuple or rule == "text":
            return self._any(value)
        if rule == "target":
            return self._parts(_TARGET, value)
        if rule == "other_info":
            user = len(value) > 1 and read_name(value[0]) == "user"
            return self._parts(("word", "id", *_OTHER_INFO[2:]) if user else _OTHER_INFO, value)
        return self._state(value)

    def _parts(self, rules: Sequence[str], values: tuple[Term, ...]) -> tuple[Term, ...]:
        return tuple([self._part(rules[at] if at < len(rules) else "text", value) for at, value in enumerate(values)])

    def _state(self, state: tuple[Term, ...]) -> Term:
        name = read_name(state[1]) if len(state) > 1 else None
        head = ("time", "name")
        if name == "calling" and len(state) >= 5 and read_name(state[2]) in ("int", "ext"):
            kind = read_name(state[3]) or ""
            data = state[4]
            told = self._parts(_CALLING.get(kind, ()), data) if type(data) is tuple else self._any(data)
            return (*self._parts((*head, "word", "word"), state[:4]), told, *map(self._any, state[5:]))
        if name == "calling":
            return self._parts((*head, "word", "id", "text"), state)
        rules = _STATES.get(name or "")
        if rules is None:
            self.masked[f"state {name!r}" if name and _NAME.fullmatch(name) else "a state without a name"] += 1
        return self._parts((*head, *(rules or ())), state)

    def _word(self, rule: str, value: Term) -> Term:
        """A value of few kinds: a flag, a small number, a word of the protocol, or an identifier of its own."""
        if type(value) is bool or (type(value) is int and 0 <= value < _MAX_FLAG):
            return value
        text = str(value) if type(value) is Atom else _text(value) or ""
        if text in _WORDS or _LANGUAGE.fullmatch(text) or (text.isdigit() and len(text) < 3):
            return value
        if (rule == "code" and _CODE.fullmatch(text)) or (rule == "name" and _NAME.fullmatch(text)):
            return value
        return self._any(value)

    def _any(self, term: Term) -> Term:
        """A term of the same shape in which every text, number and name is replaced."""
        kind = type(term)
        if kind is bool:
            return term
        if kind is Atom:
            return term if term in _WORDS else Atom(self.text(term))
        if kind is bytes:
            text = _text(term)
            if text is None:
                self.masked["bytes that are no text"] += 1
                return b"x" * len(term)
            return self.text(text).encode()
        if kind is list:
            text = _text(term)
            if text is None:
                return [self._any(item) for item in term]
            # Characters or the bytes of UTF-8, as it came.
            return [ord(char) for char in self.text(text)] if _is_chars(term) else list(self.text(text).encode())
        if kind is int:
            return -int(self.text(str(-term))) if term < 0 else int(self.text(str(term)))
        if kind is float:
            return 0.0
        if kind is tuple:
            return tuple([self._any(item) for item in term])
        if kind is dict or kind is ErlangMap:
            try:
                return make_map([(self._any(key), self._any(value)) for key, value in term.items()])
            except ValueError:  # two keys have become the same
                self.masked["a map"] += 1
                return Atom("redacted")
        if kind is ImproperList:
            return ImproperList(tuple([self._any(item) for item in term.items]), self._any(term.tail))
        if kind is BitString:
            return BitString(bytes(len(term.data)), term.last_bits)
        if isinstance(term, Pid | Port | Reference):
            return replace(term, node=Atom(self.text(term.node)))
        self.masked["a function"] += 1
        return Atom("redacted")

    # --- commands and other JSON ----------------------------------------------------------------------------------

    def command(self, data: bytes) -> bytes:
        """One message to the PBX, redacted."""
        try:
            told = json.loads(data)
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict):
            self.masked["a message to the PBX that is no JSON object"] += 1
            return b'{"cmd": "redacted"}'
        kept: dict[str, Json] = {}
        for key, value in told.items():
            term = value.encode("utf-8", "replace") if isinstance(value, str) else value
            harmless = key in _COMMAND and self._part(_COMMAND[key], term) == term
            kept |= {key: value} if harmless else self._json_pairs({key: value})
        return json.dumps(kept, ensure_ascii=False).encode("utf-8", "replace")

    def _json(self, value: Json) -> Json:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return self._json_pairs(value)
        if isinstance(value, list):
            return [self._json(item) for item in value]
        if isinstance(value, bool) or value is None:
            return value
        return self._any(value)

    def _json_pairs(self, pairs: Mapping[str, Json]) -> dict[str, Json]:
        told: dict[str, Json] = {}
        for key, value in pairs.items():
            known = key in _FIELDS or key in _WORDS or key in ("cmd", "target_uuid", "destination", *_COMMAND)
            secret = _SECRET.search(key) is not None
            told[key if known or secret else self.text(key)] = "***" if secret else self._json(value)
        return told

    # --- texts ----------------------------------------------------------------------------------------------------

    def text(self, text: str) -> str:
        """A text of the same form and length, with every number and word in it replaced.

        Percent-encoding, the JSON in it, lists of customers and the scheme of a URL stay what they are.
        """
        if text in _NOBODY:
            return text
        head = _MANY.match(text) or _SCHEME.match(text)
        if head is not None:
            return head[0] + self.text(text[head.end() :])
        if _PERCENT.search(text):
            return "".join(self._unquoted(part) for part in re.split(r"([*|;&=:]+)", text))
        if text[:1] in ("{", "["):
            try:
                return json.dumps(self._json(json.loads(text)), ensure_ascii=False, separators=(",", ":"))
            except (ValueError, RecursionError):
                pass
        parts = _UUID.split(text)
        if not self._uuids:
            return "".join(part if at % 2 else self._plain(part) for at, part in enumerate(parts))
        return "".join(self._uuid(part) if at % 2 else self._plain(part) for at, part in enumerate(parts))

    def _unquoted(self, part: str) -> str:
        if not _PERCENT.search(part):
            return self._plain(part)
        try:
            inner = unquote_to_bytes(part.replace("+", " ")).decode("utf-8")
        except UnicodeDecodeError:
            self.masked["bytes that are no text"] += 1
            return "x" * len(part)
        return quote(self.text(inner), safe=" ").replace(" ", "+")

    def _plain(self, text: str) -> str:
        if text.isascii() and not any(char.isalnum() for char in text):
            return text
        return "".join(
            run if kind == "" else self._run(run, kind)
            for kind, run in ((kind, "".join(chars)) for kind, chars in groupby(text, _class))
        )

    def _uuid(self, uuid: str) -> str:
        found = self._runs.get(uuid)
        if found is None:
            digest = hmac.digest(self._key, uuid.lower().encode(), "sha256").hex()
            found = self._runs[uuid] = "".join(char if char == "-" else digest[at % 64] for at, char in enumerate(uuid))
        return found

    def _run(self, run: str, kind: str) -> str:
        """What a run of digits or letters becomes: never what another one has become already, if that can be."""
        found = self._runs.get(run)
        if found is None:
            for attempt in range(100):
                found = self._disguise(run, kind, attempt)
                if found not in self._used and found != run:
                    break
            assert found is not None
            self._used.add(found)
            self._runs[run] = found
        return found

    def _disguise(self, run: str, kind: str, attempt: int) -> str:
        seed = hmac.digest(self._key, f"{attempt}:{run}".encode("utf-8", "surrogatepass"), "sha256")
        stream = hashlib.shake_256(seed).digest(2 * len(run))
        numbers = [int.from_bytes(stream[at : at + 2], "big") for at in range(0, len(stream), 2)]
        if kind == "digits":
            zeros = len(run) - len(run.lstrip("0"))
            first = 1 + numbers[zeros] % 9 if zeros < len(run) else 0
            digits = [*"0" * zeros, *([str(first)] if zeros < len(run) else [])]
            return "".join([*digits, *(str(number % 10) for number in numbers[len(digits) :])])
        return "".join(_letter(char, number) for char, number in zip(run, numbers, strict=True))


def _class(char: str) -> str:
    if "0" <= char <= "9":
        return "digits"
    if char.isascii():
        return "letters" if char.isalpha() else ""
    if "\uff10" <= char <= "\uff19":
        return "wide digits"
    return "" if unicodedata.category(char)[0] in "PZ" else "letters"


def _letter(char: str, number: int) -> str:
    """Another letter, as long in UTF-8."""
    if "a" <= char <= "z":
        return chr(97 + number % 26)
    if "A" <= char <= "Z":
        return chr(65 + number % 26)
    if "\uff10" <= char <= "\uff19":
        return chr(0xFF10 + number % 10)
    if ord(char) < 0x100:
        return chr(0xE0 + number % 23)  # à to ö, also as the only byte of Latin-1
    if ord(char) < 0x800:
        return chr(0x3B1 + number % 17)  # Greek
    if ord(char) >= 0x10000:
        return chr(0x20000 + number % 4096)
    return chr((0x3042 if char < "\u3400" else 0x4E00) + number % (80 if char < "\u3400" else 8192))


def _text(term: Term) -> str | None:
    """The text that bytes or a list are; None where they are none."""
    data: object = term
    if type(term) is list:
        if not term or not all(type(item) is int and 0 <= item < 0x110000 for item in term):
            return None
        if _is_chars(term):
            return "".join(map(chr, term))
        data = bytes(term)
    if type(data) is not bytes:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _is_chars(items: list[int]) -> bool:
    """True for characters, False for the bytes of UTF-8."""
    if max(items) > 255:
        return True
    try:
        bytes(items).decode("utf-8")
    except UnicodeDecodeError:
        return True
    return max(items) < 128


def _named(term: Term) -> str:
    return read_name(term) or ""


def _is_id(value: Term) -> bool:
    """True for a small number, or the text of one: the PBX's own, and no telephone number."""
    if type(value) is int:
        return bool(0 <= value < 10**_MAX_ID)
    text = _text(value)
    return text is not None and text.isascii() and text.isdigit() and len(text) <= _MAX_ID


def _int(value: Json) -> int | None:
    return value if isinstance(value, int) else None


def _has_old_atoms(frame: bytes) -> bool:
    """Whether the first atom of a message is written as OTP up to 25 does."""
    return frame[1:2] == b"h" and frame[3:4] in (b"d", b"s")
