"""``Relay``: holds the one connection to the PBX, or waits to take over from the one that does."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from ..auth import Ticket
from ..calls import Call
from ..client import CTIClient
from ..errors import AuthError, CommandError, ConnectError, CTIError, NotConnected
from ..forks import opened
from ..handler import CTIHandler
from ..health import Probes
from ..sink import Sink, Snapshot
from ..state import Picture
from ..telling import Telling
from ..waiting import Waker, wait_for
from .codec import load_key
from .keys import ACQUIRE, FENCED, Keys
from .link import Address, RedisLink
from .probes import RelayProbes
from .publisher import Publisher, Write

__all__ = ["HeldClient", "Relay", "RelayError"]

logger = logging.getLogger(__name__)

_COMMANDS = ("hangup", "park", "transfer", "eavesdrop")
_EVENTS = 256
_BYTES = 1024 * 1024
_TURNS = 8
_MAX_WAITING = 256 * 1024 * 1024
_BLOCK = 1.0
_RETRY = 0.5
_KEPT = 24 * 3600  # seconds that data of a relay that is no longer there stay in Redis
_KEEP_EVERY = 60.0


class RelayError(CTIError):
    """A relay that cannot go on: what it is to serve does not fit to what another one of that name serves."""


class _Fenced(Exception):
    """The lease is no longer ours."""


class _Nobody(CTIHandler):
    """No hook of it is called."""


class HeldClient(CTIClient):
    """The holder's connection to the PBX: its events go to a publisher in place of hooks.

    Args: as :class:`~basix_cti.CTIClient`, but for the handler. ``max_queued_bytes`` is how much may wait for Redis;
        ``max_queued_events`` has no effect.
    """

    def __init__(self, server: str, **options: Any) -> None:
        options = {"reconnect_min": 0.5, "reconnect_max": 10.0, "max_queued_bytes": _MAX_WAITING, **options}
        if options.get("forced"):
            raise ValueError("a relay is never forced: it would take the place of its own twin")
        super().__init__(server, _Nobody(), track_calls=False, **options)
        self.publisher: Publisher | None = None

    def _new_sink(self, former: Sink | None) -> Sink:
        assert self.publisher is not None
        return self.publisher

    @property
    def state(self) -> Picture:
        """What has arrived, in the present tenure or the latest; safe to read from any thread."""
        return super().state if self.publisher is None else self.publisher.newest

    @property
    def tracks_calls(self) -> bool:
        """True: nobody is told of calls here, but they can be found when somebody asks."""
        return True

    @property
    def calls(self) -> list[Call]:
        """The calls that have not ended, oldest first, as the picture shows them; found anew each time."""
        if self.publisher is None:
            return []
        found = Telling(track_calls=True)
        assert found.calls is not None
        newest = self.publisher.copy()
        for _ in found.of(Snapshot(newest, set(newest.elements()), received_at=time.time(), joining=True)):
            pass
        return found.calls.calls

    def identity(self) -> str:
        """What its events depend on, without the secrets, as a few characters."""
        query = [pair for pair in self._query if pair[0] not in ("api_token", "app_name")]
        login = "" if isinstance(self._auth, Ticket) else repr(self._auth)  # which does not show the token
        return hashlib.sha256(json.dumps([self._where, login, query]).encode()).hexdigest()[:16]

    @property
    def fatal(self) -> CTIError | None:
        """Why it ended by itself; None while it has not."""
        life = self._life
        return None if life is None else life.io.fatal


class Relay:
    """Holds the lease and publishes, or waits for it. It runs in the thread that calls :meth:`run`.

    Args:
        redis_url: where Redis is.
        client: the connection to the PBX.
        name: the relay's, the same for both twins and all workers.
        lease: seconds after which a holder that is not heard of is taken for gone.
        length: about how many messages the stream keeps.
        patience: after so many seconds without a connection to the PBX, the holder leaves it to a standby.
        redis_timeout: seconds for each answer of Redis.
        say: told in one line what happens.

    Attributes:
        client: as above.
        role: ``starting``, ``standby`` or ``holder``.
        epoch: of the present tenure, or the latest.

    Raises:
        ValueError: a parameter is out of range.
    """

    def __init__(
        self,
        redis_url: str,
        client: HeldClient,
        *,
        name: str = "default",
        lease: float = 5.0,
        length: int = 50_000,
        patience: float = 15.0,
        redis_timeout: float | None = None,
        say: Callable[[str], None] = logger.info,
    ) -> None:
        if not 0.5 <= lease <= 60:
            raise ValueError(f"lease must be from 0.5 to 60 seconds, not {lease!r}")
        if length < 1:
            raise ValueError(f"length must be positive, not {length!r}")
        # An answer that comes later than the lease ends is of no use.
        self._address = Address(redis_url, lease / 2 if redis_timeout is None else redis_timeout)
        self._keys = Keys(name)
        self.client = client
        self._name = name
        self._lease = lease
        self._length = length
        self._patience = patience
        self._say = say
        self._me = f"{client.identity()} {socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._waker = opened(Waker)
        self._stopping = False
        self._told = ""
        self._moved = time.monotonic()
        self.role = "starting"
        self.epoch = 0

    def not_ready(self) -> str | None:
        """Why clients cannot rely on this relay now; None if they can. May be called from any thread.

        They can if it holds the connection to the PBX and knows its channels, or sees another one hold it.
        """
        if self.role == "standby" or (self.role == "holder" and self.client.wait_ready(0)):
            return None
        if self.role == "starting":
            return self._told or "starting"
        error = self.client.last_error
        return "no connection to the PBX" + (f"; the last error: {error}" if error is not None else "")

    def trouble(self, patience: float) -> str | None:
        """What keeps it from its work, for ``patience`` seconds at least; None for nothing. From any thread."""
        late = time.monotonic() - self._moved
        if late > patience + self._address.timeout:
            return f"the relay has not moved for {late:.0f} s"
        return self.client.trouble(patience) if self.role == "holder" else None

    def probes(self, patience: float = 30.0) -> Probes:
        """What to answer to those who watch over it; see :doc:`metrics`."""
        return RelayProbes(self, patience)

    def stop(self) -> None:
        """Have :meth:`run` leave the lease to the other, and return. May be called from any thread, and by a signal."""
        self._stopping = True
        self._waker.wake()

    def run(self) -> None:
        """Hold or wait, until :meth:`stop`. Runs once.

        Raises:
            ConnectionReplaced: another client took the connection's place by force; the lease is given back.
            AuthError: the login was refused; only with ``stop_on_auth_error``.
            RelayError: another relay of this name serves another PBX or user.
        """
        try:
            while not self._stopping:
                redis = RedisLink(self._address, self._waker, f"basix-cti-relay-{self._name}")
                try:
                    redis.open()
                    self._serve(redis)
                except AuthError:  # of the PBX; Redis raises none
                    raise
                except ConnectError as error:
                    self._tell(f"waiting for Redis: {error}")
                    self._pause(_RETRY)
                except _Fenced:
                    self._tell("the lease went to the other, or Redis has lost it; publishing has ended")
                finally:
                    redis.close()
                    self.role = "starting"
        finally:
            self.client.stop()
            self._waker.close()

    def _serve(self, redis: RedisLink) -> None:
        found = self._wait_for_lease(redis)
        if found is None:
            return
        lease, ended = found
        tenure = _Tenure(self, redis, lease, [load_key(text) for text in ended])
        self.epoch = tenure.epoch
        self._tell(f"holder of {self._name} in {self._address.shown}, epoch {tenure.epoch}")
        try:
            gives_up = tenure.run()
        finally:
            self.role = "starting"
            tenure.end()
        if gives_up:
            self._tell("no connection to the PBX; the standby gets its turn")
            self._pause(2 * self._lease)

    def _wait_for_lease(self, redis: RedisLink) -> tuple[str, list[bytes]] | None:
        keys = self._keys
        names = [keys.lease, keys.standby, keys.epoch, keys.events, keys.session, keys.ended]
        while not self._stopping:
            start = max(time.time_ns() // 1000, self.epoch + 1)
            words: list[str | int] = [self._me, int(self._lease * 1000), start, keys.pictures, keys.commands("")]
            answer = redis.run(ACQUIRE, names, words)
            if answer[0]:
                return answer[1].decode(), answer[2]
            _, identity, holder = answer[1].decode().split(" ", 2)
            if identity != self._me.split(" ")[0]:
                raise RelayError(
                    f"the relay {self._name} in {self._address.shown} serves another PBX, or another user, at "
                    f"{holder.rpartition(':')[0]}; give this one another --relay-name"
                )
            self.role = "standby"
            self._tell(f"standby of {self._name} in {self._address.shown}; {holder.rpartition(':')[0]} holds it")
            self._pause(min(1.0, self._lease / 5))
        return None

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopping and (left := end - time.monotonic()) > 0:
            self._moved = end
            self._waker.wait(left)

    def _tell(self, what: str) -> None:
        if what != self._told:
            self._told = what
            self._say(what)


class _Tenure:
    """The time from getting the lease to losing it or giving it back, on one connection to Redis."""

    def __init__(self, relay: Relay, redis: RedisLink, lease: str, ended: list[Any]) -> None:
        self.epoch = int(lease.split(" ")[0])
        self._relay = relay
        self._redis = redis
        self._lease = lease
        self._keys = relay._keys
        self._milliseconds = str(int(relay._lease * 1000))
        self._commands = RedisLink(relay._address, relay._waker, "basix-cti-relay-commands")
        self._awaited = False
        self._renewed = time.monotonic()
        self._kept = float("-inf")
        self._up_at = time.monotonic()
        self._client = relay.client
        self._publisher = Publisher(
            self._keys,
            self.epoch,
            ended,
            length=relay._length,
            max_bytes=self._client._bounds[1],
            wake=relay._waker.wake,
            counters=self._client._counters,
        )

    def run(self) -> bool:
        """Publish and obey until the relay stops, or nothing can be done; True if the standby is to take over.

        Raises:
            ConnectError: Redis failed.
            CTIError: the connection has ended for good, mostly because another client took its place by force.
            _Fenced: the lease is no longer ours.
        """
        self._commands.open()
        self._client.publisher = self._publisher
        self._client.start()
        self._relay.role = "holder"
        while not self._relay._stopping:
            self._relay._moved = time.monotonic()
            self._publish()
            if self._client.fatal is not None:
                raise self._client.fatal
            if self._is_useless():
                return True
            self._listen()
        return False

    def end(self) -> None:
        """Let go of the PBX; tell that, and give the lease back, if it is ours still."""
        self._client.stop()
        with contextlib.suppress(ConnectError, _Fenced):
            if not self._redis.closed:
                while self._publisher.waiting:
                    self._publish()
                self._write([["DEL", self._keys.commands(self.epoch)], ["DEL", self._keys.lease]])
        self._commands.close()

    # Publishing

    def _publish(self) -> None:
        turns = _TURNS
        while turns and (writes := self._publisher.take(_EVENTS, _BYTES)):
            turns -= 1
            self._write(writes)
        if self._publisher.overflowed:
            raise ConnectError(f"Redis at {self._redis.peer} takes too little of what the PBX tells")
        if time.monotonic() - self._kept >= _KEEP_EVERY:
            self._kept = time.monotonic()
            keys = self._keys
            pictures = [keys.picture(element) for element in self._publisher.newest.elements()]
            self._write([], [keys.events, keys.session, keys.ended, keys.commands(self.epoch), *pictures])
        elif time.monotonic() - self._renewed >= min(1.0, self._relay._lease / 5):
            self._write([])

    def _write(self, writes: list[Write], keys: Sequence[str] = ()) -> None:
        """Have commands done together, if the lease is ours; their keys, and further ones, stay for a day from now.

        Raises:
            _Fenced: it is not.
        """
        names = dict.fromkeys([self._keys.lease, self._keys.standby, *keys])
        words: list[str | bytes | int] = [self._lease, self._milliseconds, _KEPT]
        for write in writes:
            names[str(write[1])] = None
            words.append(len(write))
            words += write
        answer = self._redis.run(FENCED, list(names), words)
        if not answer:
            raise _Fenced
        self._awaited = answer == 2
        self._renewed = time.monotonic()

    def _is_useless(self) -> bool:
        if self._client.connected:
            self._up_at = time.monotonic()
        return self._awaited and time.monotonic() - self._up_at >= self._relay._patience

    # Commands

    def _listen(self) -> None:
        """Wait for commands, and for anything to publish."""
        redis = self._commands
        if not redis.waiting:
            redis.ask("BLPOP", self._keys.commands(self.epoch), _BLOCK, block=_BLOCK)
        left = 0.0  # what waits may be more than one turn takes, and nothing may come behind it
        if not self._publisher.waiting:
            left = self._renewed + min(1.0, self._relay._lease / 5) - time.monotonic()
        late = time.monotonic() > redis.due  # judged by a look from then on: who was stopped has not looked
        if not wait_for(self._relay._waker, redis, False, left):
            self._relay._waker.drain()
            if late:
                raise ConnectError(f"Redis at {redis.peer}: no answer for too long")
            return
        answer = redis.answer()
        if answer is not None:
            self._obey(answer[1])

    def _obey(self, given: bytes) -> None:
        publisher = self._publisher
        try:
            order = json.loads(given)
            name, where = str(order["id"]), (order["epoch"], order["session"])
        except (ValueError, TypeError, KeyError):
            logger.warning("what is no command was given to the relay, and is left out")
            return
        if where[0] != self.epoch or not publisher.session:
            publisher.refused(name, "the relay has no connection to the PBX")
            return
        if where[1] != publisher.session:
            publisher.refused(name, "the relay's connection to the PBX is another one since")
            return
        # It is out of the list, and of no use in another epoch: so it is done once at most, whatever happens now. And
        # who does it holds the lease at this moment.
        publisher.taken(name)
        self._publish()
        self._write([])
        try:
            parameters = json.loads(order["text"])
            command = parameters.pop("cmd")
            if command not in _COMMANDS:
                raise CommandError(f"no such command: {command!r}")
            getattr(self._client, command)(**parameters)
        except (NotConnected, CommandError, ValueError, TypeError, KeyError, AttributeError) as error:
            publisher.refused(name, f"the relay could not send it ({error})")
