"""Settings: where a PBX is and how to log in there, the same for every program.

A setting is looked for in four places, and the first that has it counts:

1. what the program was given: its arguments, or what a Python program passes
2. variables of the environment, ``BASIX_CTI_SERVER`` and so on
3. a file in INI or TOML form
4. the program's own defaults

Secrets come from variables and files alone; the command line takes none. No error of this module holds one.
"""

from __future__ import annotations

import configparser
import difflib
import os
import re
import ssl
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from .auth import ApiToken, ApiUser, Auth, Ticket, TicketService
from .client import CTIClient
from .endpoint import Endpoint, checked, tls_context
from .errors import ConfigError
from .handler import CTIHandler
from .proxy import Proxy

__all__ = ["OPTIONS", "SECTION", "Option", "Settings", "default_file", "read_token", "variable"]

SECTION = "basix-cti"
"""The section of a file that holds for every program and profile."""


@dataclass(frozen=True, slots=True)
class Option:
    """One setting.

    Attributes:
        name: in files and in Python; ``BASIX_CTI_`` and the same in capitals is its variable.
        kind: ``text``, ``secret``, ``path`` or ``flag``.
        help: what it is, in a few words.
        metavar: what stands for its value in a help text.
        commands: the commands that have it as an argument; None for every one that connects to a PBX.
    """

    name: str
    kind: str
    help: str
    metavar: str = "TEXT"
    commands: tuple[str, ...] | None = None


_RELAYED = ("relay", "wallboard", "monitor")

OPTIONS = (
    Option("server", "text", "the PBX: host, host:port, or a ws:// or wss:// URL", "SERVER"),
    Option("domain", "text", "the PBX domain", "DOMAIN"),
    Option("token", "secret", "the API token"),
    Option("token_file", "path", "read the API token from this file", "FILE"),
    Option("api_user", "text", "log in as this API user, as the first generation of the protocol does", "USER"),
    Option("ticket", "flag", "log in with one-time tickets from the PBX's gen_ws_ticket"),
    Option("app_name", "text", "the application's name; two connections of a name are allowed", "NAME"),
    Option("full_events", "flag", "events of the whole PBX, not of one user"),
    Option("user_name", "text", "the user whose events to get, by name", "NAME"),
    Option("user_id", "text", "the same by id", "ID"),
    Option("user_label", "text", "the same by label", "LABEL"),
    Option("user_extension", "text", "the same by extension", "NUMBER"),
    Option("user_did", "text", "the same by public number", "NUMBER"),
    Option("user_email", "text", "the same by email address", "ADDRESS"),
    Option("forced", "flag", "take the place of the oldest connection at the limit"),
    Option("proxy", "text", "connect through this proxy: http://host:port or socks5://host:port", "URL"),
    Option("ca_file", "path", "trust the certificates in this PEM file, not the system's", "FILE"),
    Option("insecure", "flag", "take any TLS certificate: for test rigs only"),
    Option("redis_url", "text", "the Redis of a relay: redis://host:port/0, rediss:// or unix://", "URL", _RELAYED),
    Option("relay_name", "text", "the relay's name, if that Redis has several", "NAME", _RELAYED),
)
"""Every setting, in the order in which a help text tells them."""

_BY_NAME = {option.name: option for option in OPTIONS}
_SELECTORS = ("user_name", "user_id", "user_label", "user_extension", "user_did", "user_email")
# Of each line only one can hold. The nearest place that has one of them decides.
_ALTERNATIVES = (
    ("token", "token_file"),
    ("api_user", "ticket"),
    ("full_events", *_SELECTORS),
    ("ca_file", "insecure"),
)
_FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

_Found: TypeAlias = "tuple[Any, str]"  # a value, and in words where it stands
_Layer: TypeAlias = "dict[str, _Found]"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where a PBX is and how to log in. Get them with :meth:`load`, which looks everywhere and checks them.

    Attributes:
        server: as the parameter of :class:`~basix_cti.CTIClient`; so are all that are not told of here.
        domain: part of the login, as are ``token``, ``api_user`` and ``ticket``: an :class:`~basix_cti.ApiUser` where
            ``api_user`` is given, a :class:`~basix_cti.Ticket` where ``ticket`` is true, otherwise an
            :class:`~basix_cti.ApiToken`.
        insecure: True takes any certificate.
        redis_url, relay_name: where a relay is that holds the connection; see :mod:`basix_cti.relay`.
        origins: in words, where each setting was found that is not by default.
    """

    server: str
    domain: str
    token: str = field(repr=False)
    api_user: str | None = None
    ticket: bool = False
    app_name: str | None = None
    full_events: bool = False
    forced: bool = False
    user_name: str | None = None
    user_id: str | None = None
    user_label: str | None = None
    user_extension: str | None = None
    user_did: str | None = None
    user_email: str | None = None
    proxy: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    insecure: bool = False
    redis_url: str | None = field(default=None, repr=False)
    relay_name: str | None = None
    origins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def load(
        cls,
        given: Mapping[str, object] | None = None,
        *,
        config: str | os.PathLike[str] | None = None,
        profile: str | None = None,
        defaults: Mapping[str, object] | None = None,
        environ: Mapping[str, str] | None = None,
        label: Callable[[str], str] = str,
        relayed: bool = False,
    ) -> Settings:
        """Look for every setting, and check what was found.

        Args:
            given: settings that the program was given, by name; None among the values for those it was not. They come
                first.
            config: a file in TOML form if its name ends with ``.toml``, otherwise in INI form. None for the one that
                ``BASIX_CTI_CONFIG`` names, or the user's own (:func:`default_file`) if there is one.
            profile: a section of the file that comes before ``[basix-cti]``. None for what ``BASIX_CTI_PROFILE`` says.
            defaults: settings that come last.
            environ: the variables; None for those of the process.
            label: what errors call a setting of ``given``, by its name; ``--full-events`` for example.
            relayed: True for a program that can follow a relay. Where there is a ``redis_url``, the relay holds the
                connection, and nothing about the PBX is needed: ``server``, ``domain`` and ``token`` are empty then.

        Raises:
            ConfigError: a setting that is needed is in none of the places, one is wrong, or two do not go together.
                The message tells where it stands.
        """
        environ = os.environ if environ is None else environ
        layers = [
            _layer(given or {}, label),
            _variables(environ),
            _file(config, profile, environ),
            _layer(defaults or {}, "{} by default".format),
        ]
        found = _merged(layers)
        if relayed and "redis_url" in found:
            mine = {name: found[name] for name in ("redis_url", "relay_name") if name in found}
            values: dict[str, Any] = {name: value for name, (value, _) in mine.items()}
            return cls("", "", "", **values, origins={name: place for name, (_, place) in mine.items()})
        for name in ("server", "domain"):
            if name not in found:
                raise ConfigError(f"no {name}: {_ways(name, label)}", name, missing=True)
        token, where = _token(found, label)
        settings: dict[str, Any] = {name: value for name, (value, _) in found.items() if name != "token_file"}
        settings["token"] = token
        origins = {name: place for name, (_, place) in found.items() if name != "token_file"} | {"token": where}
        loaded = cls(**settings, origins=origins)
        _check(loaded, found)
        return loaded

    @property
    def auth(self) -> Auth:
        """The login."""
        if self.api_user is not None:
            return ApiUser(self.domain, self.api_user, self.token)
        auth = ApiToken(self.domain, self.token)
        if not self.ticket:
            return auth
        way: dict[str, Any] = {"verify": not self.insecure, "ca_file": self.ca_file, "proxy": self.proxy}
        return Ticket(TicketService(self.server, auth, **way))

    def client(self, handler: CTIHandler, **more: Any) -> CTIClient:
        """A client with these settings, not yet started.

        Args:
            handler: whose hooks are called.
            more: further parameters of :class:`~basix_cti.CTIClient`; they come before those of the settings.

        Raises:
            ValueError: as :class:`~basix_cti.CTIClient`.
        """
        return CTIClient(self.server, handler, **(self.parameters() | more))

    def parameters(self) -> dict[str, Any]:
        """What these settings say, as parameters of :class:`~basix_cti.CTIClient` beside server and handler."""
        mine: dict[str, Any] = {name: getattr(self, name) for name in _SELECTORS}
        for name in ("app_name", "full_events", "forced", "proxy", "ca_file", "auth"):
            mine[name] = getattr(self, name)
        return mine | {"verify": not self.insecure}


def variable(name: str) -> str:
    """The name of a setting's variable."""
    return f"BASIX_CTI_{name.upper()}"


def default_file(environ: Mapping[str, str] | None = None) -> Path | None:
    """The user's own file: ``config.ini`` or ``config.toml`` in ``~/.config/basix-cti``; None where there is neither.

    ``XDG_CONFIG_HOME`` takes the place of ``~/.config``, as the XDG Base Directory Specification has it.

    Raises:
        ConfigError: both files are there.
    """
    environ = os.environ if environ is None else environ
    home = environ.get("XDG_CONFIG_HOME")
    if not home or not Path(home).is_absolute():
        try:
            home = str(Path.home() / ".config")
        except RuntimeError:  # a user without a home
            return None
    found = [path for ending in ("ini", "toml") if (path := Path(home, "basix-cti", f"config.{ending}")).is_file()]
    if len(found) > 1:
        raise ConfigError(f"{found[0]} and {found[1]} are both there; remove one of them")
    return found[0] if found else None


def read_token(path: str | os.PathLike[str], where: str) -> str:
    """The token that is all the content of a file, but for space around it.

    Args:
        path: the file.
        where: in words, what named it.

    Raises:
        ConfigError: the file cannot be read, is no text, or is empty.
    """
    token = _text_of(Path(path), f"the token file {path} ({where})").strip()
    if not token:
        raise ConfigError(f"the token file {path} ({where}) is empty", "token_file")
    try:
        return checked(f"the token in {path} ({where})", token)
    except ValueError as error:
        raise ConfigError(str(error), "token_file") from None


def _text_of(path: Path, what: str) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"{what} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{what} cannot be read: it is no text") from None


def _ways(name: str, label: Callable[[str], str]) -> str:
    """Where a setting that is missing can be put."""
    direct = f"give {label(name)}, " if _BY_NAME[name].kind != "secret" else f"give {label('token_file')}, "
    return f"{direct}set the variable {variable(name)}, or put {name} into a configuration file"


# --- the places ---------------------------------------------------------------------------------------------------


def _layer(values: Mapping[str, object], label: Callable[[str], str]) -> _Layer:
    layer = {}
    for name, value in values.items():
        if name not in _BY_NAME:
            raise ConfigError(f"{name} is no setting{_nearest(name, _BY_NAME)}", name)
        if value is not None:
            layer[name] = (_value(name, value, label(name)), label(name))
    return layer


def _variables(environ: Mapping[str, str]) -> _Layer:
    layer = {}
    for name in _BY_NAME:
        text = environ.get(variable(name), "")
        if text.strip():  # an empty variable is one that is not set
            where = f"the variable {variable(name)}"
            layer[name] = (_value(name, text.strip(), where), where)
    return layer


def _file(config: str | os.PathLike[str] | None, profile: str | None, environ: Mapping[str, str]) -> _Layer:
    asked = config or environ.get(variable("config"))
    path = Path(asked).expanduser() if asked else default_file(environ)
    profile = profile or environ.get(variable("profile")) or None
    if path is None:
        if profile is not None:
            raise ConfigError(f"there is no configuration file that could hold the profile {profile}")
        return {}
    text = _text_of(path, f"the configuration file {path}")
    sections = _toml(path, text) if path.suffix == ".toml" else _ini(path, text)
    names = [SECTION] if profile in (None, SECTION) else [profile, SECTION]
    if names[0] not in sections and (asked or profile):
        there = ", ".join(f"[{name}]" for name in sections) or "none"
        raise ConfigError(f"{path} has no section [{names[0]}]; the sections that it has: {there}")
    layer: _Layer = {}
    for section in reversed(names):
        own = {}
        for key, value in sections.get(section, {}).items():
            name = key.replace("-", "_")
            line = _line_of(text, section, key)
            where = f"{path}{f':{line}' if line else ''}, [{section}] {key}"
            if name not in _BY_NAME:
                raise ConfigError(f"{where}: no such setting{_nearest(name, _BY_NAME)}", name)
            if name == "token" or (name in ("proxy", "redis_url") and "@" in str(value)):
                _refuse_readable(path, where, name)
            if name in own:
                raise ConfigError(f"{where}: it stands there twice", name)
            own[name] = (_value(name, value, where, path.parent), where)
        layer = _merged([own, layer])
    return layer


def _ini(path: Path, text: str) -> dict[str, dict[str, Any]]:
    # The tokens of a PBX may hold what interpolation would stumble over.
    parser = configparser.ConfigParser(interpolation=None, default_section="\0")
    try:
        parser.read_string(text)
    except configparser.Error as error:  # the texts of these errors quote lines, which may hold the token
        errors = getattr(error, "errors", None)
        line = errors[0][0] if errors else getattr(error, "lineno", "?")
        twice = isinstance(error, configparser.DuplicateSectionError | configparser.DuplicateOptionError)
    else:
        return {name: dict(parser[name]) for name in parser.sections()}
    if twice:
        raise ConfigError(f"{path}:{line}: a section or key stands there a second time")
    raise ConfigError(f"{path}:{line}: neither a [section] nor key = value; the file must have the form of INI")


def _toml(path: Path, text: str) -> dict[str, dict[str, Any]]:
    try:
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib
    except ImportError:
        raise ConfigError(
            f"{path}: Python 3.10 reads no TOML by itself; pip install basix-cti[cli], or write an .ini file"
        ) from None
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"\(at (.+)\)$", str(error))
        raise ConfigError(f"{path}: not in the form of TOML{f' at {at[1]}' if at else ''}") from None
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {name} stands outside of a section; put it below [{SECTION}]")
    return tables


def _line_of(text: str, section: str, key: str) -> int | None:
    """The number of the line that sets a key; None where it is written in a way of its own."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*\"?(.+?)\"?\s*\]", line):
            inside = header[1] == section
        elif inside and re.match(rf"\s*\"?{re.escape(key)}\"?\s*[=:]", line, re.IGNORECASE):
            return number
    return None


def _refuse_readable(path: Path, where: str, name: str) -> None:
    if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        what = "token" if name == "token" else "login"
        raise ConfigError(f"{where}: other users can read this {what}; run: chmod 600 {path}", name)


def _nearest(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(known)}"


# --- the values ---------------------------------------------------------------------------------------------------


def _value(name: str, value: object, where: str, folder: Path | None = None) -> str | bool:
    """A value in its right form; an empty text stays one, and stands for none. Paths are relative to ``folder``."""
    if _BY_NAME[name].kind == "flag":
        flag = value if isinstance(value, bool) else _FLAGS.get(str(value).lower())
        if flag is None:
            raise ConfigError(f"{where}: must be yes or no", name)
        return flag
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # an id or an extension
    if value == "":
        return ""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    try:
        text = checked(where, value)
    except ValueError as error:
        raise ConfigError(str(error), name) from None
    if _BY_NAME[name].kind == "path" and folder is not None:
        return str(folder / Path(text).expanduser())
    return text


def _merged(layers: list[_Layer]) -> _Layer:
    """Of each setting, and of each group of alternatives, what the first layer says that has it."""
    found: _Layer = {}
    for layer in layers:
        news = {name: here for name, here in layer.items() if name not in found}
        for group in _ALTERNATIVES:
            rivals = [name for name in group if name in news and news[name][0]]
            if any(name in found and found[name][0] for name in group):
                for name in rivals:
                    del news[name]
            elif len(rivals) > 1:
                places = " and ".join(news[name][1] for name in rivals)
                raise ConfigError(f"{places} do not go together; drop one of them", rivals[1])
        found |= news
    return {name: here for name, here in found.items() if here[0] != ""}


def _token(found: _Layer, label: Callable[[str], str]) -> tuple[str, str]:
    if "token" in found:
        return found["token"]
    if "token_file" not in found:
        raise ConfigError(f"no token: {_ways('token', label)}", "token", missing=True)
    path, where = found["token_file"]
    return read_token(path, where), where


def _check(settings: Settings, found: _Layer) -> None:
    """What can be checked before there is a connection, with the place of what is wrong."""
    if settings.ticket and settings.full_events:
        places = f"{found['full_events'][1]} and {found['ticket'][1]}"
        raise ConfigError(f"{places} do not go together: the PBX allows a ticket one user's events only", "ticket")
    try:
        endpoint = Endpoint.parse(settings.server)
    except ValueError as error:
        raise ConfigError(f"{found['server'][1]}: {error}", "server") from None
    if settings.proxy is not None:
        try:
            Proxy(settings.proxy)
        except ValueError as error:
            raise ConfigError(f"{found['proxy'][1]}: {error}", "proxy") from None
    if settings.ca_file is not None:
        where = found["ca_file"][1]
        if not endpoint.tls:
            raise ConfigError(f"{where}: without effect, because {found['server'][1]} is a ws:// URL", "ca_file")
        try:
            tls_context(ca_file=settings.ca_file)
        except OSError as error:
            told = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise ConfigError(f"{where}: {settings.ca_file} cannot be used: {told}", "ca_file") from None
    try:
        _ = settings.auth
    except ValueError as error:
        raise ConfigError(f"{found['domain'][1]}: {error}", "domain") from None
