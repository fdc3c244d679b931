"""``basix-cti simulate``: a simulated PBX on loopback."""

from __future__ import annotations

import argparse
import sys
import threading
import time

from .options import (
    SIMULATED_TOKEN,
    TOKEN_VARIABLE,
    SubParsers,
    add_common,
    add_traffic,
    make_simulator,
    positive_seconds,
    read_token,
)


def add_to(commands: SubParsers) -> None:
    """Add the command and its arguments."""
    simulate = commands.add_parser(
        "simulate",
        help="run a simulated PBX on loopback",
        description="Run a simulated PBX on loopback, with calls, until it is interrupted.",
        allow_abbrev=False,
    )
    simulate.add_argument("--port", type=int, default=8765, help="TCP port, 0 for a free one (default: %(default)s)")
    simulate.add_argument("--seconds", type=positive_seconds, help="end after so many seconds")
    add_traffic(simulate, calls=6.0, speed=1.0)
    add_common(simulate)
    simulate.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run a simulated PBX until interrupted."""
    token = read_token(args)
    simulator = make_simulator(args, port=args.port, token=token or SIMULATED_TOKEN)
    with simulator:
        traffic = simulator.play(calls_per_minute=args.calls_per_minute, speed=args.speed)
        sys.stdout.write(
            f"Simulated PBX on {simulator.url}, domain {simulator.domain}, API user {simulator.api_user}.\n"
            f"Watch it: {TOKEN_VARIABLE}={'...' if token else SIMULATED_TOKEN} basix-cti tail {simulator.url} "
            f"--domain {simulator.domain} --full-events\n"
        )
        sys.stdout.flush()
        try:
            wait(args.seconds)
        finally:
            traffic.stop()
    return 0


def wait(seconds: float | None) -> None:
    """Wait so long, or for ever; in steps, because on Windows only a wait with a bound lets Ctrl-C through."""
    end = None if seconds is None else time.monotonic() + seconds
    never = threading.Event()
    while end is None or time.monotonic() < end:
        never.wait(1.0 if end is None else min(1.0, max(0.0, end - time.monotonic())))
