"""``basix-cti redact``: a recording without the people in it."""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import sys

from ..recording import redact
from .options import Failure, SubParsers, new_parser
from .progress import Progress

_KEY_BYTES = 32


def add_to(commands: SubParsers) -> None:
    """Add the command and its arguments."""
    parser = new_parser(
        commands,
        "redact",
        "take names and numbers out of a recording",
        description="Write a recording anew, with every number, name, address and customer replaced by another one of "
        "the same form and length: the same by the same. Times, ids of the PBX's own objects and the words of the "
        "protocol are kept. What is not understood is masked as well, and told.",
        examples="""
            redact calls.ctirec public.ctirec
            redact monday.ctirec public.ctirec --key-file redaction.key
        """,
        file="the recording",
    )
    parser.add_argument("target", metavar="NEW_FILE", help="the file to write, which must not be there yet")
    parser.add_argument(
        "--key-file",
        metavar="FILE",
        help="what the replacements follow from, the same for several recordings; made if it is not there. Whoever has "
        "it can find out by trial what was replaced (default: a key that is forgotten)",
    )
    parser.add_argument("--uuids", action="store_true", help="replace uuids of channels, too")
    parser.add_argument("--compress", action="store_true", help="compress the new recording")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Redact a recording, and tell what was done."""
    key = _key(args.key_file) if args.key_file else None
    with Progress("redacting") as progress:
        report = redact(args.file, args.target, key=key, uuids=args.uuids, compress=args.compress, progress=progress)
    sys.stdout.write(
        f"{report.messages} messages in {args.target}; {report.replaced} different numbers and words replaced\n"
    )
    for what, count in sorted(report.masked.items()):
        sys.stdout.write(f"not understood, and masked: {what} ({count} times)\n")
    if report.trouble is not None:
        raise Failure(report.trouble)
    return 0


def _key(path: str) -> bytes:
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(secrets.token_hex(_KEY_BYTES).encode() + b"\n")
    with open(path, "rb") as file:
        key = file.read(4096).strip()
    if len(key) < _KEY_BYTES:
        raise Failure(f"{path} is no key: it has less than {_KEY_BYTES} characters; name a file that is not there yet")
    return key
