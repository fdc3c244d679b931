"""What a fork must not take along: descriptors of a live connection, and the belief that its threads still run.

``fork`` copies all descriptors of a process, but of its threads only the one that calls it. So a child process holds a
connection that nobody in it reads, and that stays open when the parent closes its own copy. Here the child gives its
copies back at once, by closing the descriptors and nothing else: no byte goes out, neither a close frame nor the end
of TLS, and the parent goes on as if nothing had happened. Whoever is used in the child notices by :func:`check`.

Nothing is registered before the first descriptor is opened.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable
from typing import Protocol, TypeVar

from .errors import ForkedError

__all__ = ["check", "current_process", "has_left", "opened"]


class _Closeable(Protocol):
    def close(self) -> None: ...


_C = TypeVar("_C", bound=_Closeable)


class _Inherited:
    """All that is open now. Its lock is held while something is opened, and during a fork."""

    def __init__(self) -> None:
        # Reentrant, because a signal handler may fork in the midst of anything.
        self.lock = threading.RLock()
        self.things: weakref.WeakSet[_Closeable] = weakref.WeakSet()
        self.pid = 0

    def watch(self) -> None:
        """Have forks noticed from now on, as the process that opens."""
        if not self.pid and hasattr(os, "register_at_fork"):  # Windows has no fork
            os.register_at_fork(
                before=lambda: _inherited.lock.acquire(),
                after_in_parent=lambda: _inherited.lock.release(),
                after_in_child=_drop,
            )
        self.pid = os.getpid()


_inherited = _Inherited()


def opened(make: Callable[[], _C]) -> _C:
    """What ``make`` opens; in a forked child its ``close`` is called.

    Args:
        make: opens something that holds a descriptor, without waiting: a fork in another thread waits for its end.
    """
    if has_left(_inherited.pid):
        _drop()
    with _inherited.lock:
        _inherited.watch()
        thing = make()
        _inherited.things.add(thing)
        return thing


def _drop() -> None:
    """In the child: close the copies of all that was open in the parent."""
    things = _inherited.things
    # A new lock: some servers that fork in C call only what comes after a fork, so the old one is held, or not.
    _inherited.lock = threading.RLock()
    _inherited.things = weakref.WeakSet()
    _inherited.pid = os.getpid()
    for thing in list(things):
        with contextlib.suppress(OSError, ValueError):
            thing.close()


def current_process() -> int:
    """What :func:`check` and :func:`has_left` are to be given later."""
    return os.getpid()


def has_left(pid: int) -> bool:
    """True in a process that is a fork of the one with this ``pid``; 0 stands for none."""
    return pid != 0 and pid != os.getpid()


def check(pid: int, what: str) -> None:
    """Refuse to go on in a fork.

    Args:
        pid: of the process whose threads do the work; 0 for none.
        what: what belongs to it, for the error.

    Raises:
        ForkedError: this process is a fork of that one.
    """
    if not has_left(pid):
        return
    if has_left(_inherited.pid):  # forked in C, by a server that does not tell Python
        _drop()
    raise ForkedError(
        f"{what} belongs to process {pid}, and process {os.getpid()} is a fork of it, without its threads and its "
        "connection; make and start a client of its own here, after the fork"
    )
