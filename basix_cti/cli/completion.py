"""``basix-cti completion``: a script that lets a shell complete commands, options and names of files."""

from __future__ import annotations

import argparse
import sys

from .options import Failure, SubParsers, new_parser


def add_to(commands: SubParsers) -> None:
    """Add the command and its arguments."""
    completion = new_parser(
        commands,
        "completion",
        "print a script for completion in a shell",
        description="Print a script that completes commands, options and names of files. It needs the extra cli.",
        examples="""
            completion bash > ~/.local/share/bash-completion/completions/basix-cti
            completion zsh > "${fpath[1]}/_basix-cti"
        """,
    )
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="for which shell")
    completion.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    try:
        import shtab
    except ImportError:
        raise Failure("completion needs the package shtab: pip install basix-cti[cli]") from None
    _mark_files(args.parser, shtab.FILE)
    sys.stdout.write(shtab.complete(args.parser, args.shell) + "\n")
    return 0


def _mark_files(parser: argparse.ArgumentParser, how: object) -> None:
    """Have every value that is shown as FILE completed as one."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _mark_files(command, how)
        elif action.metavar == "FILE":
            vars(action)["complete"] = how
