"""The other process: a simulated PBX, busy at a fixed rate, behind a proxy that does faults.

It obeys one order at a time, and answers each: ``load``, ``count``, ``faults``, ``calm``, ``marker TEXT``, ``truth``,
``hangup``.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from basix_cti.simulator import Simulator, Traffic
from basix_cti.state import Picture

from .proxy import Proxy

__all__ = ["Address", "serve"]

MARKED = "user1"
COMPARED = ("channel", "user", "group", "group_member", "terminal")
_NAP = 0.01
_CALLS_PER_MINUTE = 240.0
_HUNG = 5.0


@dataclass(frozen=True)
class Address:
    """Where the PBX is: through the proxy and without it, and the login."""

    proxied: str
    direct: str
    domain: str
    token: str


class _Load:
    """Traffic of so many messages a second, whatever its own schedule says."""

    def __init__(self, sim: Simulator, rate: float, seed: int) -> None:
        self._traffic = Traffic(sim, seed=seed, calls_per_minute=_CALLS_PER_MINUTE)
        self._rate = rate
        self.count = 0
        sim._pbx.listen(self._count)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")

    def _count(self, change: object) -> None:
        self.count += 1

    def _run(self) -> None:
        began, base = time.monotonic(), self.count
        while not self._end.wait(_NAP):
            due = base + (time.monotonic() - began) * self._rate
            while self.count < due and not self._end.is_set():
                self._traffic.step()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join()


def comparable(pbx: Simulator | Picture, element: str) -> dict[Any, tuple[Any, ...]]:
    """What a PBX has, or a client says it has, of one element, as far as both have the same names and types for it."""
    if element == "channel":
        channels = pbx.channels.values() if isinstance(pbx, Picture) else pbx.channels
        return {
            one.uuid: (
                *(one.direction, one.peer_location, one.calling_number, one.called_number),
                *(one.offer_timestamp, one.answer_timestamp, one.other_uuid, one.user_id, one.last_event),
                None if one.state is None else one.state.name,
            )
            for one in channels
        }
    if element == "user":
        users = pbx.users.values() if isinstance(pbx, Picture) else pbx.users
        return {one.id: (one.name, one.label, one.main_extension) for one in users}
    if element == "group":
        groups = pbx.groups.values() if isinstance(pbx, Picture) else pbx.groups
        return {one.id: (one.name, one.label, one.main_extension) for one in groups}
    if element == "group_member":
        members = pbx.group_members.values() if isinstance(pbx, Picture) else pbx.members
        return {one.id: (one.user_id, one.group_id, one.login_status) for one in members}
    terminals = pbx.terminals.values() if isinstance(pbx, Picture) else pbx.terminals
    return {one.id: (one.name, one.assoc_user_id, bool(one.registered)) for one in terminals}


def serve(orders: Connection, rate: float, seed: int, mean: float, patience: float) -> None:
    """Run until the other side is gone.

    Args:
        orders: where words come from, and answers go to; the first thing sent is an :class:`Address`.
        rate: messages a second.
        seed: of the traffic and the faults.
        mean, patience: as for :meth:`Proxy.trouble`.
    """
    with Simulator(seed=seed, users=30) as sim:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="proxy")
        thread.start()
        proxy = Proxy(sim.port, seed)

        def within(coroutine: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(coroutine, loop).result(_HUNG)

        within(proxy.start())
        orders.send(Address(f"ws://127.0.0.1:{proxy.port}", sim.url, sim.domain, sim.token))
        load = _Load(sim, rate, seed)
        trouble = None
        try:
            while True:
                answer: Any = None
                word, _, rest = orders.recv().partition(" ")
                if word == "load":
                    load.start()
                elif word == "faults":
                    trouble = asyncio.run_coroutine_threadsafe(proxy.trouble(mean, patience), loop)
                elif word == "calm":
                    load.stop()
                    if trouble is not None:
                        trouble.cancel()
                    answer = load.count, dict(proxy.faults)
                elif word == "hangup":
                    answer = sim.hang_up_all()
                elif word == "marker":
                    sim.update_user(MARKED, label=rest)
                elif word == "truth":
                    answer = {element: comparable(sim, element) for element in COMPARED}
                elif word == "count":
                    answer = load.count
                orders.send(answer)
        except (EOFError, OSError):
            pass  # nobody gives orders any more
        finally:
            load.stop()
            if trouble is not None:
                trouble.cancel()
            within(proxy.stop())
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
