"""This process's client, made from ``settings.BASIX_CTI``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.utils.module_loading import import_string

from ...base_client import Client
from ...errors import ConfigError
from ...handler import CTIHandler
from ...tap import Tap
from ..bridge import InContext
from ..one_client import OneClient
from ..site_settings import SiteSettings
from .handler import SignalBridge, database_connections

__all__ = [
    "get_client",
    "handler_class",
    "one",
    "patience",
    "site_handler",
    "site_settings",
    "start",
    "stop",
]

_LONGEST_PATIENCE = 3600
_FORM = 'BASIX_CTI["{}"]'
_HANDLER = _FORM.format("HANDLER")


def site_settings() -> SiteSettings:
    """What ``settings.BASIX_CTI`` says.

    Raises:
        ConfigError: it is no dictionary.
    """
    given = getattr(settings, "BASIX_CTI", {})
    if not isinstance(given, Mapping):
        raise ConfigError(f"BASIX_CTI: must be a dictionary, not {type(given).__name__}")
    return SiteSettings(given, form=_FORM, app_name="basix-cti-django", more=["HANDLER", "WAIT_FOR_DATABASE"])


def handler_class() -> type[CTIHandler] | None:
    """The class that ``BASIX_CTI["HANDLER"]`` names; None where it names none.

    Raises:
        ConfigError: it cannot be imported, or is no handler.
    """
    path = getattr(settings, "BASIX_CTI", {}).get("HANDLER")
    if path is None:
        return None
    if not isinstance(path, str):
        raise ConfigError(f'{_HANDLER}: must be the dotted path of a class, such as "calls.handlers.CallLog"')
    try:
        cls = import_string(path)
    except Exception as error:
        told = error if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise ConfigError(f"{_HANDLER}: {path} cannot be imported: {told}") from None
    if not isinstance(cls, type) or not issubclass(cls, CTIHandler) or cls is CTIHandler:
        raise ConfigError(f"{_HANDLER}: {path} is no subclass of basix_cti.CTIHandler")
    return cls


def _own_handler() -> CTIHandler | None:
    """A new handler of that class.

    Raises:
        ConfigError: as :func:`handler_class`; or it cannot be made.
    """
    cls = handler_class()
    try:
        return None if cls is None else cls()
    except Exception as error:
        raise ConfigError(f"{_HANDLER}: making it raised {type(error).__name__}: {error}") from None


def patience() -> float:
    """How many seconds an event waits for a database that does not answer; 0 for not asking it.

    Raises:
        ConfigError: ``BASIX_CTI["WAIT_FOR_DATABASE"]`` is no such number.
    """
    seconds = getattr(settings, "BASIX_CTI", {}).get("WAIT_FOR_DATABASE", 0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= _LONGEST_PATIENCE:
        raise ConfigError(f"{_FORM.format('WAIT_FOR_DATABASE')}: must be seconds, from 0 to {_LONGEST_PATIENCE}")
    return seconds


def site_handler() -> CTIHandler:
    """A handler that tells the site: ``HANDLER`` and the receivers of signals, as ``manage.py cti`` does.

    For what does not come from this process's client: a test, or a recording that is replayed.

    Raises:
        ConfigError: ``HANDLER`` or ``WAIT_FOR_DATABASE`` is wrong.
    """
    return _told(SignalBridge(_own_handler()))


def _told(bridge: SignalBridge) -> CTIHandler:
    return InContext(bridge, partial(database_connections, patience=patience()))


def _make(alone: bool, **options: Any) -> Client:
    given = site_settings()
    own = _own_handler()
    bridge = SignalBridge(own)
    told = given.whom_to_tell(_told(bridge), alone)
    tap: dict[str, Any] = {"tap": own} if isinstance(own, Tap) and isinstance(told, InContext) else {}
    bridge.client = given.client(told, **options, **tap)
    return bridge.client


one = OneClient(
    _make,
    'set BASIX_CTI["START_IN_WORKER"] to True to have one in each process that serves requests, '
    "or call basix_cti.contrib.django.start()",
)
"""This process's client."""


def get_client() -> Client:
    """The client that runs in this process: for views, receivers and handlers.

    Raises:
        NotConnected: none runs here. :meth:`~basix_cti.CTIClient.hangup` and the like raise the same without a
            connection, so one ``except`` does for both.
    """
    return one.get()


def start() -> Client:
    """Start this process's client in the background, if it does not run. It is stopped when the process ends.

    For programs that know which process they are: a hook of Gunicorn that runs in the worker, for example. After a
    fork the child has none, and may start one of its own.

    Raises:
        ConfigError: a setting is missing or wrong.
        ImproperlyConfigured: called from ``AppConfig.ready()``, or before: that runs in every command of ``manage.py``,
            and twice under ``runserver``.
    """
    if not apps.ready:
        raise ImproperlyConfigured(
            "basix_cti.contrib.django.start() was called while the apps are loaded: so a client would run in every "
            'command of manage.py, and two under runserver; set BASIX_CTI["START_IN_WORKER"] to True instead'
        )
    return one.start()


def stop() -> None:
    """Stop this process's client, if there is one."""
    one.stop()


def start_with_first_request(sender: type, **kwargs: object) -> None:
    """A receiver of ``request_started``: start the client of a process that does serve requests.

    So it is the worker that gets it, however many processes a server has forked or started, and no command.
    """
    # Neither a test's client nor its live server is one. That a test runs, Django tells by the box for its mails.
    if issubclass(sender, WSGIHandler | ASGIHandler) and not hasattr(mail, "outbox"):
        one.try_start()
