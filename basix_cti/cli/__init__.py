"""The command ``basix-cti``: watch a PBX, find out why that does not work, simulate one, or see both at work.

================  ========================================================
module            is for
================  ========================================================
``tail``          printing what happens at a PBX
``monitor``       the live board: who waits, who talks, who is free
``sources``       where a board comes from
``viewers``       how it is shown
``screen``        drawing it
``keys``          what is typed meanwhile
``doctor``        telling why a connection does not work
``relay``         holding one connection for many programs
``record``        writing it into a file
``redact``        the file without the people in it
``replay``        printing, telling or serving what is in it
``decode``        messages and recordings as Erlang terms and as JSON
``wallboard``     a page in the browser that shows it live
``simulate``      a simulated PBX on loopback
``demo``          both of them at work
``completion``    a script for completion in a shell
``options``       the arguments that commands share
``progress``      how far a long piece of work has come
``describe``      events in words
================  ========================================================

Exit status: 0 for an end as asked for, 1 for a failure, 2 for wrong arguments or settings.
"""

from __future__ import annotations

import argparse
import codecs
import io
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from ..errors import ConfigError, CTIError
from ..version import __version__
from . import (
    completion,
    decode,
    demo,
    doctor,
    monitor,
    record,
    redact,
    relay,
    replay,
    simulate,
    tail,
    wallboard,
)
from .options import EXIT_STATUS, Failure

__all__ = ["main"]

_ESCAPED = "basix_cti.escaped"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments without the program's name; None for those of the process.

    Returns:
        The exit status.
    """
    _write_anything()
    parser = _parser()
    args = parser.parse_args(argv)
    args.parser = parser
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
    except ConfigError as error:
        sys.stderr.write(f"basix-cti: {error}\n")
        return 2
    except OSError as error:
        told = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        sys.stderr.write(f"basix-cti: {told}\n")
        return 1
    except (Failure, CTIError, ValueError) as error:
        sys.stderr.write(f"basix-cti: {error}\n")
        return 1
    return status


def _write_anything() -> None:
    """Have names printed also where the encoding of the output lacks their characters.

    A terminal gets "?" for each. A file or another program gets ``\\uXXXX``: so nothing is lost, and JSON stays JSON.
    """
    codecs.register_error(_ESCAPED, _escaped)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace" if sys.stdout.isatty() else _ESCAPED)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="basix-cti",
        description="Events of a Basix PBX on the command line.",
        epilog="A token is never an argument, which other users of the machine could see: it comes from the variable\n"
        "BASIX_CTI_TOKEN, from --token-file, or from the configuration file; basix-cti tail --help tells more.\n\n"
        f"examples:\n  basix-cti demo\n  basix-cti simulate\n"
        f"  BASIX_CTI_TOKEN=... basix-cti tail bcs.brastel.com --domain test1.com --full-events\n\n{EXIT_STATUS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"basix-cti {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    told = (tail, monitor, wallboard, doctor, relay, record, redact, replay, decode, simulate, demo, completion)
    for command in told:
        command.add_to(commands)
    return parser
