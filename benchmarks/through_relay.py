"""The relay: events a second through Redis, and how much later they come than without it. ``make bench-relay``

A PBX that sends frames that are ready, ``basix-cti relay``, a Redis, and ten workers with a ``RelayClient``, each in a
process of its own; the same with one ``CTIClient`` in their place. On a machine of few cores they compete for these.
Latency is measured at a rate that leaves the machine idle.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from run import HERE, make_data, server

from basix_cti import ApiToken, Channel, CTIClient, CTIHandler, Element
from basix_cti.base_client import Client
from basix_cti.relay import RelayClient

_QUIET = 1.5  # seconds without an event after which all has come
_TOKEN = "token"


class Late(CTIHandler):
    """When events come, and how long after they were sent; ``offer_timestamp`` is when, in microseconds."""

    def __init__(self) -> None:
        self.count = 0
        self.first = self.last = 0.0
        self.delays: list[int] = []
        self.gaps = 0

    def on_info_event(self, element: str, item: Element, event: str) -> None:
        self.last = time.monotonic()
        if not self.count:
            self.first = self.last
        self.count += 1
        if isinstance(item, Channel) and item.offer_timestamp is not None:
            self.delays.append(int(self.last * 1_000_000) - item.offer_timestamp)

    def on_overflow(self, count: int) -> None:
        self.gaps += 1


def work(client: Client, late: Late) -> None:
    """Run a client until nothing comes any more; print what came."""
    with client:
        pause = threading.Event()
        while not late.count or time.monotonic() - late.last < _QUIET:
            pause.wait(0.1)
    delays = sorted(late.delays)
    report = {
        "rate": (late.count - 1) / (late.last - late.first),
        "count": late.count,
        "gaps": late.gaps,
        "median": delays[len(delays) // 2],
        "p99": delays[len(delays) * 99 // 100],
    }
    print(json.dumps(report))


@contextmanager
def redis_server() -> Iterator[str]:
    """A Redis that keeps nothing; its URL."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        command = ["redis-server", "--port", "0", "--unixsocket", f"{folder}/s", "--save", "", "--loglevel", "warning"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder) as process:
            try:
                while not Path(folder, "s").exists():
                    time.sleep(0.01)
                yield f"unix://{folder}/s"
            finally:
                process.kill()


def worker(*arguments: str) -> subprocess.Popen[str]:
    """This file as a worker."""
    return subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)


def reports(workers: list[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    """What all of them have to say."""
    return [json.loads(process.communicate()[0]) for process in workers]


def direct(count: int, *rate: str) -> list[dict[str, Any]]:
    """One client of the PBX itself."""
    with server(str(count), *rate) as url:
        return reports([worker("--direct", url)])


def relayed(count: int, number: int, *rate: str) -> list[dict[str, Any]]:
    """So many clients of a relay."""
    environment = {**os.environ, "BASIX_CTI_TOKEN": _TOKEN}
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        url = stack.enter_context(server(str(count), *rate))
        workers = [worker("--relay", redis) for _ in range(number)]
        time.sleep(3)  # until they wait for a relay
        options = ["--domain", "bench", "--full-events", "--redis-url", redis, "--length", "1000000"]
        command = [sys.executable, "-m", "basix_cti", "relay", url, *options]
        relay = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, cwd=HERE.parent)
        try:
            return reports(workers)
        finally:
            relay.terminate()
            relay.wait()


def told(name: str, found: list[dict[str, Any]], base: dict[str, Any] | None, unit: str) -> None:
    """Print one line: the slowest, or the median of the medians."""
    if unit == "rate":
        slowest = min(each["rate"] for each in found)
        print(f"  {name:<34} {slowest:>8,.0f} events/s to each; gaps: {sum(each['gaps'] for each in found)}")
        return
    median = statistics.median(each["median"] for each in found) / 1000
    p99 = max(each["p99"] for each in found) / 1000
    more = "" if base is None else f"; {median - base['median'] / 1000:.2f} ms more than direct"
    print(f"  {name:<34} {median:>8.2f} ms median, {p99:.2f} ms 99th percentile{more}")


def main() -> None:
    """Measure, and print the table; or be a worker."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--direct", help=argparse.SUPPRESS)
    parser.add_argument("--relay", help=argparse.SUPPRESS)
    args = parser.parse_args()
    late = Late()
    bounds: dict[str, Any] = {"max_queued_events": 10**9, "max_queued_bytes": 10**12}
    if args.direct:
        auth = ApiToken("bench", _TOKEN)
        work(CTIClient(args.direct, late, auth=auth, app_name="bench", full_events=True, **bounds), late)
        return
    if args.relay:
        work(RelayClient(args.relay, late, reconnect_min=0.02, reconnect_max=0.05, **bounds), late)
        return
    make_data()
    print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores")
    print(f"\n{args.count:,} events as fast as they are taken")
    told("direct, one client", direct(args.count), None, "rate")
    for number in (1, 10):
        told(f"relay, {number} worker{'s' if number > 1 else ''}", relayed(args.count, number), None, "rate")
    seconds = 10
    paced = ["--rate", str(args.rate)]
    print(f"\nfrom the PBX's send to the hook, at {args.rate:g} events/s for {seconds} s")
    base = direct(int(args.rate * seconds), *paced)
    told("direct, one client", base, None, "delay")
    for number in (1, 10):
        name = f"relay, {number} worker{'s' if number > 1 else ''}"
        told(name, relayed(int(args.rate * seconds), number, *paced), base[0], "delay")


if __name__ == "__main__":
    main()
