"""Who may look at a wallboard: whoever knows the token; without one, programs of this machine alone."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Collection, Mapping

__all__ = ["MIN_TOKEN", "Access", "is_loopback"]

MIN_TOKEN = 16
"""How many characters a token must have: whoever can reach the port can try."""

_BEARER = "bearer "


class Access:
    """Judges requests.

    Without a token, only a request whose ``Host`` is a name of loopback is answered: a web site elsewhere that has its
    own name lead to 127.0.0.1 would otherwise read the page through a browser of this machine (DNS rebinding).

    Args:
        host: the address that is listened on.
        token: what a visitor has to know; None for no token, which is possible on loopback alone.
        hosts: further names that a ``Host`` may have, such as that of a reverse proxy.

    Raises:
        ValueError: the address is no loopback address, and there is no token; or the token is too short.
    """

    def __init__(self, host: str, token: str | None = None, hosts: Collection[str] = ()) -> None:
        if token is None and not is_loopback(host):
            raise ValueError(f"{host} can be reached from other machines, so the wallboard needs a token")
        if token is not None and (len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable()):
            raise ValueError(f"the wallboard's token must have {MIN_TOKEN} characters or more, all of them ASCII")
        self._token = token
        self._hosts = {name.lower() for name in hosts}

    @property
    def open(self) -> bool:
        """True where no token is needed."""
        return self._token is None

    @property
    def cookie(self) -> str:
        """What the cookie holds: it follows from the token, which cannot be found from it."""
        return self._derived("cookie")

    @property
    def cookie_name(self) -> str:
        """What the cookie is called; another token, another name: a browser keeps one of a name for all ports."""
        return f"basix_cti_wallboard_{self._derived('cookie name')[:8]}"

    def _derived(self, purpose: str) -> str:
        assert self._token is not None
        return hmac.new(self._token.encode(), f"basix_cti wallboard {purpose}".encode(), hashlib.sha256).hexdigest()

    def knows_host(self, host: str | None) -> bool:
        """Whether a request with this ``Host`` is meant for us. Where a token is needed, that tells enough.

        Args:
            host: the header, with a port or without; None where there is none.
        """
        if self._token is not None:
            return True
        if host is None:
            return False
        name = _without_port(host).lower()
        return name in self._hosts or is_loopback(name)

    def admits(self, query: Mapping[str, str], headers: Mapping[str, str], cookies: Mapping[str, str]) -> bool:
        """Whether a request knows the token: in the query, as ``Authorization: Bearer``, or by its cookie."""
        if self._token is None:
            return True
        given = headers.get("Authorization", "")
        bearer = given[len(_BEARER) :].strip() if given.lower().startswith(_BEARER) else ""
        # Each is compared, so that the time tells nothing.
        verdicts = [
            _same(query.get("token", ""), self._token),
            _same(bearer, self._token),
            _same(cookies.get(self.cookie_name, ""), self.cookie),
        ]
        return any(verdicts)

    def __repr__(self) -> str:
        return f"<Access {'without a token' if self._token is None else 'with a token'}>"


def is_loopback(name: str) -> bool:
    """Whether an address or name is one of loopback. No name is looked up."""
    if name.lower() in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())
