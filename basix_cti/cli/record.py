"""``basix-cti record``: write what a PBX sends into a file."""

from __future__ import annotations

import argparse
import sys
import threading

from ..events import Event, Session
from ..recording import RecordingTap
from .options import Failure, SubParsers, new_parser, positive_seconds, settings
from .tail import Printer


def add_to(commands: SubParsers) -> None:
    """Add the command and its arguments."""
    record = new_parser(
        commands,
        "record",
        "write what a PBX sends into a file",
        description="Write every message of a PBX, in both directions and with its time, into a file, until it is "
        "interrupted. If the file is a recording already, the new one goes behind it. It holds names and numbers of "
        "customers, so only you can read it; basix-cti redact takes them out.",
        examples="""
            record calls.ctirec bcs.brastel.com --domain test1.com --full-events
            record calls.ctirec --profile test1 --compress --seconds 3600
        """,
        connects=True,
        file="the file to write",
    )
    record.add_argument("--compress", action="store_true", help="compress the recording")
    record.add_argument("--seconds", metavar="S", type=positive_seconds, help="end after so many seconds")
    record.set_defaults(run=run)


class _Recording(Printer):
    """Tells how the connection does, and ends when nothing can be written any more."""

    def __init__(self, recorder: RecordingTap) -> None:
        super().__init__(sys.stderr)
        self.recorder = recorder

    def on_event(self, event: Event) -> None:
        if self.recorder.error is not None:
            self.enough.set()

    def on_connect(self, session: Session) -> None:
        super().on_connect(session)
        self.write(f"basix-cti: recording {session.url} into {self.recorder.path}; Ctrl-C ends it")


def run(args: argparse.Namespace) -> int:
    """Record until interrupted, or for a while."""
    found = settings(args)
    with RecordingTap(args.file, compress=args.compress) as recorder:
        handler = _Recording(recorder)
        client = found.client(handler, stop_on_auth_error=True, track_calls=False, tap=recorder)
        timer = threading.Timer(args.seconds, handler.enough.set) if args.seconds else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            status = handler.run(client)
        except KeyboardInterrupt:
            status = 0
        finally:
            if timer is not None:
                timer.cancel()
                timer.join()
    if recorder.error is not None:
        raise Failure(f"{args.file} cannot be written: {recorder.error.strerror}")
    lost = f"; {recorder.dropped} were dropped, because the disk is too slow" if recorder.dropped else ""
    sys.stdout.write(f"{recorder.recorded} messages, {recorder.written} bytes in {args.file}{lost}\n")
    return status
