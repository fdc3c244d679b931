"""One client for a process: shared by all who ask for it, and gone with a fork."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from ..base_client import Client
from ..errors import CTIError, NotConnected
from ..forks import current_process

__all__ = ["OneClient"]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Own:
    """What one process has. The lock is held while its client is made and started."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    client: Client | None = None
    why_none: str | None = None


class OneClient:
    """Makes a client when it is first needed in a process, and gives the same one to all who ask there.

    A fork begins without one: it makes its own, where one is started there. So a server that forks after it has loaded
    the site is no trouble. All methods may be called from any thread.

    Args:
        make: makes the client; called with True if :meth:`run_forever` runs it, False if it is started beside other
            work, and with the options that :meth:`run_forever` was given.
        advice: for the error where no client runs: how to have one.
    """

    def __init__(self, make: Callable[..., Client], advice: str) -> None:
        self._make = make
        self._advice = advice
        # By process, and not reset in a fork: that would need a lock, which another thread might hold at that moment.
        self._owns: dict[int, _Own] = {}

    def start(self) -> Client:
        """Start this process's client in the background, if it does not run; it is stopped when the process ends.

        Raises:
            ConfigError: a setting is missing or wrong.
        """
        own = self._own()
        with own.lock:
            client = self._take(own, False)
            client.start()
            return client

    def try_start(self) -> None:
        """As :meth:`start`, once: not again after :meth:`stop`, nor after a failure, which is logged."""
        own = self._own()
        if own.client is not None or own.why_none is not None:
            return
        with own.lock:
            if own.client is not None or own.why_none is not None:
                return
            try:
                self.start()
            except (CTIError, OSError) as error:
                own.why_none = str(error)
                logger.error("no client was started in this process: %s", error)

    def run_forever(
        self, beside: Callable[[Client], AbstractContextManager[object]] | None = None, **options: Any
    ) -> None:
        """Run this process's client until it is stopped, as :meth:`~basix_cti.CTIClient.run_forever`; in any thread.

        Args:
            beside: gives what is to be entered as long as it runs; None for nothing.
            options: parameters of :class:`~basix_cti.CTIClient`, unless the site gives them.

        Raises:
            ConfigError: a setting is missing or wrong.
            ConnectionReplaced: another client took this one's place.
            AuthError: the login was refused; only with ``stop_on_auth_error``.
        """
        own = self._own()
        with own.lock:
            client = self._take(own, True, **options)
        try:
            with nullcontext() if beside is None else beside(client):
                client.run_forever()
        finally:
            self.stop()

    def get(self) -> Client:
        """The client that runs in this process.

        Raises:
            NotConnected: none was started in this process, or it was stopped.
        """
        own = self._own()
        client = own.client
        if client is None:
            raise NotConnected(f"no client runs in this process: {own.why_none or self._advice}")
        return client

    def stop(self) -> None:
        """Stop this process's client, if there is one."""
        own = self._own()
        with own.lock:
            client, own.client = own.client, None
            if client is not None:
                own.why_none = "it was stopped"
        if client is not None:
            client.stop()

    def _own(self) -> _Own:
        return self._owns.setdefault(current_process(), _Own())

    def _take(self, own: _Own, alone: bool, **options: Any) -> Client:
        if own.client is None:
            own.client = self._make(alone, **options)
            atexit.unregister(self.stop)
            atexit.register(self.stop)
        return own.client
