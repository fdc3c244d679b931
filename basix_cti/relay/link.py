"""One connection to Redis, made for two things: no command is ever sent twice, and every wait can be interrupted."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import time
from collections.abc import Sequence
from typing import Any, TypeAlias
from urllib.parse import urlsplit

try:
    from redis import ConnectionPool
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
    from redis.retry import Retry
except ImportError:
    raise ImportError("the relay needs redis-py: pip install basix-cti[redis]") from None

from ..errors import ConnectError
from ..forks import opened
from ..waiting import Aside, Deadline, Interrupted, Waker, wait_for

__all__ = ["Address", "RedisLink"]

Word: TypeAlias = "str | bytes | int | float"


class Address:
    """Where a Redis is.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``, as redis-py takes it; a login may stand in it.
        timeout: seconds for connecting, and for each answer.

    Attributes:
        shown: the URL without a login and without options, for people to read.
        timeout: as above.

    Raises:
        ValueError: it is no such URL. The message does not hold it, because a password may stand in it.
    """

    def __init__(self, url: str, timeout: float) -> None:
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < float("inf"):
            raise ValueError(f"redis_timeout must be a positive number of seconds, not {timeout!r}")
        self.timeout = float(timeout)
        options = {
            "protocol": 2,  # no messages but answers
            "decode_responses": False,
            "socket_timeout": self.timeout,
            "socket_connect_timeout": self.timeout,
            "retry": Retry(NoBackoff(), 0),  # a command that may have been done is not sent again
            "retry_on_error": [],
            "health_check_interval": 0,
        }
        try:
            parts = urlsplit(url)
            port = parts.port
            self._pool = ConnectionPool.from_url(url, **options)
            self._pool.connection_kwargs.update(options)  # whatever the URL says of them
            self.connection()
        except (ValueError, TypeError, AttributeError, RedisError):
            raise ValueError(
                "the Redis URL is none: it must be redis://host:port/0, rediss://… or unix://…, with special "
                "characters of a password percent-encoded, and options that redis-py knows"
            ) from None
        host = parts.hostname or ("" if parts.scheme == "unix" else "localhost")
        host = f"[{host}]" if ":" in host else host
        self.shown = f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"

    def connection(self) -> Any:
        """A connection of redis-py, not yet open. The pool knows how to make one, but would count them to a maximum."""
        return self._pool.connection_class(**self._pool.connection_kwargs)

    def __repr__(self) -> str:
        return f"<Address {self.shown}>"


class RedisLink:
    """One connection to Redis. After the first failure it is closed, and never opens again.

    Used from one thread; :meth:`close` is called in forked children, too.

    Args:
        address: where to.
        waker: ends every wait when it stops.
        name: of the thread that opens the connection.

    Attributes:
        last_received: when the last answer came, by the monotonic clock in seconds.
        due: when the answer to :meth:`ask` has to be there at the latest, likewise.
        closed: True once it is.
    """

    def __init__(self, address: Address, waker: Waker, name: str) -> None:
        self._address = address
        self._waker = waker
        self._aside = Aside(f"{name}-redis", f"connecting to {address.shown}")
        self._connection: Any = None
        self._waiting = False
        self._scripts: set[str] = set()
        self.last_received = self.due = time.monotonic()
        self.closed = False
        opened(lambda: self)

    def open(self) -> None:
        """Connect.

        Raises:
            ConnectError: that failed.
            Interrupted: the waker stopped.
        """
        connection = self._address.connection()
        deadline = Deadline(self._address.timeout)
        try:
            self._aside.call(connection.connect, self._waker, deadline)
        except (RedisError, OSError) as error:
            self.close()
            raise self._failed(error) from None
        self._connection = connection
        self.last_received = time.monotonic()

    @property
    def peer(self) -> str:
        """Where it leads, for people to read."""
        return self._address.shown

    @property
    def is_open(self) -> bool:
        """True between :meth:`open` and :meth:`close`."""
        return self._connection is not None

    def fileno(self) -> int:
        """The socket's descriptor, to wait on for an answer."""
        return self._socket().fileno()

    def _socket(self) -> socket.socket:
        sock = None if self.closed or self._connection is None else self._connection._sock
        if sock is None:
            raise self._failed("the connection is closed")
        found: socket.socket = sock
        return found

    def ask(self, *words: Word, block: float) -> None:
        """Send a command that may block for so many seconds; :meth:`answer` is for when the socket is ready."""
        self._send(words)
        self._waiting = True
        self.due = time.monotonic() + block + self._address.timeout

    @property
    def waiting(self) -> bool:
        """True after :meth:`ask`, until :meth:`answer`."""
        return self._waiting

    def answer(self) -> Any:
        """The answer to :meth:`ask`; waits for it, up to the time-out."""
        self._waiting = False
        return self._receive()

    def call(self, *words: Word) -> Any:
        """A command's answer.

        Raises:
            ConnectError: there was none, or it was an error; whether the command was done is then not known.
            Interrupted: the waker stopped meanwhile.
        """
        self._send(words)
        return self._receive()

    def run(self, script: str, keys: Sequence[str], words: Sequence[Word]) -> Any:
        """What a script gives; as :meth:`call`."""
        sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        if sha not in self._scripts:
            self.call("SCRIPT", "LOAD", script)
            self._scripts.add(sha)
        return self.call("EVALSHA", sha, len(keys), *keys, *words)

    def _send(self, words: Sequence[Word]) -> None:
        self._socket()  # redis-py would connect by itself
        try:
            self._connection.send_command(*words)
        except (RedisError, OSError) as error:
            self.close()
            raise self._failed(error) from None

    def _receive(self) -> Any:
        sock = self._socket()
        try:
            deadline = Deadline(self._address.timeout)
            # Who was stopped, or waits for a processor, after a look must look once more before judging.
            while not wait_for(self._waker, sock, False, left := deadline.left()):
                if self._waker.stopping:
                    self.close()
                    raise Interrupted
                if left <= 0:
                    raise OSError(f"no answer within {self._address.timeout:g} s")
                self._waker.drain()
            answer = self._connection.read_response()
        except (RedisError, OSError) as error:
            self.close()
            raise self._failed(error) from None
        self.last_received = time.monotonic()
        return answer

    def _failed(self, error: object) -> ConnectError:
        """In one line; redis-py's own words hold no login."""
        return ConnectError(f"Redis at {self._address.shown}: {' '.join(str(error).split()) or type(error).__name__}")

    def close(self) -> None:
        """Close it. In a forked child redis-py closes only the descriptor, and nothing goes out."""
        self.closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(RedisError, OSError, ValueError):
                connection.disconnect()
