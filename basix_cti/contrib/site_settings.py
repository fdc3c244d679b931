"""A web site's settings: the names and checks of :mod:`basix_cti.config`, in capitals, in the framework's own place.

What is not given there comes from the variables ``BASIX_CTI_…`` and the configuration file, as for every program.
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
_OWN = ("OPTIONS", "START_IN_WORKER")
# What CTIClient takes and config does not name.
_FURTHER = [
    name
    for name, parameter in inspect.signature(CTIClient).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY and name.upper() not in (*_NAMES, "AUTH", "VERIFY")
]


class _Nobody(CTIHandler):
    """Whom a client that is only made to check its settings would tell."""


class SiteSettings:
    """The settings that a site gives, and the client that they make.

    Args:
        given: by name, in capitals: those of :data:`basix_cti.config.OPTIONS`; ``OPTIONS``, further parameters of
            :class:`~basix_cti.CTIClient` as a dictionary; ``START_IN_WORKER``; and ``more``.
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
        return self._given.get("START_IN_WORKER", False) is True

    def unknown(self) -> Iterator[ConfigError]:
        """An error for each name that there is not; not raised."""
        yield from self._not_among(self._given, self._known, self._form)
        further = self._given.get("OPTIONS", {})
        if isinstance(further, Mapping):
            yield from self._not_among(further, _FURTHER, f'{self._form.format("OPTIONS")}["{{}}"]')

    def client(self, handler: CTIHandler, **more: Any) -> Client:
        """A client with these settings, not yet started.

        Args:
            handler: whose hooks are called.
            more: further parameters of :class:`~basix_cti.CTIClient`, where the site does not give them.

        Raises:
            ConfigError: a setting is unknown, missing or wrong, or two do not go together.
        """
        for error in self.unknown():
            raise error
        further = self._given.get("OPTIONS", {})
        where = self._form.format("OPTIONS")
        if not isinstance(further, Mapping):
            raise ConfigError(f"{where}: must be a dictionary of parameters of CTIClient")
        if not isinstance(self._given.get("START_IN_WORKER", False), bool):
            raise ConfigError(f"{self._form.format('START_IN_WORKER')}: must be True or False", "start_in_worker")
        settings = Settings.load(
            {name.lower(): value for name, value in self._given.items() if name in _NAMES},
            defaults={"app_name": self._app_name},
            label=lambda name: self._form.format(name.upper()),
        )
        try:
            return settings.client(handler, **{**more, **further})
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{where}: {error}") from None

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
