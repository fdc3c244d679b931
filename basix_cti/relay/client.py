"""``RelayClient``: a client of a relay, with the interface of ``CTIClient``."""

from __future__ import annotations

from typing import Any

from ..base_client import Client
from ..base_thread import ClientThread, Timing
from ..handler import CTIHandler
from ..sink import Sink
from ..tap import Tap
from .follower import RelayThread
from .keys import Keys
from .link import Address

__all__ = ["RelayClient"]


class RelayClient(Client):
    """Tells a handler what happens at a PBX, as :class:`~basix_cti.CTIClient` does, by way of a relay.

    ::

        client = RelayClient("redis://localhost:6379/0", Screen())
        with client:
            client.wait_connected(10)
            ...

    Any number of processes on any number of machines can have one: the PBX sees the relay's one connection. Handler,
    ``state``, ``calls``, commands and errors are those of a ``CTIClient``; see :doc:`relay` for what is different.

    Args:
        redis_url: where Redis is: ``redis://host:6379/0``, ``rediss://…`` for TLS, or ``unix:///path``; with
            ``user:password@`` before the host where it wants a login. Options of redis-py may follow as a query, such
            as ``?ssl_ca_certs=/path``.
        handler: whose hooks are called.
        name: the relay's, as it was given to ``basix-cti relay --name``.
        redis_timeout: seconds for connecting to Redis, and for each of its answers.
        command_timeout: how long the effect of a command is looked for.
        reconnect_min, reconnect_max: the delay before a new attempt is random, up to a bound that doubles with each
            failure, within these two.
        max_queued_events, max_queued_bytes: how much may wait for slow hooks; what exceeds it is dropped, told to
            ``on_overflow``, and made good by synthetic events.

    Raises:
        ValueError: a parameter is out of range, or ``redis_url`` is no URL of Redis.
        TypeError: ``handler`` is no CTIHandler, or is a :class:`~basix_cti.Tap`, which would see nothing here.
    """

    def __init__(
        self,
        redis_url: str,
        handler: CTIHandler,
        *,
        name: str = "default",
        redis_timeout: float = 5.0,
        command_timeout: float = 60.0,
        reconnect_min: float = 0.1,
        reconnect_max: float = 1.0,
        max_queued_events: int = 10_000,
        max_queued_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self._address = Address(redis_url, redis_timeout)
        self._keys = Keys(name)
        super().__init__(
            handler,
            self._address.shown,
            f"basix-cti-relay-{name}",
            max_queued_events=max_queued_events,
            max_queued_bytes=max_queued_bytes,
        )
        if isinstance(handler, Tap):
            raise TypeError("a RelayClient sees no messages as they are on the wire; give the tap to a CTIClient")
        self._relay_name = name
        self._timing = Timing(
            connect_timeout=redis_timeout,
            command_timeout=command_timeout,
            reconnect_min=reconnect_min,
            reconnect_max=reconnect_max,
        )

    def _new_thread(self, sink: Sink, former: ClientThread[Any] | None) -> ClientThread[Any]:
        return RelayThread(
            self._address,
            self._keys,
            self._timing,
            sink,
            self._next_session,
            self._notify,
            former,
            counters=self._counters,
            name=self._name,
        )

    def _title(self) -> str:
        return f"{self._where} name={self._relay_name!r}"
