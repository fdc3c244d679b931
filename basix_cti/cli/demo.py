"""``basix-cti demo``: a simulated PBX and a client of it, in one process."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from typing import TextIO

from ..auth import ApiToken, ApiUser, Auth
from ..client import CTIClient
from ..elements import Channel, MessageWaiting
from ..events import CallEvent, Event
from .describe import clean, describe_call
from .options import SubParsers, add_traffic, make_simulator, new_parser, positive_seconds
from .tail import Printer

_DEMO_SECONDS = 15.0


def add_to(commands: SubParsers) -> None:
    """Add the command and its arguments."""
    demo = new_parser(
        commands,
        "demo",
        "see a simulated PBX and a client at work",
        description="Run a simulated PBX and a client in one process, and show the calls. On a terminal it goes on "
        f"until it is interrupted, elsewhere for {_DEMO_SECONDS:g} s.",
        examples="demo\ndemo --first-generation --seconds 10",
    )
    demo.add_argument("--seconds", type=positive_seconds, help="end after so many seconds")
    demo.add_argument("--first-generation", action="store_true", help="speak the protocol of 2016 to 2018")
    add_traffic(demo, calls=15.0, speed=12.0)
    demo.set_defaults(run=run)


class _Demo(Printer):
    """Shows calls as people speak of them, and counts them."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(out)
        self.counts: Counter[str] = Counter()

    def on_event(self, event: Event) -> None:
        self.counts["events"] += 1
        if isinstance(event, CallEvent):
            self.counts[event.kind] += 1
            self.say(event.kind, describe_call(event))

    def on_initial_chan_info(self, channels: list[Channel]) -> None:
        self.say("login", f"{len(channels)} channels are up")

    def on_mwi_info(self, mwi: MessageWaiting) -> None:
        self.counts["voicemail"] += 1
        self.say("voicemail", f"{mwi.target_name or mwi.target_id} has {mwi.new_messages} new")

    def say(self, what: str, text: str) -> None:
        """One line of the show."""
        self.write(clean(f"{time.strftime('%H:%M:%S')}  {what:<11}  {text}"))


def run(args: argparse.Namespace) -> int:
    """Show calls until interrupted, or for a while."""
    simulator = make_simulator(args)
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
        left = len(client.calls)
    counts = show.counts
    show.write(
        f"Summary: {counts['events']} events; {counts['ringing']} calls rang, {counts['answered']} answered, "
        f"{counts['parked']} parked, {counts['transferred']} transferred, {counts['ended']} ended; "
        f"{counts['voicemail']} voicemail messages; {left} calls are still up."
    )
    return 0 if counts["ringing"] else 1
