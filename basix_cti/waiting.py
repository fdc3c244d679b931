"""Waiting that another thread can end: for a socket, for a call that may hang, and no longer than a deadline.

The I/O thread of every client waits in this way, those of the relay too. Nothing here knows what goes over the socket.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from .errors import ConnectTimeout

__all__ = ["Aside", "Deadline", "Interrupted", "Waker", "await_socket", "wait_for"]

_T = TypeVar("_T")

_LONGEST_WAIT = 3600.0


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


class Interrupted(Exception):
    """stop() was called while a connection was being made."""


class Waker:
    """Wakes the I/O thread from a wait, from any thread."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self.stopping = False

    def fileno(self) -> int:
        """What to wait on for reading."""
        return self._reader.fileno()

    def wake(self) -> None:
        """End the present wait, or the next one."""
        with contextlib.suppress(OSError):  # full (it will wake anyhow), or closed (nobody waits)
            self._writer.send(b"\0")

    def stop(self) -> None:
        """Wake, and let every wait from now on end at once."""
        self.stopping = True
        self.wake()

    def wait(self, timeout: float) -> None:
        """Wait for :meth:`wake`, at most ``timeout`` seconds."""
        if not self.stopping:
            wait_for(self, None, False, timeout)
        self.drain()

    def drain(self) -> None:
        """Forget the calls of :meth:`wake` so far."""
        with contextlib.suppress(OSError):
            while self._reader.recv(4096):
                pass

    def close(self) -> None:
        """Give the sockets back."""
        self._reader.close()
        self._writer.close()


# Unlike select(), poll() takes descriptors beyond 1,023, which a busy server has.
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)


def wait_for(waker: Waker, sock: _HasFileno | None, write: bool, timeout: float) -> bool:
    """Wait until the waker is woken or the socket is ready; ``timeout`` in seconds.

    Args:
        waker: always waited for.
        sock: what to read from or, with ``write``, to write to as well; None for nothing.
        write: wait for writing, too.
        timeout: at most so long, and never longer than an hour; 0 or less only looks.

    Returns:
        True if the socket is ready.
    """
    with _Selector() as selector:
        selector.register(waker, selectors.EVENT_READ)
        if sock is not None:
            selector.register(sock, selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0))
        ready = selector.select(min(max(0.0, timeout), _LONGEST_WAIT))
        return any(key.fileobj is sock for key, _ in ready)


class Deadline:
    """One bound for a step of many parts; ``timeout`` seconds from now."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._end = time.monotonic() + timeout

    def left(self) -> float:
        """How many seconds are left; negative when it has passed."""
        return self._end - time.monotonic()

    def share(self, parts: int) -> Deadline:
        return Deadline(max(0.0, self.left()) / max(1, parts))

    def missed(self, what: str) -> ConnectTimeout:
        """The error to raise when it has passed; ``what`` is what did not happen in time."""
        return ConnectTimeout(f"no connection within the {self.timeout:g} s of connect_timeout: {what}")


def _check(waker: Waker, deadline: Deadline, what: str) -> None:
    if waker.stopping:
        raise Interrupted
    if deadline.left() <= 0:
        raise deadline.missed(what)


def await_socket(sock: socket.socket, waker: Waker, deadline: Deadline, what: str, *, write: bool) -> None:
    """Wait until the socket can be read, or with ``write`` also until it can be written.

    Raises:
        ConnectTimeout: the deadline passed; the error says ``what`` did not happen.
        Interrupted: the waker's stop was called.
    """
    while True:
        _check(waker, deadline, what)
        if wait_for(waker, sock, write, deadline.left()):
            return
        waker.drain()


class _Call(Generic[_T]):
    def __init__(self, function: Callable[[], _T]) -> None:
        self.function = function
        self.done = threading.Event()
        self.result: list[_T] = []
        self.error: BaseException | None = None

    def run(self, wake: Callable[[], None]) -> None:
        try:
            self.result.append(self.function())
        except BaseException as error:
            self.error = error
        finally:
            self.done.set()
            wake()


class Aside:
    """Runs calls that may block without end (name look-up, a ticket's fetch), each in a short-lived thread.

    A call that is given up goes on in its thread, and the next one starts only after it has ended: a resolver that
    hangs costs one thread, not one an attempt.

    Args:
        name: of the threads.
        what: the call, in an error.
    """

    def __init__(self, name: str, what: str) -> None:
        self._name = name
        self._what = what
        self._last: _Call[Any] | None = None

    def call(self, function: Callable[[], _T], waker: Waker, deadline: Deadline) -> _T:
        """The result of ``function``; what it raises is raised.

        Raises:
            ConnectTimeout: the deadline passed.
            Interrupted: the waker's stop was called.
        """
        if self._last is not None:
            self._wait(self._last, waker, deadline)
        call = _Call(function)
        self._last = call
        threading.Thread(target=call.run, args=(waker.wake,), name=self._name, daemon=True).start()
        self._wait(call, waker, deadline)
        self._last = None
        if call.error is not None:
            raise call.error
        return call.result[0]

    def _wait(self, call: _Call[Any], waker: Waker, deadline: Deadline) -> None:
        while not call.done.is_set():
            _check(waker, deadline, f"{self._what} took too long")
            waker.wait(deadline.left())
