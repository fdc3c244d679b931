"""From events to signals and to the site's own handler, with database connections that work."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DEFAULT_DB_ALIAS, close_old_connections, connections

from ...base_client import Client
from ...client import CTIClient
from ...events import Disconnected, Event
from ...handler import CTIHandler
from ..bridge import Bridge
from .signals import ARGUMENTS, SIGNALS

__all__ = ["SignalBridge", "database_connections"]

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds


class SignalBridge(Bridge):
    """Tells the site's handler, and then sends the signal.

    Args:
        handler: what ``BASIX_CTI["HANDLER"]`` names; None for none.

    Attributes:
        client: what receivers get as ``client``.
    """

    def __init__(self, handler: CTIHandler | None) -> None:
        self.client: Client | None = None
        self._handler = handler

    def tell(self, hook: str, args: tuple[Any, ...]) -> Iterator[BaseException]:
        error = self._tell_handler(hook, args)
        if error is not None:
            yield error
        arguments = dict(zip(ARGUMENTS[hook], args, strict=True))
        for _, answer in SIGNALS[hook].send_robust(sender=CTIClient, client=self.client, **arguments):
            if isinstance(answer, Exception):
                yield answer

    def _tell_handler(self, hook: str, args: tuple[Any, ...]) -> BaseException | None:
        """Call the site's handler; what it raised."""
        if self._handler is None:
            return None
        try:
            getattr(self._handler, hook)(*args)
        except BaseException as error:
            name, told = type(self._handler).__qualname__, type(error).__name__
            logger.exception("%s.%s raised %s; the next event still comes", name, hook, told)
            return error
        return None


@contextmanager
def database_connections(event: Event, *, patience: float = 0.0) -> Iterator[None]:
    """Around an event: as Django does around a request, give up connections that are broken or too old.

    The dispatcher thread has connections of its own, which would otherwise stay broken when the database starts anew.
    When the connection to the PBX ends, so do they: no event may follow, and the thread may end.

    Args:
        event: what is told inside.
        patience: wait at most so many seconds for the default database before the event is told; 0 does not ask it.
    """
    _close_old_connections()
    if patience:
        _wait_for_database(patience)
    try:
        yield
    finally:
        if isinstance(event, Disconnected):
            for connection in connections.all(initialized_only=True):
                if not connection.in_atomic_block:  # of a test that is told events in its own thread
                    connection.close()
        _close_old_connections()


def _close_old_connections() -> None:
    try:
        close_old_connections()
    except Exception:
        logger.exception("a database connection could not be closed; the event is told all the same")


def _wait_for_database(patience: float) -> None:
    """Wait until the default database answers, or not any longer."""
    why_not = _why_database_does_not_answer()
    if why_not is None:
        return
    logger.warning("the database does not answer (%s): events wait for it, each %g s at most", why_not, patience)
    end, pause, never = time.monotonic() + patience, _FIRST_PAUSE, threading.Event()
    while (left := end - time.monotonic()) > 0:
        never.wait(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)
        if _why_database_does_not_answer() is None:
            logger.warning("the database answers again")
            return
    logger.error("the database has not answered for %g s; the event is told all the same", patience)


def _why_database_does_not_answer() -> str | None:
    """In one line; None if it does. Backends differ in what they raise."""
    connection = connections[DEFAULT_DB_ALIAS]
    try:
        connection.ensure_connection()
        if not connection.is_usable():  # of old; the database itself may be up again
            connection.close()
            connection.ensure_connection()
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return None
