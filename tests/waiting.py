"""Waiting for what nobody tells; what a program prints, or a handler is told, has better ways."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

TIMEOUT = 30.0


def eventually(reached: Callable[[], object], what: str, timeout: float = TIMEOUT) -> None:
    """Wait until it is so.

    Args:
        reached: looked at again and again, at most a hundred times a second.
        what: it, in the failure's message.
        timeout: seconds.

    Raises:
        AssertionError: it did not become so.
    """
    end, tick = time.monotonic() + timeout, threading.Event()
    while not reached():
        assert time.monotonic() < end, f"{what} did not come within {timeout:g} s"
        tick.wait(0.01)


def soon(bound: float, measure: Callable[[], float]) -> None:
    """``measure`` gives at most ``bound`` seconds. The best of three counts: a machine is busy once, a bug stays."""
    taken = []
    for _ in range(3):
        taken.append(measure())
        if taken[-1] <= bound:
            return
    raise AssertionError(f"took {taken} s, the bound is {bound}")
