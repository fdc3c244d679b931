"""What commands share: arguments, the token, and how a failure is told."""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING, TypeAlias

from ..base_client import Client
from ..config import OPTIONS, SECTION, Settings, variable
from ..errors import ConfigError
from ..handler import CTIHandler
from ..health import listening_address

if TYPE_CHECKING:
    from ..simulator import Simulator

SubParsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

EXIT_STATUS = """exit status:
  0  the end that was asked for: it is done, Ctrl-C, SIGTERM, or the reader of the output has ended
  1  a failure; one line on stderr tells which
  2  wrong arguments or settings; one line on stderr tells which, and where it stands
"""
_CONNECTS = f"""settings:
  The token is never an argument, which other users of the machine could see. It comes from BASIX_CTI_TOKEN, from
  a file (--token-file, BASIX_CTI_TOKEN_FILE), or from the configuration file. Every other setting can be an
  argument, a variable of its name (--full-events: BASIX_CTI_FULL_EVENTS=yes) or stand in the configuration file
  (full_events = yes), and is looked for in this order. The file is --config, BASIX_CTI_CONFIG, or
  ~/.config/basix-cti/config.ini (or .toml), and its section [{SECTION}].

"""
SIMULATED_TOKEN = "simulated-token"  # of a PBX on loopback that anybody may watch


class Failure(Exception):
    """Ends the program with one line on stderr and status 1."""


def new_parser(
    commands: SubParsers,
    name: str,
    help: str,
    *,
    description: str,
    examples: str,
    connects: bool = False,
    short_user: bool = True,
    exit_status: str = EXIT_STATUS,
    file: str | None = None,
) -> argparse.ArgumentParser:
    """A command's own parser, whose help ends with examples, variables and what the exit status means.

    Args:
        commands: where to add it.
        name, help, description: of the command.
        examples: command lines, without ``basix-cti`` before each.
        connects: True to add the arguments of :func:`add_connection`; then :func:`settings` gives what they say.
        short_user: True to have ``--user`` as a short form of ``--user-name``; False where it is something else.
        exit_status: what the exit status means, if not the usual.
        file: what the argument FILE is, which comes before SERVER; None for a command without one.
    """
    lines = "".join(f"  basix-cti {line.strip()}\n" for line in examples.splitlines() if line.strip())
    parser = commands.add_parser(
        name,
        help=help,
        description=textwrap.fill(description, 100),
        epilog=f"examples:\n{lines}\n{_CONNECTS if connects else ''}{exit_status}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-v", "--verbose", action="count", default=0, help="log more to stderr; twice for all")
    if file is not None:
        parser.add_argument("file", metavar="FILE", help=file)
    if connects:
        add_connection(parser, name, short_user=short_user)
    return parser


def add_connection(parser: argparse.ArgumentParser, name: str, *, short_user: bool = True) -> None:
    """The arguments of every command that connects to a PBX; ``name`` is the command's."""
    group = parser.add_argument_group("connection")
    for option in OPTIONS:
        if option.kind == "secret" or name not in (option.commands or (name,)):
            continue
        if option.name == "server":
            parser.add_argument("server", nargs="?", metavar="SERVER", help=option.help)
            continue
        flags = [f"--{option.name.replace('_', '-')}"]
        if option.name == "user_name" and short_user:
            flags.insert(0, "--user")
        text = option.help + (f" (default: basix-cti-{name})" if option.name == "app_name" else "")
        if option.kind == "flag":
            group.add_argument(*flags, dest=option.name, action=argparse.BooleanOptionalAction, help=text)
        else:
            group.add_argument(*flags, dest=option.name, metavar=option.metavar, help=text)
    group.add_argument("--config", metavar="FILE", help="read settings from this INI or TOML file")
    group.add_argument("--profile", metavar="NAME", help=f"the file's section [NAME] comes before [{SECTION}]")


def settings(args: argparse.Namespace, *, relayed: bool = False) -> Settings:
    """What the arguments of :func:`add_connection`, variables and the configuration file say together.

    Args:
        args: as parsed.
        relayed: as for :meth:`Settings.load`.

    Raises:
        ConfigError: a setting is missing or wrong; the program ends with status 2.
    """
    given = {option.name: getattr(args, option.name, None) for option in OPTIONS if option.kind != "secret"}
    for name in ("proxy", "redis_url"):
        if "@" in (given[name] or ""):
            raise ConfigError(
                f"--{name.replace('_', '-')}: other users of this machine could see the login in it; give it with the "
                f"variable {variable(name)}, or put {name} into a configuration file",
                name,
            )
    return Settings.load(
        given,
        config=args.config,
        profile=args.profile,
        defaults={"app_name": f"basix-cti-{args.command}"},
        label=lambda name: "SERVER" if name == "server" else f"--{name.replace('_', '-')}",
        relayed=relayed,
    )


def client_of(found: Settings, handler: CTIHandler) -> Client:
    """A client of the PBX; or of the relay that holds the connection to it, where there is one.

    Raises:
        ConfigError: the Redis of the relay is no address of one; the program ends with status 2.
        Failure: what a relay needs is not installed.
    """
    if found.redis_url is None:
        return found.client(handler, stop_on_auth_error=True)
    try:
        from ..relay import RelayClient
    except ImportError as error:
        raise Failure(str(error)) from None
    try:
        return RelayClient(found.redis_url, handler, name=found.relay_name or "default")
    except ValueError as error:
        raise ConfigError(f"{found.origins['redis_url']}: {error}", "redis_url") from None


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


def listening(text: str) -> tuple[str, int]:
    """An address to listen on."""
    return listening_address(text)


def speed(text: str) -> float | None:
    """How much faster than life, a number above 0; None for ``max``."""
    return None if text == "max" else positive_seconds(text)


listening.__name__ = "HOST:PORT"
positive.__name__ = "positive number"
positive_seconds.__name__ = "positive number"
speed.__name__ = "positive number or max"


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
