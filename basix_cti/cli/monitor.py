"""``basix-cti monitor``: the live board of a PBX, or of a recording, in a terminal."""

from __future__ import annotations

import argparse

from ..board import ORDERS
from .options import SubParsers, new_parser, positive_seconds, speed
from .sources import LiveSource, ReplaySource, Source
from .viewers import Viewer, viewer_of

_INTERVAL = 0.25


def add_to(commands: SubParsers) -> None:
    """Add the command and its arguments."""
    monitor = new_parser(
        commands,
        "monitor",
        "show the live board of a PBX: who waits, who talks, who is free",
        description="Show who waits, who talks to whom and who is free, as it is now, until it is interrupted. Where "
        "the output is no terminal, each change is printed as a line. It needs the extra cli.",
        examples="""
            monitor bcs.brastel.com --domain test1.com --full-events
            monitor --profile test1 --group support --amber 15 --red 45 --mask
            monitor --profile test1 --once --json
            monitor --redis-url redis://localhost:6379/0
            monitor --replay calls.ctirec --speed 10
            monitor --replay calls.ctirec --svg board.svg
        """,
        connects=True,
        short_user=False,
    )
    show = monitor.add_argument_group("what to show")
    show.add_argument(
        "--group", action="append", default=[], metavar="NAME", help="only this group, its calls and its members"
    )
    show.add_argument(
        "--user", action="append", default=[], metavar="NAME", help="only this user, their calls and their groups"
    )
    show.add_argument(
        "--sort", choices=tuple(ORDERS), default="state", help="the order of people (default: %(default)s)"
    )
    show.add_argument("--mask", action="store_true", help="mask telephone numbers; extensions are shown")
    for name, default, what in (("--amber", 20.0, "long"), ("--red", 60.0, "too long")):
        show.add_argument(
            name,
            type=positive_seconds,
            default=default,
            metavar="S",
            help=f"a call that waits so many seconds waits {what} (default: {default:g})",
        )
    how = monitor.add_argument_group("how")
    how.add_argument("--once", action="store_true", help="print the board once, as soon as it is known, and end")
    how.add_argument("--json", action="store_true", help="print JSON: first the board, then each change of it")
    how.add_argument("--svg", metavar="FILE", help="write the board into this file as a picture, once, and end")
    how.add_argument("--replay", metavar="FILE", help="show a recording in place of a PBX")
    how.add_argument(
        "--speed", type=speed, default=1.0, help="of the replay: how much faster than life, or max (default: 1)"
    )
    monitor.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show the board until interrupted, or once, or until the recording ends."""
    if args.red < args.amber:
        args.parser.error(f"--red {args.red:g} is less than --amber {args.amber:g}")
    once = args.once or args.svg is not None
    viewer = viewer_of(args)
    if args.replay is None:
        source: Source = LiveSource(args, args.group, args.user, once=once)
    else:
        source = ReplaySource(args.replay, args.group, args.user, speed=None if once else args.speed)
    source.silent = viewer.has_screen
    try:
        with source, viewer:
            _follow(source, viewer)
    except KeyboardInterrupt:
        pass  # what is wrong with a recording counts all the same
    return source.status


def _follow(source: Source, viewer: Viewer) -> None:
    while not source.ended.wait(_INTERVAL):
        if viewer.show(source):
            return
    viewer.show(source)
    viewer.end(source)
