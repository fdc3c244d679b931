"""A relay, its standby and three clients under faults for as long as one likes: ``make soak-relay SECONDS=60``.

Holders are killed, or stand still and wake; Redis is killed, with and without what it has saved, emptied, or cut off;
the PBX drops its connection. Now and then, and at the end, every client's picture is compared with the PBX, and each
channel that it was told has one end, or none if it is up.
"""

from __future__ import annotations

import argparse
import logging
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from programs import Program
from redis_rig import ELEMENTS, RedisServer, RelayedClient, assert_right, relay

from basix_cti.errors import ConnectError
from basix_cti.simulator import Simulator, Traffic
from basix_cti.testing import RecordedClient

_SETTLED = 60.0


class Soak:
    """One run.

    Args:
        stack: closes what is opened.
        seed: of the faults and the calls.
        generation: of the wire protocol.
    """

    def __init__(self, stack: ExitStack, seed: int, generation: int) -> None:
        self._rng = random.Random(f"relay {seed}")
        self._generation = generation
        self._server = stack.enter_context(RedisServer(*(["--appendonly", "yes"] if seed % 2 else [])))
        self.pbx = stack.enter_context(Simulator(users=6, seed=seed))
        self._relays = [relay(self.pbx, self._server, generation=generation) for _ in range(2)]
        stack.callback(self._end)
        self.clients = [stack.enter_context(RelayedClient(self.pbx, self._server, redis_timeout=1.0)) for _ in range(3)]
        self._traffic = Traffic(self.pbx, seed=seed, calls_per_minute=240)
        self.faults: Counter[str] = Counter()

    def _end(self) -> None:
        for each in self._relays:
            each.__exit__(None, None, None)

    def _play(self, at_most: int) -> None:
        for _ in range(self._rng.randrange(at_most)):
            self._traffic.step()

    def _some_relay(self) -> Program:
        return self._rng.choice(self._relays)

    def _kill_relay(self) -> None:
        killed = self._some_relay()
        killed.process.kill()
        self._play(80)
        killed.__exit__(None, None, None)
        self._relays[self._relays.index(killed)] = relay(self.pbx, self._server, generation=self._generation)

    def _stop_relay(self) -> None:
        stopped = self._some_relay()
        stopped.process.send_signal(signal.SIGSTOP)
        for _ in range(self._rng.randrange(40)):
            self._play(6)
            time.sleep(0.1)
        stopped.process.send_signal(signal.SIGCONT)

    def _kill_redis(self) -> None:
        if self._rng.random() < 0.5:
            self._server.client().save()
        self._play(60)
        self._server.kill()
        self._play(60)
        time.sleep(self._rng.uniform(0, 2))
        self._server.start()

    def _empty_redis(self) -> None:
        self._server.client().flushall()

    def _cut_redis_off(self) -> None:
        self._server.send(signal.SIGSTOP)
        time.sleep(self._rng.uniform(0, 4))
        self._play(60)
        self._server.send(signal.SIGCONT)

    def _drop_pbx(self) -> None:
        self.pbx.drop()

    def trouble(self) -> None:
        """One fault, some calls, and sometimes a look at what is known."""
        faults: list[Callable[[], None]] = [
            self._kill_relay,
            self._stop_relay,
            self._kill_redis,
            self._empty_redis,
            self._cut_redis_off,
            self._drop_pbx,
        ]
        fault = self._rng.choice(faults)
        self.faults[fault.__name__.strip("_").replace("_", " ")] += 1
        fault()
        self._play(100)
        if self._rng.random() < 0.5:
            self.compare()
        else:
            time.sleep(self._rng.uniform(0, 2))

    def compare(self) -> None:
        """Every client has what the PBX has, and was told the right ends.

        Raises:
            AssertionError: one has not, or was not.
        """
        for client in self.clients:
            client.catch_up(_SETTLED)
        # The first generation tells who is parked and whose voicemail changed but once: a gap may have hidden it.
        elements = ("channel",) if self._generation == 1 else ELEMENTS
        with RecordedClient(self.pbx, generation=self._generation, app_name="truth") as truth:
            assert_right(self.pbx, *self.clients, truth=truth, elements=elements)

    def finish(self) -> None:
        """Compare once more, with calls and without any.

        Raises:
            AssertionError: something is wrong.
        """
        self.compare()
        self.pbx.hang_up_all()
        self.compare()
        for client in self.clients:
            assert not client.state.channels
            wrong = [error for error in client.recorder.of("on_error") if not isinstance(error, ConnectError)]
            assert not wrong, wrong
        lines = [line for each in self._relays for line in each.lines]
        assert not any("Traceback" in line for line in lines), lines


def main() -> int:
    """Run as told on the command line; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m soak.relay", description="A relay under faults.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--seed", type=int, default=0, help="of faults and calls (0)")
    parser.add_argument("--generation", type=int, choices=(1, 2), default=2, help="of the wire protocol (2)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # a lost connection is no news here
    with ExitStack() as stack:
        soak = Soak(stack, options.seed, options.generation)
        end = time.monotonic() + options.seconds
        try:
            while time.monotonic() < end:
                soak.trouble()
            soak.finish()
        except AssertionError as error:
            print("WRONG:", error)
            return 1
        told = {
            call[1][0].uuid for client in soak.clients for call in client.recorder.calls if call[0] == "on_chan_info"
        }
        print("faults   ", ", ".join(f"{count} x {name}" for name, count in sorted(soak.faults.items())))
        print("gaps     ", ", ".join(str(client.losses()) for client in soak.clients))
        print("channels ", len(told))
    print("all equal, one end for each channel")
    return 0


if __name__ == "__main__":
    sys.exit(main())
