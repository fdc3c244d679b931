"""``basix-cti relay``: hold the one connection to a PBX for many programs, or wait to take over."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from contextlib import ExitStack
from types import FrameType

from ..errors import ConfigError, ConnectionReplaced
from ..health import ProbeServer
from .options import Failure, SubParsers, listening, new_parser, positive, positive_seconds, settings

_REDIS = "redis://localhost:6379/0"


def add_to(commands: SubParsers) -> None:
    """Add the command and its arguments."""
    relay = new_parser(
        commands,
        "relay",
        "hold one connection to a PBX for many programs",
        description="Hold one connection to a PBX, and pass on all that it tells through Redis to any number of "
        "programs that have a RelayClient. A second relay with the same settings, on another machine, is the standby: "
        "it takes over when the first one is not heard of any more.",
        examples="""
            relay bcs.brastel.com --domain test1.com --full-events --redis-url redis://localhost:6379/0
            relay --profile test1 --lease 3
        """,
        connects=True,
    )
    relay.add_argument(
        "--lease",
        type=positive_seconds,
        default=5.0,
        metavar="S",
        help="the standby takes over when the holder is not heard of for so many seconds (default: %(default)s)",
    )
    relay.add_argument(
        "--length",
        type=positive,
        default=50_000,
        metavar="N",
        help="keep about so many messages for programs that are behind (default: %(default)s)",
    )
    relay.add_argument(
        "--patience",
        type=positive_seconds,
        default=15.0,
        metavar="S",
        help="leave it to the standby after so many seconds without the PBX (default: %(default)s)",
    )
    relay.add_argument(
        "--metrics",
        type=listening,
        metavar="HOST:PORT",
        help="answer to /metrics, /healthz and /readyz at this address, such as 127.0.0.1:9464",
    )
    relay.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Hold or wait, until interrupted."""
    try:
        from ..relay import HeldClient, Relay
    except ImportError as error:
        raise Failure(str(error)) from None
    found = settings(args)
    if found.forced:
        raise ConfigError(
            f"{found.origins['forced']}: a relay is never forced, it would take the place of its own twin", "forced"
        )
    relay = Relay(
        found.redis_url or _REDIS,
        HeldClient(found.server, **found.parameters()),
        name=found.relay_name or "default",
        lease=args.lease,
        length=args.length,
        patience=args.patience,
        say=_say,
    )

    def stop(number: int, frame: FrameType | None) -> None:
        relay.stop()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
    with ExitStack() as stack:
        if args.metrics is not None:
            server = stack.enter_context(ProbeServer(relay.probes(), *args.metrics))
            _say(f"metrics at {server.url}/metrics")
        try:
            relay.run()
        except ConnectionReplaced as error:
            raise Failure(str(error)) from None
    return 0


def _say(what: str) -> None:
    sys.stderr.write(f"basix-cti: {what}\n")
    sys.stderr.flush()
