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
        "cpu": time.process_time() * 1_000_000 / late.count,  # starting Python included, which takes a share
    }
    print(json.dumps(report))


def used(process: subprocess.Popen[Any]) -> float:
    """End a process; the time of a processor that it took, in microseconds."""
    process.terminate()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return (usage.ru_utime + usage.ru_stime) * 1_000_000


@contextmanager
def redis_server(cpu: dict[str, float]) -> Iterator[str]:
    """A Redis that keeps nothing; its URL. At the end its time is put into ``cpu``."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        command = ["redis-server", "--port", "0", "--unixsocket", f"{folder}/s", "--save", "", "--loglevel", "warning"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder) as process:
            try:
                while not Path(folder, "s").exists():
                    time.sleep(0.01)
                yield f"unix://{folder}/s"
            finally:
                cpu["Redis"] = used(process)


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


def relayed(count: int, number: int, *rate: str, cpu: dict[str, float]) -> list[dict[str, Any]]:
    """So many clients of a relay. What relay and Redis took of a processor is put into ``cpu``, in microseconds."""
    environment = {**os.environ, "BASIX_CTI_TOKEN": _TOKEN}
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(cpu))
        url = stack.enter_context(server(str(count), *rate))
        workers = [worker("--relay", redis) for _ in range(number)]
        time.sleep(3)  # until they wait for a relay
        options = ["--domain", "bench", "--full-events", "--redis-url", redis, "--length", "1000000"]
        command = [sys.executable, "-m", "basix_cti", "relay", url, *options]
        relay = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, cwd=HERE.parent)
        try:
            return reports(workers)
        finally:
            cpu["relay"] = used(relay)


def told_rate(name: str, found: list[dict[str, Any]], count: int, cpu: dict[str, float]) -> None:
    """Print one line: the slowest of all, and what an event took of a processor."""
    slowest = min(each["rate"] for each in found)
    workers = statistics.median(each["cpu"] for each in found)
    shares = [f"{who} {used / count:.0f}" for who, used in sorted(cpu.items(), reverse=True)]
    shares.append(f"client {workers:.0f}")
    print(f"  {name:<22} {slowest:>7,.0f} events/s to each; µs of CPU an event: {', '.join(shares)}")
    if gaps := sum(each["gaps"] for each in found):
        print(f"  {gaps} gaps: clients fell behind")


def told_delay(name: str, found: list[dict[str, Any]], base: float) -> float:
    """Print one line: the median of the medians, and by how much it is more; that median, in milliseconds."""
    median: float = statistics.median(each["median"] for each in found) / 1000
    p99 = max(each["p99"] for each in found) / 1000
    more = f"; {median - base:.2f} ms more than direct" if base else ""
    print(f"  {name:<22} {median:>7.2f} ms median, {p99:.2f} ms 99th percentile{more}")
    return median


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
    told_rate("direct, one client", direct(args.count), args.count, {})
    cpu: dict[str, float] = {}
    for number, name in ((1, "relay, 1 worker"), (10, "relay, 10 workers")):
        told_rate(name, relayed(args.count, number, cpu=cpu), args.count, cpu)
    count = int(10 * args.rate)
    print(f"\nfrom the PBX's send to the hook, at {args.rate:g} events/s for 10 s")
    base = told_delay("direct, one client", direct(count, "--rate", str(args.rate)), 0.0)
    for number, name in ((1, "relay, 1 worker"), (10, "relay, 10 workers")):
        told_delay(name, relayed(count, number, "--rate", str(args.rate), cpu=cpu), base)


if __name__ == "__main__":
    main()
