"""A web site's settings: the names and checks of :mod:`basix_cti.config`, in capitals, in the framework's own place.

What is not given there comes from the variables ``BASIX_CTI_…`` and the configuration file, as for every program. With
``RELAY``, the client is one of a relay, and where its Redis is comes from there or from the variables.
"""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..base_client import Client
from ..client import CTIClient
from ..config import OPTIONS, Settings, variable
from ..errors import ConfigError
from ..handler import CTIHandler

if TYPE_CHECKING:
    from ..relay import RelayClient

__all__ = ["SiteSettings"]

_NAMES = [option.name.upper() for option in OPTIONS]
_FLAGS = {"START_IN_WORKER": False, "TELL_IN_WORKER": True, "RELAY": False}
_OWN = ("OPTIONS", *_FLAGS)
_REDIS = "redis://localhost:6379/0"


def _further(client: type[Client]) -> list[str]:
    """What a client takes and no other setting gives."""
    return [
        name
        for name, parameter in inspect.signature(client).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name.upper() not in (*_NAMES, "AUTH", "VERIFY", "NAME")
    ]


class _Nobody(CTIHandler):
    """Is told, and does nothing."""


class SiteSettings:
    """The settings that a site gives, and the client that they make.

    Args:
        given: by name, in capitals: those of :data:`basix_cti.config.OPTIONS`; ``OPTIONS``, further parameters of
            the client as a dictionary; ``START_IN_WORKER``, ``TELL_IN_WORKER`` and ``RELAY``; and ``more``.
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

    @property
    def relay(self) -> bool:
        """True if the client is one of a relay."""
        return self._flag("RELAY")

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
        try:
            known = _further(_relay_client() if self.relay else CTIClient)
        except ConfigError:
            return  # client() tells it
        yield from self._not_among(further, known, f'{self._form.format("OPTIONS")}["{{}}"]')

    def client(self, handler: CTIHandler, **more: Any) -> Client:
        """A client with these settings, not yet started.

        Args:
            handler: whose hooks are called.
            more: further parameters of :class:`~basix_cti.CTIClient`, where the site does not give them; those that a
                client of a relay does not take are for the relay.

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
        if not self.relay and (names := [name for name in ("REDIS_URL", "RELAY_NAME") if self._given.get(name)]):
            place, relay = self._form.format(names[0]), self._form.format("RELAY")
            raise ConfigError(f"{place}: without effect, because {relay} is not True", names[0].lower())
        try:
            if self.relay:
                return self._client_of_relay(handler, {**more, **further})
            settings = Settings.load(
                {name.lower(): value for name, value in self._given.items() if name in _NAMES},
                defaults={"app_name": self._app_name},
                label=lambda name: self._form.format(name.upper()),
            )
            return settings.client(handler, **{**more, **further})
        except ConfigError:
            raise
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{where}: {error}") from None

    def _client_of_relay(self, handler: CTIHandler, more: Mapping[str, Any]) -> Client:
        relay_client = _relay_client()
        if more.get("tap") is not None:
            raise ConfigError(
                f"{self._form.format('RELAY')}: does not go with a Tap as handler, which would see nothing: messages "
                "come as objects, not as they were on the wire"
            )
        url, name = self._place("REDIS_URL") or _REDIS, self._place("RELAY_NAME") or "default"
        taken = {key: value for key, value in more.items() if key in _further(relay_client)}
        try:
            return relay_client(url, handler, name=name, **taken)
        except ValueError as error:
            raise ConfigError(f"{self._form.format('RELAY')}: {error}") from None

    def _place(self, name: str) -> str:
        return str(self._given.get(name) or os.environ.get(variable(name.lower()), ""))

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


def _relay_client() -> type[RelayClient]:
    try:
        from ..relay import RelayClient
    except ImportError as error:
        raise ConfigError(str(error)) from None
    return RelayClient
