"""What commands share: arguments, the token, and how a failure is told."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from ..simulator import Simulator

SubParsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

TOKEN_VARIABLE = "BASIX_CTI_TOKEN"  # the variable's name, no secret
SIMULATED_TOKEN = "simulated-token"  # of a PBX on loopback that anybody may watch


class Failure(Exception):
    """Ends the program with one line on stderr and status 1."""


def add_common(parser: argparse.ArgumentParser) -> None:
    """The arguments that every command takes."""
    parser.add_argument(
        "--token-file", metavar="FILE", help=f"read the token from this file, not from {TOKEN_VARIABLE}"
    )
    parser.add_argument("-v", "--verbose", action="count", default=0, help="log more to stderr; twice for all")


def add_traffic(parser: argparse.ArgumentParser, *, calls: float, speed: float) -> None:
    """What a simulated PBX is like."""
    parser.add_argument("--domain", default="example", help="the PBX domain (default: %(default)s)")
    parser.add_argument("--api-user", default="api", help="the first generation's API user (default: %(default)s)")
    parser.add_argument("--seed", default="0", help="what the calls follow from (default: %(default)s)")
    parser.add_argument("--users", type=positive, default=12, help="how many users (default: %(default)s)")
    parser.add_argument("--groups", type=positive, default=3, help="how many groups (default: %(default)s)")
    parser.add_argument(
        "--calls-per-minute", type=positive_seconds, default=calls, help="new calls a minute (default: %(default)s)"
    )
    parser.add_argument(
        "--speed", type=positive_seconds, default=speed, help="how much faster than life (default: %(default)s)"
    )


def positive(text: str) -> int:
    """A whole number from 1 on."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def positive_seconds(text: str) -> float:
    """A number above 0."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


positive.__name__ = "positive number"
positive_seconds.__name__ = "positive number"


def read_token(args: argparse.Namespace) -> str | None:
    """The token from the file that was named, or from the environment; None where there is none."""
    if args.token_file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        token = Path(args.token_file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        told = error.strerror if isinstance(error, OSError) else "it is no text"
        raise Failure(f"the token file {args.token_file} cannot be read: {told}") from None
    if not token:
        raise Failure(f"the token file {args.token_file} is empty")
    return token


def make_simulator(args: argparse.Namespace, *, port: int = 0, token: str = SIMULATED_TOKEN) -> Simulator:
    """A simulated PBX by the arguments of :func:`add_traffic`."""
    try:
        from ..simulator import Simulator
    except ImportError as error:
        raise Failure(str(error)) from None
    return Simulator(
        port=port,
        domain=args.domain,
        api_user=args.api_user,
        token=token,
        users=args.users,
        groups=args.groups,
        seed=args.seed,
    )
