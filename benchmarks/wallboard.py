"""What pages of a wallboard cost its server: ``python benchmarks/wallboard.py``, on Linux.

A simulated PBX, the wallboard and the pages run in a process each. A page here is a connection that reads events as a
browser does; a few that read nothing at all come with them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = [sys.executable, "-m", "basix_cti"]
TOKEN = "benchmark-token"
TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def running(*arguments: str) -> Iterator[tuple[int, str]]:
    """One of our commands: its process and the address that it prints."""
    environment = {**os.environ, "BASIX_CTI_TOKEN": TOKEN, "XDG_CONFIG_HOME": "/nowhere"}
    with subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r"(?:ws|http)://[\w.:/]+\d/?", line)
        if address is None:
            raise SystemExit(f"{arguments[0]} did not start: {line}")
        try:
            yield process.pid, address[0]
        finally:
            process.terminate()


class Page:
    """Counts what one page is sent, and how old it is then."""

    def __init__(self) -> None:
        self.bytes = 0
        self.updates = 0
        self.delays: list[float] = []
        self._calls: set[str] = set()

    async def watch(self, port: int, *, parse: bool) -> None:
        """Read until cancelled."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=64 * 1024 * 1024)
        writer.write(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        try:
            while line := await reader.readline():
                self.bytes += len(line)
                if line.startswith(b"data: "):
                    self.updates += 1
                    if parse:
                        self._look(json.loads(line[6:]), time.time())
        finally:
            writer.close()

    def _look(self, told: dict[str, object], now: float) -> None:
        """A call that is new was offered a moment ago, by the clock of this machine."""
        calls = told.get("calls")
        if isinstance(calls, list):  # a snapshot: these are not new
            self._calls.update(row["id"] for row in calls)
        if not isinstance(calls, dict):
            return
        for row in calls["changed"]:
            if row["id"] not in self._calls and row["state"] == "ringing" and row["offered"]:
                self.delays.append(now - row["offered"] / 1_000_000)
            self._calls.add(row["id"])


async def stare(port: int) -> None:
    """Ask for events, and read none."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    try:
        await asyncio.sleep(3600)
    finally:
        writer.close()


def cpu(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int) -> float:
    """MB that a process has in memory."""
    match = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) / 1024


def messages(url: str) -> float:
    """How many messages of the PBX the wallboard has read."""
    with urllib.request.urlopen(f"{url}metrics") as answer:
        match = re.search(r"^basix_cti_messages_total\{.*\} (\S+)$", answer.read().decode(), re.MULTILINE)
    assert match is not None
    return float(match[1])


async def measure(pid: int, url: str, pages: int, staring: int, seconds: float) -> None:
    """One line of the table."""
    port = int(url.rstrip("/").rpartition(":")[2])
    watched = [Page() for _ in range(pages)]
    tasks = [asyncio.create_task(page.watch(port, parse=not number)) for number, page in enumerate(watched)]
    tasks += [asyncio.create_task(stare(port)) for _ in range(staring)]
    await asyncio.sleep(3)
    before = await asyncio.to_thread(messages, url)
    for page in watched:
        page.bytes = page.updates = 0
        page.delays.clear()
    began, used = time.monotonic(), cpu(pid)
    await asyncio.sleep(seconds)
    took, used = time.monotonic() - began, cpu(pid) - used
    rate = (await asyncio.to_thread(messages, url) - before) / took
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    line = f"{pages:5}  {staring:7}  {rate:8.0f}  {100 * used / took:5.1f} %  {memory(pid):6.0f}"
    if watched:
        kilobytes = statistics.mean(page.bytes for page in watched) / took / 1000
        updates = statistics.mean(page.updates for page in watched) / took
        delays = sorted(watched[0].delays) or [float("nan")]
        line += f"  {updates:9.1f}  {kilobytes:9.1f}  {statistics.median(delays):5.2f}"
        line += f"  {delays[min(len(delays) - 1, len(delays) * 99 // 100)]:5.2f}"
    print(line, flush=True)


def main() -> None:
    """Measure with no page, with one, and with all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=50)
    parser.add_argument("--staring", type=int, default=5, help="how many pages read nothing")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--calls-per-minute", type=float, default=72.0)
    parser.add_argument("--speed", type=float, default=12.0)
    args = parser.parse_args()
    simulate = ["simulate", "--port", "0", "--users", "200", "--groups", "12", "--domain", "bench"]
    simulate += ["--calls-per-minute", str(args.calls_per_minute), "--speed", str(args.speed)]
    with running(*simulate) as (_, pbx):
        wallboard = ["wallboard", pbx, "--domain", "bench", "--full-events", "--port", "0"]
        with running(*wallboard) as (pid, url):
            print("pages  staring  events/s  CPU      MB      updates/s  kB/s each  delay p50, p99 (s)")
            for pages, staring in ((0, 0), (1, 0), (args.pages, 0), (args.pages, args.staring)):
                asyncio.run(measure(pid, url, pages, staring, args.seconds))


if __name__ == "__main__":
    main()
