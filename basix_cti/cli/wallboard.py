"""``basix-cti wallboard``: a page that shows a PBX live, for the wall and the desk."""

from __future__ import annotations

import argparse
import os
import sys

from ..board import Board
from ..config import read_token, variable
from ..errors import ConfigError
from ..events import Event
from .options import Failure, SubParsers, client_of, new_parser, positive_seconds, settings
from .tail import Printer

TOKEN = variable("wallboard_token")


def add_to(commands: SubParsers) -> None:
    """Add the command and its arguments."""
    wallboard = new_parser(
        commands,
        "wallboard",
        "show a PBX live on a page in the browser",
        description="Serve a page that shows calls, groups and people live, for the wall and the desk, until it is "
        "interrupted. It is seen by this machine alone, unless --host and a token say otherwise. Telephone numbers are "
        "masked.",
        examples="""
            wallboard bcs.brastel.com --domain test1.com --full-events
            wallboard --profile test1 --amber 20 --red 60
            wallboard --redis-url redis://localhost:6379/0
            wallboard --profile test1 --host 0.0.0.0 --wallboard-token-file /etc/basix-cti/wallboard-token
        """,
        connects=True,
    )
    page = wallboard.add_argument_group("page")
    page.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    page.add_argument("--port", type=int, default=8780, help="TCP port, 0 for a free one (default: %(default)s)")
    page.add_argument(
        "--wallboard-token-file",
        metavar="FILE",
        help=f"the token that visitors need, in place of {TOKEN}; needed where other machines can reach the address",
    )
    page.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="answer requests for this host name, too, as a reverse proxy passes them on; may be repeated",
    )
    page.add_argument("--unmask", action="store_true", help="show telephone numbers")
    page.add_argument(
        "--amber",
        metavar="S",
        type=positive_seconds,
        default=20.0,
        help="a call that has waited S seconds turns amber (default: 20)",
    )
    page.add_argument(
        "--red",
        metavar="S",
        type=positive_seconds,
        default=60.0,
        help="a call that has waited S seconds turns red (default: 60)",
    )
    wallboard.set_defaults(run=run)


class _Watching(Printer):
    """Feeds the board, and tells how the connection does."""

    def __init__(self, board: Board) -> None:
        super().__init__(sys.stderr)
        self.board = board

    def on_event(self, event: Event) -> None:
        self.board.on_event(event)


def _token(args: argparse.Namespace) -> str | None:
    """What visitors have to know; None for nothing."""
    if args.wallboard_token_file:
        return read_token(args.wallboard_token_file, "--wallboard-token-file")
    return os.environ.get(TOKEN) or None


def run(args: argparse.Namespace) -> int:
    """Serve the page until interrupted."""
    try:
        from ..wallboard import Access, Wallboard, is_loopback
    except ImportError as error:
        raise Failure(str(error)) from None
    token = _token(args)
    if token is None and not is_loopback(args.host):
        raise ConfigError(
            f"--host {args.host} can be reached from other machines: give the token that visitors need with {TOKEN} or "
            "--wallboard-token-file"
        )
    board = Board()
    handler = _Watching(board)
    client = client_of(settings(args, relayed=True), handler)
    try:
        access = Access(args.host, token, args.allow_host)
        wallboard = Wallboard(
            client,
            board,
            args.host,
            args.port,
            access=access,
            unmask=args.unmask,
            amber=args.amber,
            red=args.red,
            ended=handler.enough.set,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None
    try:
        wallboard.start()
    except OSError as error:
        code = error.errno or 0  # below 0: of a name look-up
        why = os.strerror(code) if code > 0 else error.strerror
        where = f"--host {args.host} --port {args.port}"
        raise Failure(f"{where} cannot be listened on: {why}; give another address, or port 0 for a free one") from None
    try:
        told = "" if access.open else "?token=..."
        sys.stdout.write(f"The wallboard is at {wallboard.url}{told}\n")
        sys.stdout.flush()
        status = handler.run(client)
    finally:
        wallboard.stop()
    if wallboard.failure is not None:
        raise Failure(f"the wallboard has ended: {wallboard.failure}")
    return status
