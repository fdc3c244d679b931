"""``basix-cti simulate``: a simulated PBX on loopback."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time

from ..config import read_token, variable
from .options import SIMULATED_TOKEN, SubParsers, add_traffic, make_simulator, new_parser, positive_seconds

TOKEN = variable("token")


def add_to(commands: SubParsers) -> None:
    """Add the command and its arguments."""
    simulate = new_parser(
        commands,
        "simulate",
        "run a simulated PBX on loopback",
        description="Run a simulated PBX on loopback, with calls, until it is interrupted.",
        examples="simulate --port 0 --speed 20\nsimulate --users 100 --groups 10 --calls-per-minute 60",
    )
    simulate.add_argument("--port", type=int, default=8765, help="TCP port, 0 for a free one (default: %(default)s)")
    simulate.add_argument("--seconds", type=positive_seconds, help="end after so many seconds")
    add_traffic(simulate, calls=6.0, speed=1.0)
    simulate.add_argument(
        "--token-file",
        metavar="FILE",
        help=f"the token that clients need, in place of {TOKEN} (default: {SIMULATED_TOKEN})",
    )
    simulate.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run a simulated PBX until interrupted."""
    token = read_token(args.token_file, "--token-file") if args.token_file else os.environ.get(TOKEN)
    simulator = make_simulator(args, port=args.port, token=token or SIMULATED_TOKEN)
    with simulator:
        traffic = simulator.play(calls_per_minute=args.calls_per_minute, speed=args.speed)
        login, where = f"{TOKEN}={'...' if token else SIMULATED_TOKEN}", f"{simulator.url} --domain {simulator.domain}"
        sys.stdout.write(
            f"Simulated PBX on {simulator.url}, domain {simulator.domain}, API user {simulator.api_user}.\n"
            f"Watch it: {login} basix-cti tail {where} --full-events\n"
            f"As a board: {login} basix-cti monitor {where} --full-events\n"
            f"As a page: {login} basix-cti wallboard {where} --full-events\n"
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
