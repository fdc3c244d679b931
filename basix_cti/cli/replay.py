"""``basix-cti replay``: what a recording tells, printed, told to a handler, or served as a PBX."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import threading

from ..handler import CTIHandler
from ..recording import Recording, replay
from .options import Failure, SubParsers, new_parser, positive, speed
from .progress import Progress
from .simulate import TOKEN, wait
from .tail import Printer


def add_to(commands: SubParsers) -> None:
    """Add the command and its arguments."""
    parser = new_parser(
        commands,
        "replay",
        "play a recording: print it, tell it to a handler, or serve it as a PBX",
        description="Play a recording as it was recorded. Without --handler and --serve it is printed as basix-cti "
        "tail prints a PBX. With --serve, any client can connect to it as to a PBX, with any login.",
        examples="""
            replay calls.ctirec --speed max
            replay calls.ctirec --speed max --calls
            replay calls.ctirec --handler my_program.screen:Screen --speed 10
            replay calls.ctirec --serve 8765
        """,
        file="the recording",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--handler", metavar="MODULE:CLASS", help="call the hooks of this subclass of CTIHandler")
    where.add_argument("--serve", metavar="PORT", type=_port, help="serve it on this port of 127.0.0.1; 0 for any")
    where.add_argument("--json", action="store_true", help="print each event as a JSON object on a line of its own")
    parser.add_argument("--calls", action="store_true", help="print what happens to calls, in place of objects")
    parser.add_argument(
        "--speed", type=speed, default=1.0, help="how much faster than life, or max (default: %(default)s)"
    )
    parser.add_argument("--count", type=positive, metavar="N", help="end after N events were printed")
    parser.add_argument("--once", action="store_true", help="with --serve: end when a client has got all of it")
    parser.set_defaults(run=run)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 65536:
        raise ValueError
    return port


_port.__name__ = "port"


def run(args: argparse.Namespace) -> int:
    """Play a recording to its end, or until interrupted."""
    recording = Recording(args.file)
    if args.serve is not None:
        trouble = _serve(args)
    elif args.handler is not None:
        trouble = _play(recording, _handler(args.handler), args.speed, None, silent=False)
    else:
        printer = Printer(sys.stdout, as_json=args.json, calls=args.calls, count=args.count)
        trouble = _play(recording, printer, args.speed, printer.enough, silent=sys.stdout.isatty())
        printer.check()
    if trouble is not None:
        raise Failure(trouble)
    return 0


def _play(
    recording: Recording, handler: CTIHandler, speed: float | None, stop: threading.Event | None, *, silent: bool
) -> str | None:
    with Progress("replaying", silent=silent) as progress:
        replay(recording, handler, speed=speed, stop=stop, progress=progress)
    return recording.trouble


def _handler(dotted: str) -> CTIHandler:
    """An instance of the handler that the user names."""
    module_name, _, name = dotted.partition(":")
    if not module_name or not name.isidentifier():
        raise Failure(f"--handler {dotted}: not of the form module:Class")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise  # the module is there, but what it imports is not: its author wants to see where
        raise Failure(f"--handler {dotted}: there is no module {error.name}") from None
    made = getattr(module, name, None)
    if not (isinstance(made, type) and issubclass(made, CTIHandler)):
        raise Failure(f"--handler {dotted}: {module_name} has no subclass of CTIHandler of that name")
    try:
        return made()
    except TypeError as error:
        raise Failure(f"--handler {dotted}: it cannot be made without arguments ({error})") from None


def _serve(args: argparse.Namespace) -> str | None:
    try:
        from ..recording.server import ReplayServer
    except ImportError as error:
        raise Failure(str(error)) from None
    with (
        Progress("serving") as progress,
        ReplayServer(args.file, port=args.serve, speed=args.speed, progress=progress) as server,
    ):
        sys.stdout.write(
            f"{args.file} on {server.url}, for any domain and token.\n"
            f"Watch it: {TOKEN}=any basix-cti tail {server.url} --domain any --full-events\n"
        )
        sys.stdout.flush()
        if not args.once:
            wait(None)
        while not server.finished.wait(
            1.0
        ):  # in steps, because on Windows only a wait with a bound lets Ctrl-C through
            pass
        return server.trouble
