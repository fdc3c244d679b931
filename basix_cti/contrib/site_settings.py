"""A web site's settings: the names and checks of :mod:`basix_cti.config`, in capitals, in the framework's own place.

What is not given there comes from the variables ``BASIX_CTI_…`` and the configuration file, as for every program. Where
there is a ``REDIS_URL``, the client is one of a relay.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..base_client import Client
from ..client import CTIClient
from ..config import OPTIONS, Settings
from ..errors import ConfigError
from ..handler import CTIHandler

__all__ = ["SiteSettings"]

_NAMES = [option.name.upper() for option in OPTIONS]
_FLAGS = {"START_IN_WORKER": False, "TELL_IN_WORKER": True}
_OWN = ("OPTIONS", *_FLAGS)


# What clients take and no other setting gives.
_FURTHER = [
    *(
        name
        for name, parameter in inspect.signature(CTIClient).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name.upper() not in (*_NAMES, "AUTH", "VERIFY")
    ),
    "redis_timeout",  # with a relay
]


class _Nobody(CTIHandler):
    """Is told, and does nothing."""


class SiteSettings:
    """The settings that a site gives, and the client that they make.

    Args:
        given: by name, in capitals: those of :data:`basix_cti.config.OPTIONS`; ``OPTIONS``, further parameters of
            the client as a dictionary; ``START_IN_WORKER`` and ``TELL_IN_WORKER``; and ``more``.
        form: how a name is written in the site, for errors; ``BASIX_CTI["{}"]`` for example.
        app_name: the application's name where none is given.
        more: further names that the framework knows what to do with.
    """

    def __init__(self, given: Mapping[str, object], *, form: str, app_name: str, more: Sequence[str] = ()) -> None:
        self._given = given
        self._form = form
        self._app_name = app_name
        self._known = [*_NAMES, *_OWN, *more]

    @property
    def start_in_worker(self) -> bool:
        """True if each process that serves requests is to have a client."""
        return self._flag("START_IN_WORKER")

    def whom_to_tell(self, handler: CTIHandler, alone: bool) -> CTIHandler:
        """Who is told what happens: the site's handler, or nobody, where a worker is to be quiet.

        Args:
            handler: the site's.
            alone: True for a client that is the work of its thread, False for one that is started beside other work.
        """
        return handler if alone or self._flag("TELL_IN_WORKER") else _Nobody()

    def _flag(self, name: str) -> bool:
        return self._given.get(name, _FLAGS[name]) is True

    def unknown(self) -> Iterator[ConfigError]:
        """An error for each name that there is not; not raised."""
        yield from self._not_among(self._given, self._known, self._form)
        further = self._given.get("OPTIONS", {})
        if not isinstance(further, Mapping):
            return
        yield from self._not_among(further, _FURTHER, f'{self._form.format("OPTIONS")}["{{}}"]')

    def client(self, handler: CTIHandler, **more: Any) -> Client:
        """A client with these settings, not yet started.

        Args:
            handler: whose hooks are called.
            more: further parameters of :class:`~basix_cti.CTIClient`, where the site does not give them; a client of a
                relay has no use for them.

        Raises:
            ConfigError: a setting is unknown, missing or wrong, or two do not go together.
        """
        for error in self.unknown():
            raise error
        further = self._given.get("OPTIONS", {})
        where = self._form.format("OPTIONS")
        if not isinstance(further, Mapping):
            raise ConfigError(f"{where}: must be a dictionary of parameters of the client")
        for name in _FLAGS:
            if not isinstance(self._given.get(name, True), bool):
                raise ConfigError(f"{self._form.format(name)}: must be True or False", name.lower())
        settings = Settings.load(
            {name.lower(): value for name, value in self._given.items() if name in _NAMES},
            defaults={"app_name": self._app_name},
            label=lambda name: self._form.format(name.upper()),
            relayed=True,
        )
        if settings.redis_url is not None:
            return self._client_of_relay(settings, handler, more, further)
        try:
            return settings.client(handler, **{**more, **further})
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{where}: {error}") from None

    def _client_of_relay(
        self, settings: Settings, handler: CTIHandler, more: Mapping[str, Any], further: Mapping[str, Any]
    ) -> Client:
        try:
            from ..relay import RelayClient
        except ImportError as error:
            raise ConfigError(str(error)) from None
        place = settings.origins["redis_url"]
        if more.get("tap") is not None:
            raise ConfigError(
                f"{place}: does not go with a Tap as handler, which would see nothing: through a relay, messages come "
                "as objects, not as they were on the wire"
            )
        name = settings.relay_name or "default"
        try:
            return RelayClient(settings.redis_url or "", handler, name=name, **further)
        except TypeError as error:
            raise ConfigError(f"{self._form.format('OPTIONS')}, with a relay: {error}") from None
        except ValueError as error:
            raise ConfigError(f"{place}: {error}") from None

    def check(self) -> None:
        """Do nothing if a client can be made.

        Raises:
            ConfigError: as :meth:`client`.
        """
        self.client(_Nobody())

    @staticmethod
    def _not_among(names: Iterable[object], known: Sequence[str], form: str) -> Iterator[ConfigError]:
        for name in names:
            if name in known:
                continue
            spellings = {each.lower(): each for each in known}
            near = difflib.get_close_matches(str(name).lower(), spellings, 1)
            hint = f"did you mean {form.format(spellings[near[0]])}?" if near else f"there are: {', '.join(known)}"
            yield ConfigError(f"{form.format(name)} is no setting; {hint}")
