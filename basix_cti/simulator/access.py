"""Who may connect: the three logins, one-time tickets, and which user a connection watches. No I/O."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

from .model import Pbx, User

__all__ = ["PATH", "TICKET_PATH", "Access", "Login", "Refused", "parameters"]

PATH = "/basix/api/ws_cti"
TICKET_PATH = "/basix/api/gen_ws_ticket"
TICKET_USER = "ws_ticket"

_SELECTORS: dict[str, Callable[[User], str]] = {
    "user_id": lambda user: str(user.id),
    "user_name": lambda user: user.name,
    "user_label": lambda user: user.label,
    "user_extension": lambda user: user.main_extension,
    "user_did": lambda user: user.did,
    "user_email": lambda user: user.email,
}


class Refused(Exception):
    """A request that is answered with an HTTP error.

    Args:
        status: the HTTP status.
        text: what the answer says.
    """

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text
        super().__init__(text)


class Login(NamedTuple):
    """A login that was accepted.

    Args:
        generation: 1 or 2, for the current one.
        user_id: whose events are sent, None for everyone's.
        app_name: the application's name; empty for the first generation.
        forced: whether it may take the place of an older connection.
    """

    generation: int
    user_id: int | None
    app_name: str
    forced: bool


class Access:
    """Checks logins. Used from the server's thread only, but for the PBX's tables, whose lock is held by the caller.

    Args:
        pbx: whose users can be watched, and whose clock tickets go by.
        domain: the name of the PBX.
        api_user: the user of the first generation's login.
        token: the API token.
        ticket_seconds: how long a ticket is good for.

    Raises:
        ValueError: a name or the token is empty, the domain holds a colon, or the seconds are not positive.
    """

    def __init__(self, pbx: Pbx, *, domain: str, api_user: str, token: str, ticket_seconds: float) -> None:
        if not domain or ":" in domain or not api_user or not token:
            raise ValueError("domain, api_user and token must not be empty, and a domain has no colon")
        if not ticket_seconds > 0:
            raise ValueError(f"ticket_seconds must be positive, not {ticket_seconds!r}")
        self._pbx = pbx
        self._domain = domain
        self._api_user = api_user
        self._token = token
        self._ticket_seconds = ticket_seconds
        self._tickets: dict[str, tuple[str, int]] = {}

    def login(self, uri: str, authorization: str | None) -> Login:
        """The login of a WebSocket handshake.

        Args:
            uri: path and query, as they were sent.
            authorization: the ``Authorization`` header, None when there is none.

        Raises:
            Refused: with the status to answer.
        """
        query = parameters(uri)
        if "api_token" in query:
            given = (query.get("domain", ""), query.get("api_user", ""), query["api_token"])
            if not _same(given, (self._domain, self._api_user, self._token)):
                raise Refused(401, "wrong domain, api_user or api_token")
            return Login(1, None, "", False)
        name, password = _basic(authorization)
        if name == TICKET_USER:
            self._redeem(password, uri)
        else:
            self._check_token(name, password)
        app_name = query.get("app_name", "")
        if not app_name:
            raise Refused(400, "the parameter app_name is missing")
        forced = "true" in (query.get("forced"), query.get("force"))
        if query.get("full_events") == "true":
            if name == TICKET_USER:
                raise Refused(403, "full_events=true is not allowed with a ticket")
            return Login(2, None, app_name, forced)
        return Login(2, self._watched(query).id, app_name, forced)

    def ticket(self, authorization: str | None, body: bytes) -> dict[str, object]:
        """The answer to ``gen_ws_ticket``, an object for JSON.

        Raises:
            Refused: the login is wrong.
        """
        self._check_token(*_basic(authorization))
        try:
            request = json.loads(body)
        except (ValueError, RecursionError):
            return {"result_code": 1, "description": "the body is not JSON"}
        uri = request.get("uri") if isinstance(request, dict) else None
        if not isinstance(uri, str):
            return {"result_code": 2, "description": "the parameter uri is missing"}
        if not uri.startswith(PATH + "?") or "app_name" not in parameters(uri):
            return {"result_code": 3, "description": f"the uri is not of the form {PATH}?app_name=…"}
        now = self._pbx.clock()
        self._tickets = {ticket: kept for ticket, kept in self._tickets.items() if kept[1] > now}
        ticket = secrets.token_hex(24)
        self._tickets[ticket] = (uri, now + round(self._ticket_seconds * 1_000_000))
        return {"result_code": 0, "ticket": ticket}

    def _redeem(self, ticket: str, uri: str) -> None:
        kept_uri, expiry = self._tickets.pop(ticket, ("", 0))
        if kept_uri != uri or self._pbx.clock() >= expiry:
            raise Refused(401, "the ticket is unknown, used, expired, or for another uri")

    def _check_token(self, name: str, password: str) -> None:
        if not _same((name, password), (self._domain, self._token)):
            raise Refused(401, "wrong domain or token")

    def _watched(self, query: Mapping[str, str]) -> User:
        for selector, value_of in _SELECTORS.items():
            if selector in query:
                wanted = query[selector]
                for user in self._pbx.users.values():
                    if value_of(user) == wanted:
                        return user
                raise Refused(404, f"no user with this {selector}")
        for user in self._pbx.users.values():
            return user
        raise Refused(404, "the PBX has no user to watch")


def _basic(authorization: str | None) -> tuple[str, str]:
    scheme, _, encoded = (authorization or "").partition(" ")
    try:
        name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        name = password = ""
    if scheme.lower() != "basic" or not name:
        raise Refused(401, "a login is missing")
    return name, password


def _same(given: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    # All are compared, whatever the first says: the time tells nothing.
    equal = [hmac.compare_digest(one.encode(), two.encode()) for one, two in zip(given, wanted, strict=True)]
    return all(equal)


def parameters(uri: str) -> dict[str, str]:
    """The query's parameters of a URI without server; of one that is given twice, the first."""
    found: dict[str, str] = {}
    for name, value in parse_qsl(uri.partition("?")[2], keep_blank_values=True):
        found.setdefault(name, value)
    return found
