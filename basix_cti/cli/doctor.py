"""``basix-cti doctor``: why a connection does not work, step by step."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Iterable

from ..config import Settings
from ..doctor import FAILED, OK, SKIPPED, WARNING, Finding, diagnose
from ..endpoint import Endpoint
from ..proxy import Proxy
from .options import SubParsers, new_parser, positive_seconds, settings

_EXIT_STATUS = """exit status:
  0  it works; there may be warnings
  1  it does not work, or that was not found out (Ctrl-C); with --strict also: it works, but with a warning
  2  wrong arguments or settings; one line on stderr tells which, and where it stands
"""
_WIDTH = 100
_INDENT = " " * 22


def add_to(commands: SubParsers) -> None:
    """Add the command and its arguments."""
    doctor = new_parser(
        commands,
        "doctor",
        "tell why a connection does not work",
        description="Take each step of a connection to a PBX alone, and tell what was found and what to do next: name, "
        "TCP, proxy, TLS, ticket, HTTP, login, connection limit, field specs, events, clock. Nothing is changed at the "
        "PBX, and --forced is not used. Give it the settings of the program that does not connect, its app_name too.",
        examples="""
            doctor bcs.brastel.com --domain test1.com --full-events --token-file ~/.basix-token
            doctor --profile test1 --json
        """,
        connects=True,
        exit_status=_EXIT_STATUS,
    )
    doctor.add_argument("--json", action="store_true", help="print one JSON object at the end, in place of the lines")
    doctor.add_argument("--strict", action="store_true", help="end with status 1 after a warning, too")
    for option, default, what in (("--timeout", 10.0, "for each step"), ("--seconds", 5.0, "to wait for an event")):
        text = f"seconds {what} (default: %(default)g)"
        doctor.add_argument(option, type=positive_seconds, metavar="S", default=default, help=text)
    doctor.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Examine one connection; 0 if it works, 1 if it does not, or if that was not found out."""
    chosen = settings(args)
    findings = diagnose(chosen, timeout=args.timeout, listen=args.seconds)
    try:
        done = list(findings) if args.json else _show(chosen, findings)
    except KeyboardInterrupt:
        sys.stderr.write("basix-cti: interrupted before the last step\n")
        return 1
    worst = _worst(done)
    if args.json:
        report = {
            "server": Endpoint.parse(chosen.server).url,
            "proxy": _proxy(chosen),
            "domain": chosen.domain,
            "app_name": chosen.app_name,
            "status": worst,
            "failed": next((finding.step for finding in done if finding.status == FAILED), None),
            "steps": [finding.to_dict() for finding in done],
        }
        _print(json.dumps(report, ensure_ascii=False, allow_nan=False, indent=2))
    return 1 if worst == FAILED or (args.strict and worst == WARNING) else 0


def _proxy(chosen: Settings) -> str | None:
    """The proxy without its login."""
    return None if chosen.proxy is None else Proxy(chosen.proxy).address


def _worst(findings: Iterable[Finding]) -> str:
    statuses = {finding.status for finding in findings}
    return next((status for status in (FAILED, WARNING) if status in statuses), OK)


def _show(chosen: Settings, findings: Iterable[Finding]) -> list[Finding]:
    """Print each finding as soon as it is there, and a last line."""
    name = f", app_name {chosen.app_name}" if chosen.app_name else ""
    way = "" if chosen.proxy is None else f", through the proxy {_proxy(chosen)}"
    _print(f"{Endpoint.parse(chosen.server).url}, domain {chosen.domain}{name}{way}\n")
    done: list[Finding] = []
    failed = ""
    for finding in findings:
        done.append(finding)
        if not failed:
            _show_finding(finding)
        if finding.status == FAILED:
            failed = finding.step
    if failed:
        left = [finding.step for finding in done[[each.step for each in done].index(failed) + 1 :]]
        if left:
            _print(_filled(f"{SKIPPED:<8} ", f"not reached: {', '.join(left)}", ""))
        _print(f"\nIt does not work: {failed} failed.")
    else:
        _print("\nIt works." if _worst(done) == OK else "\nIt works, with warnings.")
    return done


def _show_finding(finding: Finding) -> None:
    status = finding.status.upper() if finding.status == FAILED else finding.status
    told = f"{finding.tried}: {finding.found}" if finding.tried else finding.found
    _print(_filled(f"{status:<8} {finding.step:<12} ", told, _INDENT))
    if finding.advice:
        _print(_filled(f"{_INDENT}-> ", finding.advice, f"{_INDENT}   "))


def _filled(head: str, text: str, indent: str) -> str:
    return textwrap.fill(
        text, _WIDTH, initial_indent=head, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
