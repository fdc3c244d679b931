"""What a command that runs a client in the foreground needs: signals, a log that is seen, and what ends it for good."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ..errors import AuthError, ConfigError, ConnectionReplaced

__all__ = ["IN_VAIN", "STATUS_IN_VAIN", "interruptible", "log_to_stderr"]

IN_VAIN = (ConfigError, AuthError, ConnectionReplaced)
"""After these it is in vain to start again: something has to be changed first."""

STATUS_IN_VAIN = 2
"""The exit status for it, which a supervisor can be told not to start again after."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM end the block early, as what was asked for: nothing is raised. For the main thread.

    A second one does not disturb the end of the block, which takes two seconds at most for a client.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in former:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    former: dict[signal.Signals, Any] = {}
    for each in (signal.SIGINT, signal.SIGTERM):
        former[each] = signal.getsignal(each)
    try:
        for each in former:
            signal.signal(each, interrupt)
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for each, handler in former.items():
            signal.signal(each, signal.SIG_DFL if handler is None else handler)


def log_to_stderr(verbosity: int) -> None:
    """Show what the library logs, unless the site's LOGGING says where that goes.

    Args:
        verbosity: 0 for warnings and errors alone, 2 and more for all.
    """
    log = logging.getLogger("basix_cti")
    if logging.getLogger().handlers or any(not isinstance(each, logging.NullHandler) for each in log.handlers):
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    handler.addFilter(lambda record: not _is_told_at_the_end(record))
    log.addHandler(handler)
    log.setLevel((logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 2)])


def _is_told_at_the_end(record: logging.LogRecord) -> bool:
    return isinstance(record.args, tuple) and any(isinstance(each, AuthError) for each in record.args)
