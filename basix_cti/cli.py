"""The command ``basix-cti``: watch a PBX, simulate one, or see both at work.

Exit status: 0 for an end as asked for, 1 for a failure, 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from .auth import ApiToken, ApiUser, Auth, Ticket, TicketService
from .client import CTIClient
from .elements import Channel, Element, MessageWaiting, ParkInfo
from .errors import AuthError, ConnectionLost, ConnectionReplaced, CTIError
from .events import Connected, Disconnected, Event, Failed, InfoEvent, InitialInfo, Msg, Overflowed, SystemMsg
from .handler import CTIHandler
from .version import __version__

if TYPE_CHECKING:
    from .simulator import Simulator

__all__ = ["main"]

TOKEN_VARIABLE = "BASIX_CTI_TOKEN"  # the variable's name, no secret
SIMULATED_TOKEN = "simulated-token"  # of a PBX on loopback that anybody may watch
_DEMO_SECONDS = 15.0


class _Failure(Exception):
    """Ends the program with one line on stderr and status 1."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments without the program's name; None for those of the process.

    Returns:
        The exit status.
    """
    args = _parsed(argv)
    level = (logging.ERROR, logging.INFO, logging.DEBUG)[min(args.verbose, 2)]
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        status: int = args.run(args)
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:  # whoever read the output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer has no reader
        return 0
    except (_Failure, CTIError, ValueError, OSError) as error:
        sys.stderr.write(f"basix-cti: {error}\n")
        return 1
    return status


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    args = parser.parse_args(argv)
    if args.run is _tail and args.ticket:
        if args.api_user is not None:
            parser.error("--api-user and --ticket are two ways to log in; drop one of them")
        if args.full_events:
            parser.error("the PBX does not allow --full-events with --ticket; drop one of them")
    if args.run is _tail and args.user is not None and args.full_events:
        parser.error("--user has no effect with --full-events; drop one of them")
    return args


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="basix-cti",
        description="Events of a Basix PBX on the command line.",
        epilog=f"A token is never an argument, which other users of the machine could see: it comes from the variable "
        f"{TOKEN_VARIABLE} or from --token-file.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"basix-cti {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

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
    tail.add_argument("--count", type=_positive, metavar="N", help="end after N events")
    _add_common(tail)
    tail.set_defaults(run=_tail)

    simulate = commands.add_parser(
        "simulate",
        help="run a simulated PBX on loopback",
        description="Run a simulated PBX on loopback, with calls, until it is interrupted.",
        allow_abbrev=False,
    )
    simulate.add_argument("--port", type=int, default=8765, help="TCP port, 0 for a free one (default: %(default)s)")
    simulate.add_argument("--seconds", type=_positive_seconds, help="end after so many seconds")
    _add_traffic(simulate, calls=6.0, speed=1.0)
    _add_common(simulate)
    simulate.set_defaults(run=_simulate)

    demo = commands.add_parser(
        "demo",
        help="see a simulated PBX and a client at work",
        description="Run a simulated PBX and a client in one process, and show the calls. On a terminal it goes on "
        f"until it is interrupted, elsewhere for {_DEMO_SECONDS:g} s.",
        allow_abbrev=False,
    )
    demo.add_argument("--seconds", type=_positive_seconds, help="end after so many seconds")
    demo.add_argument("--first-generation", action="store_true", help="speak the protocol of 2016 to 2018")
    _add_traffic(demo, calls=15.0, speed=12.0)
    demo.add_argument("-v", "--verbose", action="count", default=0, help="log more to stderr; twice for all")
    demo.set_defaults(run=_demo)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--token-file", metavar="FILE", help=f"read the token from this file, not from {TOKEN_VARIABLE}"
    )
    parser.add_argument("-v", "--verbose", action="count", default=0, help="log more to stderr; twice for all")


def _add_traffic(parser: argparse.ArgumentParser, *, calls: float, speed: float) -> None:
    parser.add_argument("--domain", default="example", help="the PBX domain (default: %(default)s)")
    parser.add_argument("--api-user", default="api", help="the first generation's API user (default: %(default)s)")
    parser.add_argument("--seed", default="0", help="what the calls follow from (default: %(default)s)")
    parser.add_argument("--users", type=_positive, default=12, help="how many users (default: %(default)s)")
    parser.add_argument("--groups", type=_positive, default=3, help="how many groups (default: %(default)s)")
    parser.add_argument(
        "--calls-per-minute", type=_positive_seconds, default=calls, help="new calls a minute (default: %(default)s)"
    )
    parser.add_argument(
        "--speed", type=_positive_seconds, default=speed, help="how much faster than life (default: %(default)s)"
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _positive_seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


_positive.__name__ = "positive number"
_positive_seconds.__name__ = "positive number"


def _token(args: argparse.Namespace) -> str | None:
    if args.token_file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        token = Path(args.token_file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        told = error.strerror if isinstance(error, OSError) else "it is no text"
        raise _Failure(f"the token file {args.token_file} cannot be read: {told}") from None
    if not token:
        raise _Failure(f"the token file {args.token_file} is empty")
    return token


# --- tail -------------------------------------------------------------------------------------------------------


def _tail(args: argparse.Namespace) -> int:
    token = _token(args)
    if token is None:
        raise _Failure(f"no token: set the variable {TOKEN_VARIABLE}, or name a file with --token-file")
    printer = _Printer(sys.stdout, as_json=args.json, count=args.count)
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


class _Printer(CTIHandler):
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
            raise _Failure(f"the output cannot be written: {self.broken.strerror}")
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
            self.write(f"{_clock(event.received_at)} {line}")
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


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds)) + f".{int(seconds % 1 * 1000):03d}"


def describe(event: Event) -> str | None:
    """One line for people about an event; None for one that is not worth a line, or is told elsewhere."""
    if isinstance(event, InfoEvent):
        if not event.news:
            return None
        mark = " (in a gap)" if event.synthetic else ""
        lines = [f"{event.element} {event.event}: {describe_item(event.item)}{mark}"]
        if event.park is not None:
            lines.append(_parking("parked", event.park))
        if event.unpark is not None:
            lines.append(_parking("left", event.unpark))
        if event.mwi is not None:
            lines.append(_voicemail(event.mwi))
        return "; ".join(lines)
    if isinstance(event, InitialInfo):
        return f"{event.element}: {len(event.items)} present"
    if isinstance(event, SystemMsg):
        return f"system message: {event.msg}"
    if isinstance(event, Msg):
        return f"message: {event.msg}"
    if isinstance(event, Connected):
        return f"connected to {event.session.url}"
    if isinstance(event, Disconnected):
        return f"disconnected: {event.reason}"
    if isinstance(event, Overflowed):
        return f"{event.count} messages dropped, the output is too slow"
    if isinstance(event, Failed):
        return None
    return f"unknown: {event.to_dict()}"


def describe_item(item: Element) -> str:
    """A few words for people about an object."""
    if isinstance(item, Channel):
        state = item.hangup_cause or "ended" if item.is_hung_up else item.state.name if item.state else "?"
        slot = item.state.data.get("slot") if item.state and not item.is_hung_up else None
        who = item.calling_number or "?"
        if item.calling_name:
            who += f" {item.calling_name}"
        target = item.called_number or (item.target and (item.target.name or item.target.address)) or "?"
        return f"{who} -> {target}, {state}{f' {slot}' if slot is not None else ''} [{item.uuid}]"
    known = [
        f"{name}={value}" for name, value in item.to_dict().items() if isinstance(value, str | int) and value != ""
    ]
    return " ".join(known[:6]) or "nothing known"


def _parking(what: str, park: ParkInfo) -> str:
    return f"{what} slot {park.slot}" + (f" by {park.parker_name}" if what == "parked" and park.parker_name else "")


def _voicemail(mwi: MessageWaiting) -> str:
    return f"voicemail of {mwi.target_name or mwi.target_id}: {mwi.new_messages} new, {mwi.saved_messages} saved"


# --- simulate ---------------------------------------------------------------------------------------------------


def _simulator(args: argparse.Namespace, *, port: int = 0, token: str = SIMULATED_TOKEN) -> Simulator:
    try:
        from .simulator import Simulator
    except ImportError as error:
        raise _Failure(str(error)) from None
    return Simulator(
        port=port,
        domain=args.domain,
        api_user=args.api_user,
        token=token,
        users=args.users,
        groups=args.groups,
        seed=args.seed,
    )


def _simulate(args: argparse.Namespace) -> int:
    token = _token(args)
    simulator = _simulator(args, port=args.port, token=token or SIMULATED_TOKEN)
    with simulator:
        traffic = simulator.play(calls_per_minute=args.calls_per_minute, speed=args.speed)
        sys.stdout.write(
            f"Simulated PBX on {simulator.url}, domain {simulator.domain}, API user {simulator.api_user}.\n"
            f"Watch it: {TOKEN_VARIABLE}={'...' if token else SIMULATED_TOKEN} basix-cti tail {simulator.url} "
            f"--domain {simulator.domain} --full-events\n"
        )
        sys.stdout.flush()
        try:
            _wait(args.seconds)
        finally:
            traffic.stop()
    return 0


def _wait(seconds: float | None) -> None:
    """Wait so long, or for ever; in steps, because on Windows only a wait with a bound lets Ctrl-C through."""
    end = None if seconds is None else time.monotonic() + seconds
    never = threading.Event()
    while end is None or time.monotonic() < end:
        never.wait(1.0 if end is None else min(1.0, max(0.0, end - time.monotonic())))


# --- demo -------------------------------------------------------------------------------------------------------


class _Demo(_Printer):
    """Shows calls as people speak of them, and counts them."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(out)
        self.counts: Counter[str] = Counter()

    def on_event(self, event: Event) -> None:
        self.counts["events"] += 1

    def on_initial_chan_info(self, channels: list[Channel]) -> None:
        self.say("login", f"{len(channels)} channels are up")

    def on_chan_info(self, channel: Channel) -> None:
        if channel.direction != "inbound":  # the legs that the PBX offers to its users
            return
        if channel.is_hung_up:
            self.counts["ended"] += 1
            seconds = channel.talk_duration
            talked = "not answered" if seconds is None else f"after {seconds:.0f} s of talk"
            self.say("ended", f"{_who(channel)}: {channel.hangup_cause or 'unknown cause'}, {talked}")
        elif channel.last_event == "NEW_CHANNEL":
            self.counts["rang"] += 1
            self.say("rings", f"{_who(channel)} calls {channel.called_number or '?'}")
        elif channel.last_event == "CHANNEL_ANSWER":
            self.counts["answered"] += 1
            waited = channel.wait_duration
            self.say("answered", f"{_who(channel)}" + ("" if waited is None else f" after {waited:.0f} s"))

    def on_park_info(self, park: ParkInfo) -> None:
        self.counts["parked"] += 1
        self.say("parked", f"in slot {park.slot}" + (f" by {park.parker_name}" if park.parker_name else ""))

    def on_unpark_info(self, park: ParkInfo) -> None:
        self.say("unparked", f"from slot {park.slot}")

    def on_mwi_info(self, mwi: MessageWaiting) -> None:
        self.counts["voicemail"] += 1
        self.say("voicemail", f"{mwi.target_name or mwi.target_id} has {mwi.new_messages} new")

    def say(self, what: str, text: str) -> None:
        """One line of the show."""
        self.write(f"{time.strftime('%H:%M:%S')}  {what:<9}  {text}")


def _who(channel: Channel) -> str:
    customer = channel.end_user.items[0].name if channel.end_user and channel.end_user.items else None
    return " ".join(part for part in (channel.calling_number or "?", customer or channel.calling_name) if part)


def _demo(args: argparse.Namespace) -> int:
    simulator = _simulator(args)
    auth: Auth = ApiToken(simulator.domain, simulator.token)
    if args.first_generation:
        auth = ApiUser(simulator.domain, simulator.api_user, simulator.token)
    seconds = args.seconds if args.seconds or sys.stdout.isatty() else _DEMO_SECONDS
    show = _Demo(sys.stdout)
    until = f"for {seconds:g} s" if seconds else "until you press Ctrl-C"
    show.write(f"A simulated PBX and a client of it, {until}; speed x{args.speed:g}.")
    with simulator:
        client = CTIClient(simulator.url, show, auth=auth, app_name="demo", full_events=True)
        traffic = simulator.play(calls_per_minute=args.calls_per_minute, speed=args.speed)
        timer = threading.Timer(seconds, show.enough.set) if seconds else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            show.run(client)
        except KeyboardInterrupt:
            pass
        finally:
            if timer is not None:
                timer.cancel()
            traffic.stop()
        left = len(client.state.channels)
    counts = show.counts
    show.write(
        f"Summary: {counts['events']} events; {counts['rang']} calls, {counts['answered']} answered, "
        f"{counts['parked']} parked, {counts['voicemail']} voicemail messages, {counts['ended']} ended; "
        f"{left} channels are still up."
    )
    return 0 if counts["rang"] else 1
