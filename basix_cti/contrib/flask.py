"""The Flask extension: ``pip install basix-cti[flask]``.

::

    from basix_cti.contrib.flask import CTI

    cti = CTI()

    @cti.on_call_ended
    def log(call):
        ...                         # inside an application context: current_app, a database session

    def create_app():
        app = Flask(__name__)
        app.config["BASIX_CTI_SERVER"] = "bcs.brastel.com"
        cti.init_app(app)
        return app

Nothing connects by itself. ``flask cti run`` does, in the foreground; and each process that serves requests, with the
first one, where ``app.config["BASIX_CTI_START_IN_WORKER"]`` is True.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import click
from flask import Flask, current_app, has_app_context, has_request_context, request_started
from flask.cli import AppGroup, ScriptInfo, run_command

from ..base_client import Client
from ..calls import Call
from ..elements import Channel, Element, MessageWaiting, ParkInfo
from ..errors import ConnectionLost
from ..etf import Term
from ..events import Event, Session
from ..handler import CTIHandler
from .bridge import Bridge, InContext
from .foreground import METRICS, Ended, run
from .one_client import OneClient
from .site_settings import SiteSettings

__all__ = ["CTI"]

_PREFIX = "BASIX_CTI_"
_FORM = f'app.config["{_PREFIX}{{}}"]'
_NAME = "basix_cti"

# What the functions of a hook take.
_OfChannels = TypeVar("_OfChannels", bound=Callable[[list[Channel]], object])
_OfChannel = TypeVar("_OfChannel", bound=Callable[[Channel], object])
_OfPark = TypeVar("_OfPark", bound=Callable[[ParkInfo], object])
_OfCall = TypeVar("_OfCall", bound=Callable[[Call], object])
_OfMessageWaiting = TypeVar("_OfMessageWaiting", bound=Callable[[MessageWaiting], object])
_OfItems = TypeVar("_OfItems", bound=Callable[[str, list[Element]], object])
_OfItem = TypeVar("_OfItem", bound=Callable[[str, Element, str], object])
_OfMessage = TypeVar("_OfMessage", bound="Callable[[str | Term], object]")
_OfEvent = TypeVar("_OfEvent", bound=Callable[[Event], object])
_OfSession = TypeVar("_OfSession", bound=Callable[[Session], object])
_OfReason = TypeVar("_OfReason", bound=Callable[[ConnectionLost], object])
_OfError = TypeVar("_OfError", bound=Callable[[BaseException], object])
_OfCount = TypeVar("_OfCount", bound=Callable[[int], object])

_F = TypeVar("_F", bound=Callable[..., object])


class CTI:
    """Has functions of a Flask application called whenever something happens at a PBX.

    Each hook of :class:`~basix_cti.CTIHandler` is a decorator of the same name: ``@cti.on_call_ended``. Any number of
    functions may be decorated, at any time; they are called in this order, in the client's dispatcher thread, all for
    one event inside one application context. What one raises is logged by ``app.logger`` and told to ``@cti.on_error``;
    the others are called all the same. Coroutine functions are run as Flask runs them in views.

    Settings are in ``app.config``, as ``BASIX_CTI_`` and the name of a setting of :mod:`basix_cti.config` in capitals;
    what is not there comes from the variable of that name. ``BASIX_CTI_OPTIONS`` is a dictionary of further parameters
    of :class:`~basix_cti.CTIClient`.

    Args:
        app: the application; None to call :meth:`init_app` later. It is the one that the methods mean outside of an
            application context.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self._functions: dict[str, list[Callable[..., object]]] = {}
        self._app = app
        if app is not None:
            self.init_app(app)

    # Decorators. What each hook gives, and when, is told for CTIHandler.

    def on_initial_chan_info(self, function: _OfChannels) -> _OfChannels:
        """Have ``f(channels)`` called: :meth:`basix_cti.CTIHandler.on_initial_chan_info`."""
        return self._add("on_initial_chan_info", function)

    def on_chan_info(self, function: _OfChannel) -> _OfChannel:
        """Have ``f(channel)`` called: :meth:`basix_cti.CTIHandler.on_chan_info`."""
        return self._add("on_chan_info", function)

    def on_park_info(self, function: _OfPark) -> _OfPark:
        """Have ``f(park)`` called: :meth:`basix_cti.CTIHandler.on_park_info`."""
        return self._add("on_park_info", function)

    def on_unpark_info(self, function: _OfPark) -> _OfPark:
        """Have ``f(park)`` called: :meth:`basix_cti.CTIHandler.on_unpark_info`."""
        return self._add("on_unpark_info", function)

    def on_call_ringing(self, function: _OfCall) -> _OfCall:
        """Have ``f(call)`` called: :meth:`basix_cti.CTIHandler.on_call_ringing`."""
        return self._add("on_call_ringing", function)

    def on_call_answered(self, function: _OfCall) -> _OfCall:
        """Have ``f(call)`` called: :meth:`basix_cti.CTIHandler.on_call_answered`."""
        return self._add("on_call_answered", function)

    def on_call_parked(self, function: _OfCall) -> _OfCall:
        """Have ``f(call)`` called: :meth:`basix_cti.CTIHandler.on_call_parked`."""
        return self._add("on_call_parked", function)

    def on_call_transferred(self, function: _OfCall) -> _OfCall:
        """Have ``f(call)`` called: :meth:`basix_cti.CTIHandler.on_call_transferred`."""
        return self._add("on_call_transferred", function)

    def on_call_ended(self, function: _OfCall) -> _OfCall:
        """Have ``f(call)`` called: :meth:`basix_cti.CTIHandler.on_call_ended`."""
        return self._add("on_call_ended", function)

    def on_mwi_info(self, function: _OfMessageWaiting) -> _OfMessageWaiting:
        """Have ``f(mwi)`` called: :meth:`basix_cti.CTIHandler.on_mwi_info`."""
        return self._add("on_mwi_info", function)

    def on_initial_info(self, function: _OfItems) -> _OfItems:
        """Have ``f(element, items)`` called: :meth:`basix_cti.CTIHandler.on_initial_info`."""
        return self._add("on_initial_info", function)

    def on_info_event(self, function: _OfItem) -> _OfItem:
        """Have ``f(element, item, event)`` called: :meth:`basix_cti.CTIHandler.on_info_event`."""
        return self._add("on_info_event", function)

    def on_system_msg(self, function: _OfMessage) -> _OfMessage:
        """Have ``f(msg)`` called: :meth:`basix_cti.CTIHandler.on_system_msg`."""
        return self._add("on_system_msg", function)

    def on_msg(self, function: _OfMessage) -> _OfMessage:
        """Have ``f(msg)`` called: :meth:`basix_cti.CTIHandler.on_msg`."""
        return self._add("on_msg", function)

    def on_event(self, function: _OfEvent) -> _OfEvent:
        """Have ``f(event)`` called: :meth:`basix_cti.CTIHandler.on_event`."""
        return self._add("on_event", function)

    def on_connect(self, function: _OfSession) -> _OfSession:
        """Have ``f(session)`` called: :meth:`basix_cti.CTIHandler.on_connect`."""
        return self._add("on_connect", function)

    def on_disconnect(self, function: _OfReason) -> _OfReason:
        """Have ``f(reason)`` called: :meth:`basix_cti.CTIHandler.on_disconnect`."""
        return self._add("on_disconnect", function)

    def on_error(self, function: _OfError) -> _OfError:
        """Have ``f(error)`` called: :meth:`basix_cti.CTIHandler.on_error`."""
        return self._add("on_error", function)

    def on_overflow(self, function: _OfCount) -> _OfCount:
        """Have ``f(count)`` called: :meth:`basix_cti.CTIHandler.on_overflow`."""
        return self._add("on_overflow", function)

    def _add(self, hook: str, function: _F) -> _F:
        names = [*inspect.signature(getattr(CTIHandler, hook)).parameters][1:]
        try:
            inspect.signature(function).bind(*names)
        except TypeError:
            name = getattr(function, "__qualname__", type(function).__qualname__)
            told = f"{hook} calls its functions with ({', '.join(names)}), which {name} does not take"
            raise TypeError(told) from None
        self._functions.setdefault(hook, []).append(function)
        return function

    def init_app(self, app: Flask) -> None:
        """Make the extension known to an application: adds ``flask cti run``. Nothing is connected."""
        site = app.extensions[_NAME] = _Site(app, self._functions)
        request_started.connect(site.start_with_first_request, app)
        app.cli.add_command(_commands)

    @property
    def client(self) -> Client:
        """The client that runs in this process.

        Raises:
            NotConnected: none runs here. ``client.hangup()`` and the like raise the same without a connection, so one
                ``except`` does for both.
        """
        return self._site(None).one.get()

    def start(self, app: Flask | None = None) -> Client:
        """Start this process's client in the background, if it does not run. It is stopped when the process ends.

        For programs that know which process they are: a hook of Gunicorn that runs in the worker, for example. After a
        fork the child has none, and may start one of its own.

        Args:
            app: whose client; None for the current application's, or that which the extension was made with.

        Raises:
            ConfigError: a setting is missing or wrong.
            RuntimeError: called while a command such as ``flask run`` or ``flask routes`` loads the application: that
                would start one in each of them, and two under the reloader.
        """
        if _is_loaded_by_a_command():
            raise RuntimeError(
                "cti.start() was called while a flask command loads the application: so a client would run in every "
                f"command, and two under the reloader; set {_FORM.format('START_IN_WORKER')} to True instead"
            )
        return self._site(app).one.start()

    def stop(self, app: Flask | None = None) -> None:
        """Stop this process's client, if there is one.

        Args:
            app: as for :meth:`start`.
        """
        self._site(app).one.stop()

    def run_forever(self, app: Flask | None = None, **options: Any) -> None:
        """Run this process's client in this thread, which may be any, until :meth:`stop` is called in another one.

        Args:
            app: as for :meth:`start`.
            options: parameters of :class:`~basix_cti.CTIClient`, unless ``BASIX_CTI_OPTIONS`` gives them.

        Raises:
            ConfigError: a setting is missing or wrong.
            ConnectionReplaced: another client took this one's place.
            AuthError: the login was refused; only with ``stop_on_auth_error``.
        """
        self._site(app).one.run_forever(**options)

    def handler(self, app: Flask | None = None) -> CTIHandler:
        """A handler that calls the decorated functions, as the client's own does: for a test, or a replay.

        Args:
            app: as for :meth:`start`.
        """
        return self._site(app).handler()

    def _site(self, app: Flask | None) -> _Site:
        if app is None:
            app = current_app if has_app_context() else self._app
        if app is None:
            raise RuntimeError("which application? Give it as app=, or call this inside its application context")
        site = app.extensions.get(_NAME)
        if not isinstance(site, _Site):
            raise RuntimeError(
                f"the extension does not know the application {app.name!r}: call cti.init_app(app) first"
            )
        return site


class _Site:
    """What the extension keeps for one application."""

    def __init__(self, app: Flask, functions: dict[str, list[Callable[..., object]]]) -> None:
        self._app = app
        self._functions = functions
        self.one = OneClient(
            self._make,
            f"set {_FORM.format('START_IN_WORKER')} to True to have one in each process that serves requests, or call "
            "cti.start()",
        )

    def _settings(self) -> SiteSettings:
        given = self._app.config.get_namespace(_PREFIX, lowercase=False)
        return SiteSettings(given, form=_FORM, app_name="basix-cti-flask")

    def handler(self) -> CTIHandler:
        """Calls the functions, each event inside an application context."""
        return InContext(_Functions(self._app, self._functions), lambda event: self._app.app_context())

    def _make(self, alone: bool, **options: Any) -> Client:
        settings = self._settings()
        return settings.client(settings.whom_to_tell(self.handler(), alone), **options)

    def start_with_first_request(self, app: Flask, **kwargs: object) -> None:
        """A receiver of ``request_started``: start the client of a process that does serve requests; no test does."""
        if not app.testing and self._settings().start_in_worker:
            self.one.try_start()


class _Functions(Bridge):
    """Calls the functions of each hook."""

    def __init__(self, app: Flask, functions: dict[str, list[Callable[..., object]]]) -> None:
        self._app = app
        self._of = functions

    def tell(self, hook: str, args: tuple[Any, ...]) -> Iterator[BaseException]:
        for function in list(self._of.get(hook, ())):
            error = self._call(hook, function, args)
            if error is not None:
                yield error

    def _call(self, hook: str, function: Callable[..., object], args: tuple[Any, ...]) -> BaseException | None:
        """Call one; what it raised."""
        try:
            self._app.ensure_sync(function)(*args)
        except BaseException as error:
            name, told = getattr(function, "__qualname__", type(function).__qualname__), type(error).__name__
            self._app.logger.exception("%s of %s raised %s; the next event still comes", name, hook, told)
            return error
        return None


def _is_loaded_by_a_command() -> bool:
    """True in the main thread of a flask command, before the application is there or behind the watch of its files."""
    context = click.get_current_context(silent=True)
    if context is None or context.find_object(ScriptInfo) is None:
        return False
    return not has_app_context() or (context.command is run_command and not has_request_context())


_commands = AppGroup("cti", help="The connection to the PBX.")


@_commands.command("run")
@click.option("-v", "--verbose", is_flag=True, help="Log everything to stderr.")
@click.option("-q", "--quiet", is_flag=True, help="Log warnings and errors alone.")
@click.option("--metrics", metavar="HOST:PORT", help=f"{METRICS[0].upper()}{METRICS[1:]}.")
def _run(verbose: bool, quiet: bool, metrics: str | None) -> None:
    """Call the decorated functions until Ctrl-C or SIGTERM.

    The status is then 0; it is 2 where starting again would be in vain: a setting is wrong, the PBX refuses the login,
    or another client has taken the place of this one.
    """
    site = cast(_Site, current_app.extensions[_NAME])
    try:
        run(site.one, verbosity=2 if verbose else 0 if quiet else 1, metrics=metrics)
    except Ended as end:
        click.echo(f"Error: {end}", err=True)
        click.get_current_context().exit(end.status)
