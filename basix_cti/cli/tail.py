"""``basix-cti tail``: print what happens at a PBX."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from typing import TextIO

from ..base_client import Client
from ..errors import AuthError, ConnectionLost, ConnectionReplaced, HandshakeError
from ..events import CallEvent, Event, InfoEvent, InitialInfo, Session
from ..handler import CTIHandler
from .describe import clean, clock, describe
from .options import Failure, SubParsers, new_parser, positive, settings


def add_to(commands: SubParsers) -> None:
    """Add the command and its arguments."""
    tail = new_parser(
        commands,
        "tail",
        "print what happens at a PBX",
        description="Print what happens at a PBX, one line an event, until it is interrupted.",
        examples="""
            tail bcs.brastel.com --domain test1.com --full-events --token-file ~/.basix-token
            tail --profile test1 --json --count 10
            tail --profile test1 --calls
        """,
        connects=True,
    )
    tail.add_argument("--json", action="store_true", help="print each event as a JSON object on a line of its own")
    tail.add_argument(
        "--calls", action="store_true", help="print what happens to calls, in place of channels and all other objects"
    )
    tail.add_argument("--count", type=positive, metavar="N", help="end after N events")
    tail.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print events until interrupted, or as many as were asked for."""
    printer = Printer(sys.stdout, as_json=args.json, calls=args.calls, count=args.count)
    client = settings(args).client(printer, stop_on_auth_error=True, track_calls=args.calls)
    return printer.run(client)


class Printer(CTIHandler):
    """Prints each event, and has the client stopped when that is enough, or no longer possible.

    Args:
        out: where to.
        as_json: JSON in place of words.
        calls: print what happens to calls, and not the events of objects from which that follows.
        count: how many events are enough; None for no end.
    """

    def __init__(self, out: TextIO, *, as_json: bool = False, calls: bool = False, count: int | None = None) -> None:
        self.out = out
        self.as_json = as_json
        self.not_shown = (InfoEvent, InitialInfo) if calls else (CallEvent,)
        self.left = count
        self.enough = threading.Event()
        self.broken: OSError | None = None
        self.refused = False
        self.connected = False

    def run(self, client: Client) -> int:
        """Run the client until enough is printed."""
        stopper = threading.Thread(target=self._stop_when_enough, args=(client,), name="basix-cti-cli", daemon=True)
        stopper.start()
        try:
            client.run_forever()
        except AuthError:
            return 1  # on_error has told it
        except ConnectionReplaced:
            return 1  # on_disconnect has told it
        finally:
            self.enough.set()
            stopper.join()
        self.check()
        return 1 if self.refused else 0

    def check(self) -> None:
        """Raise what kept it from printing."""
        if isinstance(self.broken, BrokenPipeError):
            raise self.broken
        if self.broken is not None:
            raise Failure(f"the output cannot be written: {self.broken.strerror}")

    def _stop_when_enough(self, client: Client) -> None:
        self.enough.wait()
        client.stop()

    def on_event(self, event: Event) -> None:
        if self.enough.is_set() or isinstance(event, self.not_shown):
            return
        if self.as_json:
            self.write(json.dumps(event.to_dict(), ensure_ascii=False, allow_nan=False))
        elif (line := describe(event)) is not None:
            self.write(clean(f"{clock(event.received_at)} {line}"))
        else:
            return
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                self.enough.set()

    def on_disconnect(self, reason: ConnectionLost) -> None:
        if isinstance(reason, ConnectionReplaced):
            self.tell(str(reason))

    def on_connect(self, session: Session) -> None:
        self.connected = True

    def on_error(self, error: BaseException) -> None:
        if self.enough.is_set():
            return
        told = str(error)
        if isinstance(error, HandshakeError) and error.status == 404 and not self.connected:
            # It was so from the beginning, and will be so for ever.
            told += "; or it knows no such user"
            self.refused = True
            self.enough.set()
        self.tell(told)

    def tell(self, text: str) -> None:
        """One line on stderr, of what is wrong."""
        sys.stderr.write(f"basix-cti: {text}\n")

    def write(self, line: str) -> None:
        """One line, at once."""
        try:
            self.out.write(line + "\n")
            self.out.flush()
        except OSError as error:
            self.broken = error
            self.enough.set()
