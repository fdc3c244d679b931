"""All benchmarks, one table: ``make bench``. Ratios come from one interleaved run, because machines are noisy.

Each contender runs in a process of its own, round by round; a figure is the median of its rounds. Frames are made by
Erlang. A contender that fails is told as failing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WORK = HERE.parent / ".venv"
EVENTS = WORK / "bench" / "events.bin"
LOGIN = WORK / "bench" / "login.bin"


@dataclass
class Row:
    """One line of the table."""

    section: str
    name: str
    unit: str
    command: Sequence[str]
    compiled: bool = False
    base: bool = False
    figures: list[Any] = field(default_factory=list)
    failure: str = ""

    def median(self) -> list[float]:
        """The median of each figure."""
        lists = [each if isinstance(each, list) else [each] for each in self.figures]
        return [statistics.median(values) for values in zip(*lists, strict=True)]


def python(*arguments: str) -> list[str]:
    """A contender in Python."""
    return [sys.executable, str(HERE / "contender.py"), *arguments]


def rows(url: str, paced: str, count: int, paced_count: int, node: bool) -> list[Row]:
    """What is run, in the order of the table."""
    events, login, total = str(EVENTS), str(LOGIN), str(count)
    table: list[Row] = []

    def add(section: str, unit: str, name: str, *command: str, base: bool = False, both: bool = False) -> None:
        table.append(Row(section, name, unit, python(*command), base=base))
        if both:
            table.append(Row(section, f"{name}, compiled", unit, python(*command), compiled=True))

    add("decode", "us/event", "erlang_py", "decode_erlang_py", events, base=True)
    add("decode", "us/event", "erlastic", "decode_erlastic", events)
    add("decode", "us/event", "bert", "decode_bert", events)
    add("decode", "us/event", "basix_cti", "decode_ours", events, both=True)
    add("decode and element", "us/event", "basix_cti", "elements", events, both=True)
    section = "socket to callback"
    add(section, "events/s", "WebSocketApp, no decoding", "stock", url, total, base=True)
    add(section, "events/s", "WebSocketApp with erlang_py", "stock_erlang_py", url, total)
    if node:
        ws = ["node", str(HERE / "node_ws.js"), url, total]
        table.append(Row(section, "Node ws, no decoding", "events/s", ws))
        table.append(Row(section, "Node ws with erlang_js", "events/s", [*ws, "decode"]))
    add(section, "events/s", "basix_cti, all of it", "ours", url, total, both=True)
    add(section, "events/s", "basix_cti, without calls", "ours_without_calls", url, total, both=True)
    section = "the same, main thread busy"
    add(section, "events/s", "WebSocketApp, no decoding", "stock", url, str(count // 20), "busy", base=True)
    add(section, "events/s", "basix_cti, all of it", "ours", url, total, "busy", both=True)
    section = "latency at 1,000 events/s, p50 and p99"
    add(section, "us", "WebSocketApp with our decoder", "latency_of_stock", paced, str(paced_count), base=True)
    add(section, "us", "basix_cti, all of it", "latency", paced, str(paced_count), both=True)
    add("login: 10,000 users, 1,000 channels", "ms", "basix_cti", "login", login, both=True)
    add("memory of that state", "MB", "basix_cti", "memory", login, both=True)
    add("1,000, 10,000, 100,000 events", "us/event", "basix_cti", "growth", events, both=True)
    return table


def run(row: Row) -> None:
    """Run one contender once."""
    environment = dict(
        os.environ, PYTHONPATH=str(WORK / "bench" / "python"), NODE_PATH=str(WORK / "bench" / "node_modules")
    )
    if row.compiled:
        environment["PYTHONPATH"] = os.pathsep.join([str(WORK / "compiled"), environment["PYTHONPATH"]])
    try:
        done = subprocess.run(row.command, env=environment, capture_output=True, text=True, timeout=300, check=True)
        answer = json.loads(done.stdout)
        if "failure" in answer:
            raise ValueError(answer["failure"])
        if answer.get("compiled", row.compiled) is not row.compiled:
            raise ValueError("the wrong build was measured")
        row.figures.append(answer["figure"])
    except subprocess.CalledProcessError as error:
        row.failure = (error.stderr.strip().splitlines() or ["no word"])[-1]
    except (subprocess.TimeoutExpired, ValueError, KeyError) as error:
        row.failure = str(error)


@contextmanager
def server(*arguments: str) -> Iterator[str]:
    """A server of the benchmarks; its URL."""
    command = [sys.executable, str(HERE / "server.py"), str(EVENTS), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def make_data() -> None:
    """Have Erlang encode the frames."""
    EVENTS.parent.mkdir(parents=True, exist_ok=True)
    for path, arguments in ((EVENTS, ("events", "10000")), (LOGIN, ("login", "10000", "1000"))):
        with path.open("wb") as out:
            subprocess.run(["escript", str(HERE / "frames.escript"), *arguments], stdout=out, check=True)


def told(row: Row, base: Row | None) -> str:
    """One line of the table."""
    if row.failure:
        return f"{row.name:<34} fails: {row.failure}"
    figures = row.median()
    text = " / ".join(f"{figure:,.0f}" if figure >= 100 else f"{figure:.2f}" for figure in figures)
    ratio = ""
    if base is not None and base.figures:
        of = base.median()[-1]
        ratio = f"{figures[-1] / of if row.unit == 'events/s' else of / figures[-1]:.2f} x"
    return f"{row.name:<34} {text:>24} {row.unit:<9} {ratio:>9}"


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--only", default="", help="sections whose name holds this text")
    args = parser.parse_args()
    make_data()
    node = (WORK / "bench" / "node_modules" / "ws").exists()
    with server(str(args.count)) as url, server("3000", "--rate", "1000") as paced:
        table = [each for each in rows(url, paced, args.count, 3000, node) if args.only in each.section]
        for number in range(args.rounds):
            for row in table:
                sys.stderr.write(f"\rround {number + 1} of {args.rounds}: {row.section}, {row.name}\033[K")
                if not row.failure:
                    run(row)
    sys.stderr.write("\r\033[K")
    sizes = EVENTS.stat().st_size // 10_002 - 4
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores, {args.rounds} rounds,"
    )
    print(f"{args.count:,} events of {sizes} bytes; medians; ratios to the first line of each part, more is better")
    section = ""
    for row in table:
        if row.section != section:
            section = row.section
            base = next((each for each in table if each.section == section and each.base), None)
            print(f"\n{section}")
        print(f"  {told(row, base)}")


if __name__ == "__main__":
    main()
