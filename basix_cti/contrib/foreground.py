"""A client in the foreground, as the commands of the frameworks run it: signals, a log that is seen, probes."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import Any

from ..base_client import Client
from ..errors import AuthError, ConfigError, ConnectionReplaced
from ..health import Probes, ProbeServer, listening_address
from .one_client import OneClient

__all__ = ["METRICS", "Ended", "run"]

logger = logging.getLogger(__name__)

METRICS = "answer to /metrics, /healthz and /readyz at this HOST:PORT, such as 127.0.0.1:9464"
"""The help text of the option."""

_FAILED, _IN_VAIN = 1, 2


class Ended(Exception):
    """It has ended otherwise than was asked for; the text is one line.

    Attributes:
        status: the exit status. 2 where it is in vain to start again before something was changed.
    """

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


def run(one: OneClient, *, verbosity: int, metrics: str | None) -> None:
    """Run a process's client until Ctrl-C, SIGTERM, or ``stop()``.

    Args:
        one: makes the client.
        verbosity: of what is logged to stderr: 0 for warnings and errors alone, 2 and more for all.
        metrics: where :mod:`basix_cti.health` listens, as ``HOST:PORT``; None for nowhere.

    Raises:
        Ended: a setting is wrong, the PBX refuses the login, another client took this one's place, or nothing can
            listen at ``metrics``.
    """
    _log_to_stderr(verbosity)

    def probes(client: Client) -> AbstractContextManager[object]:
        if metrics is None:
            return nullcontext()
        try:
            server = ProbeServer(Probes(client), *listening_address(metrics))
        except ValueError as error:
            raise Ended(f"--metrics: {error}", _IN_VAIN) from None
        except OSError as error:
            raise Ended(f"--metrics {metrics}: {error.strerror or error}", _FAILED) from None
        logger.info("metrics at %s/metrics", server.url)
        return server

    try:
        with _interruptible():
            one.run_forever(probes, stop_on_auth_error=True)
    except (ConfigError, AuthError, ConnectionReplaced) as error:
        raise Ended(str(error), _IN_VAIN) from None


@contextmanager
def _interruptible() -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM end the block early, as what was asked for: nothing is raised.

    A second one does not disturb the end of the block, which takes two seconds at most for a client.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in former:
            signal.signal(each, ignore)
        raise KeyboardInterrupt

    def ignore(number: int, frame: FrameType | None) -> None:
        """In place of SIG_IGN, of which Python complains when a signal has come already and waits for its handler."""

    former: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():  # signals are for no other
        former = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        for each in former:
            signal.signal(each, interrupt)
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for each, handler in former.items():
            signal.signal(each, signal.SIG_DFL if handler is None else handler)


def _log_to_stderr(verbosity: int) -> None:
    """Show what the library logs, unless the site says where that goes."""
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
