"""``python -m soak``: the client, what is measured, and the verdict."""

from __future__ import annotations

import argparse
import contextlib
import logging
import math
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from basix_cti import ApiToken, CTIClient, CTIHandler
from basix_cti.commands import Command
from basix_cti.elements import Channel, User
from basix_cti.errors import ConnectionLost, CTIError, NotConnected
from basix_cti.events import Event, InfoEvent, Session

from .ledger import Ledger
from .pbx import MARKED, Address, comparable, serve

_PING_INTERVAL = 1.0
_PING_TIMEOUT = 1.0
_SETTLED = 60.0
_DAWDLE_EVERY = 10.0
_DAWDLE = 2.0
_COMMAND_EVERY = 0.1
_QUEUE = 2_000
_WARM_UP = 15.0
_MIB = 1024 * 1024
_GROWTH = 8 * _MIB
_SHOWN = 20
_ELEMENTS = ("channel", "channel_waiting", "user", "group", "group_member", "terminal", "domain")


class Notes(CTIHandler):
    """Keeps the ledger, counts, dawdles now and then, and waits for a marker."""

    def __init__(self, rng: random.Random, ledger: Ledger) -> None:
        self.ledger = ledger
        self.counts: Counter[str] = Counter()  # of hooks, by what they were told
        self.bad: list[str] = []
        self._rng = rng
        self._dawdle_at = math.inf
        self._wake = threading.Event()
        self._marker = ""
        self._marked = threading.Event()

    def dawdle(self, on: bool) -> None:
        """Whether hooks are slow at times."""
        self._dawdle_at = time.monotonic() + _DAWDLE_EVERY if on else math.inf
        if not on:
            self._wake.set()

    def expect(self, marker: str) -> threading.Event:
        """An event that is set when the marker is told."""
        self._marker = marker
        self._marked = threading.Event()
        return self._marked

    def on_event(self, event: Event) -> None:
        self.counts["events"] += 1
        if isinstance(event, InfoEvent) and event.synthetic:
            self.counts["synthetic"] += 1
        item = event.item if isinstance(event, InfoEvent) else None
        if isinstance(item, User) and (item.name, item.label) == (MARKED, self._marker):
            self._marked.set()
        if time.monotonic() >= self._dawdle_at:  # another thread may set it at any moment
            self._dawdle_at = time.monotonic() + self._rng.uniform(0.5, 1.5) * _DAWDLE_EVERY
            self.counts["dawdles"] += 1
            self._wake.wait(_DAWDLE)

    def on_connect(self, session: Session) -> None:
        self.counts["connections"] += 1

    def on_disconnect(self, reason: ConnectionLost) -> None:
        self.counts[f"lost: {type(reason).__name__}"] += 1

    def on_overflow(self, count: int) -> None:
        self.counts["overflows"] += 1
        self.counts["dropped"] += count

    def on_error(self, error: BaseException) -> None:
        self.counts[f"error: {type(error).__name__}"] += 1
        if not isinstance(error, CTIError) or isinstance(error, ValueError):
            self.bad.append(f"on_error was told {error!r}")  # a bug, or a frame that was not what the PBX sent

    def on_initial_chan_info(self, channels: list[Channel]) -> None:
        for channel in channels:
            if channel.uuid is not None:
                self.ledger.begun(channel.uuid)

    def on_chan_info(self, channel: Channel) -> None:
        if channel.uuid is None:
            self.bad.append("a channel without a uuid")
        elif channel.is_hung_up:
            self.ledger.ended(channel.uuid)
        else:
            self.ledger.begun(channel.uuid)


class Measures:
    """Threads, descriptors and memory of this process."""

    def __init__(self) -> None:
        self.threads = threading.active_count()
        self.descriptors = len(os.listdir("/proc/self/fd"))
        with open("/proc/self/statm", encoding="ascii") as file:
            self.rss = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def __str__(self) -> str:
        return f"{self.threads} threads, {self.descriptors} descriptors, {self.rss / _MIB:.1f} MiB"


class Soak:
    """One run."""

    def __init__(self, orders: Connection, ledger: Ledger, rate: float, seed: int) -> None:
        self._orders = orders
        self.rate = rate
        self._rng = random.Random(f"client of {seed}")
        self.address: Address = orders.recv()
        self.notes = Notes(self._rng, ledger)
        self.client = self._client(self.address.proxied, self.notes)
        self.violations: list[str] = []
        self.commands: Counter[str] = Counter()
        self._given: list[Command] = []
        self._markers = 0

    def _client(self, url: str, handler: CTIHandler) -> CTIClient:
        return CTIClient(
            url,
            handler,
            auth=ApiToken(self.address.domain, self.address.token),
            app_name="soak",
            full_events=True,
            forced=True,  # the PBX may take a connection for alive that has broken
            connect_timeout=2.0,
            ping_interval=_PING_INTERVAL,
            ping_timeout=_PING_TIMEOUT,
            frame_timeout=5.0,
            send_timeout=2.0,
            command_timeout=5.0,
            reconnect_min=0.05,
            reconnect_max=0.5,
            stable_after=1.0,
            max_queued_events=_QUEUE,
            return_when_replaced=True,
        )

    def order(self, word: str) -> Any:
        self._orders.send(word)
        return self._orders.recv()

    def settle(self) -> Measures:
        """Wait until all that the PBX has told has come through the hooks; what is there then."""
        self._markers += 1
        marker = f"marker {self._markers}"
        told = self.notes.expect(marker)
        if not self.client.wait_ready(_SETTLED):
            self.violations.append(f"no connection within {_SETTLED:g} s: {self.client.last_error}")
        self.order(f"marker {marker}")
        if not told.wait(_SETTLED):
            self.violations.append(f"the hooks were not told a change within {_SETTLED:g} s")
        self._await_elements(self.client)
        return Measures()

    def _await_elements(self, client: CTIClient) -> None:
        """A marker may be told by the full state of its element, before those of others."""
        end = time.monotonic() + _SETTLED
        while not all(client.state.is_current(element) for element in _ELEMENTS):
            if time.monotonic() > end:
                self.violations.append(f"not all elements were told anew within {_SETTLED:g} s")
                return
            _pause(0.01)

    def busy(self, seconds: float) -> list[int]:
        """Give commands until the time is over; the memory at each second."""
        end = time.monotonic() + seconds
        memory: list[int] = []
        while (left := end - time.monotonic()) > 0:
            if len(memory) < seconds - left:
                memory.append(Measures().rss)
            self._hang_up_one()
            _pause(min(left, _COMMAND_EVERY))
        return memory

    def _hang_up_one(self) -> None:
        self._given = [command for command in self._given if not self._reap(command)]
        channels = list(self.client.state.channels)
        if not channels:
            return
        try:
            self._given.append(self.client.hangup(self._rng.choice(channels)))
            self.commands["given"] += 1
        except NotConnected:
            self.commands["refused, no connection"] += 1

    def _reap(self, command: Command) -> bool:
        if not command.done:
            return False
        try:
            self.commands["seen to work" if command.wait(0) else "not seen to work"] += 1
        except ConnectionLost:
            self.commands["lost with their connection"] += 1
        return True

    def finish_commands(self) -> None:
        """Each command that was given comes to an end."""
        for command in self._given:
            with contextlib.suppress(ConnectionLost):
                command.wait(_SETTLED)
            if not self._reap(command):
                self.violations.append(f"never done: {command!r}")

    def compare(self) -> int:
        """Compare the client's picture with the PBX, and with that of a client that has just come; its channels."""
        picture = self.client.state
        for element, expected in self.order("truth").items():
            self._equal(f"{element} at the PBX", comparable(picture, element), expected)
        other = self._client(self.address.direct, _Quiet())
        with other:
            if not other.wait_ready(_SETTLED):
                self.violations.append(f"a second client got no connection: {other.last_error}")
            self._await_elements(other)
            for element in _ELEMENTS:
                self._equal(f"{element} of a new client", picture.items(element), other.state.items(element))
        return len(picture.channels)

    def _equal(self, what: str, ours: Mapping[Any, Any], theirs: Mapping[Any, Any]) -> None:
        for key in ours.keys() | theirs.keys():
            if ours.get(key) != theirs.get(key):
                self.violations.append(f"{what}: {key!r} is {ours.get(key)!r} here, {theirs.get(key)!r} there")


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


class _Quiet(CTIHandler):
    pass


def run(minutes: float, rate: float, seed: int, mean: float) -> list[str]:
    """Soak for so long, and print what came of it.

    Args:
        minutes: with faults; the beginning and the end take some seconds more.
        rate: messages of the PBX a second.
        seed: of traffic, faults and commands.
        mean: seconds between two faults, on average.

    Returns:
        What was wrong, a line each.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, rate, seed, mean, _PING_INTERVAL + _PING_TIMEOUT))
    process.start()
    theirs.close()
    try:
        with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
            return _soaked(Soak(ours, Ledger(file), rate, seed), minutes * 60)
    finally:
        ours.close()
        process.join(_SETTLED)
        if process.is_alive():
            process.terminate()


def _soaked(soak: Soak, seconds: float) -> list[str]:
    client, notes, counts = soak.client, soak.notes, soak.notes.counts
    with client:
        soak.settle()
        soak.order("load")
        soak.busy(min(_WARM_UP, seconds / 2))  # until memory is what it needs, and as many calls are up as will be
        before = soak.settle()
        base, began, received = soak.order("count"), time.monotonic(), counts["events"]
        soak.order("faults")
        notes.dawdle(True)
        memory = soak.busy(seconds)
        notes.dawdle(False)
        count, faults = soak.order("calm")
        took = time.monotonic() - began
        received = counts["events"] - received
        soak.settle()
        soak.finish_commands()
        after = soak.settle()
        up = soak.compare()
        soak.order("hangup")
        soak.settle()
        left = soak.compare()
        told, wrong = notes.ledger.violations(client.state.channels)
    soak.violations += [*notes.bad, *wrong]
    quarters = [statistics.median(memory[len(memory) * part // 4 :][: len(memory) // 4 + 1]) for part in range(4)]
    by_quarters = ", ".join(f"{rss / _MIB:.1f}" for rss in quarters)
    if quarters[3] - quarters[1] > _GROWTH:
        soak.violations.append(f"memory grows; in the quarters of the time it was {by_quarters} MiB")
    if (before.threads, before.descriptors) != (after.threads, after.descriptors):
        soak.violations.append(f"at the beginning there were {before}, at the end {after}")
    sent = (count - base) / took
    if sent < 0.9 * soak.rate:
        soak.violations.append(f"the PBX made only {sent:.0f} of {soak.rate:.0f} events a second; is the machine busy?")
    if counts["connections"] < 2 or not faults:
        soak.violations.append("no connection was lost: there was nothing to withstand")
    print(f"load         {count - base} events in {took:.0f} s, {sent:.0f} a second; {received} events told")
    print(f"faults       {_listed(faults)}")
    print(f"connections  {counts['connections']}; {_listed(counts, 'lost: ')}")
    print(f"attempts     {_listed(counts, 'error: ') or 'none failed'}")
    print(f"slow hooks   {counts['overflows']} overflows, {counts['dropped']} messages dropped and made good")
    print(f"gaps         {counts['synthetic']} synthetic events")
    print(f"commands     {_listed(soak.commands)}")
    print(f"channels     {told} told; {up} up at the end of the load, then hung up, {left} left")
    print(f"before       {before}")
    print(f"after        {after}")
    print(f"memory       {by_quarters} MiB in the quarters of the time (medians)")
    return soak.violations


def _listed(counts: Mapping[str, int], prefix: str = "") -> str:
    found = [(name.removeprefix(prefix), count) for name, count in counts.items() if name.startswith(prefix)]
    return ", ".join(f"{count} {name}" for name, count in sorted(found))


def main() -> int:
    """Run as told on the command line; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m soak", description="A client under load and faults.")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (1)")
    parser.add_argument("--rate", type=float, default=2000.0, help="events of the PBX a second (2000)")
    parser.add_argument("--faults-every", type=float, default=1.5, help="seconds between faults, on average (1.5)")
    parser.add_argument("--seed", type=int, default=0, help="of traffic, faults and commands (0)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # a lost connection is no news here
    violations = run(options.minutes, options.rate, options.seed, options.faults_every)
    for line in violations[:_SHOWN]:
        print("WRONG:", line)
    print(f"{len(violations)} violations" if violations else "all equal, one end for each channel, nothing leaked")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
