"""``basix-cti tail``: print what happens at a PBX."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from typing import TextIO

from ..auth import ApiToken, ApiUser, Auth, Ticket, TicketService
from ..client import CTIClient
from ..errors import AuthError, ConnectionLost, ConnectionReplaced
from ..events import Event
from ..handler import CTIHandler
from .describe import clock, describe
from .options import TOKEN_VARIABLE, Failure, SubParsers, add_common, positive, read_token


def add_to(commands: SubParsers) -> None:
    """Add the command and its arguments."""
    tail = commands.add_parser(
        "tail",
        help="print what happens at a PBX",
        description="Print what happens at a PBX, one line an event, until it is interrupted.",
        epilog="Example: BASIX_CTI_TOKEN=... basix-cti tail bcs.brastel.com --domain test1.com --full-events",
        allow_abbrev=False,
    )
    tail.add_argument("server", help="host, host:port, or a ws:// or wss:// URL")
    tail.add_argument("--domain", required=True, help="the PBX domain")
    tail.add_argument("--api-user", help="log in as this API user, as the first generation of the protocol does")
    tail.add_argument("--ticket", action="store_true", help="log in with one-time tickets from gen_ws_ticket")
    tail.add_argument("--app-name", default="basix-cti-tail", help="the application's name (default: %(default)s)")
    tail.add_argument("--full-events", action="store_true", help="events of the whole PBX, not of one user")
    tail.add_argument("--forced", action="store_true", help="take the place of the oldest connection at the limit")
    tail.add_argument("--user", metavar="NAME", help="the user whose events to print")
    tail.add_argument("--insecure", action="store_true", help="take any TLS certificate: for test rigs only")
    tail.add_argument("--ca-file", metavar="FILE", help="trust the certificates in this PEM file")
    tail.add_argument("--json", action="store_true", help="print each event as a JSON object on a line of its own")
    tail.add_argument("--count", type=positive, metavar="N", help="end after N events")
    add_common(tail)
    tail.set_defaults(run=run, parser=tail)


def run(args: argparse.Namespace) -> int:
    """Print events until interrupted, or as many as were asked for."""
    if args.ticket:
        if args.api_user is not None:
            args.parser.error("--api-user and --ticket are two ways to log in; drop one of them")
        if args.full_events:
            args.parser.error("the PBX does not allow --full-events with --ticket; drop one of them")
    if args.user is not None and args.full_events:
        args.parser.error("--user has no effect with --full-events; drop one of them")
    token = read_token(args)
    if token is None:
        raise Failure(f"no token: set the variable {TOKEN_VARIABLE}, or name a file with --token-file")
    printer = Printer(sys.stdout, as_json=args.json, count=args.count)
    client = CTIClient(
        args.server,
        printer,
        auth=_auth(args, token),
        app_name=args.app_name,
        full_events=args.full_events,
        forced=args.forced,
        user_name=args.user,
        verify=not args.insecure,
        ca_file=args.ca_file,
        stop_on_auth_error=True,
    )
    return printer.run(client)


def _auth(args: argparse.Namespace, token: str) -> Auth:
    if args.api_user is not None:
        return ApiUser(args.domain, args.api_user, token)
    auth = ApiToken(args.domain, token)
    if not args.ticket:
        return auth
    return Ticket(TicketService(args.server, auth, verify=not args.insecure, ca_file=args.ca_file))


class Printer(CTIHandler):
    """Prints each event, and has the client stopped when that is enough, or no longer possible."""

    def __init__(self, out: TextIO, *, as_json: bool = False, count: int | None = None) -> None:
        self.out = out
        self.as_json = as_json
        self.left = count
        self.enough = threading.Event()
        self.broken: OSError | None = None

    def run(self, client: CTIClient) -> int:
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
        if isinstance(self.broken, BrokenPipeError):
            raise self.broken
        if self.broken is not None:
            raise Failure(f"the output cannot be written: {self.broken.strerror}")
        return 0

    def _stop_when_enough(self, client: CTIClient) -> None:
        self.enough.wait()
        client.stop()

    def on_event(self, event: Event) -> None:
        if self.enough.is_set():
            return
        if self.as_json:
            self.write(json.dumps(event.to_dict(), ensure_ascii=False, allow_nan=False))
        elif (line := describe(event)) is not None:
            self.write(f"{clock(event.received_at)} {line}")
        else:
            return
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                self.enough.set()

    def on_disconnect(self, reason: ConnectionLost) -> None:
        if isinstance(reason, ConnectionReplaced):
            sys.stderr.write(f"basix-cti: {reason}\n")

    def on_error(self, error: BaseException) -> None:
        if not self.enough.is_set():
            sys.stderr.write(f"basix-cti: {error}\n")

    def write(self, line: str) -> None:
        """One line, at once."""
        try:
            self.out.write(line + "\n")
            self.out.flush()
        except OSError as error:
            self.broken = error
            self.enough.set()
