"""``basix-cti decode``: what is in a message or a recording."""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone

from .. import etf
from ..errors import DecodeError
from ..recording import RECEIVED, SENT, Record, Recording
from ..term_text import erlang_text, json_value
from ..values import Json
from .options import Failure, SubParsers, new_parser
from .progress import Progress

_MAX_INPUT = 64 * 1024 * 1024
_SHOWN = 1000  # bytes of what cannot be decoded
_RECORDING = b"\x89CTIREC\n"
_MESSAGE = re.compile(r"(0x)?83 ?[0-9a-fA-F]{2}|<<131,|g[0-9A-Za-z+/]{3}")  # how each form of a message begins
_BYTES = re.compile(r"<<\s*(\d{1,3}(?:\s*,\s*\d{1,3})*)\s*>>")


def add_to(commands: SubParsers) -> None:
    """Add the command and its arguments."""
    parser = new_parser(
        commands,
        "decode",
        "print a message or a recording as Erlang terms or as JSON",
        description="Print what is in a recording, or in messages given as raw bytes (one message), as hexadecimal or "
        "base64 text, or as <<131,104,...>> as Erlang prints them (one message a line). A message may stand in place "
        "of the name of a file, too.",
        examples="""
            decode calls.ctirec
            decode --json calls.ctirec | jq -c 'select(.kind == "sent")'
            decode 83680277036d73676d000000026869
            decode < message.bin
        """,
    )
    parser.add_argument("file", metavar="FILE", nargs="?", default="-", help="the file, or a message; - or none: stdin")
    parser.add_argument("--json", action="store_true", help="print JSON, one object or array a line, not Erlang terms")
    parser.add_argument(
        "--format",
        choices=("auto", "recording", "raw", "hex", "base64"),
        default="auto",
        help="what the file holds (default: what it looks like)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what is in a file."""
    data, where = _input(args.file, args.format)
    if data is None:
        return _recording(args.file, args.json)
    for place, frame in _frames(data, args.format, where):
        try:
            term = etf.decode(frame)
        except DecodeError as error:
            raise Failure(f"{place} is no Erlang term: {error}") from None
        sys.stdout.write(_line(json_value(term)) if args.json else f"{erlang_text(term)}.\n")
    return 0


def _input(name: str, form: str) -> tuple[bytes | None, str]:
    """What is to be decoded, and what it is called; no bytes for a recording, which is not read as a whole."""
    if name != "-" and not os.path.exists(name) and form != "recording" and _MESSAGE.match(name):
        return name.encode(), "the message"
    if name == "-":
        data, where = sys.stdin.buffer.read(_MAX_INPUT + 1), "stdin"
        if form == "recording" or (form == "auto" and data.startswith(_RECORDING)):
            raise Failure("a recording cannot be read from stdin; name its file")
    else:
        with open(name, "rb") as file:
            begin = b"" if form == "recording" else file.read(len(_RECORDING))
            if form == "recording" or (form == "auto" and begin == _RECORDING):
                return None, name
            data, where = begin + file.read(_MAX_INPUT + 1), name
    if len(data) > _MAX_INPUT:
        raise Failure(f"{where} is too large for a message: more than {_MAX_INPUT} bytes")
    return data, where


def _frames(data: bytes, form: str, where: str) -> Iterator[tuple[str, bytes]]:
    """The messages in what was given, each with where it stands."""
    if form == "raw" or (form == "auto" and data[:1] == b"\x83"):
        yield where, data
        return
    try:
        lines = data.decode("ascii").splitlines()
    except UnicodeDecodeError:
        raise Failure(f"{where} is neither a recording nor an Erlang term, nor one in hex or base64") from None
    texts = [(number, text) for number, line in enumerate(lines, 1) if (text := line.strip())]
    if not texts:
        raise Failure(f"{where} is empty")
    for number, text in texts:
        place = where if len(lines) == 1 else f"line {number} of {where}"
        yield place, _bytes_of(text, form, place)


def _bytes_of(text: str, form: str, where: str) -> bytes:
    if form == "auto":
        form = (
            "erlang" if text.startswith("<<") else "hex" if re.fullmatch(r"(0x)?83[0-9a-fA-F\s:]*", text) else "base64"
        )
    try:
        if form == "hex":
            return bytes.fromhex(text.removeprefix("0x").replace(":", " "))
        if form == "erlang":
            match = _BYTES.fullmatch(text.rstrip(".,"))
            if match is not None:
                return bytes(map(int, match[1].split(",")))
        else:
            return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        pass
    raise Failure(f"{where} is neither hex nor base64 nor <<...>>")


def _recording(path: str, as_json: bool) -> int:
    recording = Recording(path)
    shown = _json_lines(recording) if as_json else _erlang_lines(recording)
    with Progress("decoding", silent=sys.stdout.isatty()) as progress:
        for line in shown:
            sys.stdout.write(line)
            progress(recording)
    sys.stdout.flush()
    if recording.trouble is not None:
        raise Failure(recording.trouble)
    return 0


def _erlang_lines(records: Iterable[Record]) -> Iterator[str]:
    """A text that ``file:consult/1`` reads: terms, and all else as comments."""
    for record in records:
        head = f"%% {_time(record.at)} {record.kind}"
        if record.kind == RECEIVED:
            try:
                yield f"{head}\n{erlang_text(etf.decode(record.data))}.\n"
            except DecodeError as error:
                yield f"{head}, no term: {error}: {record.data[:_SHOWN].hex()}\n"
        else:
            told = record.data.decode("utf-8", "replace") if record.kind == SENT else _line(record.info)
            yield f"{head} {' '.join(told.split())}\n"


def _json_lines(records: Iterable[Record]) -> Iterator[str]:
    for record in records:
        told: dict[str, Json] = {"time": _time(record.at), "kind": record.kind}
        if record.kind == RECEIVED:
            try:
                told["term"] = json_value(etf.decode(record.data))
            except DecodeError as error:
                told |= {"error": str(error), "base64": base64.b64encode(record.data).decode("ascii")}
        elif record.kind == SENT:
            told["text"] = record.data.decode("utf-8", "replace")
        else:
            told["info"] = record.info
        yield _line(told)


def _line(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
